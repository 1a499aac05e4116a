"""The one equation of LRP."""

from __future__ import annotations

from collections.abc import Sequence

from ..program.affine import Affine
from ..program.value import Value, stabilize, total

Part = tuple[Affine, Value]


def share(relevance: Value, parts: Sequence[Part], epsilon: float = 1e-6, z: Value | None = None) -> list[Value]:
    """R_j = x_j · Wᵀ(R / stabilize(Σ W x + b)), one term for each part (layer, x) (Bach et al. 2015, eq. 58).

    `z` is the sum of the parts where the caller has it in a cheaper form. What the biases and ε absorb is booked.
    """
    z = total(layer(x) for layer, x in parts) if z is None else z
    s = relevance / stabilize(z, epsilon)
    record_losses(s, z, [layer for layer, _ in parts], epsilon)
    return [x * layer.T(s) for layer, x in parts]


def record_losses(s: Value, z: Value, layers: Sequence[Affine], epsilon: float) -> None:
    """Enter s·b and s·ε·sgn(z) into the ledger."""
    for layer in layers:
        absorbed = layer.absorbed(s)
        if absorbed is not None:
            s.trace.record_absorbed("bias", lambda a=absorbed: a)  # type: ignore[misc]
    s.trace.record_absorbed("epsilon", lambda: sign_times(z, s) * epsilon)


def sign_times(z: Value, s: Value) -> Value:
    """s·sgn(z), sgn(0) = +1 as in `stabilize`."""
    if z.nonnegative:
        return s
    return -s if z.nonpositive else s - s * (z < 0) * 2.0
