"""Composites: which rule each layer gets. An ordered list of (match, rule); the first match wins."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from .errors import UnsupportedError, UsageError
from .program.op import KINDS
from .rules import Rule
from .rules.gradient import Gradient, Route
from .rules.lrp import Pass


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
