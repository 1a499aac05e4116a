"""The rooms of the package, what each is for and which others it imports, read from the sources."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "onnxlrp"
OPENED = ("graph", "engines")  # folders whose parts are rooms of their own
ANYBODY = ("errors", "lazy", "version", "registry", "runtime", "files")  # small modules that everybody may import


def table() -> str:
    """Return the rooms as a Markdown table; those that everybody may import are left out."""
    to = arrows()
    lines = ["| room | what it is | imports |", "| --- | --- | --- |"]
    for room, summary in rooms().items():
        if room not in ANYBODY:
            lines.append(f"| `{room}` | {summary} | {', '.join(f'`{target}`' for target in sorted(to[room]))} |")
    return "\n".join(lines)


@cache
def rooms() -> dict[str, str]:
    """Return the first sentence of each room's docstring by the room's dotted name."""
    return {_name(path): _summary(path) for path in _modules() if _is_room(path)}


@cache
def arrows() -> dict[str, set[str]]:
    """Return the rooms that each room imports, without those that everybody may import."""
    found: dict[str, set[str]] = {room: set() for room in rooms()}
    for path in _modules():
        room = _room(_name(path))
        if room is not None:
            found[room].update(target for name in _imports(path) if (target := _room(name)) is not None)
    return {room: targets - {room, *ANYBODY} for room, targets in found.items()}


def _modules() -> list[Path]:
    return [path for path in sorted(PACKAGE.rglob("*.py")) if path.parent != PACKAGE or not path.stem.startswith("__")]


def _name(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


def _is_room(path: Path) -> bool:
    """Tell whether a module is a room: a folder or module of the package, or of one of the opened folders."""
    parts = _name(path).split(".")
    if path.name == "__init__.py" and len(parts) == 1:
        return parts[0] not in OPENED or _summary(path) != ""
    return len(parts) == 1 or (len(parts) == 2 and parts[0] in OPENED)


def _room(name: str) -> str | None:
    """Return the longest room that a dotted name lies in."""
    parts = name.split(".")
    return next((room for n in (2, 1) if (room := ".".join(parts[:n])) in rooms()), None)


def _summary(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    first = re.split(r"(?<!al)\. ", " ".join(text.split("\n\n")[0].split()))[0]
    return first.rstrip(".").replace("|", "\\|")


def _imports(path: Path) -> Iterator[str]:
    """Yield the dotted names within the package that a module imports."""
    package = ["onnxlrp", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            for alias in node.names:
                yield ".".join([*base, *filter(None, [node.module]), alias.name][1:])
