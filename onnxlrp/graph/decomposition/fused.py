"""Operators that onnxruntime's optimiser fuses (com.microsoft) become the standard ones that they were; operators on
integers become those on floats that they stand for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..graph import Array
from ..rewriting.constant_folding import is_rounding
from ..rewriting.mutable_graph import MutableGraph
from . import dynamic_quantization, integer
from .attention import ATTENTION
from .ml import CLASSICAL
from .replacement import Context, Replacement


def decompose(graph: MutableGraph) -> None:
    """Replace fused layers, and those on integers, by standard ones of the same result.

    The layer with the weights, or the last one, keeps the name and the path.

    Raises:
        UnsupportedError: A layer is a variant that has no decomposition here.
    """
    context = Context({layer.name for layer in graph.layers})
    for position, layer in enumerate(graph.layers):
        reads_integers = context.loose.intersection(layer.inputs)
        rule = RULES.get(layer.op) or (dynamic_quantization.follow if reads_integers else None)
        if rule is None or is_rounding(layer):
            context.done.append(layer)
            continue
        context.left = graph.layers[position:]
        parts = Replacement(graph, layer, context=context)
        rule(parts)
        context.done.extend(parts.layers)
    graph.layers = context.done
    domains = {layer.op.rpartition("::")[0] for layer in graph.layers}
    graph.opsets = {domain: version for domain, version in graph.opsets.items() if domain in domains or not domain}


def widened(graph: MutableGraph) -> int:
    """Bytes of the integers that become floats."""
    read = {name for layer in graph.layers if layer.op in RULES for name in layer.inputs}
    whole = (value for name, value in graph.constants.items() if name in read and value.dtype.kind in "iu")
    return 4 * sum(value.size for value in whole)


def _activation(parts: Replacement, x: str, parameters: dict[str, float]) -> None:
    """The activation that a FusedConv or FusedGemm applies last."""
    function = parts.attribute("activation", "")
    if function == "Clip":
        low, high = (parts.store(float(parameters[key]), key) for key in ("min", "max"))
        parts.compute("Clip", x, low, high)
    elif function:
        attributes: dict[str, Any] = dict(parameters)
        parts.compute(function, x, **attributes)
    parts.finish()


# What FusedConv calls the numbers in `activation_params`.
_PARAMETERS = {"LeakyRelu": ("alpha",), "HardSigmoid": ("alpha", "beta"), "Clip": ("min", "max"), "Elu": ("alpha",)}


def _fused_conv(parts: Replacement) -> None:
    """activation(Conv(x, w, b) + z)."""
    own = {k: v for k, v in parts.layer.attributes.items() if not k.startswith("activation")}
    y = parts.compute("Conv", parts.input(0), parts.input(1), parts.input(2), main=True, **own)
    if parts.input(3):
        y = parts.compute("Add", y, parts.input(3))
    names = _PARAMETERS.get(parts.attribute("activation", ""), ())
    _activation(parts, y, dict(zip(names, parts.attribute("activation_params", ()), strict=True)))


def _fused_gemm(parts: Replacement) -> None:
    """activation(alpha·A·B + beta·C)."""
    attributes = parts.layer.attributes
    own = {k: v for k, v in attributes.items() if not k.startswith("activation")}
    y = parts.compute("Gemm", *parts.layer.inputs, main=True, **own)
    given = {k.removeprefix("activation_"): v for k, v in attributes.items() if k.startswith("activation_")}
    _activation(parts, y, given)


def _fused_matmul(parts: Replacement) -> None:
    """alpha·Aᵀ·Bᵀ, each transposed where an attribute says so."""
    operands = [_transposed(parts, position, side) for position, side in enumerate("AB")]
    alpha = float(parts.attribute("alpha", 1.0))
    weight = parts.graph.constant(operands[1])
    if alpha != 1 and weight is not None:
        operands[1] = parts.store(weight * alpha, "weight")
    y = parts.compute("MatMul", *operands, main=True)
    if alpha != 1 and weight is None:
        parts.compute("Mul", y, parts.store(alpha, "alpha"))
    parts.finish()


def _transposed(parts: Replacement, position: int, side: str) -> str:
    name = parts.input(position)
    if not parts.attribute(f"transBatch{side}", 0) and not parts.attribute(f"trans{side}", 0):
        return name
    rank = parts.rank(name)
    axes = list(range(rank))
    if parts.attribute(f"transBatch{side}", 0):
        axes = [*axes[1:-1], 0, axes[-1]]
    if parts.attribute(f"trans{side}", 0) and rank > 1:
        axes[-2:] = axes[:-3:-1]
    if axes == list(range(rank)):
        return name
    value = parts.graph.constant(name)
    if value is not None:
        return parts.store(np.ascontiguousarray(value.transpose(axes)), f"{side}/transposed")
    return parts.compute("Transpose", name, perm=tuple(axes))


def _gelu(approximate: str) -> Callable[[Replacement], None]:
    def rule(parts: Replacement) -> None:
        """gelu(x + bias)."""
        x = parts.input(0)
        if parts.input(1):
            x = parts.compute("Add", x, parts.input(1))
        parts.compute("Gelu", x, main=True, approximate=approximate)
        parts.finish()

    return rule


def _quick_gelu(parts: Replacement) -> None:
    """x·sigmoid(alpha·x) (Hendrycks & Gimpel 2016); with alpha 1 it is SiLU."""
    x, alpha = parts.input(0), float(parts.attribute("alpha", 1.702))
    inner = x if alpha == 1 else parts.compute("Mul", x, parts.store(alpha, "alpha"))
    parts.compute("Mul", x, parts.compute("Sigmoid", inner), main=True)
    parts.finish()


def _skip_normalization(function: str, bias: int) -> Callable[[Replacement], None]:
    def rule(parts: Replacement) -> None:
        """normalize(input + skip + bias), and the sum itself."""
        total = parts.input(0)
        if parts.input(bias):
            total = parts.compute("Add", total, parts.input(bias))
        total = parts.compute("Add", total, parts.input(1), to=tuple(filter(None, [parts.output(3)])))
        operands = [parts.input(position) for position in range(2, bias)]
        outputs = [parts.output(position) for position in range(3 if function == "LayerNormalization" else 1)]
        while not outputs[-1]:
            outputs.pop()
        epsilon = parts.attribute("epsilon", 1e-12)
        parts.compute(function, total, *operands, to=tuple(outputs), main=True, axis=-1, epsilon=epsilon)

    return rule


def _simplified_layer_normalization(parts: Replacement) -> None:
    """x / sqrt(mean x² + epsilon)·scale, which opset 23 calls RMSNormalization (Zhang & Sennrich 2019)."""
    attributes = {k: v for k, v in parts.layer.attributes.items() if k in ("axis", "epsilon")}
    parts.compute("RMSNormalization", *parts.layer.inputs[:2], main=True, **attributes)
    parts.finish()


def _matmul_nbits(parts: Replacement) -> None:
    """A·Wᵀ + bias, W stored in blocks of `block_size` integers along K, each with its scale and zero point."""
    parts.only(0, 1, 2, 3, 5)
    width, rows, bits = (int(parts.attribute(key, 0)) for key in ("K", "N", "bits"))
    block = int(parts.attribute("block_size", 0))
    packed, scales, zeros = (parts.graph.constant(parts.input(i)) for i in (1, 2, 3))
    if packed is None or scales is None or bits not in (2, 4, 8) or (parts.input(3) and zeros is None):
        raise parts.refuse("weights that are computed at run time, or of other than 2, 4 or 8 bits")
    integers = _unpacked(packed.reshape(rows, -1), bits).astype(np.float32)
    blocks = -(-width // block)
    if zeros is None:
        offset: Array = np.full((rows, blocks), 1 << (bits - 1), np.float32)
    elif zeros.dtype == np.uint8:
        offset = _unpacked(zeros.reshape(rows, -1), bits)[:, :blocks].astype(np.float32)
    else:
        offset = zeros.reshape(rows, blocks).astype(np.float32)
    values = integers.reshape(rows, blocks, block) - offset[..., None]
    weight = (values * scales.reshape(rows, blocks, 1)).reshape(rows, -1)[:, :width]
    y = parts.compute("MatMul", parts.input(0), parts.store(np.ascontiguousarray(weight.T), "weight"), main=True)
    if parts.input(5):
        parts.compute("Add", y, parts.input(5))
    parts.finish()


def _unpacked(packed: Array, bits: int) -> Array:
    """Unsigned integers of `bits`, several in a byte, the lowest bits first."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    values = (packed.astype(np.uint8)[..., None] >> shifts) & ((1 << bits) - 1)
    return values.reshape(*packed.shape[:-1], -1)


RULES: dict[str, Callable[[Replacement], None]] = {
    "com.microsoft::FusedConv": _fused_conv,
    "com.microsoft::FusedGemm": _fused_gemm,
    "com.microsoft::FusedMatMul": _fused_matmul,
    "com.microsoft::TransposeMatMul": _fused_matmul,
    "com.microsoft::Gelu": _gelu("none"),
    "com.microsoft::BiasGelu": _gelu("none"),
    "com.microsoft::FastGelu": _gelu("tanh"),
    "com.microsoft::QuickGelu": _quick_gelu,
    "com.microsoft::SkipLayerNormalization": _skip_normalization("LayerNormalization", bias=4),
    "com.microsoft::SkipSimplifiedLayerNormalization": _skip_normalization("RMSNormalization", bias=3),
    "com.microsoft::MatMulNBits": _matmul_nbits,
    "SimplifiedLayerNormalization": _simplified_layer_normalization,
    **ATTENTION,
    **CLASSICAL,
    **integer.RULES,
    **dynamic_quantization.RULES,
}
