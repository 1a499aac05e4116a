"""The tests themselves: what several share is in tests/support, and no test changes where Python looks for modules."""

from __future__ import annotations

import ast
import tomllib
from functools import cache
from pathlib import Path

import onnx
import onnxruntime
import pytest

from support import kept_conversions, spread, tiny_models

TESTS = Path(__file__).parent
FILES = [path for path in sorted(TESTS.rglob("*.py")) if "fake_driver" not in path.parts]
ROOMS = {path.name for path in TESTS.iterdir() if path.is_dir()} - {"support"}


# One test for the modules of each folder: one for each module would take longer than what it asks.
FOLDERS = sorted({path.relative_to(TESTS).parts[0] for path in FILES})


def of(folder: str) -> list[Path]:
    return [path for path in FILES if path.relative_to(TESTS).parts[0] == folder]


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


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_test_imports_another(folder: str) -> None:
    for path in of(folder):
        for name in read(path)[0]:
            # The scripts that write golden files and the zoo share their networks.
            rooms = ROOMS if path.name.startswith("test_") or "support" in path.parts else set()
            top, last = name.partition(".")[0], name.rpartition(".")[2]
            where = path.relative_to(TESTS)
            assert not last.startswith("test_"), f"{where} imports {name}: move what both need to tests/support"
            assert top not in rooms, f"{where} imports {name}: move what both need to tests/support"


@pytest.mark.parametrize("folder", FOLDERS)
def test_no_module_changes_the_path(folder: str) -> None:
    for path in of(folder):
        _, lines = read(path)
        assert not lines, path.relative_to(TESTS)


def test_mypy_knows_every_room() -> None:
    """What tests may do and the package may not is said by room in pyproject.toml."""
    settings = tomllib.loads((TESTS.parent / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["mypy"]["overrides"]
    (known,) = (set(one["module"]) for one in settings if "conftest" in one["module"])
    rooms = {f"{path.name}.*" for path in TESTS.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert known == rooms | {path.stem for path in TESTS.glob("*.py")}


def test_of_many_cases_a_few_are_spread_over_all_values() -> None:
    grid = [(("engine", a), ("model", b)) for a in range(4) for b in range(3)]
    chosen = spread.evenly(grid, 4)
    assert len(chosen) == 4
    assert {value for n in chosen for value in grid[n]} == {value for case in grid for value in case}
    assert spread.evenly([(("model", n),) for n in range(12)], 4) == {0, 3, 6, 9}
    assert spread.evenly(grid, 99) == set(range(12))


def test_a_kept_conversion_is_that_of_onnx() -> None:
    model = tiny_models.model([tiny_models.node("Relu", ["x"], ["y"])], opset=12)
    calls = []

    def convert(one: onnx.ModelProto, opset: int) -> onnx.ModelProto:
        calls.append(opset)
        changed = onnx.ModelProto.FromString(one.SerializeToString())
        changed.opset_import[0].version = opset
        return changed

    kept = kept_conversions.keep(convert)
    for opset in (13, 14, 13):
        converted = kept(model, opset)
        assert converted.opset_import[0].version == opset
        converted.graph.Clear()  # what a caller does to its own changes no other's
    assert calls == [13, 14]
    assert kept(model, 14).graph == model.graph
    assert model.opset_import[0].version == 12


def test_threads_of_sessions_sleep() -> None:
    model = tiny_models.model([tiny_models.node("Relu", ["x"], ["y"])]).SerializeToString()
    for options in (None, onnxruntime.SessionOptions()):
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        given = session.get_session_options()
        assert given.get_session_config_entry("session.intra_op.allow_spinning") == "0"
        assert given.intra_op_num_threads == onnxruntime.SessionOptions().intra_op_num_threads
