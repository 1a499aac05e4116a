"""Two towers that meet in a product of every sample of one with every sample of the other, read as pairs.

CLIP and SigLIP give the logits [images, texts] of N pictures and M texts, embeddings A [N, D] and B [M, D], as A Bᵀ.
A sample is a picture with its text: its logit is Σ_d A_nd B_nd, the diagonal. A scale or a shift of all logits may
follow.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...errors import UnsupportedError
from .. import operators
from ..graph import Layer
from ..reading.printable import printable
from ..rewriting.builder import Builder
from ..rewriting.mutable_graph import MutableGraph


def pair_samples(graph: MutableGraph) -> list[str]:
    """Write each product of all samples of two towers as one of pairs, and return the outputs that are logits of pairs.

    Where what stands behind the product is anything but a number for all, a transpose or a copy, as a Softmax over the
    texts, it is refused, with the logits to explain in its place.

    Raises:
        UnsupportedError: A layer mixes pairs.
    """
    changed, pairs = graph.copy(), set[str]()
    sources: dict[str, frozenset[str]] = {name: frozenset([name]) for name in graph.inputs}
    changed.layers = []
    for layer in graph.layers:
        live = [name for name in layer.inputs if name in sources]
        made = frozenset[str]().union(*(sources[name] for name in live))
        sources |= {name: made for name in layer.outputs if name}
        if pairs.intersection(live):
            follower = _follows(graph, layer, pairs)
            if follower is None:
                if graph.batch == graph.prime:
                    raise _mixes_pairs(graph, layer, next(name for name in live if name in pairs))
                return []
            changed.layers.append(follower)
            pairs.add(layer.outputs[0])
            changed.shapes[layer.outputs[0]] = (graph.batch, 1)
            continue
        factors = _factors(graph, layer)
        if factors is None or sources[factors[0]] & sources[factors[1]]:
            changed.layers.append(layer)
            continue
        build = Builder(changed, layer)
        both = build.add("Mul", *factors, out=f"{build.out}/pairs", shape=graph.shapes[factors[0]])
        axes = build.integers([1], f"{build.out}/axes")
        build.add("ReduceSum", both, axes, name=layer.name, shape=(graph.batch, 1), keepdims=1)
        changed.layers += build.layers
        pairs.add(layer.outputs[0])
    if not pairs:
        return []
    changed.prune()
    graph.layers, graph.constants, graph.shapes, graph.dtypes = (
        changed.layers,
        changed.constants,
        changed.shapes,
        changed.dtypes,
    )
    return [name for name in graph.outputs if name in pairs]


def _factors(graph: MutableGraph, layer: Layer) -> tuple[str, str] | None:
    """The embeddings [N, D] of a product [N, N] over all samples of both; None of any other layer."""
    samples = graph.batch
    if layer.op not in ("MatMul", "Gemm") or samples == 1 or graph.shapes.get(layer.outputs[0]) != (samples, samples):
        return None
    one, other = layer.inputs[:2]
    attributes = layer.attributes
    if one in graph.constants or other in graph.constants or len(layer.inputs) > 2 or attributes.get("transA", 0):
        return None
    if attributes.get("alpha", 1.0) != 1:
        return None
    if not attributes.get("transB", 0):
        turned = graph.producers().get(other)
        if turned is None or turned.op != "Transpose" or len(graph.shapes.get(turned.inputs[0], ())) != 2:
            return None
        other = turned.inputs[0]
    shape = graph.shapes.get(one)
    fits = shape is not None and len(shape) == 2 and shape[0] == samples and shape == graph.shapes.get(other)
    return (one, other) if fits else None


def _mixes_pairs(graph: MutableGraph, layer: Layer, logits: str) -> UnsupportedError:
    """The refusal of a layer behind the logits of all pairs; the file up to these is one that can be explained."""
    ends = f"[{', '.join(repr(printable(name)) for name in graph.inputs)}], ['{printable(logits)}']"
    return UnsupportedError(
        f'the {layer.op} node "{printable(layer.label)}" mixes the logits of all pairs of samples of two inputs',
        f"explain the logits before it: onnx.utils.extract_model(FILE, NEW, {ends})",
    )


def _follows(graph: MutableGraph, layer: Layer, pairs: set[str]) -> Layer | None:
    """A layer behind the logits of all pairs as it is behind those of each sample's own [N, 1]; None where none is."""
    others = [name for name in layer.inputs if name and name not in pairs]
    one_for_all = all(name in graph.constants and np.size(graph.constants[name]) == 1 for name in others)
    if graph.shapes.get(layer.outputs[0]) != (graph.batch, graph.batch) or not one_for_all:
        return None
    if layer.op == "Transpose":
        return replace(layer, op="Identity", attributes={})
    return layer if layer.op in operators.ELEMENTWISE | operators.COPIES else None
