"""`onnxlrp view`: a page on this machine that explains a model."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from pathlib import Path
from typing import Any

from .. import files
from ..errors import UsageError
from ..streaming import sources
from ..view.code import Start
from ..view.server import Server
from ..view.session import Session
from ..view.shelf import Shelf
from . import arguments
from .console import Console
from .parsers import COMMANDS
from .parsers.groups import METHOD_OPTION, METHOD_OPTIONS
from .parsers.parser import Parser

_PAGE = ("target", "method", "rules")  # chosen on the page
_MOST = 2  # models


def run(args: argparse.Namespace, console: Console) -> int:
    """Serve the page until Ctrl-C; return the exit code."""
    models, words = split([args.model, *args.inputs])
    options = arguments.explaining_one(args)
    source = sources.files(words, recursive=args.recursive) if words else sources.Files([])
    for item in source:
        if Path(item.origin) in map(Path, words):
            files.check(Path(item.origin))
    for folder, count in source.left_out.items():
        console.note(f"{folder}: {count} heatmaps written by onnxlrp are left out")
    opened = [arguments.open_model(argparse.Namespace(**{**vars(args), "model": path})) for path in models]
    for model in opened:
        arguments.check_matches(model, options)
    start = Start(models, repeated(args), _load(args), _explain(args))
    session = Session(opened, Shelf(source.items), options, start, METHOD_OPTIONS)
    with Server(session, args.port, args.verbose > 1) as server:
        console.line("page", server.url)
        console.line("end", "Ctrl-C")
        console.json({"url": server.url, "port": server.port, "models": models, "samples": len(source)})
        if not args.no_open:
            _open(server.url, console)
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()
    return 0


def split(words: list[str]) -> tuple[list[str], list[str]]:
    """Return the models among some words, and the rest.

    Raises:
        UsageError: More than two models, or a folder in the place of the first.
    """
    models = [word for n, word in enumerate(words) if n == 0 or Path(word).suffix.lower() == ".onnx"]
    if len(models) > _MOST:
        raise UsageError(f"{len(models)} models are given", "give one, or two that are compared")
    rest = [word for n, word in enumerate(words) if n and Path(word).suffix.lower() != ".onnx"]
    return models, rest


def repeated(args: argparse.Namespace) -> list[str]:
    """Return the flags of a call, as other commands that explain take them; what the page chooses is left out."""
    own, other = (_parser(name) for name in ("view", "explain"))
    words: list[str] = []
    for action in own._actions:
        flag = action.option_strings[-1] if action.option_strings else ""
        chosen = action.dest in _PAGE or action.dest.startswith(METHOD_OPTION)
        value = getattr(args, action.dest, None)
        if not flag or chosen or not other.has(flag) or value in (None, action.default):
            continue
        if action.dest in ("json", "verbose", "quiet", "recursive"):
            continue
        values = value if isinstance(value, list) else [value]
        words += [flag] if action.nargs == 0 else [word for one in values for word in (flag, str(one))]
    return words


def _parser(name: str) -> Parser:
    made = Parser(prog=f"onnxlrp {name}")
    COMMANDS[name][1](made)
    return made


def _load(args: argparse.Namespace) -> dict[str, Any]:
    """The keywords of `onnxlrp.load` that the flags state, but for defaults."""
    defaults = {"engine": "auto", "cache": True, "strict": False, "allow_linked_data": False}
    found = arguments.load_keywords(args)
    return {key: value for key, value in found.items() if value not in (None, {}) and value != defaults.get(key)}


def _explain(args: argparse.Namespace) -> dict[str, Any]:
    """The keywords of `Model.explain` that the flags state, but for what is chosen on the page."""
    found = arguments.stated(args)
    return {key: value for key, value in found.items() if key not in _PAGE and (key, value) != ("batch_size", 8)}


def _open(url: str, console: Console) -> None:
    """Open a browser, where there is one with a window: one of the terminal would take the place of this command."""
    has_windows = not sys.platform.startswith("linux") or {"DISPLAY", "WAYLAND_DISPLAY"} & {*os.environ}
    import webbrowser

    if not (has_windows and webbrowser.open(url)):
        console.note("no browser could be opened", "open the address in one")
