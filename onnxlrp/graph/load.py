"""A file → a checked, folded, batch-free `Graph`."""

from __future__ import annotations

from types import MappingProxyType

import onnx

from onnxlrp.errors import UnsupportedError
from onnxlrp.graph.batch import check, free, infer
from onnxlrp.graph.canonize import canonize
from onnxlrp.graph.draft import Draft, parse
from onnxlrp.graph.fold import fold
from onnxlrp.graph.graph import Graph, Tensor
from onnxlrp.graph.paths import module_paths
from onnxlrp.graph.read import Read, Source, read
from onnxlrp.graph.simplify import onnxruntime, simplify
from onnxlrp.graph.sizes import PRIME, Sizes, fix_sizes
from onnxlrp.graph.skeleton import skeleton


def load(source: Source, size: tuple[int, ...] | None = None) -> Graph:
    """Read a model (a path, bytes or a ModelProto, never changed) into the layer IR.

    `size` fixes the axes that the inputs leave open, height and width usually. Raises `InputError` for a file that is
    no ONNX model, `UnsupportedError` for a model that has no batch on axis 0 or cannot be converted.
    """
    onnxruntime()
    file = read(source)
    paths = module_paths(file.model)
    model, weights = skeleton(file)
    sizes = fix_sizes(model, weights, size)
    order = {name: position for position, node in enumerate(model.graph.node) for name in node.output}
    draft = parse(simplify(model, file.name), weights, paths, order, sizes)
    fold(draft)
    draft.prune()
    if any(name and name not in draft.shapes for layer in draft.layers for name in layer.outputs):
        infer(draft)
    draft = _free_or_fixed(draft)
    canonize(draft)
    return _graph(draft, file, sizes)


def _free_or_fixed(draft: Draft) -> Draft:
    """The draft for any batch; where the model refuses and declares a batch, for that batch alone."""
    try:
        freed = free(draft)
        check(freed)
    except UnsupportedError:
        if not draft.declared:
            raise
        infer(draft)
        check(draft)
        return draft
    return freed


def _graph(draft: Draft, file: Read, sizes: Sizes) -> Graph:
    shapes = {name: shape[1:] for name, shape in draft.shapes.items() if name not in draft.constants}
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
