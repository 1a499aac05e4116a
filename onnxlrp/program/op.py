"""Op: a layer as rules see it, and nothing of ONNX."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .affine import Affine
from .value import Value

KINDS = {
    "convolution": "Conv and ConvTranspose",
    "dense": "Gemm and MatMul with a constant",
    "batchnorm": "BatchNormalization that is not folded",
    "scale": "a constant factor or shift",
    "normalization": "LayerNormalization, InstanceNormalization, GroupNormalization, LRN",
    "activation": "an elementwise nonlinearity",
    "avgpool": "average pooling, global or not; means and sums over axes; interpolation",
    "maxpool": "max pooling, global or not",
    "bilinear": "a matrix product of activations: attention",
    "softmax": "a softmax inside the network: attention weights",
    "sum": "an addition of activations: residual branches",
    "gate": "a signal times its gate (squeeze-and-excitation, SiLU), or divided by an activation",
    "product": "a multiplication of activations of which neither is a gate",
    "routing": "copies: reshape, transpose, concat, slice, pad",
}


@dataclass(frozen=True, eq=False)
class Op:
    """One layer, traced.

    `operands` carry relevance, `result` is the layer's output; `gradient(r)` is the vector-Jacobian product, one value
    for each operand. `parts` writes a linear layer as the sum of affine maps of its operands: result = Σ layer(x). The
    signal of a gate is its first operand. `along` sums over what a softmax normalises, and keeps the axis. `name` is
    what a person calls the layer, `node` what is unique in the graph.
    """

    kind: str
    operands: tuple[Value, ...]
    result: Value
    gradient: Callable[[Value], tuple[Value, ...]]
    parts: tuple[tuple[Affine, Value], ...] = ()
    name: str = ""
    along: Callable[[Value], Value] | None = None
    node: str = ""

    def vjp(self, r: Value) -> tuple[Value, ...]:
        """∂result/∂operand transposed, applied to r."""
        return self.gradient(r)


def linear_op(kind: str, parts: tuple[tuple[Affine, Value], ...], result: Value, name: str = "") -> Op:
    """A layer that is a sum of affine maps: its gradient is their transposes."""
    return Op(kind, tuple(x for _, x in parts), result, lambda r: tuple(layer.T(r) for layer, _ in parts), parts, name)
