"""Col2Im (torch.nn.Fold) as a Transpose or a transposed convolution."""

from __future__ import annotations

import numpy as np

from ..graph import Layer
from ..rewriting.builder import Builder
from ..rewriting.mutable_graph import MutableGraph


def col2im(graph: MutableGraph, layer: Layer) -> list[Layer]:
    """Lay blocks [N, C·kernel, L] over an image: by a Transpose where they tile it, else by a transposed convolution.

    Returns:
        The layers, or none where the sizes are no constants.
    """
    image, kernel = (graph.constant(name) for name in layer.inputs[1:3])
    source = graph.shapes[layer.inputs[0]]
    if image is None or kernel is None:
        return []
    rank = len(kernel)
    strides, pads, dilations = (layer.attributes.get(key, default) for key, default in (
        ("strides", (1,) * rank), ("pads", (0,) * 2 * rank), ("dilations", (1,) * rank)))  # fmt: skip
    begin, end = pads[:rank], pads[rank:]
    extent = [(k - 1) * d + 1 for k, d in zip(kernel.tolist(), dilations, strict=True)]
    sizes = zip(image.tolist(), begin, end, extent, strides, strict=True)
    counts = [(n + b + e - r) // s + 1 for n, b, e, r, s in sizes]
    inside = int(np.prod(kernel))
    channels, build = source[1] // inside, Builder(graph, layer)
    blocks, laid = f"{build.out}/blocks", f"{build.out}/laid"
    if tuple(strides) == tuple(kernel) and set(dilations) == {1} and not any(pads):
        grid = tuple(n for pair in zip(counts, kernel.tolist(), strict=True) for n in pair)
        if all(c * k == n for c, k, n in zip(counts, kernel.tolist(), image.tolist(), strict=True)):
            order = (0, 1, *(axis for i in range(rank) for axis in (2 + rank + i, 2 + i)))
            build.reshape(layer.inputs[0], (source[0], channels, *kernel.tolist(), *counts), blocks)
            build.add("Transpose", blocks, out=laid, name=laid, shape=(source[0], channels, *grid), perm=order)
            build.reshape(laid, graph.shapes[build.out], build.out)
            return build.layers
    # Each element of a block is a channel of its own, whose kernel is one there and zero elsewhere.
    ones = np.tile(np.eye(inside, dtype=np.float32).reshape(inside, 1, *kernel), (channels, 1, *[1] * rank))
    covered = [(c - 1) * s + r - b - e for c, s, r, b, e in zip(counts, strides, extent, begin, end, strict=True)]
    extra = tuple(n - reached for n, reached in zip(image.tolist(), covered, strict=True))
    attributes = {"kernel_shape": tuple(kernel.tolist()), "strides": tuple(strides), "pads": tuple(pads),
                  "dilations": tuple(dilations), "group": channels, "output_padding": extra}  # fmt: skip
    weight = build.constant(ones, f"{layer.name}/ones")
    build.reshape(layer.inputs[0], (*source[:2], *counts), blocks)
    build.keep(op="ConvTranspose", inputs=(blocks, weight), attributes=attributes)
    return build.layers
