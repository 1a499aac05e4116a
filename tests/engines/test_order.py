"""The order of emitted nodes: what is reduced runs as soon as it is there, so that it need not be kept."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime

from onnxlrp.compile import compile
from onnxlrp.engines.emit.explainer import explainer
from onnxlrp.engines.emit.order import emission, sizes
from onnxlrp.methods.registry import make_composite
from onnxlrp.model.programs import forward_of
from support import small_nets, unit_models


def emitted(**what: Any) -> Any:
    graph = small_nets.load(unit_models.maps())
    return explainer(forward_of(graph), compile(graph, make_composite("epsilon"), **what))


def test_every_instruction_stands_behind_its_operands() -> None:
    graph = small_nets.load(unit_models.maps())
    names = ["conv0", "relu1", "conv2", "relu3"]
    program = compile(graph, make_composite("epsilon"), record=names, activations=names, reduce=("abssum", "argmax"))
    absolute = sizes(program)
    assert len(absolute) == 8 - 2  # of what is behind a ReLU, |a| is a
    order = emission(program, absolute, {})
    place = {n: k for k, n in enumerate(order)}
    assert len(place) == len(order)
    for n in order:
        inputs = (absolute[n],) if n in absolute else program.instructions[n].inputs
        assert all(place[i] < place[n] for i in inputs)
    assert all(n in place for n in program.outputs.values())
    assert all(place[n] < len(order) for n in program.outputs.values())


def test_sizes_take_one_pass() -> None:
    kinds = [node.op_type for node in emitted(record=["conv2"], reduce=("abssum",)).model.graph.node]
    assert kinds.count("Abs") == 1
    assert "Max" not in kinds
    assert "Neg" not in kinds


def test_onnxruntime_reduces_before_it_goes_on(tmp_path: Any) -> None:
    """In the order in which onnxruntime runs nodes, a layer is reduced before what lies behind it is run."""
    import json

    made = emitted(record=["conv0", "conv2"], activations=["conv0", "conv2"], reduce=("sum",))
    options = onnxruntime.SessionOptions()
    options.enable_profiling, options.log_severity_level = True, 4
    options.profile_file_prefix = str(tmp_path / "run")
    session = onnxruntime.InferenceSession(made.model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    session.run(None, {"x": np.zeros((1, 2, 6, 6), np.float32), "target": np.zeros(1, np.int64)})
    with open(session.end_profiling(), encoding="utf-8") as file:
        ran = [event["name"] for event in json.load(file) if event["name"].endswith("_kernel_time")]

    def last(text: str) -> int:
        return max(n for n, name in enumerate(ran) if text in name)

    def first(text: str) -> int:
        return min(n for n, name in enumerate(ran) if text in name)

    assert last("activation/conv0/") < first("gemm6")
    assert last("record/conv2/") < first("lrp/conv0/epsilon")
