"""Dynamic quantisation: operators whose integers have a scale that is computed at run time.

Their unit is moved into the integers: DynamicQuantizeLinear gives the floats that its integers stand for, its scale is
1 and its zero point 0. What reads them (MatMulInteger, a Cast, a product with the scales) computes the same on floats.
A DynamicQuantizeLinear looks at the whole batch; a `Graph`'s looks at each sample alone, as the file does at batch 1.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from onnx import TensorProto

from .. import operators
from ..reading.printable import printable
from .integer import floats
from .replacement import Replacement

_FIX = "Explain the float model that it was quantised from."
# What may read the scale: it meets there the integers, or a product of them, that are already in its unit.
_SCALED = operators.ops("Mul DequantizeLinear com.microsoft::MatMulIntegerToFloat")
_FLOATS = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE})


def _quantize(parts: Replacement) -> None:
    graph, scale, zero = parts.graph, parts.output(1), parts.output(2)
    if set(parts.layer.outputs).intersection(graph.outputs):
        raise parts.refuse("a result that is an output of the model", _FIX)
    for layer in graph.layers:
        if scale in layer.inputs and layer.op not in _SCALED:
            raise parts.refuse(f'a scale that the {layer.op} node "{printable(layer.name)}" reads', _FIX)
    graph.constants |= {scale: np.array(1, np.float32), zero: np.array(0, np.float32)}
    for name in (scale, zero):
        graph.shapes.pop(name, None)
    parts.context.loose.add(zero)
    _by_sample(parts, parts.input(0), to=(parts.output(),))
    _loosen(parts)


def _by_sample(parts: Replacement, x: str, to: tuple[str, ...] = ()) -> str:
    """x rounded to 255 steps from its least to its largest value, or 0, in each sample."""
    key = ("dynamic", x)
    if to or key not in parts.context.made:
        parts.context.made[key] = parts.compute("DynamicQuantizeLinear", x, to=to, main=bool(to))
    return parts.context.made[key]


def _integer_conv(parts: Replacement) -> None:
    parts.compute("Conv", _whole(parts, 0, 2), _whole(parts, 1, 3, axis=0), main=True, **parts.layer.attributes)
    parts.finish()
    _loosen(parts)


def _integer_matmul(parts: Replacement) -> None:
    parts.compute("MatMul", _whole(parts, 0, 2, axis=-2), _whole(parts, 1, 3, axis=-1), main=True)
    parts.finish()
    _loosen(parts)


def _whole(parts: Replacement, x: int, zero: int, axis: int | None = None) -> str:
    """x - zero."""
    return floats(parts, x, len(parts.layer.inputs), zero, axis)


def _matmul_to_float(parts: Replacement) -> None:
    """A·B + bias."""
    y = parts.compute("MatMul", floats(parts, 0, 2, 4, axis=-2), floats(parts, 1, 3, 5, axis=-1), main=True)
    _biased(parts, y, 6)


def _dynamic_matmul(parts: Replacement) -> None:
    """A·B + bias, A quantised as by DynamicQuantizeLinear."""
    y = parts.compute("MatMul", _by_sample(parts, parts.input(0)), floats(parts, 1, 2, 3, axis=-1), main=True)
    _biased(parts, y, 4)


def _biased(parts: Replacement, y: str, position: int) -> None:
    if parts.input(position):
        parts.compute("Add", y, parts.input(position))
    parts.finish()


def follow(parts: Replacement) -> None:
    """A standard operator that reads integers whose unit is moved, as floats; refused by name where it would not mean
    the same."""
    layer, graph = parts.layer, parts.graph
    live = [name for name in layer.inputs if name and (name in parts.context.loose or name not in graph.constants)]
    if layer.op == "DequantizeLinear" or (layer.op == "Cast" and layer.attributes["to"] in _FLOATS):
        parts.compute("Identity", floats(parts, 0, 1, 2), main=True)
        parts.finish()
        return
    if layer.op == "Cast" and layer.inputs[0] in graph.constants:
        graph.constants[parts.output()] = graph.constants[layer.inputs[0]]
        graph.shapes.pop(parts.output(), None)
        _loosen(parts)
        return
    if layer.op == "Cast":
        parts.compute("Identity", *layer.inputs, main=True)
    elif layer.op in operators.ROUTES_OF_INTEGERS and live == [layer.inputs[0]]:
        parts.compute(layer.op, *layer.inputs, main=True, **layer.attributes)
    elif layer.op == "Sub" and parts.context.loose.issuperset(live) and layer.inputs[1] in graph.constants:
        parts.compute("Identity", layer.inputs[0], main=True)  # the zero point
    else:
        others = [name for name in live if name in parts.context.loose]
        raise parts.refuse(f'an operand "{printable(others[0])}" whose scale is computed at run time', _FIX)
    parts.finish()
    _loosen(parts)


def _loosen(parts: Replacement) -> None:
    parts.context.loose.add(parts.output())
    parts.graph.dtypes[parts.output()] = "float32"


RULES: dict[str, Callable[[Replacement], None]] = {
    "DynamicQuantizeLinear": _quantize,
    "ConvInteger": _integer_conv,
    "MatMulInteger": _integer_matmul,
    "com.microsoft::MatMulIntegerToFloat": _matmul_to_float,
    "com.microsoft::DynamicQuantizeMatMul": _dynamic_matmul,
}
