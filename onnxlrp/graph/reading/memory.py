"""What a model will need at least, read off its shapes before anything is computed, against a limit."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, inliner, numpy_helper

from ...errors import InputError, OnnxLrpError, UnsupportedError, UsageError
from ..graph import Array
from .printable import printable
from .structure import TYPES, bodies, nbytes, tensors

_WIDENED = frozenset({TensorProto.FLOAT16, TensorProto.BFLOAT16})
# Longer operands are no shapes: their values say nothing about the size of a result.
_READ = 4096
# Values that Concat may make of shapes, all together.
_LISTS = 2_000_000
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
# Files that say how much memory a container may use: cgroup 2, cgroup 1.
_CGROUPS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
# As long as the values say, which nobody knows before; at most this times (the rank of) their operand.
_BY_VALUES = {"NonZero": 8, "Unique": 4, "Compress": 1}


@dataclass(frozen=True)
class Estimate:
    """Bytes: weights as float32; what constant folding makes of them; the largest layer's operands and results for one
    sample."""

    weights: int
    folded: int
    layer: int
    largest: str = ""

    @property
    def total(self) -> int:
        return self.weights + self.folded + self.layer


def limit(given: int | str | None) -> int:
    """Bytes of "8G", "500M" or a number; by default what this machine has free. Raises `UsageError`."""
    if given is None:
        return available()
    found = re.fullmatch(r"(\d{1,15}(?:\.\d{1,6})?)\s*([KMGT]?)(?:i?B)?", str(given).strip(), re.IGNORECASE)
    if found is None or not float(found[1]):
        raise UsageError(f'the memory limit "{given}" is no size', "write it as in --max-memory 8G")
    return int(float(found[1]) * _UNITS[found[2].upper()])


def available() -> int:
    """Bytes that a process may still take: of the machine, and of the container that it runs in."""
    found = [1 << 62]
    try:
        found.append(int(os.sysconf("SC_PHYS_PAGES")) * int(os.sysconf("SC_PAGE_SIZE")))
        text = Path("/proc/meminfo").read_text(encoding="ascii")
        found += [int(kilobytes) << 10 for kilobytes in re.findall(r"^MemAvailable:\s+(\d+) kB", text, re.MULTILINE)]
    except (AttributeError, OSError, ValueError):
        pass  # not Linux: what is known so far
    for place in _CGROUPS:
        try:
            found.append(int(Path(place).read_text(encoding="ascii")))
        except (OSError, ValueError):
            continue  # no such file, or "max"
    return min(found)


def check(estimate: Estimate, most: int, name: str) -> None:
    """Raise `InputError` where the model needs more than there may be."""
    if estimate.total > most:
        parts = f"weights {size(estimate.weights)}, constants {size(estimate.folded)}, layer {size(estimate.layer)}"
        where = f' at "{printable(estimate.largest)}"' if estimate.largest else ""
        raise InputError(
            f"{name} needs {size(estimate.total)} of memory or more ({parts}{where}); the limit is {size(most)}.",
            "Allow more, if the machine has it, with --max-memory SIZE, such as 16G (load: max_memory=...).",
        )


def size(count: int) -> str:
    """`1.5 GB`: bytes as a person reads them."""
    for unit, name in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}" if count < 10**18 else f"{count:.0e} bytes"
    return f"{count} bytes"


def inferred(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with the shapes that onnx infers; local functions are inlined first."""
    try:
        if model.functions:
            model = inliner.inline_local_functions(model)
        _lists(model.graph, {})
        return onnx.shape_inference.infer_shapes(model, data_prop=True)
    except OnnxLrpError:
        raise
    except Exception as error:
        said = printable((str(error).strip() or type(error).__name__).splitlines()[0], 240)
        raise UnsupportedError(
            f"The shapes of the model do not fit together: {said}", "Export the model again with static shapes."
        ) from None


