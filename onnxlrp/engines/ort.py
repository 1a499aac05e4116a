"""onnxruntime as the engine: forward and program emitted as one graph, which is also what `export` saves."""

from __future__ import annotations

import importlib.util
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import UnsupportedError, UsageError
from ..program.program import Activation, Array, Program
from . import Forward, Run
from .providers import CUDA, fix, preload
from .weights import hand_over

log = logging.getLogger("onnxlrp")

# Of all that a build may bring: others (TensorRT, CoreML) are asked for by name.
# TF32 in the forward pass alone would move heatmaps by 5 % (epsilon): it is not the default that it is elsewhere.
PREFERRED: dict[str, dict[str, str]] = {"CUDAExecutionProvider": {"use_tf32": "0"}, "CPUExecutionProvider": {}}


class Ort:
    """The default without a GPU of our own kernels' kind; `providers` as onnxruntime takes them."""

    name = "ort"

    def __init__(self, providers: Sequence[Any] | None = None, options: Any = None) -> None:
        if importlib.util.find_spec("onnxruntime") is None:
            raise UsageError(
                "no onnxruntime is installed",
                'pip install "onnxlrp[cpu]", or pip install "onnxlrp[cuda]" on a machine with an NVIDIA GPU',
            )
        self.providers, self.options = providers, options

    def prepare(self, forward: Forward, program: Program) -> Run:
        """A session over the emitted graph."""
        import onnxruntime

        # Options that are somebody else's stay as they are: they would keep the weights.
        made = explainer(forward if self.options is None else replace(forward, light=None), program)
        options = self.options or onnxruntime.SessionOptions()
        options.log_severity_level = 3
        if self.options is None:
            # Quantised models: what the program reads is what the model's own Q and DQ give, not a fused kernel's.
            options.add_session_config_entry("session.disable_quant_qdq", "1")
        preload()
        here = onnxruntime.get_available_providers()
        providers = list(self.providers or [(name, dict(own)) for name, own in PREFERRED.items() if name in here])
        held = hand_over(options, made.weights)
        with _named():
            session = onnxruntime.InferenceSession(made.model.SerializeToString(), options, providers=providers)
        if CUDA in str(providers) and CUDA not in session.get_providers():
            log.info("onnxruntime cannot load its CUDA provider: the CPU runs it all (onnxlrp doctor says why)")
        wanted = [i.name for i in session.get_inputs()]
        outputs, seed = dict(made.outputs), made.seed
        tensors = list(dict.fromkeys(outputs.values()))
        owner = session, held  # the session reads these arrays, and does not keep them
        del made, session, held

        def run(inputs: Mapping[str, Array]) -> dict[str, Array]:
            given = {**inputs, seed: inputs.get("target", inputs.get("relevance"))}
            with _named():
                results = owner[0].run(tensors, {name: np.ascontiguousarray(given[name]) for name in wanted})
            by_tensor = dict(zip(tensors, results, strict=True))
            return {name: by_tensor[tensor] for name, tensor in outputs.items()}

        return run


@contextmanager
def _named() -> Iterator[None]:
    """onnxruntime's errors as ours, with the node that they are about."""
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


@dataclass(frozen=True)
class Explainer:
    """Forward and program as one ONNX model; the tensors of the outputs; the input that is the seed, or "".

    `weights` are large initialisers that the model only names.
    """

    model: Any
    outputs: Mapping[str, str]
    seed: str
    weights: Mapping[str, Array]


def explainer(forward: Forward, program: Program) -> Explainer:
    """Emit forward and program; outputs and the seed keep their names unless a tensor of the model has them."""
    from onnx import TensorProto, helper

    from .emit import Emitter

    seed = program.seed
    tensors_read = (*program.reads, *([] if seed is None else [seed.tensor]))
    model, weights = (
        forward.light(np.float32, tensors_read) if forward.light else (forward.model(np.float32, tensors_read), {})
    )
    del model.graph.output[:]
    emitter = Emitter(model, program)
    seed_name = "" if seed is None or seed.mode == "top" else emitter.fresh(_SEEDS[seed.mode], prefix="")
    tensors = emitter.emit(seed_name)
    outputs: dict[str, str] = {}
    for name, index in program.outputs.items():
        step = program.instructions[index]
        if isinstance(step.what, Activation):
            outputs[name] = tensors[name]
        else:
            outputs[name] = emitter.fresh(name, prefix="")
            model.graph.node.append(helper.make_node("Identity", [tensors[name]], [outputs[name]], name=outputs[name]))
        if list(outputs.values()).count(outputs[name]) == 1:
            lead: list[Any] = [] if step.constant else [*(_lead(program) if step.targets else []), "N"]
            info = helper.make_tensor_value_info(outputs[name], TensorProto.FLOAT, [*lead, *step.shape])
            model.graph.output.append(info)
    if seed is not None and seed_name:
        shape = () if seed.mode == "index" else next(i.shape for i in program.instructions if i.what is seed)
        kind = TensorProto.INT64 if seed.mode == "index" else TensorProto.FLOAT
        model.graph.input.append(helper.make_tensor_value_info(seed_name, kind, [*_lead(program), "N", *shape]))
    _drop_unused(model.graph)
    left = {tensor.name for tensor in model.graph.initializer}
    return Explainer(model, outputs, seed_name, {name: array for name, array in weights.items() if name in left})


def _drop_unused(graph: Any) -> None:
    """Constants that folding left without a reader: a runtime warns of each, and the file is larger for them."""
    used = {value.name for value in graph.output} | _read_in(graph)
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _read_in(graph: Any) -> set[str]:
    names = {name for node in graph.node for name in node.input}
    for node in graph.node:
        for attribute in node.attribute:
            inner: list[Any] = [attribute.g, *attribute.graphs]
            names = names.union(*map(_read_in, inner))
    return names


_SEEDS = {"index": "target", "relevance": "seed"}


def _lead(program: Program) -> list[int]:
    return [] if program.targets is None else [program.targets]
