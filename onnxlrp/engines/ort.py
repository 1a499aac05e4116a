"""Engine of onnxruntime: it runs forward pass and program as one ONNX graph, the one that `export` saves."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..cache.store import Store
from ..errors import UnsupportedError
from ..program.program import Activation, Array, Program
from ..runtime import CPU, INEXACT, Session, onnxruntime
from . import Forward, Run, engine
from .providers import CUDA, fix, preload
from .weights import hand_over

log = logging.getLogger("onnxlrp")

# Of all providers of a build, in order; others (TensorRT, CoreML) are used when named.
# TF32, onnxruntime's default, in the forward pass alone moves heatmaps of the epsilon rule by 5 %.
PREFERRED: dict[str, dict[str, str]] = {"CUDAExecutionProvider": {"use_tf32": "0"}, CPU: {}}

# The files of a session that is kept, and the bytes from which on a weight is mapped.
_GRAPH, _WEIGHTS, _NAMES, _LEAST = "graph.onnx", "weights.bin", "names.json", 1024


@engine("ort", order=1)
class Ort:
    """onnxruntime runs the forward pass and the program as one ONNX graph, on a CPU or a GPU. The default.

    Args:
        providers: onnxruntime's execution providers; the default is CUDA's where onnxruntime has it, then the CPU's.
        options: An onnxruntime.SessionOptions to use instead of our own.

    Raises:
        UsageError: onnxruntime is not installed.
    """

    name: str
    store: Store | None = None  # where prepared programs are kept for other processes

    def __init__(self, providers: Sequence[Any] | None = None, options: Any = None) -> None:
        onnxruntime()
        self.providers, self.options = providers, options

    def prepare(self, forward: Forward, program: Program) -> Run:
        """Open a session of the emitted graph."""
        return self._prepared(forward, program, None)

    @property
    def keeps(self) -> Store | None:
        """Where programs are kept for other processes; None where nothing is, as on a GPU."""
        if self.options is not None or self.providers is not None:
            return None
        return self.store if all(name == CPU for name, _ in self._providers()) else None

    def keep(self, forward: Forward, program: Program, folder: Path) -> Run:
        """Open a session as `prepare` does, and write what `reopen` needs.

        Args:
            forward: The forward model.
            program: The program.
            folder: Gets the graph as onnxruntime has optimised it for this processor, and its weights.

        Raises:
            UnsupportedError: onnxruntime cannot run the graph, or cannot write it.
        """
        return self._prepared(forward, program, folder)

    def finish(self, folder: Path, program: Program) -> None:
        """Let the graph that `keep` has written take less time: elementwise nodes get the layout of convolutions.

        It computes the same, bit by bit. This is not part of `keep`, for the run that keeps a graph does not run it.

        Args:
            folder: The folder.
            program: The program.

        Raises:
            OSError: The graph cannot be read or written.
        """
        import onnx

        from .blocked import move_elementwise

        shapes = {step.what.tensor: step.shape for step in program.instructions if isinstance(step.what, Activation)}
        model = onnx.load(folder / _GRAPH, load_external_data=False)
        if move_elementwise(model.graph, shapes).moved:
            (folder / _GRAPH).write_bytes(model.SerializeToString())

    def reopen(self, folder: Path) -> Run:
        """Open a session of what `keep` has written: nothing is optimised again, and weights are mapped, not read.

        Args:
            folder: The folder.

        Raises:
            UnsupportedError: onnxruntime cannot read the graph.
            OSError: A file is missing.
        """
        names = json.loads((folder / _NAMES).read_text(encoding="utf-8"))
        ort = onnxruntime()
        options = self._options()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL

        def open_session() -> Any:
            with _translated_errors():
                return ort.InferenceSession(str(folder / _GRAPH), options, providers=[CPU])

        return _run_of(Session(open_session(), open_session), names["outputs"], names["seeds"])

    def _prepared(self, forward: Forward, program: Program, folder: Path | None) -> Run:
        session, outputs, seeds = self._open(forward, program, folder)
        if folder is not None:
            names = json.dumps({"outputs": outputs, "seeds": seeds})
            (folder / _NAMES).write_text(names, encoding="utf-8")
        return _run_of(Session(session, lambda: self._open(forward, program, None)[0]), outputs, seeds)

    def _open(
        self, forward: Forward, program: Program, folder: Path | None
    ) -> tuple[Any, dict[str, str], dict[str, str]]:
        """Return a session, and the names in it of the program's outputs and seeds."""
        ort = onnxruntime()

        from .emit.explainer import explainer

        # The caller's options stay as they are: external weights would remain in them.
        made = explainer(forward if self.options is None else forward._replace(light=None), program)
        options = self.options or self._options()
        if folder is not None:
            options.optimized_model_filepath = str(folder / _GRAPH)
            options.add_session_config_entry("session.optimized_model_external_initializers_file_name", _WEIGHTS)
            options.add_session_config_entry(
                "session.optimized_model_external_initializers_min_size_in_bytes", str(_LEAST)
            )
        preload()
        providers = self._providers()
        weights = hand_over(options, made.weights)
        with _translated_errors():
            session = ort.InferenceSession(
                made.model.SerializeToString(),
                options,
                providers=providers,
                disabled_optimizers=list(INEXACT),
                enable_fallback=CUDA in str(providers),
            )
        if CUDA in str(providers) and CUDA not in session.get_providers():
            log.info("onnxruntime cannot load its CUDA provider: the CPU runs it all (onnxlrp doctor says why)")
        session.onnxlrp_weights = weights  # the session reads these arrays, and does not own them
        return session, dict(made.outputs), dict(made.seeds)

    def _options(self) -> Any:
        options = onnxruntime().SessionOptions()
        options.log_severity_level = 4  # errors are raised; the log would print the names in the file as they are
        # What is planned from the second run on is held beside what the allocator keeps of the first.
        options.enable_mem_pattern = False
        # Quantised models: the program reads the results of the model's own Q and DQ nodes, not of a fused kernel.
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        return options

    def _providers(self) -> list[Any]:
        here = onnxruntime().get_available_providers()
        return list(self.providers or [(name, dict(own)) for name, own in PREFERRED.items() if name in here])


