"""Stored outputs: .npz files, and the `test_data_set_*` folders of ONNX."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import files
from ..errors import InputError, NothingToDo
from ..graph.graph import Graph, Tensor

Array = npt.NDArray[Any]

_LIKE_LOGITS = ("logits", "scores")


@dataclass(frozen=True, eq=False)
class Expected:
    """The stored outputs of one file or folder.

    Attributes:
        source: The file or folder.
        output: The stored outputs [N, …].
        kind: "scores" for the model's own output, "logits" for the values before a final Softmax or Sigmoid.
        inputs: The inputs that gave them, by name; empty where the outputs are those of the samples.
        names: The names of the samples, None where the file has none.
    """

    source: str
    output: Array
    kind: str
    inputs: Mapping[str, Array]
    names: tuple[str, ...] | None = None


def read(words: Sequence[str], folder: Path, graph: Graph, output: str) -> list[Expected]:
    """Read stored outputs.

    An .npz file has the output under its name, or under "logits" or "scores"; inputs under their names; names of
    samples under "names". A folder has input_0.pb, …, output_0.pb, … in the model's order.

    Args:
        words: Files, folders and globs, relative to `folder`.
        folder: The folder of the settings.
        graph: The model.
        output: The name of the explained output.

    Raises:
        InputError: A file is damaged, or lacks the output.
        NothingToDo: A glob matches nothing.
    """
    return [
        _npz(path, graph, output) if path.suffix.lower() == ".npz" else _protobuf(path, graph, output)
        for word in words
        for path in _paths(word, folder)
    ]


def _paths(word: str, folder: Path) -> list[Path]:
    path = folder / word
    if not any(c in word for c in "*?["):
        if path.is_dir() and not list(path.glob("output_*.pb")):
            inner = [p for p in sorted(path.glob("test_data_set_*")) if p.is_dir()]
            if inner:
                return inner
        return [path]
    start = Path(path.anchor) if path.is_absolute() else Path()
    found = sorted(p for p in start.glob(str(path.relative_to(start))) if p.is_dir() or p.suffix.lower() == ".npz")
    if not found:
        raise NothingToDo(f"{path}: matches no .npz file and no folder", "check the pattern of expected")
    return found


def _npz(path: Path, graph: Graph, output: str) -> Expected:
    files.check(path)
    fix = f"save it by numpy.savez(path, **{{{output!r}: outputs}})"
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    except Exception as error:  # zipfile and numpy raise anything from BadZipFile to KeyError on a damaged file
        raise InputError(f"{path}: a damaged .npz file, or one of objects ({files.reason(error)})", fix) from None
    key = next((name for name in (output, *_LIKE_LOGITS) if name in arrays), None)
    if key is None:
        raise InputError(f'{path}: has {", ".join(sorted(arrays)) or "nothing"}, not the output "{output}"', fix)
    known = {tensor.name for tensor in graph.inputs}
    names = tuple(str(name) for name in arrays["names"].reshape(-1)) if "names" in arrays else None
    kind = "logits" if key == "logits" != output else "scores"
    inputs = {name: array for name, array in arrays.items() if name in known}
    made = Expected(str(path), np.atleast_1d(arrays[key]), kind, inputs, names)
    if names is not None and len(names) != len(made.output):
        raise InputError(f"{path}: {len(names)} names for {len(made.output)} outputs", "store one name for each output")
    return made


def _protobuf(folder: Path, graph: Graph, output: str) -> Expected:
    if not folder.is_dir():
        raise InputError(
            f"{folder}: neither a folder nor an .npz file", "give an .npz file or a test_data_set_0 folder"
        )
    outputs, inputs = (_numbered(folder, kind, ts) for kind, ts in (("output", graph.outputs), ("input", graph.inputs)))
    if output not in outputs or not inputs:
        missing = f'output "{output}"' if inputs else "input"
        raise InputError(f"{folder}: has no {missing}", "store input_0.pb and output_0.pb there, in the model's order")
    return Expected(str(folder), outputs[output], "scores", inputs)


def _numbered(folder: Path, kind: str, tensors: Sequence[Tensor]) -> dict[str, Array]:
    """Read input_0.pb, input_1.pb, … by the names of tensors; the name in a file takes precedence."""
    import onnx
    from onnx import numpy_helper

    found: dict[str, Array] = {}
    known = [tensor.name for tensor in tensors]
    for path in sorted(folder.glob(f"{kind}_*.pb")):
        number = re.fullmatch(rf"{kind}_(\d+)", path.stem)
        if number is None:
            continue
        files.check(path)
        try:
            tensor = onnx.load_tensor(str(path))
            array = numpy_helper.to_array(tensor)
        except Exception as error:  # protobuf raises its own errors, which differ between its versions
            raise InputError(f"{path}: not an ONNX tensor ({files.reason(error)})", files.AGAIN) from None
        name = tensor.name if tensor.name in known else known[int(number[1])] if int(number[1]) < len(known) else ""
        if name:
            found[name] = array
    return found
