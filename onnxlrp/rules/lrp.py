"""The LRP rules, as equations over an op's affine parts.

R is the relevance of the result, x an operand, W⁺ = max(W, 0), W⁻ = min(W, 0). Denominators are stabilised by
ε·sgn(z), sgn(0) = +1. The relevance of biases is absorbed and recorded in the ledger, never redistributed.

References of more than one rule:
    Bach et al., On pixel-wise explanations for non-linear classifier decisions by layer-wise relevance propagation,
    PLoS ONE 2015.
    Montavon et al., Explaining nonlinear classification decisions with deep Taylor decomposition, Pattern Recognition
    2017.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import UsageError
from ..program.narrow import narrowed
from ..program.op import Op
from ..program.value import Value, negative, one, positive, square, stabilize, total
from . import rule
from .share import Part, record_losses, share

CANCELLED = 4e-7  # of its terms' size, a sum in float32 is rounding
FEW = 32  # terms of a sum; a depthwise 3x3 convolution has 9


def linear_parts(op: Op, name: str) -> tuple[Part, ...]:
    """Return the op's affine parts; UsageError where it is not linear."""
    if not op.parts:
        raise UsageError(
            f'rule "{name}" requires a linear layer; {op.name or op.kind} is not one',
            "use pass, gradient or norm there, or match linear layers only",
        )
    return op.parts


def _size(x: Value) -> Value:
    """Return |x|."""
    if x.nonnegative or x.nonpositive:
        return x if x.nonnegative else -x
    return x.trace.map("max", x, -x)


def _by_sign(parts: Iterable[Part], up: Any, down: Any) -> list[Part]:
    """Split each part (W, x) into (up(W), x⁺) and (down(W), x⁻); the bias belongs to the first."""
    split = []
    for layer, x in parts:
        split += [(layer.reweighted(up), positive(x)), (layer.reweighted(down).unbiased(), negative(x))]
    return split


def _sum_pairs(shares: Sequence[Value]) -> tuple[Value, ...]:
    """Add up the two shares of each part that `_by_sign` has split."""
    return tuple(a + b for a, b in zip(shares[::2], shares[1::2], strict=True))


def _sum_operands(*shares: Sequence[Value]) -> tuple[Value, ...]:
    """Add up several shares of each operand."""
    return tuple(total(terms) for terms in zip(*shares, strict=True))


@rule("epsilon")
@dataclass(frozen=True)
class Epsilon:
    """R_j = x_j Wᵀ(R / (z + ε·sgn z)), z = W x + b, the layer's own output (Bach et al. 2015, eq. 58).

    Args:
        epsilon: ε, the stabiliser; larger ones absorb more of weak and contradictory relevance.

    References:
        Bach et al., On pixel-wise explanations for non-linear classifier decisions by layer-wise relevance propagation,
        PLoS ONE 2015.
    """

    epsilon: float = 1e-6

    def __call__(self, op: Op, relevance: Value) -> tuple[Value, ...]:
        """Return the relevance of each operand, in its shape."""
        parts, relevance = narrowed(linear_parts(op, "epsilon"), relevance)
        return tuple(share(relevance, parts, self.epsilon))


@rule("zero")
@dataclass(frozen=True)
class Zero:
    """R_j = x_j Wᵀ(R / z), z = W x + b, LRP-0, with a numerical stabiliser of 1e-9 (Bach et al. 2015, eq. 56).

    References:
        Bach et al., On pixel-wise explanations for non-linear classifier decisions by layer-wise relevance propagation,
        PLoS ONE 2015.
    """

    def __call__(self, op: Op, relevance: Value) -> tuple[Value, ...]:
        """Return the relevance of each operand, in its shape."""
        return tuple(share(relevance, linear_parts(op, "zero"), 1e-9))


@rule("norm")
@dataclass(frozen=True)
class Norm:
    """R_j = x_j Aᵀ(R / stabilize(A x)): each term's share of a sum (Bach et al. 2015), for additions and pooling.

    Where terms cancel altogether by their formula, as in x − max x at the largest x, R is absorbed by ε: each term
    alone would have ± x_j R / ε.

    Args:
        epsilon: ε, the stabiliser of the denominator.

    References:
        Bach et al., On pixel-wise explanations for non-linear classifier decisions by layer-wise relevance propagation,
        PLoS ONE 2015.
    """

    epsilon: float = 1e-6

    def __call__(self, op: Op, relevance: Value) -> tuple[Value, ...]:
        """Return the relevance of each operand, in its shape."""
        parts = linear_parts(op, "norm")
        if not op.cancels:
            return tuple(share(relevance, parts, self.epsilon))
        terms = [layer(x) for layer, x in parts]
        z = total(terms)
        kept = relevance * (_size(z) > total(_size(term) for term in terms) * CANCELLED)
        relevance.trace.record_absorbed("epsilon", lambda: relevance - kept)
        return tuple(share(kept, parts, self.epsilon, z))


