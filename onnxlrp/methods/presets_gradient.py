"""Presets of gradients and their modifications: methods that are composites of their rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import patterns as pattern_files
from ..composites import Composite, Match
from ..rules import Rule
from ..rules.gradient import DeconvNet, Gradient, Guided, Redirect
from ..rules.lrp import Norm, ZPlus
from ..rules.pattern import PatternAttribution, PatternNet
from .registry import preset


@preset
def excitation_backprop(stabilizer: float = 1e-6) -> Composite:
    """z⁺ in every linear layer, shares in sums and averages, the gradient elsewhere (Zhang et al. 2016).

    Args:
        stabilizer: What keeps denominators off zero: z + stabilizer·sgn(z).

    References:
        Zhang et al., Top-down neural attention by excitation backprop, ECCV 2016.
    """
    entries: list[tuple[Match, Rule]] = [
        ("sum", Norm(stabilizer)),
        ("avgpool", Norm(stabilizer)),
        ("convolution", ZPlus(stabilizer)),
        ("dense", ZPlus(stabilizer)),
        ("*", Gradient()),
    ]
    return Composite(tuple(entries), "excitation_backprop")


@preset
def gradient(redirect: bool = False) -> Composite:
    """The gradient of the target's logit (Simonyan et al. 2014).

    Args:
        redirect: At a ReLU or Clip behind which nothing of a sample lives, let through what would revive its units
            (the rule `redirect`), so that an optimisation can begin; elsewhere it is the gradient.

    References:
        Simonyan et al., Deep inside convolutional networks: visualising image classification models and saliency maps,
        ICLR workshop 2014.
    """
    dead: tuple[tuple[Match, Rule], ...] = (("Relu", Redirect()), ("Clip", Redirect())) if redirect else ()
    return Composite((*dead, ("*", Gradient())), "gradient", "one")


@preset
def guided_backprop() -> Composite:
    """The gradient with (x > 0)·max(R, 0) at every ReLU (Springenberg et al. 2015).

    References:
        Springenberg et al., Striving for simplicity: the all convolutional net, ICLR workshop 2015.
    """
    return Composite((("Relu", Guided()), ("*", Gradient())), "guided_backprop", "one")


@preset
def deconvnet() -> Composite:
    """The gradient with max(R, 0) at every ReLU (Zeiler & Fergus 2014).

    References:
        Zeiler and Fergus, Visualizing and understanding convolutional networks, ECCV 2014.
    """
    return Composite((("Relu", DeconvNet()), ("*", Gradient())), "deconvnet", "one")


@preset
def pattern_net(patterns: str | Mapping[str, Any] | None = None) -> Composite:
    """The gradient with the patterns A in place of the weights: the signal in the input (Kindermans et al. 2018).

    Args:
        patterns: A file that `onnxlrp patterns` wrote, or a mapping from layers to arrays.

    References:
        Kindermans et al., Learning how to explain neural networks: PatternNet and PatternAttribution, ICLR 2018.
    """
    found = pattern_files.of(patterns, "pattern_net")
    return _by_patterns("pattern_net", PatternNet(found), found.sha256)


@preset
def pattern_attribution(patterns: str | Mapping[str, Any] | None = None) -> Composite:
    """The gradient with A ⊙ W in place of the weights: what the signal gives the output (Kindermans et al. 2018).

    Args:
        patterns: A file that `onnxlrp patterns` wrote, or a mapping from layers to arrays.

    References:
        Kindermans et al., Learning how to explain neural networks: PatternNet and PatternAttribution, ICLR 2018.
    """
    found = pattern_files.of(patterns, "pattern_attribution")
    return _by_patterns("pattern_attribution", PatternAttribution(found), found.sha256)


def _by_patterns(name: str, linear: Rule, model: str) -> Composite:
    return Composite((("convolution", linear), ("dense", linear), ("*", Gradient())), name, model=model)
