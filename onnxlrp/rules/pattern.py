"""PatternNet and PatternAttribution: backward passes along the directions of the signal instead of the weights."""

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
    """R = Aᵀ R, A the patterns of the layer in place of W: the signal behind its output (Kindermans et al. 2018).

    Args:
        patterns: The patterns of the model's layers, as `onnxlrp patterns` estimates them.

    References:
        Kindermans et al., Learning how to explain neural networks: PatternNet and PatternAttribution, ICLR 2018.
    """

    patterns: Patterns | None = None

    def __call__(self, op: Op, relevance: Value) -> tuple[Value, ...]:
        """Return the signal in the operand, in its shape."""
        layer, pattern = _pattern(op, self.patterns, "pattern_net")
        return (Affine(layer.linear, pattern).T(relevance),)


@rule("pattern_attribution", conserves=False)
@dataclass(frozen=True)
class PatternAttribution:
    """R = (A ⊙ W)ᵀ R, A the patterns of the layer: the signal's contributions to its output (Kindermans et al. 2018).

    Σ A ⊙ W of a neuron is 1, so that relevance is conserved except for the part that falls on padding.

    Args:
        patterns: The patterns of the model's layers, as `onnxlrp patterns` estimates them.

    References:
        Kindermans et al., Learning how to explain neural networks: PatternNet and PatternAttribution, ICLR 2018.
    """

    patterns: Patterns | None = None

    def __call__(self, op: Op, relevance: Value) -> tuple[Value, ...]:
        """Return the relevance of the operand, in its shape."""
        layer, pattern = _pattern(op, self.patterns, "pattern_attribution")
        assert layer.weight is not None
        return (Affine(layer.linear, layer.weight * pattern).T(relevance),)


def _pattern(op: Op, patterns: Patterns | None, name: str) -> tuple[Affine, Value]:
    """Return the op's layer, and its pattern in the shape of its weight."""
    if patterns is None:
        raise UsageError(
            f'rule "{name}" needs patterns', f"use the method {name} with --patterns FILE; {MAKE} writes one"
        )
    array = patterns.arrays.get(op.node, patterns.arrays.get(op.name))
    layer = op.parts[0][0] if len(op.parts) == 1 else None
    if array is None or layer is None or layer.weight is None:
        raise UnsupportedError(
            f"no pattern for layer {op.name or op.node!r} ({op.kind})",
            f"choose a rule: --rule '{op.node or op.name}=gradient'; only Conv, Gemm and MatMul have patterns",
        )
    if array.shape != layer.weight.shape:
        raise UsageError(
            f"the pattern of layer {op.name or op.node!r} has shape {array.shape}, its weight {layer.weight.shape}",
            f"estimate it again: {MAKE}",
        )
    return layer, op.result.trace.constant(array)
