"""A file → a checked, folded, batch-free `Graph`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import onnx

from ..errors import UnsupportedError
from .batching.free import check, free
from .canonical.canonize import canonize
from .decomposition.fused import decompose, widened
from .frontend.simplify import basic, onnxruntime, simplify
from .frontend.symbolic_sizes import PRIME, Sizes, fix_sizes
from .frontend.weightless import skeleton
from .graph import Graph, Tensor
from .lowering.lower import lower
from .lowering.token_batchnorm import batch_norm_of_rows
from .reading import memory
from .reading.module_paths import module_paths
from .reading.printable import printable
from .reading.read import Read, Source, read
from .rewriting.constant_folding import fold
from .rewriting.mutable_graph import MutableGraph, parse
from .rewriting.shape_inference import infer


def load(
    source: Source,
    size: tuple[int, ...] | None = None,
    max_memory: int | str | None = None,
    allow_linked_data: bool = False,
    stated: Callable[[Mapping[str, str]], tuple[int, int] | None] = lambda metadata: None,
) -> Graph:
    """Read a model (a path, bytes or a ModelProto, never changed) into the layer IR.

    `size` fixes the axes that the inputs leave open, height and width usually; `stated` says height and
    width by the model's metadata where it does not. A model that needs more memory than
    `max_memory` (bytes or "8G"; default: what is free) is refused before anything is computed; so is one whose data
    files are hard links or links out of its folder, unless `allow_linked_data`. Raises `InputError` for a file that is
    no ONNX model, `UnsupportedError` for a model that has no batch on axis 0 or cannot be converted.
    """
    onnxruntime()
    most = memory.limit(max_memory)
    file = read(source, allow_linked_data)
    memory.check(memory.stored(file.model), most, file.name)
    paths = module_paths(file.model)
    model, weights = skeleton(file)
    metadata = {entry.key: entry.value for entry in file.model.metadata_props}
    sizes = fix_sizes(model, weights, size, lambda: stated(metadata))
    order = {name: position for position, node in enumerate(model.graph.node) for name in node.output}
    memory.check(memory.estimate(memory.inferred(model), weights, sizes.batch), most, file.name)
    model = simplify(model, file.name)
    memory.check(memory.estimate(model, weights, sizes.batch), most, file.name)
    if memory.estimate(model, {}, sizes.batch).folded:  # tables, of shape arithmetic
        model = basic(model, file.name, folded=most)
    graph = parse(model, weights, paths, order, sizes)
    _without_text(graph)
    fold(graph, most)
    _infer_all(graph, most)
    memory.check(memory.Estimate(0, widened(graph), 0), most, file.name)
    decompose(graph)
    fold(graph, most)
    graph.prune()
    _infer_all(graph, most)
    batch_norm_of_rows(graph)
    lower(graph)
    graph.prune()
    graph = _answering(graph)
    canonize(graph)
    return _graph(graph, file, sizes)


def _without_text(graph: MutableGraph) -> None:
    """Names of classes are no scores: where the model has other outputs, it is read without them."""
    numbers = [name for name in graph.outputs if graph.dtypes.get(name) != "object"]
    if not numbers:
        raise UnsupportedError(
            f'The output "{printable(graph.outputs[0])}" is text.', "Export the model with an output of its scores."
        )
    graph.outputs = numbers
    graph.prune()


def _infer_all(graph: MutableGraph, most: int) -> None:
    """Shapes that the simplified model leaves open; one that becomes known may make others constant."""
    while any(name and name not in graph.shapes for layer in graph.layers for name in layer.outputs):
        count = len(graph.layers)
        infer(graph)
        fold(graph, most)
        if len(graph.layers) == count:
            return


def _answering(graph: MutableGraph) -> MutableGraph:
    """The graph for any batch, or for its own; without outputs of whole numbers, where they alone stand against it."""
    try:
        return _free_or_fixed(graph)
    except UnsupportedError:
        scores = [name for name in graph.outputs if not np.issubdtype(graph.dtypes.get(name, "float32"), np.integer)]
        if not scores or scores == graph.outputs:
            raise
        graph.outputs = scores
        graph.prune()
        return _free_or_fixed(graph)


def _free_or_fixed(graph: MutableGraph) -> MutableGraph:
    """The graph for any batch; where the model refuses and declares a batch, for that batch alone."""
    try:
        freed = free(graph)
        check(freed)
    except UnsupportedError as refusal:
        if not graph.declared:
            raise
        infer(graph)
        try:
            check(graph)
        except UnsupportedError:
            raise refusal from None
        return graph
    return freed


def _graph(graph: MutableGraph, file: Read, sizes: Sizes) -> Graph:
    shapes = {name: shape[1:] for name, shape in graph.shapes.items() if name not in graph.constants}
    for name in graph.outputs:
        if name not in shapes:
            raise UnsupportedError(
                f'The output "{printable(name)}" is a constant: no input changes it.', "Export the model without it."
            )
    metadata = {entry.key: entry.value for entry in file.model.metadata_props}
    metadata |= _provenance(file.model)
    if sizes.note:
        metadata["onnxlrp.note"] = sizes.note
    return Graph(
        layers=tuple(graph.layers),
        inputs=tuple(Tensor(name, shapes[name], graph.dtypes[name]) for name in graph.inputs),
        outputs=tuple(Tensor(name, shapes[name], graph.dtypes[name]) for name in graph.outputs),
        constants=MappingProxyType(graph.constants),
        shapes=MappingProxyType(shapes),
        dtypes=MappingProxyType({name: graph.dtypes[name] for name in shapes}),
        opsets=MappingProxyType(graph.opsets),
        batch=None if graph.batch == PRIME else graph.batch,
        metadata=MappingProxyType(metadata),
        source=file.name,
        sha256=file.sha256,
    )


def _provenance(model: onnx.ModelProto) -> dict[str, str]:
    """Who wrote the file, for reports."""
    opset = next((str(e.version) for e in model.opset_import if e.domain in ("", "ai.onnx")), "")
    producer = f"{model.producer_name} {model.producer_version}".strip()
    entries = {"onnxlrp.producer": producer, "onnxlrp.opset": opset}
    return {key: value for key, value in entries.items() if value}
