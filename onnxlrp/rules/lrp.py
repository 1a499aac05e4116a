"""The LRP rules, as equations over an op's affine parts.

R is the relevance of the result, x an operand, W⁺ = max(W, 0), W⁻ = min(W, 0). Conventions: the denominators are
stabilised by ε·sgn(z) with ε = 1e-6; bias relevance is absorbed and booked, never redistributed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import UsageError
from ..program.op import Op
from ..program.value import Value, negative, one, positive, square, stabilize, total
from . import rule
from .share import Part, record_losses, share

FEW = 32  # terms of a sum (a depthwise 3x3 convolution has 9)


def _parts(op: Op, name: str) -> tuple[Part, ...]:
    if not op.parts:
        raise UsageError(
            f'rule "{name}" wants a linear layer, and {op.name or op.kind} is none',
            "use pass, gradient or norm there, or match linear layers alone",
        )
    return op.parts


def _by_sign(parts: Iterable[Part], up: Any, down: Any) -> list[Part]:
    """(up(W), x⁺) and (down(W), x⁻) of each part; the bias goes with the first."""
    pieces = []
    for layer, x in parts:
        pieces += [(layer.reweighted(up), positive(x)), (layer.reweighted(down).unbiased(), negative(x))]
    return pieces


def _pairs(shares: Sequence[Value]) -> tuple[Value, ...]:
    return tuple(a + b for a, b in zip(shares[::2], shares[1::2], strict=True))


def _sums(*shares: Sequence[Value]) -> tuple[Value, ...]:
    return tuple(total(terms) for terms in zip(*shares, strict=True))


@rule("epsilon")
@dataclass(frozen=True)
class Epsilon:
    """R_j = x_j Wᵀ(R / (z + ε·sgn z)), z = W x + b, the layer's own output (Bach et al. 2015, eq. 58)."""

    epsilon: float = 1e-6

    def __call__(self, op: Op, relevance: Value) -> tuple[Value, ...]:
        return tuple(share(relevance, _parts(op, "epsilon"), self.epsilon))


@rule("zero")
@dataclass(frozen=True)
class Zero:
    """LRP-0, epsilon with nothing but the numerical stabiliser (Bach et al. 2015, eq. 56)."""

    def __call__(self, op: Op, relevance: Value) -> tuple[Value, ...]:
        return tuple(share(relevance, _parts(op, "zero"), 1e-9))


@rule("norm")
@dataclass(frozen=True)
class Norm:
    """R_j = x_j Aᵀ(R / stabilize(A x)): each operand by its share of the sum (Bach et al. 2015); for + and pooling."""

    epsilon: float = 1e-6

    def __call__(self, op: Op, relevance: Value) -> tuple[Value, ...]:
        return tuple(share(relevance, _parts(op, "norm"), self.epsilon))


@rule("zplus")
@dataclass(frozen=True)
class ZPlus:
    """Only positive contributions are credited: z = W⁺x⁺ + W⁻x⁻ + b⁺ (Montavon et al. 2017, generalised to x < 0).

    bias=False leaves b⁺ out, as deep Taylor decomposition does, and conserves relevance.
    """

    epsilon: float = 1e-6
    bias: bool = True

    def __call__(self, op: Op, relevance: Value) -> tuple[Value, ...]:
        parts = _parts(op, "zplus")
        kept = parts if self.bias else tuple((layer.unbiased(), x) for layer, x in parts)
        return _pairs(share(relevance, _by_sign(kept, positive, negative), self.epsilon))


@rule("alpha_beta")
@dataclass(frozen=True)
class AlphaBeta:
    """α times the share in positive contributions less β times the share in negative ones (Bach et al. 2015, eq. 60).

    α − β must be 1. A layer without negative contributions at a neuron gives up β there; it is not renormalised.
    """

    alpha: float = 2.0
    beta: float = 1.0
    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        if min(self.alpha, self.beta) < 0 or not np.isclose(self.alpha - self.beta, 1):
            raise UsageError(
                f"alpha_beta wants alpha, beta >= 0 and alpha - beta = 1, not {self.alpha:g} and {self.beta:g}",
                "write alpha_beta(2, 1) or alpha_beta(1, 0)",
            )

    def __call__(self, op: Op, relevance: Value) -> tuple[Value, ...]:
        parts = _parts(op, "alpha_beta")
        up = _by_sign(parts, positive, negative)
        z_up = total(layer(x) for layer, x in up)
        credit = share(relevance * self.alpha, up, self.epsilon, z_up)
        if not self.beta:
            return _pairs(credit)
        down = _by_sign(parts, negative, positive)
        z_down = None
        if max(layer.terms for layer, _ in parts) > FEW:
            # What is not a positive contribution is a negative one: no second convolution. With few terms a negative
            # part may be nearly nothing, and the difference would be rounding alone.
            z_down = negative(total(layer(x) for layer, x in parts) - z_up)
        debit = share(relevance * -self.beta, down, self.epsilon, z_down)
        return _sums(_pairs(credit), _pairs(debit))


