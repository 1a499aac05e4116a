"""Models whose layers cannot be read: the untouched file, run by onnxruntime, for methods of forward passes alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import helper, numpy_helper

from ..errors import InputError, UnsupportedError
from ..runtime import INEXACT, Session, fix, missing, onnxruntime
from .frontend.batch_in_front import WITHOUT, in_file
from .frontend.weightless import true_inputs
from .graph import Array, Graph, Layer, Tensor
from .loading.load_state import LoadState
from .operators import SCORINGS
from .reading.printable import first_line, printable

OPERATOR = "onnxlrp::Untouched"  # the layer that stands for all that cannot be read
_LONGEST_PROBE = 5.0  # seconds for a run of one or two samples
_MOST_WRITTEN = 4  # lengths that are tried as the batch of a file that runs with no other
_TOLERANCE = 1e-4  # of the largest value, between a sample alone and in a batch


class CannotRun(UnsupportedError):
    """The untouched file cannot be run either, sample by sample.

    Attributes:
        at_any_size: Whatever lengths its open axes have.
    """

    def __init__(self, message: str, fix: str, at_any_size: bool) -> None:
        super().__init__(message, fix)
        self.at_any_size = at_any_size


@dataclass(frozen=True, eq=False)
class OpaqueForward:
    """The untouched file, run by onnxruntime.

    Attributes:
        reason: Why its layers cannot be read.
        session: onnxruntime's session of the file.
        scalars: Inputs without a batch axis: one number for all samples.
        batch_axes: As of `Graph.batch_axes`, of inputs.
        only_batch: The one batch that runs, of a file that states none; None where others run, or may.
    """

    reason: UnsupportedError
    session: Session
    scalars: frozenset[str] = frozenset()
    batch_axes: Mapping[str, int] = field(default_factory=dict)
    only_batch: int | None = None

    @property
    def tensors(self) -> frozenset[str]:
        """Names of the tensors of the file that it computes."""
        return frozenset(value.name for value in self.session.get().get_outputs())

    def refusal(self, what: str) -> UnsupportedError:
        """Return the error for a request that needs layers.

        Args:
            what: What is asked for, such as a method.
        """
        others = "onnxlrp explain runs methods of forward passes alone: --method occlusion, rise, lime or kernel_shap"
        return UnsupportedError(
            f"{what} needs the layers of the model, which cannot be read: {self.reason.message}",
            f"{self.reason.fix}; as it is, {others}" if self.reason.fix else others,
        )

    def run(
        self, inputs: Mapping[str, Array], tensors: Sequence[str], seconds: float | None = None
    ) -> dict[str, Array]:
        """Compute tensors of the file.

        Args:
            inputs: Arrays [N, …] by the names of the inputs.
            tensors: Names of outputs of the session.
            seconds: After which the run is given up; None for never.

        Raises:
            InputError: An input that is one number for all samples is given several.
            UnsupportedError: onnxruntime fails.
        """
        feeds = {}
        if WITHOUT in self.batch_axes.values() and len(next(iter(inputs.values()))) > 1:
            raise UnsupportedError(
                "the file takes one sample, without a batch", "explain one sample at once: --batch-size 1"
            )
        for value in self.session.get().get_inputs():
            array = inputs[value.name]
            if value.name in self.scalars:
                if not (array == array[:1]).all():
                    raise InputError(
                        f'input "{printable(value.name)}" is one number for all samples, and several are given',
                        "give one number, or explain the samples one by one",
                    )
                array = array[0]
            elif value.name in self.batch_axes:
                array = in_file(array, self.batch_axes[value.name])
            feeds[value.name] = np.ascontiguousarray(array)
        session = self.session.get()
        try:
            with _at_most(seconds) as options:
                made = session.run(list(tensors), feeds, options)
        except Exception as error:  # onnxruntime's own classes of errors share no base
            raise UnsupportedError(
                f"onnxruntime fails on the model: {first_line(error)}", "explain fewer samples at once: --batch-size 1"
            ) from error
        # Where an input has no batch, no output has one either.
        alone = WITHOUT in self.batch_axes.values()
        arrays = [np.asarray(value)[np.newaxis] if alone else np.asarray(value) for value in made]
        return dict(zip(tensors, arrays, strict=True))

    def scores(self, inputs: Mapping[str, Array], tensors: Sequence[str]) -> dict[str, Array]:
        """Compute tensors of the file, each with a row for each sample. Raises UnsupportedError for others."""
        found, samples = self.run(inputs, tensors), len(next(iter(inputs.values())))
        for name, array in found.items():
            if array.shape[:1] != (samples,):
                raise UnsupportedError(
                    f'"{printable(name)}" has shape {list(array.shape)} for {samples} samples', "give --batch-size 1"
                )
        return found


@contextmanager
def _at_most(seconds: float | None) -> Iterator[Any]:
    """Options of a run that ends after so many seconds: a loop need not end by itself."""
    options = onnxruntime().RunOptions()
    if seconds is None:
        yield options
        return
    timer = threading.Timer(seconds, setattr, (options, "terminate", True))
    timer.start()
    try:
        yield options
    finally:
        timer.cancel()


def opaque_graph(state: LoadState, reason: UnsupportedError, metadata: Mapping[str, str]) -> Graph:
    """Return the graph of a model as one layer that onnxruntime runs.

    Args:
        state: The model, its sizes fixed.
        reason: Why its layers cannot be read.
        metadata: Of the graph.

    Raises:
        CannotRun: onnxruntime does not run the file either, no output has the batch on axis 0, or samples of one batch
            change each other's results.
    """
    assert state.sizes is not None
    if why := missing():
        raise CannotRun(
            f"{reason.message} (methods of forward passes alone would run the untouched file by onnxruntime: {why})",
            f"{fix(why)}, then --method occlusion",
            at_any_size=True,
        )
    file = state.file.model
    try:
        inputs = _inputs(state)
        heads, relabelled = _heads(file), _relabelled(file)
        session = _session(state, [logits for logits, _ in heads.values()] + list(relabelled.values()))
        names = [value.name for value in session.get_outputs() if value.type in _NUMBERS]
        scalars = frozenset(name for name, (shape, _) in inputs.items() if not shape)
        forward = OpaqueForward(reason, Session(session, None), scalars, MappingProxyType(dict(state.turned)))
        declared = state.sizes.batch if state.sizes.declared else None
        found = _probe(forward, inputs, names, (declared,) if declared else (1, *_written_batches(file)), declared)
        batch, shapes, dtypes = found.batch, found.shapes, found.dtypes
        forward = replace(forward, only_batch=found.only)
    except _Unfit as error:
        raise CannotRun(
            f"{reason.message}; methods of forward passes alone cannot run the file either: {error}",
            "export the model with the batch on axis 0 of every input and output, without these layers"
            if error.of_batch
            else reason.fix,
            at_any_size=error.of_batch,
        ) from error
    outputs = [name for v in file.graph.output if (name := relabelled.get(v.name, v.name)) in shapes]
    scored = {name: head for name, head in heads.items() if name in shapes and head[0] in shapes}
    written = tuple(name for name in shapes if name not in scored)
    layers = [Layer(OPERATOR, OPERATOR, "", tuple(inputs), written)]
    layers += [Layer(op, name, "", (logits,), (name,), {"axis": -1}) for name, (logits, op) in scored.items()]
    sample_shapes = {name: shape[1:] for name, (shape, _) in inputs.items()} | shapes
    kinds = {name: dtype for name, (_, dtype) in inputs.items()} | dtypes
    return Graph(
        layers=tuple(layers),
        inputs=tuple(Tensor(name, sample_shapes[name], kinds[name]) for name in inputs),
        outputs=tuple(Tensor(name, sample_shapes[name], kinds[name]) for name in outputs),
        constants=MappingProxyType({}),
        shapes=MappingProxyType(sample_shapes),
        dtypes=MappingProxyType(kinds),
        batch=batch,
        metadata=MappingProxyType(dict(metadata)),
        source=state.file.name,
        sha256=state.file.sha256,
        open_axes=MappingProxyType(dict(state.sizes.open_axes)),
        batch_axes=forward.batch_axes,
        opaque=forward,
    )


class _Unfit(Exception):
    """The file cannot be run sample by sample.

    Attributes:
        of_batch: Because of where its batch is.
    """

    def __init__(self, why: str, of_batch: bool = False) -> None:
        super().__init__(why.rstrip("."))
        self.of_batch = of_batch


_NUMBERS = {f"tensor({name})" for name in ("float", "double", "float16", "int64", "int32", "uint8", "int8", "bool")}
_Inputs = dict[str, tuple[tuple[int, ...], str]]  # shape with the batch, () of a scalar; type


def _inputs(state: LoadState) -> _Inputs:
    assert state.sizes is not None
    fixed = {value.name: value.type.tensor_type for value in state.model.graph.input}
    found: _Inputs = {}
    for value in true_inputs(state.file.model, {t.name: np.empty(0) for t in state.file.model.graph.initializer}):
        kind = fixed.get(value.name, value.type.tensor_type)
        dtype = str(np.dtype(helper.tensor_dtype_to_np_dtype(kind.elem_type)))
        if dtype == "object":
            raise _Unfit("an input of text")
        found[value.name] = tuple(dim.dim_value for dim in kind.shape.dim), dtype
    return found


def _heads(file: onnx.ModelProto) -> dict[str, tuple[str, str]]:
    """Return, of the outputs that a Softmax, LogSoftmax or Sigmoid computes, its operand and operator."""
    producers = {name: node for node in file.graph.node for name in node.output}
    nodes = {value.name: producers.get(value.name) for value in file.graph.output}
    return {
        name: (node.input[0], node.op_type)
        for name, node in nodes.items()
        if node is not None and node.op_type in SCORINGS and node.domain in ("", "ai.onnx")
    }


def _relabelled(file: onnx.ModelProto) -> dict[str, str]:
    """Return, of the outputs that a ZipMap gives labels, the numbers that it reads: onnxruntime hands out no array."""
    made = {node.output[0]: node.input[0] for node in file.graph.node if node.op_type == "ZipMap"}
    return {value.name: made[value.name] for value in file.graph.output if value.name in made}


def _session(state: LoadState, further: Sequence[str]) -> Any:
    ort = onnxruntime()
    model = state.file.whole()
    known = {value.name for value in (*model.graph.output, *model.graph.input)}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in further if name not in known)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    if state.file.home is not None:
        folder = str(state.file.home.model.resolve().parent)
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
    try:
        return ort.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"], disabled_optimizers=list(INEXACT)
        )
    except Exception as error:  # onnxruntime's own classes of errors share no base
        raise _Unfit(first_line(error)) from error


def _written_batches(file: onnx.ModelProto) -> list[int]:
    """The lengths above 1 of axis 0 in the constant targets of Reshape and Expand: one may be the exporter's batch."""
    constants = {tensor.name: tensor for tensor in file.graph.initializer}
    for node in file.graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t"):
            constants[node.output[0]] = node.attribute[0].t
    targets = (node.input[1] for node in file.graph.node if node.op_type in ("Reshape", "Expand") and node.input[1:])
    tensors = [constants[name] for name in targets if name in constants]
    # Larger tensors are read apart, those of other files never are targets.
    shapes = [numpy_helper.to_array(t) for t in tensors if len(t.dims) == 1 and 0 < t.dims[0] <= 8 and _is_inside(t)]
    return list(dict.fromkeys(int(shape[0]) for shape in shapes if shape[0] > 1))[:_MOST_WRITTEN]


