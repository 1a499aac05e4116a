"""Composites: which rule each layer gets. An ordered list of (match, rule); the first match wins."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from . import patterns as pattern_files
from .errors import UnsupportedError, UsageError, did_you_mean
from .program.op import KINDS
from .rules import Rule
from .rules.attention import Softmax
from .rules.gradient import DeconvNet, Gradient, Guided, Route
from .rules.lrp import AlphaBeta, Epsilon, Flat, Gamma, Norm, Pass, WSquare, ZBox, ZPlus
from .rules.pattern import PatternAttribution, PatternNet
from .rules.product import Signal, Uniform


@dataclass(frozen=True)
class Matched:
    """What a match may look at: the layer's ONNX operator, path and name, its kind, and whether it is a first layer."""

    op: str
    path: str
    name: str
    kind: str
    first: bool


Match = str | tuple[str, ...] | Callable[[Matched], bool]


def matches(match: Match, layer: Matched) -> bool:
    """Whether a layer is meant.

    A string is "first", a kind ("convolution", "dense", ...), an ONNX operator ("Conv"), "*", or a regular
    expression for the whole path or node name. A tuple wants all of its strings.
    """
    if callable(match):
        return match(layer)
    if isinstance(match, tuple):
        return all(matches(m, layer) for m in match)
    if match == "first":
        return layer.first
    if match in KINDS:
        return layer.kind == match
    if match in ("*", layer.op, layer.path, layer.name):
        return True
    try:
        pattern = re.compile(match)
    except re.error as error:
        raise UsageError(
            f'"{match}" is no regular expression: {error}', "write a path, a pattern or an operator"
        ) from None
    return bool(pattern.fullmatch(layer.path) or pattern.fullmatch(layer.name))


@dataclass(frozen=True)
class Composite:
    """An ordered list of (match, rule); `seed` "logit" starts from the target's logit, "one" from 1 (gradients).

    `on_unsupported` is what layers without an entry get: "gradient", "pass", or an "error" that names them. `model` is
    the sha256 of the one model that the rules are for, "" where they are for any.
    """

    entries: Sequence[tuple[Match, Rule]]
    name: str = "custom"
    seed: str = "logit"
    on_unsupported: str = "error"
    model: str = ""

    def rule_for(self, layer: Matched) -> Rule:
        """The rule of a layer; layers that move values without mixing them need no entry."""
        rule = self._entry(layer)
        if rule is not None:
            return rule
        if self.on_unsupported == "pass":
            return Pass()
        if self.on_unsupported == "gradient" and layer.kind != "unknown":
            return Gradient()
        raise UnsupportedError(
            f'composite "{self.name}" has no rule for {layer.kind} {layer.path or layer.name!r} '
            f"({layer.op}, node {layer.name!r})",
            f"decide: --rule '{layer.name}=pass' or --rule '{layer.op}=gradient', or --on-unsupported gradient for all "
            f'such layers; in Python an entry ("{layer.kind}", rule)',
        )

    def falls_back(self, layer: Matched) -> bool:
        """Whether a layer has no entry, so that `on_unsupported` decides."""
        return self._entry(layer) is None

    def _entry(self, layer: Matched) -> Rule | None:
        # Of an operator that nobody has taught us nothing is known: no rule but `pass` can be meant.
        fits = (r for m, r in (*self.entries, *ALWAYS) if matches(m, layer))
        return next((r for r in fits if layer.kind != "unknown" or isinstance(r, Pass)), None)

    def with_rules(self, entries: Iterable[tuple[Match, Rule]]) -> Composite:
        """The same composite with entries that come first."""
        return replace(self, entries=(*entries, *self.entries))

    def with_fallback(self, on_unsupported: str) -> Composite:
        """The same composite with another answer for layers without an entry. Raises UsageError."""
        if on_unsupported not in FALLBACKS:
            raise UsageError(f'on_unsupported="{on_unsupported}"', f"give {', '.join(FALLBACKS)}")
        return replace(self, on_unsupported=on_unsupported)