def _lists(graph: onnx.GraphProto, outer: Mapping[str, int], written: int = 0) -> int:
    """Refuse constants that Concat doubles without end: onnx writes them out while it infers shapes.

    Returns how many values they have together, with those `written` before.
    """
    lengths = {**outer, **{tensor.name: math.prod(tensor.dims) for tensor in graph.initializer}}
    for node in graph.node:
        for inner in bodies(node):
            written = _lists(inner, lengths, written)
        operands = [lengths.get(name) for name in node.input if name]
        if node.op_type == "Constant":
            operands = [max(math.prod(a.t.dims), len(a.ints), len(a.floats)) for a in node.attribute]
        known = [length for length in operands if length is not None]
        if not known or len(known) < len(operands):
            continue
        longest = max(known)
        if node.op_type == "Concat":
            longest = sum(known)
            written += longest
        if written > _LISTS:
            raise InputError(
                f'The constant "{printable(node.name or node.output[0])}" and those before it are lists of more than '
                f"{_LISTS} values.",
                "Export the model again.",
            )
        lengths.update(dict.fromkeys(node.output, longest))
    return written


def estimate(model: onnx.ModelProto, weights: Mapping[str, Array], batch: int) -> Estimate:
    """Of a skeleton with its shapes, whose axes hold `batch` samples. Its tensors without a shape count nothing."""
    held = sum(max(value.dtype.itemsize, 1) * value.size for value in weights.values())
    tally = _Tally(batch)
    tally.visit(model.graph, set(weights))
    return Estimate(held, tally.folded, tally.layer, tally.largest)


def stored(model: onnx.ModelProto) -> Estimate:
    """The weights alone, by their dims, before any of them is read."""
    held = 0
    for tensor in tensors(model):
        unit = 4 if tensor.data_type in _WIDENED else nbytes(tensor.data_type, 8) / 8
        held += int(unit * math.prod(tensor.dims))
    return Estimate(held, 0, 0)


def result(node: onnx.NodeProto, operands: Mapping[str, Array], opsets: Mapping[str, int]) -> int | None:
    """Bytes that a node's results will take, its operands known; None where only computing them tells."""
    inputs, small = [], []
    for name, value in operands.items():
        if value.size <= _READ:
            small.append(numpy_helper.from_array(np.asarray(value, order="C"), name))
        else:
            kind = helper.np_dtype_to_tensor_dtype(value.dtype)
            inputs.append(helper.make_tensor_value_info(name, kind, value.shape))
    outputs = [onnx.ValueInfoProto(name=name) for name in node.output if name]
    graph = helper.make_graph([node], "one", inputs, outputs, small)
    imports = [helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    found = sizes(inferred(helper.make_model(graph, opset_imports=imports)).graph.output, 1)
    if all(value.name in found for value in outputs):
        return sum(found.values())
    if node.op_type in _BY_VALUES:
        return sum(_BY_VALUES[node.op_type] * value.size * max(value.ndim, 1) for value in operands.values())
    return None


class _Tally:
    def __init__(self, batch: int) -> None:
        self.batch = batch
        self.folded = self.layer = self.biggest = 0
        self.largest = ""

    def visit(self, graph: onnx.GraphProto, constant: set[str]) -> None:
        known = sizes((*graph.input, *graph.value_info, *graph.output), self.batch)
        constant |= {tensor.name for tensor in graph.initializer}
        for node in graph.node:
            made = sum(known.get(name, 0) for name in node.output)
            if made > self.biggest:
                self.biggest, self.largest = made, node.name or node.output[0]
            if all(name in constant for name in node.input if name) or node.op_type in ("Shape", "Size"):
                constant.update(node.output)
                self.folded += made
            else:
                self.layer = max(self.layer, made + sum(known.get(name, 0) for name in {*node.input} - constant))
            for inner in bodies(node):
                self.visit(inner, set(constant))


def sizes(values: Iterable[onnx.ValueInfoProto], batch: int) -> dict[str, int]:
    """Bytes of the tensors whose shapes are stated, for one sample of `batch`."""
    found: dict[str, int] = {}
    for value in values:
        kind = value.type.tensor_type
        if kind.elem_type in TYPES and kind.HasField("shape") and all(d.HasField("dim_value") for d in kind.shape.dim):
            count = math.prod(max(d.dim_value, 0) for d in kind.shape.dim)
            found[value.name] = nbytes(kind.elem_type, count // (batch if count % batch == 0 else 1))
    return found
