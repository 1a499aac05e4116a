"""LSTM, GRU and RNN with every attribute: scores, LRP by Arras et al. (2017, 2019), gradients, the ledger.

Right values come of numpy step by step in float64 (`support.recurrent_numpy`) and of onnxruntime's session of the file.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import numpy_helper

import onnxlrp
from onnxlrp.engines.cuda.planning.schedule import Scheduler
from onnxlrp.errors import UnsupportedError
from onnxlrp.graph.load import load
from onnxlrp.methods.registry import make_composite
from onnxlrp.program.program import SEED
from support import small_nets
from support.recurrent_models import CLASSES, GATES, NETS, Net

PRODUCTS = ("all", "half", "prop", "abs")


def relevance_of(net: Net, feeds: Any, seeds: Any, engine: str, method: str = "recurrent", **options: Any) -> Any:
    ask = {key: options.pop(key) for key in ("explained", "ledger") if key in options}
    composite = make_composite(method, **options)
    given = {**feeds, SEED: seeds}
    return small_nets.explained(load(net.proto()), composite, given, engine, mode="relevance", **ask)


@pytest.mark.few(6)
@pytest.mark.parametrize("name", NETS)
def test_scores_are_those_of_onnxruntime(name: str) -> None:
    net, feeds = NETS[name], NETS[name].feeds()
    own = onnxruntime.InferenceSession(net.proto().SerializeToString()).run(None, feeds)[0]
    want, _, _ = net.by_numpy(feeds, np.zeros((4, CLASSES)))
    np.testing.assert_allclose(own, want, atol=1e-5)
    given = {key: value for key, value in feeds.items() if key != "x"}
    for engine in ("ort", "reference"):
        found = onnxlrp.load(net.proto(), engine=engine).explain(feeds["x"], 0, "recurrent", given=given)
        np.testing.assert_allclose(found.output, want, atol=1e-5)


@pytest.mark.few(6)
@pytest.mark.parametrize("name", NETS)
def test_relevance_is_that_of_arras(name: str) -> None:
    net, feeds = NETS[name], NETS[name].feeds()
    seeds = np.random.default_rng(2).normal(size=(4, CLASSES))
    _, want, initial = net.by_numpy(feeds, seeds.astype(np.float32))
    for engine, tolerance in (("reference", 1e-9), ("ort", 1e-4)):
        found = relevance_of(net, feeds, seeds.astype(np.float32), engine)["relevance"]
        small_nets.agree(found, want, tolerance)
        for state, expected in zip(net.initials, initial, strict=True):
            found = relevance_of(net, feeds, seeds.astype(np.float32), engine, explained=state)["relevance"]
            small_nets.agree(found, expected, tolerance)


@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize("lengths", [False, True])
def test_shares_of_gates_are_those_of_arras(product: str, lengths: bool) -> None:
    net = Net("LSTM", "bidirectional", lengths=lengths, initial=True)
    feeds, seeds = net.feeds(), np.random.default_rng(2).normal(size=(4, CLASSES)).astype(np.float32)
    _, want, _ = net.by_numpy(feeds, seeds, product=product, epsilon=0.01)
    for engine, tolerance in (("reference", 1e-9), ("ort", 1e-4)):
        found = relevance_of(net, feeds, seeds, engine, product=product, epsilon=0.01)["relevance"]
        small_nets.agree(found, want, tolerance)


@pytest.mark.few(8)
@pytest.mark.parametrize("name", NETS)
def test_gradients_are_finite_differences(name: str) -> None:
    net, single, rng = NETS[name], NETS[name].feeds(), np.random.default_rng(3)
    feeds = {key: value.astype(np.float64) if value.dtype == np.float32 else value for key, value in single.items()}
    seeds = rng.normal(size=(4, CLASSES))
    for explained in ("x", *net.initials):
        found = relevance_of(net, feeds, seeds, "reference", "gradient", explained=explained)["relevance"]
        fast = relevance_of(net, single, seeds.astype(np.float32), "ort", "gradient", explained=explained)["relevance"]
        small_nets.agree(fast, found, 1e-4)
        step = rng.normal(size=found.shape)
        moved = [
            net.by_numpy({**feeds, explained: feeds[explained] + sign * 1e-5 * step}, np.zeros((4, CLASSES)))[0]
            for sign in (1, -1)
        ]
        slope = ((moved[0] - moved[1]) * seeds).sum() / 2e-5
        assert (found * step).sum() == pytest.approx(slope, rel=1e-6, abs=1e-8)


LEDGERS = [*((name, "all") for name in NETS), *((f"{op} bidirectional, lengths", p) for op in GATES for p in PRODUCTS)]


@pytest.mark.few(8)
@pytest.mark.parametrize(("name", "product"), LEDGERS)
def test_the_ledger_closes(name: str, product: str) -> None:
    net = NETS[name]
    feeds = net.feeds()
    given = {key: value for key, value in feeds.items() if key != "x"}
    model = onnxlrp.load(net.proto(), engine="reference")
    e = model.explain(feeds["x"], 1, "recurrent", given=given, product=product, ledger=True)
    assert e.ledger is not None
    for row in e.ledger:
        assert np.abs(row.residual).max() <= 1e-6 * max(1, np.abs(row.scale).max()), row


def test_a_sample_without_steps_has_no_relevance() -> None:
    net = Net("LSTM", "bidirectional", lengths=True)
    feeds = net.feeds()
    feeds["lengths"][1] = 0
    seeds = np.ones((4, CLASSES), np.float32)
    want, heat, _ = net.by_numpy(feeds, seeds)
    own = onnxruntime.InferenceSession(net.proto().SerializeToString()).run(None, feeds)[0]
    np.testing.assert_allclose(own, want, atol=1e-5)
    found = relevance_of(net, feeds, seeds, "ort")["relevance"]
    small_nets.agree(found, heat, 1e-4)
    assert not found[1].any()


@pytest.mark.parametrize("name", ["Affine", "ScaledTanh", "ThresholdedRelu"])
def test_functions_whose_numbers_are_not_stated_are_refused(name: str) -> None:
    """onnxruntime takes 0 for α, ONNX 1 for that of ThresholdedRelu and nothing for the others."""
    with pytest.raises(UnsupportedError, match=f"activation function {name}"):
        load(Net("RNN", functions=(name,)).proto())


def test_a_projection_of_states_is_refused() -> None:
    """torch's dynamo exporter writes an LSTM with proj_size so: more rows of weights than the states have gates."""
    net = Net("LSTM")
    net.weights["W"], net.weights["R"] = (np.zeros((1, 4 * 5, n), np.float32) for n in (net.inputs, net.width))
    net.weights["B"] = np.zeros((1, 8 * 5), np.float32)
    with pytest.raises(UnsupportedError, match="proj_size"):
        load(net.proto())
    made = Net("LSTM").proto()  # or with rows that are cut to the projection, and zeros as wide as the cell
    made.graph.initializer.append(numpy_helper.from_array(np.zeros((1, 1, 5), np.float32), "zero"))
    lstm = next(n for n in made.graph.node if n.op_type == "LSTM")
    lstm.input.extend([*[""] * (6 - len(lstm.input)), "zero"])
    with pytest.raises(UnsupportedError, match="proj_size"):
        load(made)


def test_engines_without_loops_refuse_by_name() -> None:
    program = small_nets.compile(load(NETS["GRU forward"].proto()), make_composite("recurrent"))
    with pytest.raises(UnsupportedError, match="'rnn'") as refused:
        Scheduler(program)
    assert "--engine ort" in refused.value.fix
