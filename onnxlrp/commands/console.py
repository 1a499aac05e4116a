"""Terminal output: data on stdout, everything else on stderr; colour and progress on terminals only."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TextIO

from .. import errors
from ..errors import OnnxLrpError

KEY = 8  # width of the first word of a line


def printable(text: object) -> str:
    """Return text of files and models safe for a terminal: control and format characters escaped, one line."""
    return errors.printable(str(text).replace("\n", " "))


class Console:
    """Output of a command: `line`, `table` and `json` on stdout, the rest on stderr."""

    def __init__(self, quiet: bool = False, verbose: int = 0, json: bool = False) -> None:
        self.quiet, self.verbose, self.as_json = quiet, verbose, json
        self._bar = ""
        self._drawn = 0.0
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="replace")  # a terminal that cannot show Σ shows ?

    def line(self, key: str, text: str, width: int = KEY) -> None:
        """Print a line of the summary: a key, padded to `width`, and a text."""
        if not (self.quiet or self.as_json):
            self._write(sys.stdout, (_styled(sys.stdout, f"{printable(key):<{width}}", "1") + printable(text)).rstrip())

    def words(self, key: str, parts: Iterable[tuple[str, tuple[int, int, int], bool]]) -> None:
        """Print words, or characters in their lines, on colours, on a terminal that shows colours; else nothing.

        Args:
            key: The first word of the line.
            parts: For each word its text, the background as red, green and blue, and whether that is dark.
        """
        if self.quiet or self.as_json or not _shows_colors(sys.stdout):
            return
        listed = list(parts)
        letters = bool(listed) and all(len(text) == 1 for text, _, _ in listed)
        said = []
        for text, (red, green, blue), dark in listed:
            shown = ("↵" if text == "\n" else printable(text)) if letters else f" {printable(text.strip())} "
            said.append(f"\033[48;2;{red};{green};{blue};38;5;{15 if dark else 16}m{shown}\033[0m")
            if letters and text == "\n":
                said.append("\n" + " " * KEY)
        line = ("" if letters else " ").join(said)
        self._write(sys.stdout, _styled(sys.stdout, f"{printable(key):<{KEY}}", "1") + line)

    def table(self, rows: Iterable[Iterable[object]], right: Iterable[int] = ()) -> None:
        """Print rows in columns, the first as a head; `right` are the columns aligned right."""
        if self.quiet or self.as_json:
            return
        cells = [[printable(cell) for cell in row] for row in rows]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        for n, row in enumerate(cells):
            aligned = [
                c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))
            ]
            text = "  ".join(aligned).rstrip()
            self._write(sys.stdout, _styled(sys.stdout, text, "1") if n == 0 else text)

    def json(self, value: Mapping[str, Any], indent: int | None = None) -> None:
        """Print data as JSON, under --json."""
        if self.as_json:
            import json

            self._write(sys.stdout, json.dumps(value, ensure_ascii=True, allow_nan=False, indent=indent))

    def note(self, text: str, fix: str = "") -> None:
        """Print a note on stderr, unless --quiet; the second line is what to type."""
        if not self.quiet:
            self._pair("note", "33", text, fix)

    def detail(self, text: str) -> None:
        """Print a detail on stderr, under --verbose."""
        if self.verbose:
            self._write(sys.stderr, _styled(sys.stderr, printable(text), "2"))

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Print what the package logs, under --verbose: the engine taken, the provider of the forward pass."""
        if not self.verbose:
            yield
            return
        import logging

        logger, handler = logging.getLogger("onnxlrp"), logging.Handler(logging.INFO)
        handler.emit = lambda record: self.detail(record.getMessage())  # type: ignore[method-assign]
        level = logger.level
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        try:
            yield
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)

    def error(self, error: OnnxLrpError) -> None:
        """Print an error on stderr in two lines: what is wrong, and the fix."""
        self._pair("error", "31", error.message, error.command)

    def progress(self, done: int, total: int, name: str) -> None:
        """Draw the progress bar, on a terminal only, for more than one input."""
        if total < 2 or self.quiet or not _terminal(sys.stderr):
            return
        now = time.monotonic()
        if self._bar and done < total and now - self._drawn < 0.1:
            return
        self.clear()
        width = 24
        full = width * done // total
        text = f"[{'#' * full}{'.' * (width - full)}] {done}/{total}  {printable(name)}"
        self._bar = text[: shutil.get_terminal_size().columns - 1]
        self._drawn = now
        sys.stderr.write(self._bar)
        sys.stderr.flush()

    @contextmanager
    def passes(
        self, name: str, stopping: str = "the result is computed from these passes alone"
    ) -> Iterator[Callable[..., bool]]:
        """Show the progress of a method of many passes, with the time left; the first Ctrl-C ends them early.

        What it yields is called with the passes done, their number, and words about the last pass if there are any; it
        returns whether to go on.

        Args:
            name: What runs.
            stopping: What becomes of the passes that were done, printed when it is ended.
        """
        import signal

        began = time.monotonic()
        stopped: list[bool] = []

        def stop(*_: object) -> None:
            stopped.append(True)
            signal.signal(signal.SIGINT, before)  # the second one ends the command

        def told(done: int, total: int, said: str = "") -> bool:
            left = (time.monotonic() - began) * (total - done) / max(done, 1)
            words = ", ".join(filter(None, [name, said, f"{left:.0f} s left"]))
            self.progress(done, total, f"{words}; Ctrl-C keeps the passes done")
            if stopped:
                self.note(f"{name}: stopped after {done} of {total} passes", stopping)
            return not stopped

        try:
            before = signal.signal(signal.SIGINT, stop)
        except ValueError:  # not in the main thread, which alone receives Ctrl-C
            yield told
            return
        try:
            yield told
        finally:
            signal.signal(signal.SIGINT, before)
            self.clear()

    def clear(self) -> None:
        """Remove the progress bar."""
        if self._bar:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()
            self._bar = ""

    def _pair(self, key: str, color: str, text: str, fix: str) -> None:
        self._write(sys.stderr, _styled(sys.stderr, f"{key:<{KEY}}", color) + printable(text))
        if fix:
            self._write(sys.stderr, f"{'fix':<{KEY}}{printable(fix)}")

    def _write(self, stream: TextIO, text: str) -> None:
        self.clear()
        stream.write(text + "\n")
        stream.flush()


def _terminal(stream: TextIO) -> bool:
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def _shows_colors(stream: TextIO) -> bool:
    return _terminal(stream) and not os.environ.get("NO_COLOR")


def _styled(stream: TextIO, text: str, style: str) -> str:
    if not _shows_colors(stream):
        return text
    return f"\033[{style}m{text}\033[0m"
