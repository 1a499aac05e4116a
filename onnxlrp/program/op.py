"""Op: a layer as rules see it, independent of ONNX."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .affine import Affine
from .value import Value

KINDS = {
    "convolution": "Conv and ConvTranspose; MatMul over channels between transposes of a picture",
    "dense": "Gemm and MatMul with a constant",
    "batchnorm": "BatchNormalization that is not folded",
    "scale": "a constant factor or shift",
    "position": "the addition of a constant that differs from place to place; a scale where no entry names it",
    "normalization": "LayerNormalization, InstanceNormalization, GroupNormalization, LRN",
    "activation": "an elementwise nonlinearity",
    "avgpool": "average pooling, global or not; means and sums over axes; interpolation",
    "prototype": "the difference from constants: support vectors, means, the words of a codebook, categories",
    "coefficient": "the logarithms of coefficients, added to the distances of a mixture",
    "mixture": "the logarithm of a sum of exponentials of distances: kernel machines, Gaussian mixtures",
    "maxpool": "max pooling, global or not",
    "bilinear": "a matrix product of activations: attention",
    "softmax": "a softmax inside the network: attention weights",
    "assignment": "the shares of a codebook's words or a mixture's components: a softmax of distances",
    "sum": "an addition of activations: residual branches",
    "gate": "a signal times its gate (squeeze-and-excitation, SiLU), or divided by an activation",
    "product": "a multiplication of activations of which neither is a gate",
    "glu": "a gated linear unit: a product of which one factor is an activation (SwiGLU, GeGLU)",
    "routing": "copies: reshape, transpose, concat, slice, pad",
}

BROADER = {
    "position": "scale",
    "prototype": "sum",
    "coefficient": "sum",
    "mixture": "maxpool",
    "assignment": "softmax",
    "glu": "product",
}  # kind → the kind whose entries fit it too


@dataclass(frozen=True, eq=False)
class Op:
    """One traced layer, the argument of every rule.

    Args:
        kind: One of KINDS, by which composites choose rules; "unknown" for an unregistered operator.
        operands: Inputs that receive relevance; the signal of a gate comes first.
        result: The layer's output.
        gradient: r → one value for each operand, the vector-Jacobian product.
        parts: A linear layer as a sum of affine maps of its operands, result = Σ affine(x); () for other layers.
        name: The layer's label in messages and reports.
        along: For a softmax: v → Σ v over the normalised axis, which is kept with size 1.
        node: The node's name, unique in the graph.
        cancels: Whether the parts may add up to exactly zero although none is, as x and −max x do.
        limits: Of a function that is flat below one value of its result and above another, these: (0, ∞) of a ReLU.
        weights: For a product of attention weights and values: the index of the operand that holds the weights.
    """

    kind: str
    operands: tuple[Value, ...]
    result: Value
    gradient: Callable[[Value], tuple[Value, ...]]
    parts: tuple[tuple[Affine, Value], ...] = ()
    name: str = ""
    along: Callable[[Value], Value] | None = None
    node: str = ""
    cancels: bool = False
    limits: tuple[float, float] | None = None
    weights: int | None = None

    def vjp(self, r: Value) -> tuple[Value, ...]:
        """Return (∂result/∂operand)ᵀ r for each operand; r has the result's shape."""
        return self.gradient(r)


def misfit(op: Op) -> str:
    """Return why an op does not fit the rules that its kind gets, "" where it does."""
    if op.kind not in _ELEMENTWISE:
        return ""
    least = _ELEMENTWISE[op.kind]
    if len(op.operands) < least:
        return f"{len(op.operands)} operand of {least} or more"
    shape = op.result.shape
    for operand in op.operands:
        lengths = zip(operand.shape[::-1], shape[::-1], strict=False)
        if len(operand.shape) > len(shape) or any(own not in (1, length) for own, length in lengths):
            return f"an operand {list(operand.shape)} that does not broadcast to the result {list(shape)}"
    return ""


_ELEMENTWISE = {"activation": 1, "gate": 1, "product": 2, "glu": 2}  # kind → its fewest operands


def linear_op(kind: str, parts: tuple[tuple[Affine, Value], ...], result: Value, name: str = "") -> Op:
    """Return the op of a layer that is a sum of affine maps; their transposes are its gradient.

    Args:
        kind: One of KINDS.
        parts: (affine, operand) with result = Σ affine(operand).
        result: The layer's output.
        name: The layer's label.
    """
    return Op(kind, tuple(x for _, x in parts), result, lambda r: tuple(layer.T(r) for layer, _ in parts), parts, name)