def _run_of(session: Session, outputs: Mapping[str, str], seeds: Mapping[str, str]) -> Run:
    """Return what runs a session.

    Args:
        session: The session.
        outputs: The tensor of each output of the program.
        seeds: The session's inputs for the program's seeds.
    """
    floats = {i.name: i.type == "tensor(float)" for i in session.get().get_inputs()}
    tensors = list(dict.fromkeys(outputs.values()))

    def run(inputs: Mapping[str, Array]) -> dict[str, Array]:
        feeds = {**inputs, **{own: inputs[name] for name, own in seeds.items()}}
        with _translated_errors():
            # A program computes in single precision, whatever the numbers of the samples are; ids keep their type.
            given = {
                name: np.ascontiguousarray(feeds[name], np.float32 if is_float else None)
                for name, is_float in floats.items()
            }
            results = session.get().run(tensors, given)
        by_tensor = dict(zip(tensors, results, strict=True))
        return {name: by_tensor[tensor] for name, tensor in outputs.items()}

    return run


@contextmanager
def _translated_errors() -> Iterator[None]:
    """Raise onnxruntime's errors as UnsupportedError, with the node that they name."""
    try:
        yield
    except Exception as error:
        if not type(error).__module__.startswith("onnxruntime"):
            raise
        text = " ".join(str(error).split())
        node = re.search(r"[Nn]ode[^'\"]{0,40}['\"]([^'\"]+)['\"]", text) or re.search(r"\(node ([^)]+)\)", text)
        where = f"node {node[1]!r}" if node else "the graph"
        short = "memory" in text.lower() and "alloc" in text.lower()
        raise UnsupportedError(
            f"onnxruntime fails at {where}: {text.split(' : ')[-1][:300]}",
            "explain fewer samples at once: --batch-size 1"
            if short
            else fix(text, "try --engine reference; report the model"),
        ) from error
