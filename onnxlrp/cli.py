"""The command line: runs a command, and turns its errors into exit codes."""

from __future__ import annotations

import atexit
import errno
import gc
import os
import sys
import threading
from collections.abc import Sequence
from typing import NoReturn

from .cache.later import finish, give_up
from .commands.console import Console
from .commands.parsers import COMMANDS
from .commands.parsers.parser import Parser
from .errors import OnnxLrpError, UsageError, did_you_mean
from .version import __version__

BUG, INTERRUPTED, PIPE_CLOSED = 70, 130, 141
_NEW_OBJECTS = 10_000  # between two collections of garbage: a start makes many objects, and nearly all of them stay

_CODES = """exit codes:
  0 ok                     3 input rejected
  1 a check failed         4 not supported (an operator without a rule, preprocessing not stated under --strict)
  2 usage                  5 nothing to do
  70 a bug                 130 interrupted"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: The words after `onnxlrp`; by default those of the process.

    Returns:
        The exit code: 0, that of an OnnxLrpError, 70 for a bug, 130 when interrupted.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    _open_closed_streams()
    loud = sum(2 * (w == "-vv") + (w in ("-v", "--verbose")) for w in words) > 1
    console = Console()
    try:
        code = _run(words, console)
        sys.stdout.flush()
        return code
    except OnnxLrpError as error:
        _traceback(loud)
        console.error(error)
        return error.code
    except KeyboardInterrupt:
        _traceback(loud)
        console.error(
            UsageError("interrupted", "the files written so far are complete; run the command again for the rest")
        )
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has gone (`| head`): what Python still flushes at its end goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            console.error(UsageError(f"{str(error.filename)[:40]}…: a name too long for the file system", "shorten it"))
            return UsageError.code
        if error.errno not in (errno.ENOSPC, errno.EIO, errno.EBADF):
            return _bug(error, loud, console)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        console.error(UsageError(f"the output cannot be written: {error.strerror}", "write it to another place"))
        return 3
    except MemoryError:
        _traceback(loud)
        console.error(UsageError("out of memory", "explain fewer inputs at once: --batch-size 1"))
        return 4
    except Exception as error:
        return _bug(error, loud, console)
    finally:
        console.clear()


def process() -> NoReturn:
    """Run the command of this process, and end the process with its exit code.

    Taking down the interpreter, its modules and the sessions of the engine costs a tenth of a first command and changes
    nothing that remains. So the process ends as soon as what others rely on is done: exit functions, output. Where
    threads are still at work, which may wait for the interpreter's end, it ends as usual.
    """
    gc.set_threshold(_NEW_OBJECTS, *gc.get_threshold()[1:])
    code = main()
    if any(not thread.daemon for thread in threading.enumerate() if thread is not threading.current_thread()):
        sys.exit(code)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # the reader has gone, or the stream is closed: Python would say so and end
            code = code or PIPE_CLOSED
    os._exit(code)


def _bug(error: Exception, loud: bool, console: Console) -> int:
    _traceback(loud)
    said = str(error).splitlines()[:1]
    what = f"a bug in onnxlrp {__version__}: {type(error).__name__}: {said[0] if said else ''}"
    console.error(
        UsageError(what, "please report it with what this prints with -vv" if not loud else "please report it")
    )
    return BUG


def _open_closed_streams() -> None:
    """Give a process that was started without standard output or error (`>&-`) streams that lead nowhere."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - open until the process ends


def _run(words: list[str], console: Console) -> int:
    if not words:
        raise UsageError(f"no command given: {', '.join(COMMANDS)}", "onnxlrp --help describes them")
    name = words[0]
    if name not in COMMANDS:
        if name.startswith("-"):
            return _alone(words)
        raise UsageError(f'there is no command "{name}"', did_you_mean(name, COMMANDS))
    summary, arguments, module = COMMANDS[name]
    parser = _parser(f"onnxlrp {name}", summary[0].upper() + summary[1:] + ".")
    arguments(parser)
    if parser.takes_method_options and parser.unknown(words[1:]):
        from .commands import method_options

        method_options.add(parser)
    try:
        args = parser.read(words[1:])
    except SystemExit as done:  # --help
        return int(done.code or 0)
    console.quiet, console.verbose, console.as_json = args.quiet, args.verbose, args.json
    from importlib import import_module

    with console.listening():
        try:
            code: int = import_module(f".commands.{module}", __package__).run(args, console)
            sys.stdout.flush()
        except BaseException:
            give_up()  # who waits for an error waits for nothing else
            raise
        finish()
    return code


def _alone(words: list[str]) -> int:
    listed = "\n".join(f"  {name:<9} {summary}" for name, (summary, _, _) in COMMANDS.items())
    parser = _parser("onnxlrp", "Explain any exported ONNX model from the file alone.")
    parser.usage = "onnxlrp COMMAND ..."
    parser.epilog = f"commands (onnxlrp COMMAND --help for details):\n{listed}\n\n{_CODES}"
    parser.add_argument("--version", action="version", version=f"onnxlrp {__version__}")
    try:
        parser.read(words)
    except SystemExit as done:
        return int(done.code or 0)
    raise UsageError("no command given", "onnxlrp --help lists them")


def _parser(prog: str, description: str) -> Parser:
    import argparse

    return Parser(
        prog=prog,
        description=description,
        allow_abbrev=False,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _traceback(loud: bool) -> None:
    if loud:
        import traceback

        traceback.print_exc()
