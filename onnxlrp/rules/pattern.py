"""PatternNet and PatternAttribution: the backward pass with the direction of the signal in place of the weights."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import UnsupportedError, UsageError
from ..patterns import MAKE, Patterns
from ..program.affine import Affine
from ..program.op import Op
from ..program.value import Value
from . import rule


@rule("pattern_net", conserves=False)
@dataclass(frozen=True)
class PatternNet:
    """R_j = Aᵀ R, A the patterns of the layer in place of W: the signal behind its output (Kindermans et al. 2018)."""

    patterns: Patterns | None = None

    def __call__(self, op: Op, relevance: Value) -> tuple[Value, ...]:
        layer, pattern = _pattern(op, self.patterns, "pattern_net")
        return (Affine(layer.linear, pattern).T(relevance),)


@rule("pattern_attribution", conserves=False)
@dataclass(frozen=True)
class PatternAttribution:
    """R_j = (A ⊙ W)ᵀ R, A the patterns of the layer: what its signal gives its output (Kindermans et al. 2018).

    Σ A ⊙ W of a neuron is 1, so that relevance is kept, but for what falls on padding.
    """

    patterns: Patterns | None = None

    def __call__(self, op: Op, relevance: Value) -> tuple[Value, ...]:
        layer, pattern = _pattern(op, self.patterns, "pattern_attribution")
        assert layer.weight is not None
        return (Affine(layer.linear, layer.weight * pattern).T(relevance),)


def _pattern(op: Op, patterns: Patterns | None, name: str) -> tuple[Affine, Value]:
    """The layer, and its pattern in the shape of its weight."""
    if patterns is None:
        raise UsageError(
            f'rule "{name}" needs patterns', f"take the method {name} with --patterns FILE; {MAKE} writes one"
        )
    array = patterns.arrays.get(op.node, patterns.arrays.get(op.name))
    layer = op.parts[0][0] if len(op.parts) == 1 else None
    if array is None or layer is None or layer.weight is None:
        raise UnsupportedError(
            f"no pattern for layer {op.name or op.node!r} ({op.kind})",
            f"decide: --rule '{op.node or op.name}=gradient'; patterns are of Conv, Gemm and MatMul",
        )
    if array.shape != layer.weight.shape:
        raise UsageError(
            f"the pattern of layer {op.name or op.node!r} has shape {array.shape}, its weight {layer.weight.shape}",
            f"estimate it again: {MAKE}",
        )
    return layer, op.result.trace.constant(array)
