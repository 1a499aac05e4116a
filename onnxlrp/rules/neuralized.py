"""Rules of neuralized models: kernel machines, mixtures and clusterings, written as distances and soft maxima of them.

With z = −γ‖x − s‖² + ln a of each support vector s, a soft maximum is y = ln Σ eᶻ = Σ p z + H(p), p = e^(z − y). Its
squared differences receive what is theirs, p (−γ)(x − s)². ln a and the entropy H are no input's: the ledger has
columns of their own for them.

References of both rules:
    Bley et al., Fast and accurate explanations of distance-based classifiers by uncovering latent explanatory
    structures, 2025.
    Kauffmann et al., From clustering to cluster explanations via neural networks, IEEE Transactions on Neural Networks
    and Learning Systems 2022.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import UsageError
from ..program.op import Op
from ..program.value import Value, stabilize, total
from . import rule
from .lrp import linear_parts
from .share import sign_times


@rule("midpoint")
@dataclass(frozen=True)
class Midpoint:
    """R_z = p z · R / stabilize(y), y = ln Σ eᶻ, p = e^(z − y); the entropy H(p) = y − Σ p z absorbs its share.

    Of a support vector for a decision and one against it, the squared differences together are 2γ (s₊ − s₋)·(x − m):
    the linear neuron between the two, explained at their midpoint m.

    Args:
        epsilon: ε, the stabiliser of the denominator.

    References:
        Bley et al., Fast and accurate explanations of distance-based classifiers by uncovering latent explanatory
        structures, 2025.
    """

    epsilon: float = 1e-9

    def __call__(self, op: Op, relevance: Value) -> tuple[Value, ...]:
        """Return the relevance of z, in its shape."""
        if op.kind != "mixture":
            raise UsageError(
                f'rule "midpoint" requires the soft maximum of distances; {op.name or op.kind} is not one',
                "match layers of the kind mixture only",
            )
        ((shares, z),), y = op.parts, op.result
        s = relevance / stabilize(y, self.epsilon)
        y.trace.record_absorbed("entropy", lambda: s * (y - shares(z)))
        y.trace.record_absorbed("epsilon", lambda: sign_times(y, s) * self.epsilon)
        return (z * shares.T(s),)


@rule("coefficients")
@dataclass(frozen=True)
class Coefficients:
    """R_x = x · R / stabilize(x + c): the logarithms c of coefficients absorb their share, in a column of their own.

    Args:
        epsilon: ε, the stabiliser of the denominator.

    References:
        Bley et al., Fast and accurate explanations of distance-based classifiers by uncovering latent explanatory
        structures, 2025.
    """

    epsilon: float = 1e-9

    def __call__(self, op: Op, relevance: Value) -> tuple[Value, ...]:
        """Return the relevance of x, in its shape."""
        parts = linear_parts(op, "coefficients")
        z = total(layer(x) for layer, x in parts)
        s = relevance / stabilize(z, self.epsilon)
        trace = relevance.trace
        for layer, _ in parts:
            if (absorbed := layer.absorbed(s)) is not None:
                trace.record_absorbed("coefficients", lambda a=absorbed: a)  # type: ignore[misc]
        trace.record_absorbed("epsilon", lambda: sign_times(z, s) * self.epsilon)
        return tuple(x * layer.T(s) for layer, x in parts)
