"""Dynamic quantisation: operators whose integers have a scale that is computed at run time.

Their unit is moved into the integers: DynamicQuantizeLinear gives the floats that its integers stand for, its scale is
1 and its zero point 0. What reads them (MatMulInteger, a Cast, a product with the scales) computes the same on floats.
A DynamicQuantizeLinear looks at the whole batch; a `Graph`'s looks at each sample alone, as the file does at batch 1.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from onnx import TensorProto

from .. import operators
from ..reading.printable import printable
from .quantized import FIX, floats
from .replacement import Decomposition, Replacement

# Operators that may read the scale: it multiplies the integers there, or a product of them, which are floats already.
_SCALED = operators.ops("Mul DequantizeLinear com.microsoft::MatMulIntegerToFloat")
_FLOATS = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE})


def _quantize(build: Replacement) -> None:
    graph, scale, zero = build.graph, build.output(1), build.output(2)
    if set(build.layer.outputs).intersection(graph.outputs):
        raise build.refuse("a result that is an output of the model", FIX)
    for layer in graph.layers:
        if scale in layer.inputs and layer.op not in _SCALED:
            raise build.refuse(f'a scale that the {layer.op} node "{printable(layer.name)}" reads', FIX)
    graph.constants |= {scale: np.array(1, np.float32), zero: np.array(0, np.float32)}
    for name in (scale, zero):
        graph.shapes.pop(name, None)
    build.context.as_floats.add(zero)
    _by_sample(build, build.input(0), to=(build.output(),))
    _mark_as_floats(build)


def _by_sample(build: Replacement, x: str, to: tuple[str, ...] = ()) -> str:
    """Round x to 255 steps from its least to its largest value, 0 among them, in each sample."""
    key = ("dynamic", x)
    if to or key not in build.context.made:
        build.context.made[key] = build.compute("DynamicQuantizeLinear", x, to=to, main=bool(to))
    return build.context.made[key]


def _integer_conv(build: Replacement) -> None:
    x, weight = _minus_zero_point(build, 0, 2), _minus_zero_point(build, 1, 3, axis=0)
    build.compute("Conv", x, weight, main=True, **build.layer.attributes)
    build.finish()
    _mark_as_floats(build)


def _integer_matmul(build: Replacement) -> None:
    build.compute("MatMul", _minus_zero_point(build, 0, 2, axis=-2), _minus_zero_point(build, 1, 3, axis=-1), main=True)
    build.finish()
    _mark_as_floats(build)


def _minus_zero_point(build: Replacement, x: int, zero: int, axis: int | None = None) -> str:
    """Subtract the zero point: the scale stands elsewhere."""
    return floats(build, x, len(build.layer.inputs), zero, axis)


def _matmul_to_float(build: Replacement) -> None:
    """A·B + bias."""
    y = build.compute("MatMul", floats(build, 0, 2, 4, axis=-2), floats(build, 1, 3, 5, axis=-1), main=True)
    _biased(build, y, 6)


def _dynamic_matmul(build: Replacement) -> None:
    """A·B + bias, A quantised as by DynamicQuantizeLinear."""
    y = build.compute("MatMul", _by_sample(build, build.input(0)), floats(build, 1, 2, 3, axis=-1), main=True)
    _biased(build, y, 4)


def _biased(build: Replacement, y: str, position: int) -> None:
    if build.input(position):
        build.compute("Add", y, build.input(position))
    build.finish()


def read_as_floats(build: Replacement) -> None:
    """Write a standard operator that reads such integers as one that reads floats.

    Args:
        build: The replacement of the layer.

    Raises:
        UnsupportedError: On floats the operator would compute something else.
    """
    layer, graph = build.layer, build.graph
    live = [name for name in layer.inputs if name and (name in build.context.as_floats or name not in graph.constants)]
    if layer.op == "DequantizeLinear" or (layer.op == "Cast" and layer.attributes["to"] in _FLOATS):
        build.compute("Identity", floats(build, 0, 1, 2), main=True)
        build.finish()
        return
    if layer.op == "Cast" and layer.inputs[0] in graph.constants:
        graph.constants[build.output()] = graph.constants[layer.inputs[0]]
        graph.shapes.pop(build.output(), None)
        _mark_as_floats(build)
        return
    if layer.op == "Cast":
        build.compute("Identity", *layer.inputs, main=True)
    elif layer.op in operators.ROUTES_OF_INTEGERS and live == [layer.inputs[0]]:
        build.compute(layer.op, *layer.inputs, main=True, **layer.attributes)
    elif layer.op == "Sub" and build.context.as_floats.issuperset(live) and layer.inputs[1] in graph.constants:
        build.compute("Identity", layer.inputs[0], main=True)  # the zero point
    else:
        others = [name for name in live if name in build.context.as_floats]
        raise build.refuse(f'an operand "{printable(others[0])}" whose scale is computed at run time', FIX)
    build.finish()
    _mark_as_floats(build)


def _mark_as_floats(build: Replacement) -> None:
    build.context.as_floats.add(build.output())
    build.graph.dtypes[build.output()] = "float32"


DYNAMIC: Mapping[str, Decomposition] = {
    "DynamicQuantizeLinear": _quantize,
    "ConvInteger": _integer_conv,
    "MatMulInteger": _integer_matmul,
    "com.microsoft::MatMulIntegerToFloat": _matmul_to_float,
    "com.microsoft::DynamicQuantizeMatMul": _dynamic_matmul,
}
