"""Composites: ordered lists of (match, rule) that choose the rule of each layer; the first match wins."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from .errors import UnsupportedError, UsageError
from .program.op import BROADER, KINDS
from .rules import Rule
from .rules.gradient import Gradient, Route
from .rules.lrp import Pass


class Matched(NamedTuple):
    """The properties of a layer that matches see.

    Attributes:
        op: Its ONNX operator.
        path: Its module path, as in the training code; "" where the exporter kept none.
        name: The name of its node.
        kind: Its kind, one of `program.op.KINDS`, or "unknown" for an unregistered operator.
        first: Whether it is a first layer with weights on a path from the input.
    """

    op: str
    path: str
    name: str
    kind: str
    first: bool


Match = str | tuple[str, ...] | Callable[[Matched], bool]


def matches(match: Match, layer: Matched) -> bool:
    """Return whether a match fits a layer.

    Args:
        match: "first", a kind ("convolution", "dense", …), an ONNX operator ("Conv"), "*", or a regular expression for
            the whole path or node name; a tuple of these, all of which must fit; or a function of the layer.
        layer: The layer's properties.

    Raises:
        UsageError: A string is none of these, and no regular expression.
    """
    if callable(match):
        return match(layer)
    if isinstance(match, tuple):
        return all(matches(m, layer) for m in match)
    if match == "first":
        return layer.first
    if match in KINDS:
        return match in (layer.kind, BROADER.get(layer.kind))
    if match in ("*", layer.op, layer.path, layer.name):
        return True
    try:
        pattern = re.compile(match)
    except re.error as error:
        raise UsageError(
            f'"{match}" is not a regular expression: {error}', "write a path, a pattern or an operator"
        ) from None
    return bool(pattern.fullmatch(layer.path) or pattern.fullmatch(layer.name))


@dataclass(frozen=True)
class Composite:
    """An ordered list of (match, rule), of which the first match wins.

    Layers that move values without mixing them (reshape, transpose, max pooling, …) need no entry.

    Args:
        entries: The list; see `composites.matches` for what a match may be.
        name: The name that provenance and pictures show.
        seed: The relevance to start from: "logit", the target's logit; "positive logit", its positive part; or "one",
            for gradients.
        on_unsupported: What layers without an entry get: "gradient", "pass", or an "error" that names them.
        model: The sha256 of the one model that the rules are for; "" where they are for any.
    """

    entries: Sequence[tuple[Match, Rule]]
    name: str = "custom"
    seed: str = "logit"
    on_unsupported: str = "error"
    model: str = ""

    @property
    def is_gradient(self) -> bool:
        """True where every layer gets its gradient."""
        return bool(self.entries) and all(isinstance(rule, Gradient) for _, rule in self.entries)

    @property
    def takes_slopes(self) -> bool:
        """True where relevance starts as a slope, or activations get their gradient."""
        return self.seed == "one" or isinstance(self._entry(Matched("Relu", "", "", "activation", False)), Gradient)

    def rule_for(self, layer: Matched) -> Rule:
        """Return the rule of a layer.

        Args:
            layer: The layer's properties.

        Raises:
            UnsupportedError: No entry fits, and `on_unsupported` is "error".
        """
        rule = self._entry(layer)
        if rule is not None:
            return rule
        if self.on_unsupported == "pass":
            return Pass()
        if self.on_unsupported == "gradient" and layer.kind != "unknown":
            return Gradient()
        fix = (
            f"decide: --rule '{layer.name}=gradient', or --on-unsupported gradient for all such layers; in Python an "
            f'entry ("{layer.kind}", rule)'
        )
        if layer.kind == "unknown":
            fix = (
                "-m occlusion, and other methods that need only the forward pass, need no rules; where a layer keeps "
                f"its operand's shape, --rule '{layer.name}=pass' hands relevance on, --on-unsupported pass at all "
                "such layers"
            )
        raise UnsupportedError(
            f'composite "{self.name}" has no rule for {layer.kind} {layer.path or layer.name!r} '
            f"({layer.op}, node {layer.name!r})",
            fix,
        )

    def falls_back(self, layer: Matched) -> bool:
        """Return whether a layer has no entry, so that `on_unsupported` decides.

        Args:
            layer: The layer's properties.
        """
        return self._entry(layer) is None

    def _entry(self, layer: Matched) -> Rule | None:
        # Nothing is known of an unregistered operator: no rule but `pass` can be meant.
        fits = (r for m, r in (*self.entries, *ALWAYS) if matches(m, layer))
        return next((r for r in fits if layer.kind != "unknown" or isinstance(r, Pass)), None)

    def with_rules(self, entries: Iterable[tuple[Match, Rule]]) -> Composite:
        """Return the composite with entries that come first.

        Args:
            entries: Further (match, rule), which win over those that there are.
        """
        return replace(self, entries=(*entries, *self.entries))

    def with_fallback(self, on_unsupported: str) -> Composite:
        """Return the composite with another answer for layers without an entry.

        Args:
            on_unsupported: "error", "gradient" or "pass".

        Raises:
            UsageError: It is none of these.
        """
        if on_unsupported not in FALLBACKS:
            raise UsageError(f'on_unsupported="{on_unsupported}"', f"give {', '.join(FALLBACKS)}")
        return replace(self, on_unsupported=on_unsupported)


FALLBACKS = ("error", "gradient", "pass")
ALWAYS: tuple[tuple[Match, Rule], ...] = (("routing", Route()), ("maxpool", Route()))