@rule("zplus")
@dataclass(frozen=True)
class ZPlus:
    """R = x⁺ W⁺ᵀs + x⁻ W⁻ᵀs, s = R / stabilize(W⁺x⁺ + W⁻x⁻ + b⁺): positive terms only (Montavon et al. 2017).

    The paper has x ≥ 0; negative x is a generalisation.

    Args:
        epsilon: ε, the stabiliser of the denominator.
        bias: Let b⁺ absorb its share. False leaves it out, as deep Taylor decomposition does, and conserves relevance.

    References:
        Montavon et al., Explaining nonlinear classification decisions with deep Taylor decomposition, Pattern
        Recognition 2017.
    """

    epsilon: float = 1e-6
    bias: bool = True

    def __call__(self, op: Op, relevance: Value) -> tuple[Value, ...]:
        """Return the relevance of each operand, in its shape."""
        parts = linear_parts(op, "zplus")
        kept = parts if self.bias else tuple((layer.unbiased(), x) for layer, x in parts)
        return _sum_pairs(share(relevance, _by_sign(kept, positive, negative), self.epsilon))


@rule("alpha_beta")
@dataclass(frozen=True)
class AlphaBeta:
    """R_j = Σ_k (α z⁺_jk / z⁺_k − β z⁻_jk / z⁻_k) R_k, z⁺ the positive contributions (Bach et al. 2015, eq. 60).

    The share β of a neuron without negative contributions is absorbed; relevance is not renormalised. Where they are
    rounding beside the positive ones, their sum counts as 4e-7 of these, and the ledger's `epsilon` has the rest.

    Args:
        alpha: α ≥ 0, the weight of positive contributions.
        beta: β ≥ 0, the weight of negative contributions; α − β must be 1.
        epsilon: ε, the stabiliser of both denominators.

    Raises:
        UsageError: α or β is negative, or α − β is not 1.

    References:
        Bach et al., On pixel-wise explanations for non-linear classifier decisions by layer-wise relevance propagation,
        PLoS ONE 2015.
    """

    alpha: float = 2.0
    beta: float = 1.0
    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        if min(self.alpha, self.beta) < 0 or not np.isclose(self.alpha - self.beta, 1):
            raise UsageError(
                f"alpha_beta requires alpha, beta >= 0 and alpha - beta = 1, not {self.alpha:g} and {self.beta:g}",
                "write alpha_beta(2, 1) or alpha_beta(1, 0)",
            )

    def __call__(self, op: Op, relevance: Value) -> tuple[Value, ...]:
        """Return the relevance of each operand, in its shape."""
        parts = linear_parts(op, "alpha_beta")
        up = _by_sign(parts, positive, negative)
        z_up = total(layer(x) for layer, x in up)
        credit = share(relevance * self.alpha, up, self.epsilon, z_up)
        if not self.beta:
            return _sum_pairs(credit)
        down = _by_sign(parts, negative, positive)
        owed = relevance * -self.beta
        if max(layer.terms for layer, _ in parts) > FEW and not z_up.trace.may_be_infinite(z_up):
            debit = self._debit(owed, parts, down, z_up)
        else:
            # Of few terms the negative part can be almost zero, and the difference would be rounding error.
            debit = share(owed, down, self.epsilon)
        return _sum_operands(_sum_pairs(credit), _sum_pairs(debit))

    def _debit(self, owed: Value, parts: Sequence[Part], down: Sequence[Part], z_up: Value) -> list[Value]:
        """Return the shares of negative contributions: those that are not positive, which saves a convolution.

        The difference z − z⁺ is no denominator where it is rounding error: at least `CANCELLED` of z⁺ stands there.
        """
        raised = stabilize(z_up, self.epsilon)
        z = owed.trace.map("min", total(layer(x) for layer, x in parts) - raised, raised * -CANCELLED)
        s = owed / z
        for layer, _ in down:
            absorbed = layer.absorbed(s)
            if absorbed is not None:
                owed.trace.record_absorbed("bias", lambda a=absorbed: a)  # type: ignore[misc]
        owed.trace.record_absorbed("epsilon", lambda: s * (z - total(layer(x) for layer, x in down)))
        return [x * layer.T(s) for layer, x in down]


