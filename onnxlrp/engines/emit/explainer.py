"""Explainer: forward pass and program as one ONNX model, which the `ort` engine runs and `export` saves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from onnx import TensorProto, helper

from ...program.program import Activation, Array, Instruction, Program, Seed
from .. import Forward
from .emitter import Emitter
from .filters import unshare_filters


class Explainer(NamedTuple):
    """Forward pass and program as one ONNX model.

    Args:
        model: The ONNX model.
        outputs: The tensor of each output of the program.
        seeds: The inputs that choose the target or hold relevance, by the names of the program's seeds.
        weights: Large initialisers that the model only names.
    """

    model: Any
    outputs: Mapping[str, str]
    seeds: Mapping[str, str]
    weights: Mapping[str, Array]


def explainer(forward: Forward, program: Program, portable: bool = False) -> Explainer:
    """Emit forward pass and program as one model.

    Args:
        forward: The forward model.
        program: The program; names of its outputs and of its seeds stay, unless a tensor of the model has them.
        portable: Whether the model is for other runtimes too: what they refuse or compute wrong is avoided.
    """
    read = program.tensors
    model, weights = forward.light(np.float32, read) if forward.light else (forward.model(np.float32, read), {})
    del model.graph.output[:]
    emitter = Emitter(model, program, portable)
    nodes = emitter.nodes
    given = {name: i for name, i in program.seeds.items() if isinstance(i.what, Seed) and i.what.mode != "top"}
    seeds = {name: nodes.fresh(name or _SEEDS[_mode(i)], prefix="") for name, i in given.items()}
    tensors = emitter.emit(seeds)
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
            axes: list[Any] = [] if step.constant else [*(_lead(program) if step.targets else []), "N"]
            info = helper.make_tensor_value_info(outputs[name], TensorProto.FLOAT, [*axes, *step.shape])
            model.graph.output.append(info)
    for name, step in given.items():
        index = _mode(step) == "index"
        lead: list[Any] = [*(_lead(program) if step.targets else []), "N", *(() if index else step.shape)]
        kind = TensorProto.INT64 if index else TensorProto.FLOAT
        model.graph.input.append(helper.make_tensor_value_info(seeds[name], kind, lead))
    _drop_unused(model.graph)
    if portable:
        unshare_filters(model.graph)
    left = {tensor.name for tensor in model.graph.initializer}
    return Explainer(model, outputs, seeds, {name: array for name, array in weights.items() if name in left})


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


def _mode(step: Instruction) -> str:
    assert isinstance(step.what, Seed)
    return step.what.mode


def _lead(program: Program) -> list[int]:
    return [] if program.targets is None else [program.targets]
