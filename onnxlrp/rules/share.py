"""The basic equation of LRP, which most rules apply to weights and operands of their own choice."""

from __future__ import annotations

from collections.abc import Sequence

from ..program.affine import Affine
from ..program.value import Value, finite, is_finite, stabilize, total

Part = tuple[Affine, Value]


def share(relevance: Value, parts: Sequence[Part], epsilon: float = 1e-6, z: Value | None = None) -> list[Value]:
    """Return R_j = x_j · Wᵀ(R / stabilize(Σ W x + b)) for each part (Bach et al. 2015, eq. 58).

    The relevance that biases and ε absorb is recorded for the ledger. Where the denominator is infinite, as a masked
    score of attention is, no operand has a share: all is absorbed ("gate").

    Args:
        relevance: R, of the result's shape.
        parts: (affine map, operand), whose sum is the denominator.
        epsilon: ε of stabilize(z) = z + ε·sgn(z).
        z: The sum of the parts, where the caller has a cheaper form of it.

    Returns:
        One relevance for each part, in its operand's shape.

    References:
        Bach et al., On pixel-wise explanations for non-linear classifier decisions by layer-wise relevance propagation,
        PLoS ONE 2015.
    """
    z = total(layer(x) for layer, x in parts) if z is None else z
    if z.trace.may_be_infinite(z):
        kept = relevance * is_finite(z)
        z.trace.record_absorbed("gate", lambda arriving=relevance: arriving - kept)  # type: ignore[misc]
        relevance, z = kept, finite(z)
    s = relevance / stabilize(z, epsilon)
    record_losses(s, z, [layer for layer, _ in parts], epsilon)
    z.trace.record_rounding(s, z, lambda: total(layer(x) for layer, x in parts))
    return [finite(x) * layer.T(s) for layer, x in parts]


def record_losses(s: Value, z: Value, layers: Sequence[Affine], epsilon: float) -> None:
    """Record s·b and s·ε·sgn(z), which biases and ε absorb, for the ledger.

    Args:
        s: R / stabilize(z), of the result's shape.
        z: The denominator before stabilisation.
        layers: The affine maps whose biases are part of z.
        epsilon: ε.
    """
    for layer in layers:
        absorbed = layer.absorbed(s)
        if absorbed is not None:
            s.trace.record_absorbed("bias", lambda a=absorbed: a)  # type: ignore[misc]
    s.trace.record_absorbed("epsilon", lambda: sign_times(z, s) * epsilon)


def sign_times(z: Value, s: Value) -> Value:
    """Return s·sgn(z), with sgn(0) = +1 as in `stabilize`."""
    if z.nonnegative:
        return s
    return -s if z.nonpositive else s - s * (z < 0) * 2.0
