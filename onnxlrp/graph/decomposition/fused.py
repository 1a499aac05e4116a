"""Operators that onnxruntime's optimiser fuses (com.microsoft) become the standard ones that they were."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..graph import Array
from .replacement import Decomposition, Replacement


def _activation(build: Replacement, x: str, parameters: dict[str, float]) -> None:
    """The activation that a FusedConv or FusedGemm applies last."""
    function = build.attribute("activation", "")
    if function == "Clip":
        low, high = (build.store(float(parameters[key]), key) for key in ("min", "max"))
        build.compute("Clip", x, low, high)
    elif function:
        attributes: dict[str, Any] = dict(parameters)
        build.compute(function, x, **attributes)
    build.finish()


# What FusedConv calls the numbers in `activation_params`.
_PARAMETERS = {"LeakyRelu": ("alpha",), "HardSigmoid": ("alpha", "beta"), "Clip": ("min", "max"), "Elu": ("alpha",)}


def _fused_conv(build: Replacement) -> None:
    """activation(Conv(x, w, b) + z)."""
    own = {k: v for k, v in build.layer.attributes.items() if not k.startswith("activation")}
    y = build.compute("Conv", build.input(0), build.input(1), build.input(2), main=True, **own)
    if build.input(3):
        y = build.compute("Add", y, build.input(3))
    names = _PARAMETERS.get(build.attribute("activation", ""), ())
    _activation(build, y, dict(zip(names, build.attribute("activation_params", ()), strict=True)))


def _fused_gemm(build: Replacement) -> None:
    """activation(alpha·A·B + beta·C)."""
    attributes = build.layer.attributes
    own = {k: v for k, v in attributes.items() if not k.startswith("activation")}
    y = build.compute("Gemm", *build.layer.inputs, main=True, **own)
    given = {k.removeprefix("activation_"): v for k, v in attributes.items() if k.startswith("activation_")}
    _activation(build, y, given)


def _fused_matmul(build: Replacement) -> None:
    """alpha·Aᵀ·Bᵀ, each transposed where an attribute says so."""
    operands = [_transposed(build, position, side) for position, side in enumerate("AB")]
    alpha = float(build.attribute("alpha", 1.0))
    weight = build.graph.constant(operands[1])
    if alpha != 1 and weight is not None:
        operands[1] = build.store(weight * alpha, "weight")
    y = build.compute("MatMul", *operands, main=True)
    if alpha != 1 and weight is None:
        build.compute("Mul", y, build.store(alpha, "alpha"))
    build.finish()


def _transposed(build: Replacement, position: int, side: str) -> str:
    name = build.input(position)
    if not build.attribute(f"transBatch{side}", 0) and not build.attribute(f"trans{side}", 0):
        return name
    rank = build.rank(name)
    axes = list(range(rank))
    if build.attribute(f"transBatch{side}", 0):
        axes = [*axes[1:-1], 0, axes[-1]]
    if build.attribute(f"trans{side}", 0) and rank > 1:
        axes[-2:] = axes[:-3:-1]
    if axes == list(range(rank)):
        return name
    value = build.graph.constant(name)
    if value is not None:
        return build.store(np.ascontiguousarray(value.transpose(axes)), f"{side}/transposed")
    return build.compute("Transpose", name, perm=tuple(axes))


def _gelu(approximate: str) -> Decomposition:
    def rule(build: Replacement) -> None:
        """gelu(x + bias)."""
        x = build.input(0)
        if build.input(1):
            x = build.compute("Add", x, build.input(1))
        build.compute("Gelu", x, main=True, approximate=approximate)
        build.finish()

    return rule


def _quick_gelu(build: Replacement) -> None:
    """QuickGelu: x·sigmoid(alpha·x) (Hendrycks & Gimpel 2016); with alpha 1 it is SiLU."""
    x, alpha = build.input(0), float(build.attribute("alpha", 1.702))
    inner = x if alpha == 1 else build.compute("Mul", x, build.store(alpha, "alpha"))
    build.compute("Mul", x, build.compute("Sigmoid", inner), main=True)
    build.finish()


def _skip_normalization(function: str, bias: int) -> Decomposition:
    def rule(build: Replacement) -> None:
        """normalize(input + skip + bias), and the sum itself."""
        total = build.input(0)
        if build.input(bias):
            total = build.compute("Add", total, build.input(bias))
        total = build.compute("Add", total, build.input(1), to=tuple(filter(None, [build.output(3)])))
        operands = [build.input(position) for position in range(2, bias)]
        outputs = [build.output(position) for position in range(3 if function == "LayerNormalization" else 1)]
        while not outputs[-1]:
            outputs.pop()
        epsilon = build.attribute("epsilon", 1e-12)
        build.compute(function, total, *operands, to=tuple(outputs), main=True, axis=-1, epsilon=epsilon)

    return rule


def _simplified_layer_normalization(build: Replacement) -> None:
    """RMSNormalization of opset 23 (Zhang & Sennrich 2019): x / sqrt(mean x² + epsilon)·scale."""
    attributes = {k: v for k, v in build.layer.attributes.items() if k in ("axis", "epsilon")}
    build.compute("RMSNormalization", *build.layer.inputs[:2], main=True, **attributes)
    build.finish()


def _matmul_nbits(build: Replacement) -> None:
    """A·Wᵀ + bias, W stored in blocks of `block_size` integers along K, each with its scale and zero point."""
    build.only(0, 1, 2, 3, 5)
    width, rows, bits = (int(build.attribute(key, 0)) for key in ("K", "N", "bits"))
    block = int(build.attribute("block_size", 0))
    packed, scales, zeros = (build.graph.constant(build.input(i)) for i in (1, 2, 3))
    if packed is None or scales is None or bits not in (2, 4, 8) or (build.input(3) and zeros is None):
        raise build.refuse("weights that are computed at run time, or of other than 2, 4 or 8 bits")
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
    y = build.compute("MatMul", build.input(0), build.store(np.ascontiguousarray(weight.T), "weight"), main=True)
    if build.input(5):
        build.compute("Add", y, build.input(5))
    build.finish()


def _gather_quantized(build: Replacement) -> None:
    """Rows of a table that is stored in blocks of `block_size` integers along an axis, as those of MatMulNBits."""
    data, scales, zeros = (build.graph.constant(build.input(i)) for i in (0, 2, 3))
    bits, block = int(build.attribute("bits", 4)), int(build.attribute("block_size", 128))
    if data is None or scales is None or (build.input(3) and zeros is None) or not block:
        raise build.refuse("a table that is computed at run time, or one scale for each row")
    if data.dtype.kind not in "iu" and not str(data.dtype).startswith(("int", "uint")):
        raise build.refuse(f"a table of {data.dtype}")
    offset: Array = np.zeros((), np.float32)
    if data.dtype == np.uint8:
        data = _unpacked(data, bits)
        zeros = _unpacked(zeros, bits) if zeros is not None else None
        offset = np.full((), 1 << (bits - 1), np.float32)
    axis = int(build.attribute("quantize_axis", 1)) % data.ndim

    def spread(value: Array) -> Array:
        """Each scale or zero point for all integers of its block."""
        return np.repeat(value.astype(np.float32), block, axis=axis)[tuple(slice(n) for n in data.shape)]

    table = (data.astype(np.float32) - (offset if zeros is None else spread(zeros))) * spread(scales)
    axis = int(build.attribute("gather_axis", 0))
    build.compute("Gather", build.store(table, "table"), build.input(1), main=True, axis=axis)
    build.finish()


def _unpacked(packed: Array, bits: int) -> Array:
    """Unsigned integers of `bits`, several in a byte, the lowest bits first."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    values = (packed.astype(np.uint8)[..., None] >> shifts) & ((1 << bits) - 1)
    return values.reshape(*packed.shape[:-1], -1)


FUSED: Mapping[str, Decomposition] = {
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
    "com.microsoft::GatherBlockQuantized": _gather_quantized,
    "SimplifiedLayerNormalization": _simplified_layer_normalization,
}
