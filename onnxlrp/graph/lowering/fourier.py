"""Fourier transforms as linear layers: DFT as a product with a matrix, STFT as a convolution."""

from __future__ import annotations

import numpy as np

from ..graph import Array, Layer
from ..rewriting.builder import Builder
from ..rewriting.mutable_graph import MutableGraph

# Elements of a matrix; one of more stays a DFT.
_LARGEST = 1 << 25


def dft(graph: MutableGraph, layer: Layer) -> list[Layer]:
    """Write X_k = Σ_l x_l exp(∓2πi kl/n) as a product with a constant matrix over the axis and the parts of x.

    Returns:
        The layers; none where the length is computed, or half a spectrum is transformed back.
    """
    source, shape = layer.inputs[0], graph.shapes.get(layer.inputs[0], ())
    operands = [graph.constant(name) if name else None for name in (*layer.inputs, "", "")[1:3]]
    if any(name and value is None for name, value in zip((*layer.inputs, "", "")[1:3], operands, strict=True)):
        return []
    stated, chosen = operands
    axis = int(layer.attributes.get("axis", 1 if chosen is None and graph.opsets.get("", 17) < 20 else -2))
    axis = (int(chosen.reshape(-1)[0]) if chosen is not None else axis) % len(shape) if shape else 0
    inverse, onesided = (bool(layer.attributes.get(name, 0)) for name in ("inverse", "onesided"))
    if len(shape) < 3 or axis in (0, len(shape) - 1) or shape[-1] not in (1, 2) or (inverse and onesided):
        return []
    length, parts = shape[axis], shape[-1]
    n = length if stated is None else int(stated.reshape(-1)[0])
    bins = graph.shapes[layer.outputs[0]][axis]
    if bins != (n // 2 + 1 if onesided else n) or length * parts * bins * 2 > _LARGEST:
        return []
    matrix = np.zeros((length, parts, bins, 2))
    used = min(length, n)  # of a longer one the rest is cut, a shorter one is filled with zeros
    matrix[:used] = _waves(used, n, bins, inverse).transpose(0, 3, 1, 2)[:, :parts]
    build = Builder(graph, layer)
    weight = build.constant(matrix.reshape(length * parts, bins * 2).astype(np.float32), f"{layer.name}/waves")
    order = [a for a in range(len(shape)) if a not in (axis, len(shape) - 1)]
    lead, there = tuple(shape[a] for a in order), (*order, axis, len(shape) - 1)
    out = build.out
    if there != tuple(range(len(shape))):
        moved = tuple(shape[a] for a in there)
        source = build.add("Transpose", source, out=f"{out}/in", name=f"{layer.name}/in", shape=moved, perm=there)
    flat = build.reshape(source, (*lead, length * parts), f"{out}/flat")
    product = build.declare(f"{out}/product", (*lead, bins * 2))
    build.keep(op="MatMul", inputs=(flat, weight), outputs=(product,), attributes={})
    if there == tuple(range(len(shape))):
        build.add("Reshape", product, build.integers((*lead, bins, 2), f"{out}/shape"), name=f"{layer.name}/out")
        return build.layers
    split = build.reshape(product, (*lead, bins, 2), f"{out}/split")
    back = tuple(int(a) for a in np.argsort(there))
    build.add("Transpose", split, name=f"{layer.name}/out", perm=back)
    return build.layers


def stft(graph: MutableGraph, layer: Layer) -> list[Layer]:
    """Write the transforms of windowed frames as a convolution with windowed waves, its stride the step of frames.

    Returns:
        The layers; none where the step, the window or its length are computed.
    """
    source, shape = layer.inputs[0], graph.shapes.get(layer.inputs[0], ())
    step, window, stated = (graph.constant(name) if name else None for name in (*layer.inputs, "", "")[1:4])
    given = [name for name in layer.inputs[2:4] if name]
    if step is None or len(given) != sum(value is not None for value in (window, stated)) or len(shape) not in (2, 3):
        return []
    if window is None and stated is None:
        return []
    size = int(stated.reshape(-1)[0]) if stated is not None else len(window)  # type: ignore[arg-type]
    parts, length = (shape[2] if len(shape) == 3 else 1), shape[1]
    _, frames, bins, _ = graph.shapes[layer.outputs[0]]
    full = np.ones(size) if window is None else np.asarray(window, np.float64)
    onesided = bool(layer.attributes.get("onesided", 1))
    if len(full) != size or bins != (size // 2 + 1 if onesided else size) or bins * 2 * parts * size > _LARGEST:
        return []
    waves = _waves(size, size, bins, inverse=False) * full[:, None, None, None]  # [size, bins, 2, parts]
    kernel = waves[..., :parts].transpose(1, 2, 3, 0).reshape(bins * 2, parts, size)
    build, out = Builder(graph, layer), layer.outputs[0]
    weight = build.constant(kernel.astype(np.float32), f"{layer.name}/waves")
    if parts == 1:
        signal = build.reshape(source, (shape[0], 1, length), f"{out}/signal")
    else:
        moved = (shape[0], 2, length)
        signal = build.add("Transpose", source, out=f"{out}/signal", shape=moved, perm=(0, 2, 1))
    folded = build.declare(f"{out}/convolved", (shape[0], bins * 2, frames))
    stride = int(step.reshape(-1)[0])
    build.keep(op="Conv", inputs=(signal, weight), outputs=(folded,), attributes={"strides": (stride,)})
    split = build.reshape(folded, (shape[0], bins, 2, frames), f"{out}/split")
    build.add("Transpose", split, name=f"{layer.name}/out", perm=(0, 3, 1, 2))
    return build.layers


def _waves(length: int, n: int, bins: int, inverse: bool) -> Array:
    """exp(∓2πi kl/n) as real matrices: [length, bins, part of the result, part of the operand]."""
    turns = np.outer(np.arange(length), np.arange(bins)) % n * (2 * np.pi / n)
    cos, sin = np.cos(turns), np.sin(turns) * (1 if inverse else -1)
    waves = np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], 2)
    return np.asarray(waves / n if inverse else waves)