@rule("gamma")
@dataclass(frozen=True)
class Gamma:
    """Epsilon with (W + γW⁺) for W: contributions of the output's sign weigh 1 + γ (Montavon et al. 2019).

    Where y > 0: z = y + γ z⁺, with the weights W + γW⁺ on x⁺ and W + γW⁻ on x⁻; where y < 0 the signs are swapped
    (Andéol et al. 2021). Relevance at y = 0 exactly is absorbed, and the ledger records it.

    Args:
        gamma: γ ≥ 0; 0 is the epsilon rule, large ones approach z⁺.
        epsilon: ε, the stabiliser of the denominator.

    References:
        Montavon et al., Layer-wise relevance propagation: an overview, in Explainable AI, Springer 2019.
        Andéol et al., Learning domain invariant representations by joint Wasserstein distance minimization, 2021.
    """

    gamma: float = 0.25
    epsilon: float = 1e-6

    def __call__(self, op: Op, relevance: Value) -> tuple[Value, ...]:
        """Return the relevance of each operand, in its shape."""
        parts, relevance = narrowed(linear_parts(op, "gamma"), relevance)
        y = total(layer(x) for layer, x in parts)
        below = relevance * (y < 0)
        if below.is_zero:
            # y > 0 wherever there is relevance, and z > y there.
            above = relevance * (y > 0)
            favoured = _by_sign(parts, self._favour(positive), self._favour(negative))
            z = positive(total(layer(x) for layer, x in favoured))
            relevance.trace.record_absorbed("gate", lambda: relevance - above)
            return _sum_pairs(share(above, favoured, self.epsilon, z))
        return self._of_both_signs(parts, y, relevance)

    def _of_both_signs(self, parts: Sequence[Part], y: Value, relevance: Value) -> tuple[Value, ...]:
        """Return the shares where y has both signs, by two products back and one forward in the place of six.

        With W⁺ = (W + |W|) / 2 and W⁻ = (W - |W|) / 2, the branches of the rule join to

            z = (1 + γ/2) (y + sgn(y) κ (|W| |x| + |b|)),    κ = γ / (2 + γ),
            R_x = x ⊙ Wᵀu + |x| ⊙ κ|W|ᵀ|u|,    u = (1 + γ/2) R / z,

        where |u| has the sign of R. W is the layer's own weight. The size of z is stabilised, of terms that are not
        negative.
        """
        kappa, epsilon = self.gamma / (2 + self.gamma), self.epsilon / (1 + self.gamma / 2)
        sizes = [(layer.reweighted(lambda w: _size(w) * kappa), _size(x)) for layer, x in parts]
        sign = (y > 0) - (y < 0)
        signed = relevance * sign
        u = signed / (y * sign + total(layer(x) for layer, x in sizes) + epsilon)
        size = u * sign
        trace = relevance.trace
        trace.record_absorbed("gate", lambda: relevance - signed * sign)
        for layers, s in ((parts, u), (sizes, size)):
            for layer, _ in layers:
                absorbed = layer.absorbed(s)
                if absorbed is not None:
                    trace.record_absorbed("bias", lambda a=absorbed: a)  # type: ignore[misc]
        trace.record_absorbed("epsilon", lambda: size * epsilon)
        trace.record_rounding(u, y, lambda: total(layer(x) for layer, x in parts))
        return tuple(
            x * layer.T(u) + other * wide.T(size) for (layer, x), (wide, other) in zip(parts, sizes, strict=True)
        )

    def _favour(self, part: Any) -> Any:
        return lambda w: w + part(w) * self.gamma


