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
    draft = parse(model, weights, paths, order, sizes)
    _without_text(draft)
    fold(draft, most)
    _infer_all(draft, most)
    memory.check(memory.Estimate(0, widened(draft), 0), most, file.name)
    decompose(draft)
    fold(draft, most)
    draft.prune()
    _infer_all(draft, most)
    batch_norm_of_rows(draft)
    lower(draft)
    draft.prune()
    draft = _answering(draft)
    canonize(draft)
    return _graph(draft, file, sizes)


def _without_text(draft: MutableGraph) -> None:
    """Names of classes are no scores: where the model has other outputs, it is read without them."""
    numbers = [name for name in draft.outputs if draft.dtypes.get(name) != "object"]
    if not numbers:
        raise UnsupportedError(
            f'The output "{printable(draft.outputs[0])}" is text.', "Export the model with an output of its scores."
        )
    draft.outputs = numbers
    draft.prune()


def _infer_all(draft: MutableGraph, most: int) -> None:
    """Shapes that the simplified model leaves open; one that becomes known may make others constant."""
    while any(name and name not in draft.shapes for layer in draft.layers for name in layer.outputs):
        count = len(draft.layers)
        infer(draft)
        fold(draft, most)
        if len(draft.layers) == count:
            return


def _answering(draft: MutableGraph) -> MutableGraph:
    """The draft for any batch, or for its own; without outputs of whole numbers, where they alone stand against it."""
    try:
        return _free_or_fixed(draft)
    except UnsupportedError:
        scores = [name for name in draft.outputs if not np.issubdtype(draft.dtypes.get(name, "float32"), np.integer)]
        if not scores or scores == draft.outputs:
            raise
        draft.outputs = scores
        draft.prune()
        return _free_or_fixed(draft)


def _free_or_fixed(draft: MutableGraph) -> MutableGraph:
    """The draft for any batch; where the model refuses and declares a batch, for that batch alone."""
    try:
        freed = free(draft)
        check(freed)
    except UnsupportedError as refusal:
        if not draft.declared:
            raise
        infer(draft)
        try:
            check(draft)
        except UnsupportedError:
            raise refusal from None
        return draft
    return freed


def _graph(draft: MutableGraph, file: Read, sizes: Sizes) -> Graph:
    shapes = {name: shape[1:] for name, shape in draft.shapes.items() if name not in draft.constants}
    for name in draft.outputs:
        if name not in shapes:
            raise UnsupportedError(
                f'The output "{printable(name)}" is a constant: no input changes it.', "Export the model without it."
            )
    metadata = {entry.key: entry.value for entry in file.model.metadata_props}
    metadata |= _provenance(file.model)
    if sizes.note:
        metadata["onnxlrp.note"] = sizes.note
    return Graph(
        layers=tuple(draft.layers),
        inputs=tuple(Tensor(name, shapes[name], draft.dtypes[name]) for name in draft.inputs),
        outputs=tuple(Tensor(name, shapes[name], draft.dtypes[name]) for name in draft.outputs),
        constants=MappingProxyType(draft.constants),
        shapes=MappingProxyType(shapes),
        dtypes=MappingProxyType({name: draft.dtypes[name] for name in shapes}),
        opsets=MappingProxyType(draft.opsets),
        batch=None if draft.batch == PRIME else draft.batch,
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
