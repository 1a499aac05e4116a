"""Forward pass by onnxruntime, on the GPU or on the CPU, with its results in the arrays that the program reads."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from ....errors import UnsupportedError
from ....program.program import Array
from ....runtime import INEXACT, opened
from ... import Forward
from ...providers import CUDA, fix, preload
from ...weights import hand_over

log = logging.getLogger("onnxlrp")


class Session(Protocol):
    """Interface of a prepared forward pass."""

    def run(self, inputs: Mapping[str, Array], into: Mapping[str, Any]) -> None:
        """Run it on host arrays, and write the tensors that `into` names into its device arrays."""
        ...


class DeviceMemory(Protocol):
    """Interface of the device that a session on a GPU needs."""

    stream: Any

    def empty(self, size: int) -> Any:
        """Return a device array of `size` uninitialised bytes."""
        ...

    def write(self, target: Any, array: Array) -> None:
        """Enqueue the copy of a host array into a device array of one axis."""
        ...


@dataclass(frozen=True)
class SharedWeightModel:
    """A forward model whose large weights are outside of it.

    Args:
        model: The ONNX model.
        weights: The weights that it only names.
    """

    model: Any
    weights: Mapping[str, Array] = field(default_factory=dict)


def shared_weight_model(forward: Forward, tensors: Sequence[str]) -> SharedWeightModel:
    """Return the forward model in float32 with these tensors as outputs, and weights outside of it where it can."""
    return (
        SharedWeightModel(*forward.light(np.float32, tensors))
        if forward.light
        else SharedWeightModel(forward.model(np.float32, tensors))
    )


def open_session(model: SharedWeightModel, tensors: Sequence[str], memory: DeviceMemory, tf32: bool = False) -> Session:
    """Open a session of onnxruntime's CUDA provider, or of the CPU's where that is missing or cannot be loaded.

    Args:
        model: The forward model.
        tensors: Its outputs.
        memory: The device.
        tf32: Let convolutions run in TF32.
    """
    import onnxruntime

    reason = "onnxruntime has no CUDA provider"
    if CUDA in onnxruntime.get_available_providers():
        made = CudaSession(model, tensors, memory, tf32)
        if made.loaded:
            return made
        reason = "onnxruntime cannot load its CUDA provider (onnxlrp doctor says why)"
    log.info("%s: the forward pass runs on the CPU and is copied", reason)
    return CpuSession(model, tensors, memory.write)


class CpuSession:
    """A session of onnxruntime's CPU provider, in float32; results are copied to the device.

    Args:
        model: The forward model.
        tensors: Its outputs.
        write: (device array, host array) → copies.
    """

    def __init__(self, model: SharedWeightModel, tensors: Sequence[str], write: Callable[[Any, Array], None]) -> None:
        self._session, self._weights = _create_session(model, ["CPUExecutionProvider"])
        self._tensors, self._write = list(tensors), write

    def run(self, inputs: Mapping[str, Array], into: Mapping[str, Any]) -> None:
        """Run one forward pass."""
        wanted = [name for name in self._tensors if name in into]
        if not wanted:
            return  # the program reads no activation, and onnxruntime takes an empty list as all outputs
        with _translated_errors():
            found = self._session.run(wanted, dict(inputs))
        for name, array in zip(wanted, found, strict=True):
            self._write(into[name], np.asarray(array, np.float32))


@dataclass(eq=False)
class Binding:
    """Addresses of inputs and results of one batch size, which stay the same.

    Args:
        into: The device arrays of results.
        binding: onnxruntime's binding.
        options: onnxruntime's options of a run.
        inputs: The device arrays of inputs.
        runs: Number of runs so far.
    """

    into: Mapping[str, Any]
    binding: Any
    options: Any
    inputs: dict[str, Any] = field(default_factory=dict)
    runs: int = 0


class CudaSession:
    """A session of onnxruntime's CUDA provider on our stream, with a CUDA graph for each batch size.

    A graph replays fixed addresses: inputs are copied into arrays of the session, results are written into those that
    the program reads. onnxruntime itself warms up at the first run, captures, and replays from then on. A model that it
    cannot capture (a node that only the CPU has, control flow, a node that waits for its result) runs node by node.

    Args:
        model: The forward model.
        tensors: Its outputs.
        memory: The device.
        tf32: Let convolutions run in TF32, else in float32.
    """

    def __init__(
        self, model: SharedWeightModel, tensors: Sequence[str], memory: DeviceMemory, tf32: bool = False
    ) -> None:
        preload()
        self._memory, self._tensors = memory, list(tensors)
        give_floats(model.model, tensors)
        # TF32 moves epsilon's heatmaps by 5 % (denominators near 0). An EXHAUSTIVE search may differ by process.
        self._model = model
        self._options = {
            "device_id": str(memory.stream.device_id),
            "user_compute_stream": str(memory.stream.ptr),
            "use_tf32": str(int(tf32)),
            "cudnn_conv_algo_search": "HEURISTIC",
        }
        self.captures = True
        try:
            self._open({"enable_cuda_graph": "1"})
        except Exception as error:  # onnxruntime's own, of several types
            self._open_without_capture(error)
        self.loaded = CUDA in self._session.get_providers()
        self._shapes = {o.name: o.shape[1:] for o in self._session.get_outputs()}
        self._graphs = 0

    def _open(self, more: Mapping[str, str]) -> None:
        self._bound: dict[int, Binding] = {}
        self._session, self._weights = _create_session(
            self._model, [(CUDA, {**self._options, **more}), "CPUExecutionProvider"]
        )

    def _open_without_capture(self, error: Exception) -> None:
        log.info("the forward pass cannot be captured, its nodes are launched one by one: %s", _short(error))
        self.captures = False
        with _translated_errors():
            self._open({})

    def run(self, inputs: Mapping[str, Array], into: Mapping[str, Any]) -> None:
        """Enqueue one forward pass on the stream; `into` is the same mapping for every run of a batch size."""
        batch = len(next(iter(inputs.values())))
        bound = self._bound.get(batch)
        if bound is None or bound.into is not into:
            wanted = [name for name in self._tensors if name in into]
            if not wanted:
                return  # the program reads nothing of the forward pass
            bound = self._bound[batch] = self._bind(inputs, into, wanted, batch)
        for name, array in inputs.items():
            self._memory.write(bound.inputs[name], array)
        try:
            with _translated_errors():
                self._session.run_with_iobinding(bound.binding, bound.options)
        except UnsupportedError as error:
            if not self.captures or bound.runs:
                raise
            with suppress(Exception):  # the stream may still be capturing
                self._memory.stream.end_capture()
            self._open_without_capture(error)
            self.run(inputs, into)
        else:
            bound.runs += 1

    def _bind(self, inputs: Mapping[str, Array], into: Mapping[str, Any], wanted: list[str], batch: int) -> Binding:
        """Bind the addresses of a batch size, and give its graph a number."""
        import onnxruntime

        bound = Binding(into, self._session.io_binding(), onnxruntime.RunOptions())
        bound.options.add_run_config_entry("disable_synchronize_execution_providers", "1")
        if self.captures:
            self._graphs += 1
            bound.options.add_run_config_entry("gpu_graph_id", str(self._graphs))
        where = "cuda", self._memory.stream.device_id
        for name, array in inputs.items():
            bound.inputs[name] = held = self._memory.empty(array.nbytes).view(array.dtype)
            bound.binding.bind_input(name, *where, array.dtype, list(array.shape), held.data.ptr)
        for name in wanted:
            shape = [batch, *self._shapes[name]]
            bound.binding.bind_output(name, *where, np.float32, shape, into[name].data.ptr)
        return bound


def give_floats(model: Any, tensors: Sequence[str]) -> None:
    """Cast those of these outputs of a model that are no floats, such as places: kernels read floats."""
    from onnx import TensorProto, helper

    wanted = set(tensors)
    outputs = [value for value in model.graph.output if value.name in wanted]
    other = {value.name for value in outputs if value.type.tensor_type.elem_type != TensorProto.FLOAT}
    if not other:
        return
    given = {value.name for value in model.graph.input}
    for node in model.graph.node:
        for names in (node.input, node.output):
            for n, name in enumerate(names):
                names[n] = f"{name}/own" if name in other - given else name
    for value in outputs:
        if value.name in other - given:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
            model.graph.node.append(
                helper.make_node(
                    "Cast", [f"{value.name}/own"], [value.name], f"{value.name}/float", to=TensorProto.FLOAT
                )
            )


def _create_session(model: SharedWeightModel, providers: list[Any]) -> tuple[Any, Any]:
    """Return a session, and the weights that it reads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # Quantised models: the program reads the results of the model's own Q and DQ nodes, not of a fused kernel.
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    held = hand_over(options, model.weights)
    # onnxruntime's own fallback would open the session without these options, on another stream.
    serialized = model.model.SerializeToString()
    session = onnxruntime.InferenceSession(
        serialized, options, providers=providers, disabled_optimizers=list(INEXACT), enable_fallback=0
    )
    return opened(session), held


@contextmanager
def _translated_errors() -> Iterator[None]:
    """Raise onnxruntime's errors as UnsupportedError with a fix."""
    try:
        yield
    except Exception as error:
        if not (type(error).__module__.startswith("onnxruntime") or isinstance(error, RuntimeError)):
            raise
        raise UnsupportedError(
            f"onnxruntime fails in the forward pass: {_short(error)}",
            fix(str(error), "try --engine ort, or a smaller --batch-size"),
        ) from error


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