@rule("zbox")
@dataclass(frozen=True)
class ZBox:
    """R = (x − l) W⁺ᵀs + (x − h) W⁻ᵀs, s = R / stabilize(W x − W⁺l − W⁻h) (Montavon et al. 2017), for bounded inputs.

    Args:
        low: l, the lowest value of each input: a number, or an array that broadcasts to the operand's per-sample shape,
            in the model's input space (after preprocessing).
        high: h, the highest value of each input, likewise.
        epsilon: ε, the stabiliser of the denominator.

    References:
        Montavon et al., Explaining nonlinear classification decisions with deep Taylor decomposition, Pattern
        Recognition 2017.
    """

    low: Any = None
    high: Any = None
    epsilon: float = 1e-6

    def __call__(self, op: Op, relevance: Value) -> tuple[Value, ...]:
        """Return the relevance of each operand, in its shape."""
        parts = linear_parts(op, "zbox")
        if self.low is None or self.high is None:
            raise UsageError(
                "zbox needs the lowest and highest value of the model's input",
                "give --low and --high (in Python low=, high=), or --rule 'LAYER=zbox(-2.1,2.6)', or the preprocessing",
            )
        terms = []
        for layer, x in parts:
            low, high = (_box(x, bound) for bound in (self.low, self.high))
            terms.append((layer.reweighted(positive), layer.reweighted(negative), x, low, high))

        def denominator() -> Value:
            bounds = total(up(low) + down(high) for up, down, _, low, high in terms)
            return total(layer(x) for layer, x in parts) - bounds

        z = denominator()
        s = relevance / stabilize(z, self.epsilon)
        record_losses(s, z, [], self.epsilon)
        z.trace.record_rounding(s, z, denominator)
        return tuple((x - low) * up.T(s) + (x - high) * down.T(s) for up, down, x, low, high in terms)


def _box(x: Value, bound: Any) -> Value:
    """Return a bound as a constant of the operand's shape."""
    array = np.asarray(bound, dtype=np.float64)
    try:
        return x.trace.constant(np.broadcast_to(array, x.shape) if array.ndim else array)
    except ValueError:
        raise UsageError(
            f"a bound of shape {array.shape} does not fit an input of shape {x.shape}",
            "give one number, or one for each channel",
        ) from None


def _over(parts: Iterable[Part], f: Any) -> list[Part]:
    """Return the parts with weights f(W), on operands of ones: denominators that do not depend on the input."""
    return [(layer.reweighted(f), one(x)) for layer, x in parts]


@rule("wsquare")
@dataclass(frozen=True)
class WSquare:
    """R = (W²)ᵀ(R / stabilize(W²·1 + b²)), for unbounded inputs (Montavon et al. 2017).

    The paper has no b²: `bias=False` is its form, which conserves relevance. zennit has b², as here by default.

    Args:
        epsilon: ε, the stabiliser of the denominator.
        bias: Let b² absorb its share. False leaves it out, as the paper does.

    References:
        Montavon et al., Explaining nonlinear classification decisions with deep Taylor decomposition, Pattern
        Recognition 2017.
    """

    epsilon: float = 1e-6
    bias: bool = True

    def __call__(self, op: Op, relevance: Value) -> tuple[Value, ...]:
        """Return the relevance of each operand, in its shape."""
        parts = linear_parts(op, "wsquare")
        kept = parts if self.bias else [(layer.unbiased(), x) for layer, x in parts]
        return tuple(share(relevance, _over(kept, square), self.epsilon))


@rule("flat")
@dataclass(frozen=True)
class Flat:
    """R = 1ᵀ(R / stabilize(Σ 1)), weights of one: relevance is even over the receptive field (Lapuschkin et al. 2019).

    Args:
        epsilon: ε, the stabiliser of the denominator.

    References:
        Lapuschkin et al., Unmasking Clever Hans predictors and assessing what machines really learn, Nature
        Communications 2019.
    """

    epsilon: float = 1e-6

    def __call__(self, op: Op, relevance: Value) -> tuple[Value, ...]:
        """Return the relevance of each operand, in its shape."""
        parts = [(layer.unbiased(), x) for layer, x in linear_parts(op, "flat")]
        return tuple(share(relevance, _over(parts, one), self.epsilon))


@rule("pass")
@dataclass(frozen=True)
class Pass:
    """R_x = R, for ops of one operand that keep its shape: activations, constant scales and shifts.

    A normalisation has its operand twice, for x and for the mean that is subtracted; the first takes the relevance.

    References:
        Bach et al., On pixel-wise explanations for non-linear classifier decisions by layer-wise relevance propagation,
        PLoS ONE 2015.
    """

    def __call__(self, op: Op, relevance: Value) -> tuple[Value, ...]:
        """Return the relevance unchanged, and zeros for further mentions of the operand."""
        if len({x.index for x in op.operands}) != 1 or op.operands[0].shape != op.result.shape:
            fix = "use norm for sums and pooling, gradient elsewhere"
            if op.kind == "unknown":
                fix = "no other rule fits this operator: explain an output before it, or -m occlusion"
            raise UsageError(
                f'rule "pass" requires one operand of the result\'s shape; {op.name or op.kind} differs', fix
            )
        return (relevance, *(relevance.trace.zeros(x.shape) for x in op.operands[1:]))
