"""The tests themselves: what several share is in tests/support, and no test changes where Python looks for modules."""

from __future__ import annotations

import ast
import tomllib
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
FILES = [path for path in sorted(TESTS.rglob("*.py")) if "fake_driver" not in path.parts]
ROOMS = {path.name for path in TESTS.iterdir() if path.is_dir()} - {"support"}


@cache
def read(path: Path) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Dotted names of the modules that a file imports, relative ones from the folder of tests; lines with sys.path."""
    names, lines = [], []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            folder = path.relative_to(TESTS).parts[: -node.level] if node.level else ()
            names.append(".".join([*folder, *filter(None, [node.module])]))
        elif isinstance(node, ast.Attribute) and node.attr == "path":
            lines += [node.lineno] if isinstance(node.value, ast.Name) and node.value.id == "sys" else []
    return tuple(names), tuple(lines)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(TESTS).as_posix())
def test_no_test_imports_another(path: Path) -> None:
    for name in read(path)[0]:
        # The scripts that write golden files and the zoo share their networks.
        rooms = ROOMS if path.name.startswith("test_") or "support" in path.parts else set()
        top, last = name.partition(".")[0], name.rpartition(".")[2]
        assert not last.startswith("test_"), f"imports {name}: move what both need to tests/support"
        assert top not in rooms, f"imports {name}: move what both need to tests/support"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(TESTS).as_posix())
def test_no_module_changes_the_path(path: Path) -> None:
    _, lines = read(path)
    assert not lines


def test_mypy_knows_every_room() -> None:
    """What tests may do and the package may not is said by room in pyproject.toml."""
    settings = tomllib.loads((TESTS.parent / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mypy"]["overrides"]
    (known,) = (set(one["module"]) for one in settings if "conftest" in one["module"])
    rooms = {f"{path.name}.*" for path in TESTS.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert known == rooms | {path.stem for path in TESTS.glob("*.py")}
