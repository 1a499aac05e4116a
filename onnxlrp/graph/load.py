"""A file → a checked, folded, batch-free `Graph`."""

from __future__ import annotations

from types import MappingProxyType

import onnx

from ..errors import UnsupportedError
from .contracts import run
from .frontend.simplify import onnxruntime
from .frontend.symbolic_sizes import PRIME
from .graph import Graph, Tensor
from .load_state import LoadState, SizeReader
from .passes import PASSES
from .reading.memory_limit import limit as memory_limit
from .reading.printable import printable
from .reading.read import Source, read


def load(
    source: Source,
    size: tuple[int, ...] | None = None,
    max_memory: int | str | None = None,
    allow_linked_data: bool = False,
    stated: SizeReader = lambda metadata: None,
) -> Graph:
    """Read a model into the layer IR, by the passes of `passes.PASSES`.

    Args:
        source: A path, the bytes of a file or a ModelProto, which is not changed.
        size: Lengths of the axes that the inputs leave open, height and width usually; one number for a square.
        max_memory: Bytes, or text such as "8G", that the model may need; by default what is free. A model that needs
            more is refused before anything is computed.
        allow_linked_data: Whether the model's data files may be hard links, or links out of its folder.
        stated: Finds height and width in the model's metadata, for inputs that leave them open where `size` is None.

    Returns:
        The graph of the forward pass.

    Raises:
        InputError: The file is no ONNX model, is damaged, or needs too much memory.
        UnsupportedError: The model has no batch on axis 0, or an operator that cannot be converted.
    """
    onnxruntime()
    limit = memory_limit(max_memory)
    state = LoadState(read(source, allow_linked_data), limit, size, stated)
    run(PASSES, state)
    return graph_of(state)


def graph_of(state: LoadState) -> Graph:
    """Return the `Graph` of a model behind the last pass.

    Raises:
        UnsupportedError: An output is a constant.
    """
    graph, sizes = state.graph, state.sizes
    shapes = {name: shape[1:] for name, shape in graph.shapes.items() if name not in graph.constants}
    for name in graph.outputs:
        if name not in shapes:
            raise UnsupportedError(
                f'The output "{printable(name)}" is a constant: no input changes it.', "Export the model without it."
            )
    metadata = state.metadata | _provenance(state.file.model)
    if sizes is not None and sizes.note:
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
        source=state.file.name,
        sha256=state.file.sha256,
    )


def _provenance(model: onnx.ModelProto) -> dict[str, str]:
    """Producer and opset of the file, for reports."""
    opset = next((str(e.version) for e in model.opset_import if e.domain in ("", "ai.onnx")), "")
    producer = f"{model.producer_name} {model.producer_version}".strip()
    entries = {"onnxlrp.producer": producer, "onnxlrp.opset": opset}
    return {key: value for key, value in entries.items() if value}
