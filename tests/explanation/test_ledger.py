"""The ledger closes: what arrived at a layer is what it passed on and what went into bias, epsilon and gates."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from onnxlrp.composites import Composite
from onnxlrp.explanation import ledger
from onnxlrp.methods.registry import make_composite
from onnxlrp.rules import make
from onnxlrp.rules.lrp import Norm, Pass
from support import small_nets
from support.arrays import Array
from support.conformance import each_engine, prepared

OPTIONS = {"epsilon_gamma_box": {"low": -4.0, "high": 4.0}, "deep_taylor_bounded": {"low": -4.0, "high": 4.0}}


def composite_of(method: str) -> Composite:
    return make_composite(method, **OPTIONS.get(method, {}))


def distributes(composite: Composite) -> bool:
    """Whether every rule conserves relevance, from the logit on: then the whole does."""
    return composite.seed != "one" and all(getattr(rule, "conserves", True) for _, rule in composite.entries)


PROPAGATION = tuple(m for m in small_nets.METHODS if distributes(composite_of(m)))


@cache
def of_method(method: Any, net: Any) -> Any:
    """What a preset enters on the reference engine."""
    return booked(net, composite_of(method))


def booked(net: Any, composite: Any, name: str = "reference", **options: Any) -> tuple[Any, Any]:
    """The program's plan and its outputs."""
    graph = small_nets.graph(net)
    program = small_nets.compile(graph, composite, **{"mode": "top", "ledger": True, **options})
    outputs = prepared(name, small_nets.forward(graph), program)(small_nets.batch(graph, 3))
    return program.notes["ledger"], outputs


def residual(entry: Any, outputs: Any) -> Any:
    """out − in − bias − epsilon − gate of a layer as a share of Σ|R|, each from the program's own outputs."""
    column = {c: outputs[f"ledger/{entry.node}/{c}"].astype(float) for c in entry.columns}
    sinks = sum(column.get(sink, 0.0) for sink in ("bias", "epsilon", "gate"))
    return np.max(np.abs(column["out"] - column["in"] - sinks) / np.maximum(column["scale"], 1e-30))


def closes(entries: Any, outputs: Any, tolerance: Any) -> list[Any]:
    conserving = [entry for entry in entries if entry.conserves]
    for entry in conserving:
        assert residual(entry, outputs) <= tolerance, (entry.node, entry.rule)
    return conserving


@pytest.mark.few(15)
@pytest.mark.parametrize("net", small_nets.NETS)
@pytest.mark.parametrize("method", small_nets.METHODS)
def test_every_layer_balances(method: Any, net: Any) -> None:
    entries, outputs = of_method(method, net)
    assert {entry.node for entry in entries} == {layer.name for layer in small_nets.graph(net).layers}
    assert closes(entries, outputs, 1e-9) or method not in PROPAGATION


def test_all_composites_but_those_with_gradients_conserve() -> None:
    gradients = {"gradient", "guided_backprop", "deconvnet", "excitation_backprop"}
    assert len(PROPAGATION) >= 10
    assert not gradients & set(PROPAGATION)


FLOAT32 = {(method, net) for method in small_nets.METHODS for net in ("everything", "pad")}
FLOAT32 |= {(method, net) for method in ("epsilon_plus_flat", "gamma") for net in small_nets.NETS}


@pytest.mark.few(6)
@pytest.mark.parametrize(("method", "net"), sorted(FLOAT32))
def test_every_layer_balances_in_float32(method: Any, net: Any) -> None:
    closes(*booked(net, composite_of(method), "ort"), 1e-4)


@pytest.mark.few(50)
@pytest.mark.parametrize("net", small_nets.NETS)
@pytest.mark.parametrize("method", PROPAGATION)
def test_all_layers_together_account_for_the_logit(method: Any, net: Any) -> None:
    """Σ relevance + all that was absorbed = the logit (deep Taylor: its positive part)."""
    entries, outputs = of_method(method, net)
    assert all(entry.conserves for entry in entries)
    logit = np.sort(outputs["logits"], axis=1)[:, -1]
    seed = np.maximum(logit, 0) if composite_of(method).seed == "positive logit" else logit
    sinks = [outputs[f"ledger/{e.node}/{c}"] for e in entries for c in e.columns if c in ("bias", "epsilon", "gate")]
    relevance = outputs["relevance"].reshape(3, -1)
    scale = np.abs(relevance).sum(axis=1) + sum(np.abs(sink) for sink in sinks) + np.abs(seed)
    missing = seed - relevance.sum(axis=1) - sum(sinks)
    assert (np.abs(missing) <= 1e-9 * scale).all()


def test_rows_say_the_same() -> None:
    entries, outputs = booked("everything", make_composite("epsilon_plus"))
    rows = ledger.rows(entries, outputs)
    assert [row.op for row in rows] == [entry.op for entry in entries]
    for row, entry in zip(rows, entries, strict=True):
        assert row.error == pytest.approx(residual(entry, outputs), abs=1e-15)
    total = ledger.sums(rows)
    np.testing.assert_allclose(total["bias"], sum(row.bias for row in rows))


@each_engine
def test_every_target_has_its_own_balance(name: str) -> None:
    entries, outputs = booked("everything", make_composite("gamma"), name, targets=2)
    closes(entries, outputs, 1e-9 if name == "reference" else 1e-4)
    assert outputs[f"ledger/{entries[0].node}/out"].shape == (2, 3)


def column(net: Any, rule: Any, op: Any, name: Any, **options: Any) -> Array:
    """One column of the ledger where `rule` is at the layers of one operator, Σ|R| being 1."""
    rest = [(kind, make("epsilon")) for kind in ("convolution", "dense")]
    composite = Composite((("activation", Pass()), ("avgpool", Norm()), (op, make(*rule)), *rest))
    entries, outputs = booked(net, composite, **options)
    values = [outputs[f"ledger/{e.node}/{name}"] / outputs[f"ledger/{e.node}/scale"] for e in entries if e.op == op]
    return np.concatenate([value.ravel() for value in values])


def test_what_is_absorbed_is_named() -> None:
    """A large epsilon absorbs much and says so; relevance that padding or a dead output takes is at the gate."""
    assert np.abs(column("plain", ("epsilon", 5.0), "Gemm", "epsilon")).max() > 0.1
    assert np.abs(column("plain", ("epsilon", 1e-9), "Gemm", "epsilon")).max() < 1e-6
    assert np.abs(column("plain", ("zplus",), "Conv", "bias")).max() > 0.01
    assert "gate" in {c for e in booked("pad", make_composite("epsilon_plus"))[0] if e.op == "Pad" for c in e.columns}


def test_a_ledger_costs_nothing_unless_asked_for() -> None:
    graph = small_nets.graph("plain")
    program = small_nets.compile(graph, make_composite("epsilon_plus"), mode="top")
    assert program.notes["ledger"] == ()
    assert not any(name.startswith("ledger/") for name in program.outputs)
