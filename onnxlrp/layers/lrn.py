"""Local response normalisation."""

from __future__ import annotations

import numpy as np

from ..program.affine import Affine, Diagonal
from ..program.linear import Conv, Window
from ..program.op import Op
from ..program.value import Value, power, square
from . import Node, layer, unsupported


@layer("LRN", kind="normalization")
def lrn(node: Node) -> Op:
    """LRN: y = x D^−β, D = k + α/n Σ x² over n neighbouring channels (Krizhevsky et al. 2012).

    For relevance D is a constant, so that the layer is a scale; the gradient differentiates D too.
    """
    x, y, trace = node.operand(0), node.result, node.trace
    size, alpha = int(node.attribute("size")), float(node.attribute("alpha", 1e-4))
    beta, bias = float(node.attribute("beta", 0.75)), float(node.attribute("bias", 1.0))
    channels, *space = x.shape
    if len(space) not in (1, 2, 3):
        raise unsupported(node.layer)
    # The sum over channels is a 1x1 convolution with ones in a band.
    before, after = (size - 1) // 2, size // 2
    distance = np.arange(channels) - np.arange(channels)[:, None]
    band = trace.constant(
        ((-before <= distance) & (distance <= after)).reshape(channels, channels, *[1] * len(space)) * 1.0
    )
    ones, none = (1,) * len(space), (0,) * len(space)
    window = Conv(x.shape, x.shape, Window(ones, ones, ones, none, none, tuple(space), tuple(space)))
    neighbours = trace.linear(window, square(x), band) * (alpha / size) + bias
    weight, diagonal = power(neighbours, -beta), Diagonal(x.shape, y.shape)
    trace.declare_linear(diagonal, x, weight, None, y)

    def vjp(r: Value) -> tuple[Value, ...]:
        back = trace.adjoint(window, trace.broadcast_to(r * y / neighbours, x.shape), band)
        return (r * weight - x * back * (2 * alpha * beta / size),)

    return Op("normalization", (x,), y, vjp, ((Affine(diagonal, weight), x),), node.layer.label)
