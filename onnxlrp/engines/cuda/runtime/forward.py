"""The forward pass by onnxruntime, its results left where the program reads them: on the GPU, else on the CPU."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from ....errors import UnsupportedError
from ....program.program import Array
from ... import Forward
from ...providers import CUDA, fix, preload
from ...weights import hand_over

log = logging.getLogger("onnxlrp")


class Session(Protocol):
    """The forward pass: runs on host inputs and leaves the tensors that were asked for in the given arrays."""

    def run(self, inputs: Mapping[str, Array], into: Mapping[str, Any]) -> None: ...


class Memory(Protocol):
    """What a session on a GPU asks of its device."""

    stream: Any

    def empty(self, size: int) -> Any: ...
    def write(self, target: Any, array: Array) -> None: ...


@dataclass(frozen=True)
class SharedWeightModel:
    """A forward model, and the large weights that it only names."""

    model: Any
    weights: Mapping[str, Array] = field(default_factory=dict)


def lent(forward: Forward, tensors: Sequence[str]) -> SharedWeightModel:
    """The forward model in float32 that gives out these tensors, its weights handed over where they can be."""
    return (
        SharedWeightModel(*forward.light(np.float32, tensors))
        if forward.light
        else SharedWeightModel(forward.model(np.float32, tensors))
    )


def on_gpu(model: SharedWeightModel, tensors: Sequence[str], memory: Memory, tf32: bool = False) -> Session:
    """onnxruntime's CUDA provider; where it is missing or cannot be loaded, the CPU's, and results are copied."""
    import onnxruntime

    reason = "onnxruntime has no CUDA provider"
    if CUDA in onnxruntime.get_available_providers():
        made = OnGpu(model, tensors, memory, tf32)
        if made.loaded:
            return made
        reason = "onnxruntime cannot load its CUDA provider (onnxlrp doctor says why)"
    log.info("%s: the forward pass runs on the CPU and is copied", reason)
    return OnCpu(model, tensors, memory.write)


class OnCpu:
    """onnxruntime's CPU provider, in float32; results are copied to where the program reads them."""

    def __init__(self, model: SharedWeightModel, tensors: Sequence[str], write: Callable[[Any, Array], None]) -> None:
        self._session, self._held = _opened(model, ["CPUExecutionProvider"])
        self._tensors, self._write = list(tensors), write

    def run(self, inputs: Mapping[str, Array], into: Mapping[str, Any]) -> None:
        """One forward pass."""
        wanted = [name for name in self._tensors if name in into]
        if not wanted:
            return  # the program reads nothing of the forward pass, and an empty list would mean all of it
        with _named():
            found = self._session.run(wanted, dict(inputs))
        for name, array in zip(wanted, found, strict=True):
            self._write(into[name], np.asarray(array, np.float32))


@dataclass(eq=False)
class Bound:
    """A run of one batch size: where its inputs and results lie, which stays so."""

    into: Mapping[str, Any]
    binding: Any
    options: Any
    inputs: dict[str, Any] = field(default_factory=dict)
    runs: int = 0


class OnGpu:
    """onnxruntime's CUDA provider on our stream, float32 or with `tf32` TF32, as a CUDA graph for each batch size.

    A graph replays fixed addresses: inputs are copied into arrays of the session's own, results are written into those
    that the program reads. onnxruntime itself runs once to warm up, captures, and replays from then on. A model that
    it cannot capture (a node that only the CPU has, control flow, one that waits for its result) is launched node by
    node.
    """

    def __init__(self, model: SharedWeightModel, tensors: Sequence[str], memory: Memory, tf32: bool = False) -> None:
        preload()
        self._memory, self._tensors = memory, list(tensors)
        # TF32 moves epsilon's heatmaps by 5 % (denominators near 0). EXHAUSTIVE may choose anew in every process.
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
            self._open_uncaptured(error)
        self.loaded = CUDA in self._session.get_providers()
        self._shapes = {o.name: o.shape[1:] for o in self._session.get_outputs()}
        self._graphs = 0

    def _open(self, more: Mapping[str, str]) -> None:
        self._bound: dict[int, Bound] = {}
        self._session, self._held = _opened(self._model, [(CUDA, {**self._options, **more}), "CPUExecutionProvider"])

    def _open_uncaptured(self, error: Exception) -> None:
        log.info("the forward pass cannot be captured, its nodes are launched one by one: %s", _short(error))
        self.captures = False
        with _named():
            self._open({})

    def run(self, inputs: Mapping[str, Array], into: Mapping[str, Any]) -> None:
        """One forward pass, enqueued on the stream; `into` is the same mapping whenever the batch size is."""
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
            with _named():
                self._session.run_with_iobinding(bound.binding, bound.options)
        except UnsupportedError as error:
            if not self.captures or bound.runs:
                raise
            with suppress(Exception):  # the stream may still capture
                self._memory.stream.end_capture()
            self._open_uncaptured(error)
            self.run(inputs, into)
        else:
            bound.runs += 1

    def _bind(self, inputs: Mapping[str, Array], into: Mapping[str, Any], wanted: list[str], batch: int) -> Bound:
        """Addresses of a batch size, and the number of its graph."""
        import onnxruntime

        bound = Bound(into, self._session.io_binding(), onnxruntime.RunOptions())
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


def _opened(model: SharedWeightModel, providers: list[Any]) -> tuple[Any, Any]:
    """A session, and the weights that it reads."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    # Quantised models: what the program reads is what the model's own Q and DQ give, not a fused kernel's.
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    held = hand_over(options, model.weights)
    # Its own fallback would open the session without these options, on another stream than ours.
    serialized = model.model.SerializeToString()
    return onnxruntime.InferenceSession(serialized, options, providers=providers, enable_fallback=0), held


@contextmanager
def _named() -> Iterator[None]:
    """onnxruntime's errors as ours."""
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