def _is_inside(tensor: onnx.TensorProto) -> bool:
    inside = tensor.data_location == onnx.TensorProto.DEFAULT
    return inside and bool(tensor.raw_data or tensor.int64_data or tensor.int32_data)


class _Probed(NamedTuple):
    """What runs of the file told: see `Graph.batch` and `OpaqueForward.only_batch`; of outputs, per sample."""

    batch: int | None
    only: int | None
    shapes: dict[str, tuple[int, ...]]
    dtypes: dict[str, str]


def _probe(
    forward: OpaqueForward, inputs: _Inputs, names: Sequence[str], sizes: Sequence[int], declared: int | None
) -> _Probed:
    """Run two samples alone and together, in the first of these sizes of a batch that runs."""
    rng = np.random.default_rng(0)
    one, two = (_samples(inputs, rng) for _ in range(2))

    def run(rows: Sequence[dict[str, Array]]) -> dict[str, Array]:
        # One number for all samples is that of the first.
        feeds = {k: np.stack([rows[0 if k in forward.scalars else n][k] for n in range(len(rows))]) for k in inputs}
        try:
            made = forward.run(feeds, names, _LONGEST_PROBE)
        except UnsupportedError as error:
            raise _Unfit(error.message) from error
        return {name: array for name, array in made.items() if array.shape[:1] == (len(rows),)}

    def first_that_runs() -> tuple[int, dict[str, Array]]:
        refusal: _Unfit | None = None
        for size in sizes:
            try:
                return size, run([one] * size)
            except _Unfit as error:
                refusal = refusal or error
        assert refusal is not None
        raise refusal

    size, alone = first_that_runs()
    if not alone:
        raise _Unfit("no output has the batch on axis 0", of_batch=True)
    only = None if declared or size == 1 else size
    batch = declared or only
    if batch != 1:
        try:
            together = run([one, two] + [two] * (size - 2))
            apart = any(k not in together or _differs(alone[k][0], together[k][0]) for k in alone)
        except _Unfit:
            apart, only = True, only or 1
        if apart and batch is not None:
            raise _Unfit("the samples of a batch change each other's results", of_batch=True)
        batch = 1 if apart else batch
    shapes = {name: array.shape[1:] for name, array in alone.items()}
    return _Probed(batch, only, shapes, {name: str(array.dtype) for name, array in alone.items()})


def _samples(inputs: _Inputs, rng: np.random.Generator) -> dict[str, Array]:
    made = {}
    for name, (shape, dtype) in inputs.items():
        whole = np.dtype(dtype).kind in "iub"
        try:
            values = rng.integers(0, 2, shape[1:]) if whole else rng.normal(size=shape[1:])
        except ValueError as error:  # more axes than numpy has
            raise _Unfit(str(error)) from error
        made[name] = np.asarray(values).astype(dtype)
    return made


def _differs(a: Array, b: Array) -> bool:
    x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
    scale = float(np.abs(x).max(initial=0)) or 1.0
    return x.shape != y.shape or bool(np.nanmax(np.abs(x - y), initial=0) > _TOLERANCE * scale)
