"""Explainer: forward pass and program as one ONNX model, which the `ort` engine runs and `export` saves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from onnx import TensorProto, helper

from ...program.program import Activation, Array, Program
from .. import Forward
from .emitter import Emitter
from .filters import unshare_filters


class Explainer(NamedTuple):
    """Forward pass and program as one ONNX model.

    Args:
        model: The ONNX model.
        outputs: The tensor of each output of the program.
        seed: The input that chooses the target or holds the relevance; "" without one.
        weights: Large initialisers that the model only names.
    """

    model: Any
    outputs: Mapping[str, str]
    seed: str
    weights: Mapping[str, Array]


def explainer(forward: Forward, program: Program, portable: bool = False) -> Explainer:
    """Emit forward pass and program as one model.

    Args:
        forward: The forward model.
        program: The program; names of its outputs and of the seed stay, unless a tensor of the model has them.
        portable: Whether the model is for other runtimes too: what they refuse or compute wrong is avoided.
    """
    seed = program.seed
    tensors_read = (*program.reads, *([] if seed is None else [seed.tensor]))
    model, weights = (
        forward.light(np.float32, tensors_read) if forward.light else (forward.model(np.float32, tensors_read), {})
    )
    del model.graph.output[:]
    emitter = Emitter(model, program, portable)
    nodes = emitter.nodes
    seed_name = "" if seed is None or seed.mode == "top" else nodes.fresh(_SEEDS[seed.mode], prefix="")
    tensors = emitter.emit(seed_name)
    outputs: dict[str, str] = {}
    declared: set[str] = set()
    for name, index in program.outputs.items():
        step = program.instructions[index]
        if isinstance(step.what, Activation):
            outputs[name] = tensors[name]
        else:
            outputs[name] = nodes.fresh(name, prefix="")
            model.graph.node.append(helper.make_node("Identity", [tensors[name]], [outputs[name]], name=outputs[name]))
        if outputs[name] not in declared:
            declared.add(outputs[name])
            lead: list[Any] = [] if step.constant else [*(_lead(program) if step.targets else []), "N"]
            info = helper.make_tensor_value_info(outputs[name], TensorProto.FLOAT, [*lead, *step.shape])
            model.graph.output.append(info)
    if seed is not None and seed_name:
        shape = () if seed.mode == "index" else next(i.shape for i in program.instructions if i.what is seed)
        kind = TensorProto.INT64 if seed.mode == "index" else TensorProto.FLOAT
        model.graph.input.append(helper.make_tensor_value_info(seed_name, kind, [*_lead(program), "N", *shape]))
    _drop_unused(model.graph)
    if portable:
        unshare_filters(model.graph)
    left = {tensor.name for tensor in model.graph.initializer}
    return Explainer(model, outputs, seed_name, {name: array for name, array in weights.items() if name in left})


def _drop_unused(graph: Any) -> None:
    """Remove initialisers that no node reads: they enlarge the file, and runtimes warn of each."""
    used = {value.name for value in graph.output} | _read_in(graph)
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def _read_in(graph: Any) -> set[str]:
    names = {name for node in graph.node for name in node.input}
    for node in graph.node:
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                names |= _read_in(inner)
    return names


_SEEDS = {"index": "target", "relevance": "seed"}


def _lead(program: Program) -> list[int]:
    return [] if program.targets is None else [program.targets]
