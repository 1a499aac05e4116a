"""One style of errors: what is wrong, then the fix to type, both in lower case and without a full stop."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import onnx
import pytest

import onnxlrp
from onnxlrp import errors

ROOT = Path(onnxlrp.__file__).parent
CLASSES = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)}
# The makers of errors of one room: their arguments are parts of messages, and fixes.
MAKERS = CLASSES | {"refuse", "refusal", "_refuse"}
# Words with a capital in the middle of a sentence too: operators, a library, and one of two models that are compared.
NAMES = {schema.name for schema in onnx.defs.get_all_schemas()} | {"A", "Quantus"}


def parts(node: ast.expr, constants: dict[str, ast.expr]) -> Iterator[tuple[str, str]]:
    """Yield the first and the last literal of a text, "" where it begins or ends with a value."""
    if isinstance(node, ast.Name) and node.id in constants:
        yield from parts(constants[node.id], constants)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value, node.value
    elif isinstance(node, ast.JoinedStr):
        ends = [value.value if isinstance(value, ast.Constant) else "" for value in node.values]
        yield str(ends[0]), str(ends[-1])
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        first, last = list(parts(node.left, constants)), list(parts(node.right, constants))
        yield (first[0][0] if first else ""), (last[-1][1] if last else "")
    elif isinstance(node, ast.BoolOp):
        for value in node.values:
            yield from parts(value, constants)
    elif isinstance(node, ast.IfExp):
        for value in (node.body, node.orelse):
            yield from parts(value, constants)


def texts(path: Path) -> Iterator[tuple[int, str, str]]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    constants = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            for argument in node.args[:3] if called in MAKERS else ():
                yield from ((node.lineno, *ends) for ends in parts(argument, constants))


# One test for the modules of each folder: one for each module would take longer than what it asks.
MODULES = sorted(ROOT.rglob("*.py"))
FOLDERS = sorted({path.relative_to(ROOT).parts[0] for path in MODULES})


@pytest.mark.parametrize("folder", FOLDERS)
def test_errors_have_one_style(folder: str) -> None:
    for path in (path for path in MODULES if path.relative_to(ROOT).parts[0] == folder):
        for line, first, last in texts(path):
            word = first.split(" ")[0].rstrip(",:;.")
            sentence = word[:1].isupper() and (len(word) == 1 or word[1:].islower()) and word not in NAMES
            where = f"{path.relative_to(ROOT)}:{line}"
            assert not sentence, f"{where}: begins with a capital: {first[:60]}"
            assert not last.endswith(".") or last.endswith((" .", "...")), (
                f"{where}: ends with a full stop: {last[-60:]}"
            )
