"""Presets of layer-wise relevance propagation: methods that are composites of its rules.

A preset is a function that returns a Composite; its arguments are the options of the method.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..composites import Composite, Match
from ..rules import Rule
from ..rules.attention import Softmax
from ..rules.flat_in_channels import FlatInChannels
from ..rules.lrp import AlphaBeta, Epsilon, Flat, Gamma, Norm, Pass, WSquare, ZBox, ZPlus
from ..rules.neuralized import Coefficients, Midpoint
from ..rules.product import Signal, Uniform
from .registry import preset


def _base(stabilizer: float) -> list[tuple[Match, Rule]]:
    return [
        ("activation", Pass()),
        ("prototype", Signal()),
        ("coefficient", Coefficients()),
        ("mixture", Midpoint()),
        ("assignment", Pass()),
        ("sum", Norm(stabilizer)),
        ("avgpool", Norm(stabilizer)),
        ("batchnorm", Pass()),
        ("scale", Pass()),
        ("normalization", Norm(stabilizer)),
        ("gate", Signal()),
        ("product", Uniform()),
        ("bilinear", Norm(stabilizer)),
        ("softmax", Softmax()),
    ]


def lrp(
    name: str, convolution: Rule, dense: Rule, stabilizer: float, first: Sequence[tuple[Match, Rule]] = ()
) -> Composite:
    """Return a composite of a rule for convolutions, one for dense layers, and what other layers have in all presets.

    Args:
        name: The name of the method.
        convolution: The rule of convolutions.
        dense: The rule of dense layers.
        stabilizer: What keeps the other denominators off zero: z + stabilizer·sgn(z).
        first: Entries that come before.
    """
    entries = [*first, *_base(stabilizer), ("convolution", convolution), ("dense", dense)]
    return Composite(tuple(entries), name)


@preset
def epsilon_plus_flat(epsilon: float = 1e-6, stabilizer: float = 1e-6) -> Composite:
    """Flat in the first layer, z⁺ in convolutions, epsilon in dense layers (Kohlbrenner et al. 2020).

    Args:
        epsilon: ε of the epsilon rule in dense layers; larger ones absorb more of weak and contradictory relevance.
        stabilizer: What keeps the other denominators off zero: z + stabilizer·sgn(z).

    References:
        Kohlbrenner et al., Towards best practice in explaining neural network decisions with LRP, IJCNN 2020.
    """
    return lrp("epsilon_plus_flat", ZPlus(stabilizer), Epsilon(epsilon), stabilizer, [("first", Flat(stabilizer))])


@preset
def epsilon_plus(epsilon: float = 1e-6, stabilizer: float = 1e-6) -> Composite:
    """z⁺ in convolutions, epsilon in dense layers (Montavon et al. 2019).

    Args:
        epsilon: ε of the epsilon rule in dense layers; larger ones absorb more of weak and contradictory relevance.
        stabilizer: What keeps the other denominators off zero: z + stabilizer·sgn(z).

    References:
        Montavon et al., Layer-wise relevance propagation: an overview, in Explainable AI, Springer 2019.
    """
    return lrp("epsilon_plus", ZPlus(stabilizer), Epsilon(epsilon), stabilizer)


@preset
def epsilon_alpha2_beta1(epsilon: float = 1e-6, stabilizer: float = 1e-6) -> Composite:
    """α = 2, β = 1 in convolutions, epsilon in dense layers (Bach et al. 2015).

    Args:
        epsilon: ε of the epsilon rule in dense layers; larger ones absorb more of weak and contradictory relevance.
        stabilizer: What keeps the other denominators off zero: z + stabilizer·sgn(z).

    References:
        Bach et al., On pixel-wise explanations for non-linear classifier decisions by layer-wise relevance propagation,
        PLoS ONE 2015.
    """
    return lrp("epsilon_alpha2_beta1", AlphaBeta(2, 1, stabilizer), Epsilon(epsilon), stabilizer)


@preset
def epsilon_alpha2_beta1_flat(epsilon: float = 1e-6, stabilizer: float = 1e-6) -> Composite:
    """Flat in the first layer, α = 2, β = 1 in convolutions, epsilon in dense layers (Kohlbrenner et al. 2020).

    Args:
        epsilon: ε of the epsilon rule in dense layers; larger ones absorb more of weak and contradictory relevance.
        stabilizer: What keeps the other denominators off zero: z + stabilizer·sgn(z).

    References:
        Kohlbrenner et al., Towards best practice in explaining neural network decisions with LRP, IJCNN 2020.
    """
    first = [("first", Flat(stabilizer))]
    return lrp("epsilon_alpha2_beta1_flat", AlphaBeta(2, 1, stabilizer), Epsilon(epsilon), stabilizer, first)


@preset
def epsilon_gamma_box(
    low: float | Sequence[float] | None = None,
    high: float | Sequence[float] | None = None,
    epsilon: float = 1e-6,
    gamma: float = 0.25,
    stabilizer: float = 1e-6,
) -> Composite:
    """The zBox rule on pixels, gamma in convolutions, epsilon in dense layers (Montavon et al. 2019).

    Args:
        low: Lowest value of the model's input, a number or one for each channel; by default as the preprocessing says.
        high: Highest value of the model's input, likewise.
        epsilon: ε of the epsilon rule in dense layers; larger ones absorb more of weak and contradictory relevance.
        gamma: γ of the gamma rule, by which contributions of the output's sign weigh 1 + γ.
        stabilizer: What keeps the other denominators off zero: z + stabilizer·sgn(z).

    References:
        Montavon et al., Layer-wise relevance propagation: an overview, in Explainable AI, Springer 2019.
    """
    first: list[tuple[Match, Rule]] = [(("first", "convolution"), ZBox(low, high, stabilizer))]
    return lrp("epsilon_gamma_box", Gamma(gamma, stabilizer), Epsilon(epsilon), stabilizer, first)


@preset
def gamma(gamma: float = 0.25, stabilizer: float = 1e-6) -> Composite:
    """Gamma in every linear layer (Montavon et al. 2019).

    Args:
        gamma: γ of the gamma rule, by which contributions of the output's sign weigh 1 + γ.
        stabilizer: What keeps the other denominators off zero: z + stabilizer·sgn(z).

    References:
        Montavon et al., Layer-wise relevance propagation: an overview, in Explainable AI, Springer 2019.
    """
    return lrp("gamma", Gamma(gamma, stabilizer), Gamma(gamma, stabilizer), stabilizer)


@preset
def gamma_flat_in_channels(gamma: float = 0.25, stabilizer: float = 1e-6) -> Composite:
    """Gamma in every linear layer, in a first convolution flat within each channel: for signals of several leads.

    Smoother in time than gamma: relevance is even over the width of the first filters, which wide ones blur.

    Args:
        gamma: γ of the gamma rule, by which contributions of the output's sign weigh 1 + γ.
        stabilizer: What keeps the other denominators off zero: z + stabilizer·sgn(z).
    """
    first: list[tuple[Match, Rule]] = [(("first", "convolution"), FlatInChannels(stabilizer))]
    return lrp("gamma_flat_in_channels", Gamma(gamma, stabilizer), Gamma(gamma, stabilizer), stabilizer, first)


@preset
def epsilon(epsilon: float = 1e-6, stabilizer: float = 1e-6) -> Composite:
    """Epsilon in every linear layer (Bach et al. 2015).

    Args:
        epsilon: ε of the epsilon rule; larger ones absorb more of weak and contradictory relevance.
        stabilizer: What keeps the other denominators off zero: z + stabilizer·sgn(z).

    References:
        Bach et al., On pixel-wise explanations for non-linear classifier decisions by layer-wise relevance propagation,
        PLoS ONE 2015.
    """
    return lrp("epsilon", Epsilon(epsilon), Epsilon(epsilon), stabilizer)


@preset
def zplus(stabilizer: float = 1e-6) -> Composite:
    """z⁺ in every linear layer (Montavon et al. 2017).

    Args:
        stabilizer: What keeps denominators off zero: z + stabilizer·sgn(z).

    References:
        Montavon et al., Explaining nonlinear classification decisions with deep Taylor decomposition, Pattern
        Recognition 2017.
    """
    return lrp("zplus", ZPlus(stabilizer), ZPlus(stabilizer), stabilizer)


@preset
def deep_taylor(stabilizer: float = 1e-6, bias: bool = True) -> Composite:
    """Deep Taylor decomposition of unbounded inputs: w² in the first layer, z⁺ above (Montavon et al. 2017).

    A ReLU follows the output. Above the first layer biases take no relevance, as in the paper; in the first layer b²
    does, as in zennit, unless `bias` is false: then relevance is conserved, as published.

    Args:
        stabilizer: What keeps denominators off zero: z + stabilizer·sgn(z).
        bias: Let b² of the first layer absorb its share. The paper has no b².

    References:
        Montavon et al., Explaining nonlinear classification decisions with deep Taylor decomposition, Pattern
        Recognition 2017.
    """
    return _deep_taylor("deep_taylor", WSquare(stabilizer, bias), stabilizer)


@preset
def deep_taylor_bounded(
    low: float | Sequence[float] | None = None, high: float | Sequence[float] | None = None, stabilizer: float = 1e-6
) -> Composite:
    """Deep Taylor decomposition of pixels: zBox in the first layer, z⁺ above (Montavon et al. 2017).

    A ReLU follows the output. This is the published form: biases take no relevance, which is conserved.

    Args:
        low: Lowest value of the model's input, a number or one for each channel; by default as the preprocessing says.
        high: Highest value of the model's input, likewise.
        stabilizer: What keeps denominators off zero: z + stabilizer·sgn(z).

    References:
        Montavon et al., Explaining nonlinear classification decisions with deep Taylor decomposition, Pattern
        Recognition 2017.
    """
    return _deep_taylor("deep_taylor_bounded", ZBox(low, high, stabilizer), stabilizer)


def _deep_taylor(name: str, first: Rule, stabilizer: float) -> Composite:
    hidden = ZPlus(stabilizer, bias=False)
    composite = lrp(name, hidden, hidden, stabilizer, [("first", first)])
    return replace(composite, seed="positive logit")
