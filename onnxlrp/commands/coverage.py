"""`onnxlrp inspect --coverage DIR`: models that can be explained, and the operators without a rule in each."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ..compile import compile
from ..errors import CheckFailed, InputError, NothingToDo, OnnxLrpError
from ..model import ExplainOptions, Model
from . import arguments
from .console import Console, printable


@dataclass(frozen=True)
class ModelCoverage:
    """Coverage of one file.

    Attributes:
        file: The path below the folder.
        opset: The version of the operator set.
        producer: What wrote the file.
        layers: The number of layers.
        without_rule: Operators without a rule.
        refused: Why the file cannot be explained, "" where it can.
    """

    file: str
    opset: str = ""
    producer: str = ""
    layers: int = 0
    without_rule: tuple[str, ...] = ()
    refused: str = ""

    @property
    def covered(self) -> bool:
        """Whether the method explains this model."""
        return not (self.without_rule or self.refused)


def run(args: argparse.Namespace, console: Console) -> int:
    """Print a Markdown table; return 0 where every model can be explained, else 1."""
    folder = Path(args.coverage)
    options = arguments.explaining_one(args)
    files = models(folder)
    rows = []
    for done, path in enumerate(files):
        console.progress(done, len(files), path.name)
        args.model = str(path)
        rows.append(_row(args, str(path.relative_to(folder)), options))
    console.clear()
    covered = sum(row.covered for row in rows)
    report = {
        "folder": str(folder),
        "method": options.method,
        "models": [{**asdict(r), "covered": r.covered} for r in rows],
    }
    console.json({**report, "covered": covered}, indent=1)
    for line in _table(rows):
        console.line("", line, width=0)
    console.line("", "")
    console.line("covered", f"{covered} of {len(rows)} models by {options.method}")
    return 0 if covered == len(rows) else CheckFailed.code


def models(folder: Path) -> list[Path]:
    """Return the .onnx files below a folder, sorted by their paths. Raises InputError, NothingToDo."""
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder", "give a folder of .onnx files; one file is inspected by its name")
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() == ".onnx" and path.is_file())
    if not found:
        raise NothingToDo(f"{folder}: holds no .onnx file", "give the folder of the models")
    return found


def _row(args: argparse.Namespace, name: str, options: ExplainOptions) -> ModelCoverage:
    """Examine one file; an error is part of its row."""
    model: Model | None = None
    missing: Sequence[str] = ()
    refused = ""
    try:
        model = arguments.open_model(args, engine="auto")
        composite = model.composite(options)
        missing = [layer.op for layer, _, rule in model.layers(composite) if rule is None]
        if not missing:
            compile(model.for_target().graph, composite, mode="top")
    except OnnxLrpError as error:
        refused = error.message
    except Exception as error:
        # One odd file must not hide the rows of the others.
        refused = f"a bug in onnxlrp: {type(error).__name__}: {error}"
    if model is None:
        return ModelCoverage(name, refused=refused)
    said = model.graph.metadata
    return ModelCoverage(
        name,
        said.get("onnxlrp.opset", ""),
        said.get("onnxlrp.producer", ""),
        len((model.whole or model.graph).layers),
        tuple(f"{op} ({n})" if n > 1 else op for op, n in sorted(Counter(missing).items())),
        refused,
    )


def _table(rows: Sequence[ModelCoverage]) -> list[str]:
    head = ("file", "opset", "producer", "layers", "without a rule", "refused")
    cells = [
        [_cell(c) for c in (r.file, r.opset, r.producer, r.layers or "", ", ".join(r.without_rule), r.refused)]
        for r in rows
    ]
    widths = [max(len(head[i]), *(len(row[i]) for row in cells)) for i in range(len(head) - 1)] + [len(head[-1])]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in (head, *cells)]
    return [lines[0], "| " + " | ".join("-" * w for w in widths) + " |", *lines[1:]]


def _cell(value: object) -> str:
    return printable(value).replace("|", "\\|")
