"""A file → a checked, folded, batch-free `Graph`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import onnx

from ..errors import OnnxLrpError, UnsupportedError
from .frontend.open_axes import Size
from .frontend.simplify import ContradictoryShapes
from .frontend.symbolic_sizes import DEFAULT_SIZE, Sizes, reads_ids
from .graph import Array, Graph, Switch, Tensor, TextReader
from .loading.contracts import run
from .loading.load_state import LoadState, SizeReader
from .loading.passes import PASSES
from .reading.memory_limit import limit as memory_limit
from .reading.printable import printable
from .reading.read import Source, read
from .verify_quantized import verify_quantized

# Lengths tried for open axes that nobody states, and that are neither height nor width.
PLACEHOLDERS = (DEFAULT_SIZE, 64, 16)
# The same for waves [N, T], of which the shortest window may be longer.
WAVE = 16000
# Heights tried for pictures that do not load at 224 and that nobody states: those of lines of text.
HEIGHTS = (48, 32, 64)
# The same for texts: the length of a sentence, and no usual width. Attention costs its square; tables of positions end.
TEXT_PLACEHOLDERS = (37, 64, 16, DEFAULT_SIZE)


class ConstantOutput(UnsupportedError):
    """An output is the same for every input: no method has an answer, not on the untouched file either."""


def _of_layers(error: OnnxLrpError, sizes: Sizes) -> UnsupportedError | None:
    """The refusal to read the layers of a file that may still run untouched; None where it would not."""
    if isinstance(error, ContradictoryShapes) and not sizes.declared:
        return UnsupportedError(f"it does not run with every batch, and states none: {error.message}", error.fix)
    return error if isinstance(error, UnsupportedError) and not isinstance(error, ConstantOutput) else None


def load(
    source: Source,
    size: Size | None = None,
    max_memory: int | str | None = None,
    allow_linked_data: bool = False,
    stated: SizeReader = lambda metadata: None,
    numbers: Mapping[str, float] | None = None,
    untouched: bool = False,
) -> Graph:
    """Read a model into the layer IR, by the passes of `passes.PASSES`.

    Args:
        source: A path, the bytes of a file or a ModelProto, which is not changed.
        size: Lengths of the axes that the inputs leave open: one for all, one for each in order, or by name (the
            file's name of the axis, its number in the file, or h and w). Height and width that nobody states are 224,
            or the first of `HEIGHTS` that the model runs at where it does not run at this height; another axis gets the
            first of `PLACEHOLDERS`, or `TEXT_PLACEHOLDERS` beside token ids, that the model runs at, until an array
            tells it.
        max_memory: Bytes, or text such as "8G", that the model may need; by default what is free. A model that needs
            more is refused before anything is computed.
        allow_linked_data: Whether the model's data files may be hard links, or links out of its folder.
        stated: Finds height and width in the model's metadata, for inputs that leave them open where `size` is None.
        numbers: Values of inputs of shape [], by name; see `Graph.scalars`.
        untouched: Give a model whose layers cannot be read as one layer, the untouched file, if onnxruntime runs it.

    Returns:
        The graph of the forward pass.

    Raises:
        InputError: The file is no ONNX model, is damaged, or needs too much memory.
        UnsupportedError: The model has no batch on axis 0, or an operator that cannot be converted.
        CheckFailed: The model is quantised, and its graph rounds otherwise than the file.
    """
    limit = memory_limit(max_memory)
    file, switches = read(source, allow_linked_data), dict[str, Switch]()
    if any(node.op_type == "If" for node in file.model.graph.node):
        from .frontend.switches import take_switches

        file, switches = take_switches(file, numbers or {})
    numbers = {name: value for name, value in (numbers or {}).items() if name not in switches}
    text = None
    if any(node.op_type == "TfIdfVectorizer" for node in file.model.graph.node):
        from .text_front import without_text

        file, text = without_text(file)
    first: OnnxLrpError | None = None
    state: LoadState | None = None
    lengths = TEXT_PLACEHOLDERS if reads_ids(file.model) else PLACEHOLDERS
    if _reads_a_wave(file.model):
        lengths = (*lengths, WAVE)
    attempts = [*((length, DEFAULT_SIZE) for length in lengths), *((lengths[0], height) for height in HEIGHTS)]
    for length, height in attempts:
        if first is not None and state is not None and not _worth(state, first, height):
            continue
        state = LoadState(file, limit, size, stated, length, numbers=numbers, height=height)
        try:
            try:
                run(PASSES, state)
            except UnsupportedError:
                if not _meets_prime(state):
                    raise
                assert state.sizes is not None
                state = LoadState(file, limit, size, stated, length, state.sizes.prime, numbers, height=height)
                run(PASSES, state)
            graph = graph_of(state)
            break
        except OnnxLrpError as error:
            why = _of_layers(error, state.sizes) if untouched and state.sizes is not None else None
            if why is not None and state.sizes is not None:
                # What few models need: the first command is mostly imports.
                from .opaque import CannotRun, opaque_graph

                try:
                    whole = opaque_graph(state, why, state.metadata | _provenance(file.model))
                except CannotRun as other:
                    if other.at_any_size or not _assumes(state, error):
                        raise (other if why is error else error) from None
                else:
                    freed = _at_its_batch(state, whole)
                    if freed is None:
                        return _with_front(whole, text, switches)
                    graph = freed
                    break
            elif not _assumes(state, error):
                raise
            first = first or error
    else:
        assert first is not None
        assert state is not None
        if state.sizes is None or not state.sizes.guessed:
            raise first
        raise _needs_size(state, first, lengths)
    note = verify_quantized(graph, source, {node.op_type for node in file.model.graph.node})
    if note:
        graph = replace(graph, metadata=MappingProxyType({**graph.metadata, "onnxlrp.quantised": note}))
    return _with_front(graph, text, switches)


def _with_front(graph: Graph, text: TextReader | None, switches: Mapping[str, Switch]) -> Graph:
    """The graph with what was read before its layers: the reader of a text, and inputs that chose a branch."""
    if text is not None:
        graph = replace(graph, text=text)
    if not switches:
        return graph
    told = {name: float(switch.value) for name, switch in switches.items() if switch.stated}
    scalars = MappingProxyType({**graph.scalars, **told})
    return replace(graph, scalars=scalars, switches=MappingProxyType(dict(switches)))


def _reads_a_wave(model: onnx.ModelProto) -> bool:
    """Return whether an input holds one row of numbers of an open length, [N, T]."""
    kinds = [value.type.tensor_type for value in model.graph.input]
    return any(t.elem_type == onnx.TensorProto.FLOAT and len(t.shape.dim) == 2 and not t.shape.dim[1].dim_value
               for t in kinds)  # fmt: skip


def _assumes(state: LoadState, error: OnnxLrpError) -> bool:
    """Return whether a model that does not load may load at another length of an axis that nobody states."""
    return state.sizes is not None and (state.sizes.guessed or _of_height(state, error))


def _of_height(state: LoadState, error: OnnxLrpError) -> bool:
    """Return whether shapes contradict each other where height and width of pictures are assumed."""
    return state.sizes is not None and bool(state.sizes.note) and isinstance(error, ContradictoryShapes)


def _worth(state: LoadState, error: OnnxLrpError, height: int) -> bool:
    """Return whether another length, or another height, may help a model that does not load."""
    assert state.sizes is not None
    return state.sizes.guessed if height == DEFAULT_SIZE else _of_height(state, error)


def _at_its_batch(state: LoadState, whole: Graph) -> Graph | None:
    """The graph of a file that runs with one size of batch alone, read as if it declared this; None where it cannot be.

    The exporter wrote the batch of its example into the targets of Reshape or Expand.
    """
    assert whole.opaque is not None
    batch, numbers = whole.opaque.only_batch, state.numbers
    if batch is None:
        return None
    given = (state.file, state.memory_limit, state.size, state.read_size, state.assumed)
    stated = LoadState(*given, numbers=numbers, only_batch=batch, height=state.height)
    try:
        run(PASSES, stated)
        return graph_of(stated)
    except UnsupportedError:
        return None


def _meets_prime(state: LoadState) -> bool:
    """Return whether a length that the model computes is a multiple of what stands for its batch."""
    if state.parsed is None or state.graph.declared:
        return False
    graph = state.graph
    return any(n and n % graph.prime == 0 for shape in graph.shapes.values() for n in shape[1:])


def _needs_size(state: LoadState, error: OnnxLrpError, tried: Sequence[int]) -> UnsupportedError:
    """Make the error of a model that runs at no placeholder."""
    assert state.sizes is not None
    names = dict.fromkeys(name for axes in state.sizes.open_axes.values() for name in axes.values())
    like = 48000 if WAVE in tried else 100
    fix = "give the size that it was made for: "
    return UnsupportedError(
        f"the inputs leave sizes open ({', '.join(names)}), and the model does not load at "
        f"{', '.join(map(str, tried))}: {error.message}",
        fix + "size={" + ", ".join(f'"{name}": {like}' for name in names) + "}",
        fix + "--size " + ",".join(f"{name}={like}" for name in names),
    )


def graph_of(state: LoadState) -> Graph:
    """Return the `Graph` of a model behind the last pass.

    Raises:
        UnsupportedError: An output is a constant, or a branch is taken by values of the sample.
    """
    graph, sizes = state.graph, state.sizes
    chosen = next((layer for layer in graph.layers if layer.op == "If"), None)
    if chosen is not None:
        raise UnsupportedError(
            f'the If node "{chosen.label}" takes its branch by the values of the sample',
            "export the model with a Where, which computes both branches",
        )
    shapes = {name: shape[1:] for name, shape in graph.shapes.items() if name not in graph.constants}
    for name in graph.outputs:
        if name not in shapes:
            raise ConstantOutput(
                f'the output "{printable(name)}" is a constant: no input changes it', "export the model without it"
            )
    metadata = state.metadata | _provenance(state.file.model) | state.found
    if sizes is not None and sizes.note:
        metadata["onnxlrp.note"] = sizes.note
    if names := _class_names(state.file.model):
        metadata["onnxlrp.classlabels"] = json.dumps(names)
    if state.columns:
        metadata.setdefault("feature_names", json.dumps(state.columns))
    if sizes is not None and sizes.guessed:
        metadata["onnxlrp.placeholder"] = "1"  # the length of an open axis means nothing
    return Graph(
        layers=tuple(graph.layers),
        inputs=tuple(Tensor(name, shapes[name], graph.dtypes[name]) for name in graph.inputs),
        outputs=tuple(Tensor(name, shapes[name], graph.dtypes[name]) for name in graph.outputs),
        constants=MappingProxyType({name: _own(value) for name, value in graph.constants.items()}),
        shapes=MappingProxyType(shapes),
        dtypes=MappingProxyType({name: graph.dtypes[name] for name in shapes}),
        opsets=MappingProxyType(graph.opsets),
        batch=None if graph.batch == graph.prime else graph.batch,
        metadata=MappingProxyType(metadata),
        source=state.file.name,
        sha256=state.file.sha256,
        data_files=state.file.data_files,
        scalars=MappingProxyType(state.scalars),
        explained=MappingProxyType(graph.explained),
        batch_axes=MappingProxyType(state.turned | graph.batch_axes),
        categories=MappingProxyType({name: found for name, found in graph.categories.items() if name in graph.inputs}),
        open_axes=MappingProxyType(
            {name: axes for name, axes in sizes.open_axes.items() if name in graph.inputs} if sizes is not None else {}
        ),
    )


def _own(value: Array) -> Array:
    """A constant that still lies in the bytes of the file as an array of its own: aligned, and the bytes can go."""
    root: object = value
    while isinstance(root, np.ndarray):
        root = root.base
    return value.copy() if isinstance(root, memoryview) else value


def _class_names(model: onnx.ModelProto) -> list[str]:
    """The labels of the classifier of ai.onnx.ml; [] where they count from 0, or several classifiers differ."""
    found: set[tuple[str, ...]] = set()
    for node in model.graph.node:
        if node.domain == "ai.onnx.ml" and "Classifier" in node.op_type:
            stated = [attribute for attribute in node.attribute if attribute.name.startswith("classlabels_")]
            words = [word.decode(errors="replace") for attribute in stated for word in attribute.strings]
            numbers = [number for attribute in stated for number in attribute.ints]
            counted = numbers == list(range(len(numbers)))
            found.add(tuple(words) or tuple(f"label {number}" for number in numbers if not counted))
    return list(found.pop()) if len(found) == 1 else []


def _provenance(model: onnx.ModelProto) -> dict[str, str]:
    """Producer and opset of the file, for reports; scores that classifiers of its own give, and which are margins."""
    opset = next((str(e.version) for e in model.opset_import if e.domain in ("", "ai.onnx")), "")
    producer = f"{model.producer_name} {model.producer_version}".strip()
    classifiers = [node for node in model.graph.node if node.domain == "ai.onnx.ml" and node.output[1:]]
    linear = [node for node in classifiers if node.op_type == "LinearClassifier"]
    entries = {
        "onnxlrp.producer": producer,
        "onnxlrp.opset": opset,
        "onnxlrp.margins": "\n".join(node.output[1] for node in linear if not _transformed(node)),
        "onnxlrp.classifiers": "\n".join(n.output[1] for n in classifiers if n.op_type.endswith("Classifier")),
    }
    return {key: value for key, value in entries.items() if value}


def _transformed(node: onnx.NodeProto) -> bool:
    """Whether a classifier makes other numbers of its margins."""
    return any(a.name == "post_transform" and a.s not in (b"", b"NONE") for a in node.attribute)
