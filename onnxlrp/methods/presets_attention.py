"""Presets for transformers: methods that are composites of rules for attention."""

from __future__ import annotations

from ..composites import Composite, Match
from ..rules import Rule
from ..rules.attention import Stop, ValuePath
from ..rules.lrp import Epsilon, Flat, Gamma, Pass, ZPlus
from ..rules.product import Signal
from .presets import lrp
from .registry import preset


@preset
def attention(gamma: float = 0.05, first_gamma: float = 1.0, stabilizer: float = 1e-6) -> Composite:
    """The value path of attention, gamma in dense layers (Ali et al. 2022; Achtibat et al. 2024).

    Attention weights are factors: values take all relevance of their product, and none goes through the softmax; so
    is the activation of a gated linear unit. A normalisation divides by a constant. The addition of positions is an
    affine layer: what belongs to the positions is absorbed, and the ledger shows it.

    Args:
        gamma: γ of the gamma rule in dense layers, the last one too.
        first_gamma: γ in the first layer, that makes tokens of patches.
        stabilizer: What keeps denominators off zero: z + stabilizer·sgn(z).

    References:
        Ali et al., XAI for transformers: better explanations through conservative propagation, ICML 2022.
        Achtibat et al., AttnLRP: attention-aware layer-wise relevance propagation for transformers, ICML 2024.
    """
    return _value_path("attention", Gamma(first_gamma, stabilizer), gamma, stabilizer)


@preset
def attention_flat(gamma: float = 0.05, stabilizer: float = 1e-6) -> Composite:
    """As `attention`, with flat in the first layer: every pixel of a patch gets the same.

    Args:
        gamma: γ of the gamma rule in dense layers, the last one too.
        stabilizer: What keeps denominators off zero: z + stabilizer·sgn(z).

    References:
        Ali et al., XAI for transformers: better explanations through conservative propagation, ICML 2022.
        Lapuschkin et al., Unmasking Clever Hans predictors and assessing what machines really learn, Nature
        Communications 2019.
    """
    return _value_path("attention_flat", Flat(stabilizer), gamma, stabilizer)


@preset
def attnlrp(gamma: float = 0.0, first_gamma: float = 0.0, stabilizer: float = 1e-6) -> Composite:
    """The softmax by its Taylor expansion, half of a product to each factor, epsilon or gamma elsewhere (AttnLRP).

    Args:
        gamma: γ of the gamma rule in dense layers; 0 is the epsilon rule. The paper takes 0 for language, 0.05 for
            pictures.
        first_gamma: γ in the first layer; the paper takes 0.25 for pictures.
        stabilizer: What keeps denominators off zero: z + stabilizer·sgn(z).

    References:
        Achtibat et al., AttnLRP: attention-aware layer-wise relevance propagation for transformers, ICML 2024.
    """
    first, dense = (Gamma(g, stabilizer) if g else Epsilon(stabilizer) for g in (first_gamma, gamma))
    own: list[tuple[Match, Rule]] = [("first", first), ("position", Epsilon(stabilizer))]
    return lrp("attnlrp", ZPlus(stabilizer), dense, stabilizer, own)


def _value_path(name: str, first: Rule, gamma: float, stabilizer: float) -> Composite:
    shares: list[tuple[Match, Rule]] = [("assignment", Pass()), ("softmax", Stop()), ("glu", Signal())]
    own = [*shares, ("bilinear", ValuePath(stabilizer)), ("first", first), ("position", Epsilon(stabilizer))]
    return lrp(name, ZPlus(stabilizer), Gamma(gamma, stabilizer), stabilizer, own)