FALLBACKS = ("error", "gradient", "pass")
ALWAYS: tuple[tuple[Match, Rule], ...] = (("routing", Route()), ("maxpool", Route()))
Preset = Callable[..., Composite]
PRESETS: dict[str, Preset] = {}


def as_preset(make_composite: Preset) -> Preset:
    """Register a function that makes a composite as a method; its arguments are the method's options."""
    PRESETS[make_composite.__name__] = make_composite
    return make_composite


def _base(stabilizer: float) -> list[tuple[Match, Rule]]:
    return [
        ("activation", Pass()),
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


def _lrp(
    name: str, convolution: Rule, dense: Rule, stabilizer: float, first: Sequence[tuple[Match, Rule]] = ()
) -> Composite:
    entries = [*first, *_base(stabilizer), ("convolution", convolution), ("dense", dense)]
    return Composite(tuple(entries), name)


@as_preset
def epsilon_plus_flat(epsilon: float = 1e-6, stabilizer: float = 1e-6) -> Composite:
    """Flat in the first layer, z⁺ in convolutions, epsilon in dense layers. The default (Kohlbrenner et al. 2020)."""
    return _lrp("epsilon_plus_flat", ZPlus(stabilizer), Epsilon(epsilon), stabilizer, [("first", Flat(stabilizer))])


@as_preset
def epsilon_plus(epsilon: float = 1e-6, stabilizer: float = 1e-6) -> Composite:
    """z⁺ in convolutions, epsilon in dense layers (Montavon et al. 2019)."""
    return _lrp("epsilon_plus", ZPlus(stabilizer), Epsilon(epsilon), stabilizer)


@as_preset
def epsilon_alpha2_beta1(epsilon: float = 1e-6, stabilizer: float = 1e-6) -> Composite:
    """α = 2, β = 1 in convolutions, epsilon in dense layers (Bach et al. 2015)."""
    return _lrp("epsilon_alpha2_beta1", AlphaBeta(2, 1, stabilizer), Epsilon(epsilon), stabilizer)


@as_preset
def epsilon_alpha2_beta1_flat(epsilon: float = 1e-6, stabilizer: float = 1e-6) -> Composite:
    """Flat in the first layer, α = 2, β = 1 in convolutions, epsilon in dense layers (Kohlbrenner et al. 2020)."""
    first = [("first", Flat(stabilizer))]
    return _lrp("epsilon_alpha2_beta1_flat", AlphaBeta(2, 1, stabilizer), Epsilon(epsilon), stabilizer, first)


@as_preset
def epsilon_gamma_box(
    low: Any = None, high: Any = None, epsilon: float = 1e-6, gamma: float = 0.25, stabilizer: float = 1e-6
) -> Composite:
    """zBox on pixels, gamma in convolutions, epsilon in dense layers (Montavon et al. 2019).

    low and high bound the model's input; without them, the bounds that the preprocessing gives.
    """
    first: list[tuple[Match, Rule]] = [(("first", "convolution"), ZBox(low, high, stabilizer))]
    return _lrp("epsilon_gamma_box", Gamma(gamma, stabilizer), Epsilon(epsilon), stabilizer, first)


@as_preset
def gamma(gamma: float = 0.25, stabilizer: float = 1e-6) -> Composite:
    """Gamma in every linear layer (Montavon et al. 2019)."""
    return _lrp("gamma", Gamma(gamma, stabilizer), Gamma(gamma, stabilizer), stabilizer)


@as_preset
def epsilon(epsilon: float = 1e-6, stabilizer: float = 1e-6) -> Composite:
    """Epsilon in every linear layer (Bach et al. 2015)."""
    return _lrp("epsilon", Epsilon(epsilon), Epsilon(epsilon), stabilizer)


@as_preset
def zplus(stabilizer: float = 1e-6) -> Composite:
    """z⁺ in every linear layer (Montavon et al. 2017)."""
    return _lrp("zplus", ZPlus(stabilizer), ZPlus(stabilizer), stabilizer)


@as_preset
def deep_taylor(stabilizer: float = 1e-6) -> Composite:
    """Deep Taylor decomposition, unbounded inputs: w² in the first layer, z⁺ above, a ReLU on the output."""
    return _deep_taylor("deep_taylor", WSquare(stabilizer), stabilizer)


@as_preset
def deep_taylor_bounded(low: Any = None, high: Any = None, stabilizer: float = 1e-6) -> Composite:
    """Deep Taylor decomposition for pixels: zBox in the first layer, z⁺ above, a ReLU on the output."""
    return _deep_taylor("deep_taylor_bounded", ZBox(low, high, stabilizer), stabilizer)


def _deep_taylor(name: str, first: Rule, stabilizer: float) -> Composite:
    hidden = ZPlus(stabilizer, bias=False)
    composite = _lrp(name, hidden, hidden, stabilizer, [("first", first)])
    return replace(composite, seed="positive logit")


@as_preset
def excitation_backprop(stabilizer: float = 1e-6) -> Composite:
    """z⁺ in every linear layer, shares in sums and averages, the gradient elsewhere (Zhang et al. 2016)."""
    entries: list[tuple[Match, Rule]] = [
        ("sum", Norm(stabilizer)),
        ("avgpool", Norm(stabilizer)),
        ("convolution", ZPlus(stabilizer)),
        ("dense", ZPlus(stabilizer)),
        ("*", Gradient()),
    ]
    return Composite(tuple(entries), "excitation_backprop")


@as_preset
def gradient() -> Composite:
    """The gradient of the target's logit (Simonyan et al. 2014)."""
    return Composite((("*", Gradient()),), "gradient", "one")


@as_preset
def guided_backprop() -> Composite:
    """The gradient with (x > 0)·max(R, 0) at every ReLU (Springenberg et al. 2015)."""
    return Composite((("Relu", Guided()), ("*", Gradient())), "guided_backprop", "one")


@as_preset
def deconvnet() -> Composite:
    """The gradient with max(R, 0) at every ReLU (Zeiler & Fergus 2014)."""
    return Composite((("Relu", DeconvNet()), ("*", Gradient())), "deconvnet", "one")


@as_preset
def pattern_net(patterns: Any = None) -> Composite:
    """The gradient with the patterns A in place of the weights: the signal in the input (Kindermans et al. 2018).

    patterns is a file of `onnxlrp patterns`, or a mapping from layers to arrays.
    """
    found = pattern_files.of(patterns, "pattern_net")
    return _by_patterns("pattern_net", PatternNet(found), found.sha256)


@as_preset
def pattern_attribution(patterns: Any = None) -> Composite:
    """The gradient with A ⊙ W in place of the weights: what the signal gives the output (Kindermans et al. 2018).

    patterns is a file of `onnxlrp patterns`, or a mapping from layers to arrays.
    """
    found = pattern_files.of(patterns, "pattern_attribution")
    return _by_patterns("pattern_attribution", PatternAttribution(found), found.sha256)


def _by_patterns(name: str, linear: Rule, model: str) -> Composite:
    return Composite((("convolution", linear), ("dense", linear), ("*", Gradient())), name, model=model)


def preset(name: str, **options: Any) -> Composite:
    """A preset by name; its options by name."""
    if name not in PRESETS:
        raise UsageError(f'there is no method "{name}"', did_you_mean(name, PRESETS))
    known = options_of(name)
    for key in options:
        if key not in known:
            raise UsageError(
                f'method "{name}" has no option "{key}"',
                did_you_mean(key, known) if known else "it has no options",
            )
    return PRESETS[name](**options)


def options_of(name: str) -> tuple[str, ...]:
    """The names of a preset's options."""
    code = PRESETS[name].__code__
    return code.co_varnames[: code.co_argcount]
