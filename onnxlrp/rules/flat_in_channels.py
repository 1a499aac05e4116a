"""Flat within each channel: relevance is shared between the channels by what they contribute, and even along time."""

from __future__ import annotations

from dataclasses import dataclass

from ..program.channels import even_in_channels
from ..program.op import Op
from ..program.value import Value, stabilize, total
from . import rule
from .lrp import linear_parts
from .share import record_losses


@rule("flat_in_channels")
@dataclass(frozen=True)
class FlatInChannels:
    """R_ct = Σ_k z_kc / n_kc · R_k / stabilize(z_k), z_kc = Σ_t w_kct x_ct: epsilon between channels, flat within each.

    z_k = Σ_c z_kc + b_k; n_kc is the number of values of channel c that k reads. For signals: leads are no neighbours
    of one kind, moments of one lead are. Channels lie along axis 0 of an operand without its batch; of a vector each
    feature is one, and the rule is epsilon. Of one channel without bias it is flat.

    Args:
        epsilon: ε, the stabiliser of the denominator.
    """

    epsilon: float = 1e-6

    def __call__(self, op: Op, relevance: Value) -> tuple[Value, ...]:
        """Return the relevance of each operand, in its shape."""
        parts = linear_parts(op, "flat_in_channels")
        z = total(layer(x) for layer, x in parts)
        s = relevance / stabilize(z, self.epsilon)
        record_losses(s, z, [layer for layer, _ in parts], self.epsilon)
        z.trace.record_rounding(s, z, lambda: total(layer(x) for layer, x in parts))
        return tuple(even_in_channels(layer, x, s) for layer, x in parts)