@rule("gamma")
@dataclass(frozen=True)
class Gamma:
    """Favours contributions of the output's sign by γ (Montavon et al. 2019; generalised by Andéol et al. 2021).

    Where y > 0: z = y + γ z⁺, weights (W + γW⁺) on x⁺ and (W + γW⁻) on x⁻; where y < 0 the signs are swapped.
    Relevance at y = 0 exactly is dropped, and booked.
    """

    gamma: float = 0.25
    epsilon: float = 1e-6

    def __call__(self, op: Op, relevance: Value) -> tuple[Value, ...]:
        parts = _parts(op, "gamma")
        y = total(layer(x) for layer, x in parts)
        above, below = relevance * (y > 0), relevance * (y < 0)
        up, down = self._favour(positive), self._favour(negative)
        favoured = _by_sign(parts, up, down)
        relevance.trace.record_absorbed("gate", lambda: relevance - above - below)
        if below.is_zero:
            # y > 0 wherever there is relevance, and z > y there.
            z = positive(total(layer(x) for layer, x in favoured))
            return _pairs(share(above, favoured, self.epsilon, z))
        extra = total(layer(x) for layer, x in self._gains(parts, positive, negative))
        z_above, z_below = positive(y + extra), negative(y * (1 + self.gamma) - extra)
        return _sums(
            _pairs(share(above, favoured, self.epsilon, z_above)),
            _pairs(share(below, _by_sign(parts, down, up), self.epsilon, z_below)),
        )

    def _favour(self, part: Any) -> Any:
        return lambda w: w + part(w) * self.gamma

    def _gains(self, parts: Iterable[Part], up: Any, down: Any) -> list[Part]:
        return _by_sign(parts, lambda w: up(w) * self.gamma, lambda w: down(w) * self.gamma)


@rule("zbox")
@dataclass(frozen=True)
class ZBox:
    """R = (x − l) W⁺ᵀs + (x − h) W⁻ᵀs, s = R / stabilize(W x − W⁺l − W⁻h) (Montavon et al. 2017), for bounded pixels.

    low and high are numbers or arrays that broadcast to the operand's per-sample shape, in the model's input space.
    """

    low: Any = None
    high: Any = None
    epsilon: float = 1e-6

    def __call__(self, op: Op, relevance: Value) -> tuple[Value, ...]:
        parts = _parts(op, "zbox")
        if self.low is None or self.high is None:
            raise UsageError(
                "zbox needs the lowest and highest value of the model's input",
                "give low= and high= (--rule '...=zbox(-2.1,2.6)'), or state the preprocessing",
            )
        terms = []
        for layer, x in parts:
            low, high = (_box(x, bound) for bound in (self.low, self.high))
            terms.append((layer.reweighted(positive), layer.reweighted(negative), x, low, high))
        z = total(layer(x) for layer, x in parts) - total(up(low) + down(high) for up, down, _, low, high in terms)
        s = relevance / stabilize(z, self.epsilon)
        record_losses(s, z, [], self.epsilon)
        return tuple((x - low) * up.T(s) + (x - high) * down.T(s) for up, down, x, low, high in terms)


def _box(x: Value, bound: Any) -> Value:
    array = np.asarray(bound, dtype=np.float64)
    try:
        return x.trace.constant(np.broadcast_to(array, x.shape) if array.ndim else array)
    except ValueError:
        raise UsageError(
            f"a bound of shape {array.shape} does not fit an input of shape {x.shape}",
            "give one number, or one a channel",
        ) from None


def _over(parts: Iterable[Part], f: Any) -> list[Part]:
    return [(layer.reweighted(f), one(x)) for layer, x in parts]


@rule("wsquare")
@dataclass(frozen=True)
class WSquare:
    """R = (W²)ᵀ(R / stabilize(W²·1 + b²)): for inputs without bounds (Montavon et al. 2017)."""

    epsilon: float = 1e-6

    def __call__(self, op: Op, relevance: Value) -> tuple[Value, ...]:
        return tuple(share(relevance, _over(_parts(op, "wsquare"), square), self.epsilon))


@rule("flat")
@dataclass(frozen=True)
class Flat:
    """All weights one: relevance is spread evenly over the receptive field (Lapuschkin et al. 2019)."""

    epsilon: float = 1e-6

    def __call__(self, op: Op, relevance: Value) -> tuple[Value, ...]:
        parts = [(layer.unbiased(), x) for layer, x in _parts(op, "flat")]
        return tuple(share(relevance, _over(parts, one), self.epsilon))


@rule("pass")
@dataclass(frozen=True)
class Pass:
    """Relevance unchanged, for ops of one operand that keep its shape: activations, constant scales and shifts.

    A normalisation names its operand twice: for x, and for the mean that it takes off x.
    """

    def __call__(self, op: Op, relevance: Value) -> tuple[Value, ...]:
        if len({x.index for x in op.operands}) != 1 or op.operands[0].shape != op.result.shape:
            fix = "use norm for sums and pooling, gradient elsewhere"
            if op.kind == "unknown":
                fix = "no other rule fits this operator: explain an output before it, or -m occlusion"
            raise UsageError(
                f'rule "pass" wants one operand of the result\'s shape, and {op.name or op.kind} has another', fix
            )
        return (relevance, *(relevance.trace.zeros(x.shape) for x in op.operands[1:]))
