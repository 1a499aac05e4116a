"""Presets for transformers: methods that are composites of rules for attention."""

from __future__ import annotations

from collections.abc import Sequence

from ..composites import Composite, Match
from ..rules import Rule
from ..rules.attention import Softmax, Stop, ValuePath
from ..rules.lrp import Epsilon, Flat, Gamma, Norm, Pass, ZPlus
from ..rules.product import Signal, Uniform
from .registry import preset


@preset
def attention(gamma: float = 0.05, first_gamma: float = 1.0, stabilizer: float = 1e-6) -> Composite:
    """The value path of attention, gamma in dense layers (Ali et al. 2022; Achtibat et al. 2024).

    Attention weights are factors: values take all relevance of their product, and none goes through the softmax. A
    normalisation divides by a constant. The addition of positions is an affine layer: what belongs to the positions is
    absorbed, and the ledger shows it.

    Args:
        gamma: γ of the gamma rule in dense layers, the last one too.
        first_gamma: γ in the first layer, that makes tokens of patches.
        stabilizer: What keeps denominators off zero: z + stabilizer·sgn(z).

    References:
        Ali et al., XAI for transformers: better explanations through conservative propagation, ICML 2022.
        Achtibat et al., AttnLRP: attention-aware layer-wise relevance propagation for transformers, ICML 2024.
    """
    return _attention("attention", Gamma(first_gamma, stabilizer), Gamma(gamma, stabilizer), stabilizer)


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
    return _attention("attention_flat", Flat(stabilizer), Gamma(gamma, stabilizer), stabilizer)


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
    products: list[tuple[Match, Rule]] = [("softmax", Softmax()), ("bilinear", Norm(stabilizer))]
    first, dense = (Gamma(g, stabilizer) if g else Epsilon(stabilizer) for g in (first_gamma, gamma))
    return _attention("attnlrp", first, dense, stabilizer, products)


def _attention(
    name: str, first: Rule, dense: Rule, stabilizer: float, products: Sequence[tuple[Match, Rule]] = ()
) -> Composite:
    entries = [
        *(products or [("softmax", Stop()), ("bilinear", ValuePath(stabilizer))]),
        ("first", first),
        ("position", Epsilon(stabilizer)),
        ("activation", Pass()),
        ("sum", Norm(stabilizer)),
        ("avgpool", Norm(stabilizer)),
        ("batchnorm", Pass()),
        ("scale", Pass()),
        ("normalization", Norm(stabilizer)),
        ("gate", Signal()),
        ("product", Uniform()),
        ("convolution", ZPlus(stabilizer)),
        ("dense", dense),
    ]
    return Composite(tuple(entries), name)
