"""Operators without a rule: how they are named, what --on-unsupported does, and the table of many models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import onnxlrp
from onnxlrp.cli import main
from onnxlrp.errors import UnsupportedError, UsageError
from onnxlrp.layers import LAYERS
from onnxlrp.methods.registry import METHODS as REGISTERED
from onnxlrp.rules.lrp import Epsilon, Pass
from support import small_nets
from support.small_nets import METHODS, Net

X = np.random.default_rng(2).normal(size=(2, 2, 4, 4)).astype(np.float32)
Array = np.ndarray[Any, Any]


def net(*activations: str) -> onnx.ModelProto:
    """Convolution, these operators one after the other, pooling and a dense layer."""
    n = Net(2, 4, 4)
    a = n.conv("x", 2, 3)
    for op in activations:
        a = n.op(op, a, axis=1) if op == "CumSum" else n.op(op, a)
    return n.model(n.dense(n.op("Flatten", n.op("GlobalAveragePool", a)), 3, 4))


@pytest.fixture
def untaught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of Tanh and GlobalAveragePool the table of operators knows nothing."""
    for op in ("Tanh", "GlobalAveragePool"):
        small_nets.unregister(monkeypatch, LAYERS, op)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", X)

    def call(code: int, *words: object) -> tuple[str, str]:
        capsys.readouterr()
        assert main([str(word) for word in words]) == code
        said = capsys.readouterr()
        return said.out, said.err

    return call


def near(actual: Any, wanted: Any) -> None:
    wanted = np.asarray(wanted)
    np.testing.assert_allclose(np.asarray(actual), wanted, atol=1e-6 * np.abs(wanted).max(), rtol=0)


# -- one model


def test_every_layer_without_a_rule_is_named_with_node_and_path(untaught: None) -> None:
    odd = net("Tanh", "Relu", "Tanh")
    odd.graph.node[1].name = "/block/act/Tanh"
    model = onnxlrp.load(odd)
    for method in ("epsilon_plus_flat", "gradient", "excitation_backprop"):
        with pytest.raises(UnsupportedError) as caught:
            model.explain(X, method=method)
        for word in ("Tanh", "/block/act/Tanh", "block.act", "tanh3", "GlobalAveragePool"):
            assert word in caught.value.message
        assert "--rule '/block/act/Tanh=pass'" in caught.value.fix
        assert "--on-unsupported" in caught.value.fix
        assert "-m occlusion" in caught.value.fix
    assert np.isfinite(model.explain(X, method="occlusion", window=1).relevance).all()


def test_pass_by_flag_is_pass_by_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    small_nets.unregister(monkeypatch, LAYERS, "Tanh")
    model = onnxlrp.load(net("Tanh", "Relu"))
    for method in ("epsilon_plus_flat", "zplus"):
        by_rule = model.explain(X, 1, method, rules=[("Tanh", Pass())])
        by_flag = model.explain(X, 1, method, on_unsupported="pass")
        near(by_flag, by_rule)
        assert by_flag.provenance["on_unsupported"] == [{"layer": "tanh1", "op": "Tanh", "rule": "pass"}]
        assert "on_unsupported" not in by_rule.provenance
    with pytest.raises(UnsupportedError, match="Tanh"):
        model.explain(X, 1, on_unsupported="gradient")  # nobody knows its gradient


def test_pass_serves_no_operator_that_changes_the_shape(untaught: None) -> None:
    model = onnxlrp.load(net("Relu"))
    with pytest.raises(UnsupportedError, match="GlobalAveragePool") as caught:
        model.explain(X, on_unsupported="pass")
    assert "--output" in caught.value.fix
    with pytest.raises(UsageError, match=r"(?i)globalaveragepool") as wrong:
        model.explain(X, rules=[("GlobalAveragePool", Pass())])
    assert "-m occlusion" in wrong.value.fix


def test_kinds_that_a_composite_leaves_out_get_the_gradient() -> None:
    model = onnxlrp.load(net("Tanh"))
    entries: list[tuple[Any, Any]] = [("dense", Epsilon()), ("convolution", Epsilon())]
    own = onnxlrp.Composite(entries)
    with pytest.raises(UnsupportedError, match="tanh1") as caught:
        model.explain(X, method=own)
    assert "--on-unsupported gradient" in caught.value.fix
    e = model.explain(X, 1, own, on_unsupported="gradient")
    gradient = onnxlrp.rule("gradient")
    whole = onnxlrp.Composite([*entries, ("activation", gradient), ("avgpool", gradient)])
    near(e, model.explain(X, 1, whole).relevance)
    assert [row["op"] for row in e.provenance["on_unsupported"]] == ["GlobalAveragePool", "Tanh"]
    with pytest.raises(UnsupportedError, match=r"GlobalAveragePool.*pass"):
        model.explain(X, 1, own, on_unsupported="pass")


@pytest.mark.slow
def test_presets_have_a_rule_for_all_that_is_known() -> None:
    """on_unsupported changes nothing where nothing is missing."""
    model = onnxlrp.load(net("Tanh", "Relu"))
    for method in METHODS:
        options: dict[str, Any] = {"low": -4.0, "high": 4.0} if "low" in REGISTERED[method].options else {}
        plain = model.explain(X, 1, method, **options)
        for how in ("gradient", "pass"):
            e = model.explain(X, 1, method, on_unsupported=how, **options)
            np.testing.assert_array_equal(e.relevance, plain.relevance)
            assert "on_unsupported" not in e.provenance
    with pytest.raises(UsageError, match="maybe"):
        model.explain(X, 1, on_unsupported="maybe")


def test_the_command_says_which_layers_it_decided(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    small_nets.unregister(monkeypatch, LAYERS, "Tanh")
    onnx.save(net("Tanh"), "odd.onnx")
    _, err = run(4, "explain", "odd.onnx", "x.npy")
    assert "tanh1" in err
    _, err = run(0, "explain", "odd.onnx", "x.npy", "--on-unsupported", "pass", "--format", "json", "-m", "zplus,gamma")
    assert err.count("has no rule for Tanh 'tanh1': pass, by --on-unsupported") == 2
    run(0, "export", "odd.onnx", "-o", "e.onnx", "--on-unsupported", "pass")
    made = {p.key: p.value for p in onnx.load("e.onnx").metadata_props}
    assert json.loads(made["onnxlrp.explainer"])["on_unsupported"][0]["op"] == "Tanh"
    out, _ = run(0, "inspect", "odd.onnx", "--on-unsupported", "pass")
    assert "pass  [--on-unsupported]" in out


# -- many models


def folder() -> None:
    """A plain model, one with an operator without a rule, one whose output is a map, and files that are no models."""
    Path("zoo/deep").mkdir(parents=True)
    onnx.save(net("Relu"), "zoo/plain.onnx")
    onnx.save(net("Tanh", "Relu", "Tanh"), "zoo/deep/odd.onnx")
    n = Net(2, 4, 4)
    onnx.save(n.model(n.conv("x", 2, 3)), "zoo/map.onnx")
    Path("zoo/broken.onnx").write_bytes(Path("zoo/plain.onnx").read_bytes()[:300])
    Path("zoo/empty|x.onnx").write_bytes(b"")
    Path("zoo/notes.txt").write_text("no model")


def test_a_table_of_many_models(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    small_nets.unregister(monkeypatch, LAYERS, "Tanh")
    folder()
    out, err = run(1, "inspect", "--coverage", "zoo")
    assert not err
    head, ruler, *rows, _, last = out.splitlines()
    assert [cell.strip() for cell in head.strip("|").split("|")] == [
        "file", "opset", "producer", "layers", "without a rule", "refused",
    ]  # fmt: skip
    assert set(ruler) == {"|", "-", " "}
    assert [row.split()[1] for row in rows] == [
        "broken.onnx", "deep/odd.onnx", "empty\\|x.onnx", "map.onnx", "plain.onnx",
    ]  # fmt: skip
    assert "Tanh (2)" in rows[1]
    assert last == "covered 2 of 5 models by auto"
    report = json.loads(run(1, "inspect", "--coverage", "zoo", "--json")[0])
    assert report["covered"] == 2
    assert [r["covered"] for r in report["models"]] == [False] * 3 + [True] * 2
    plain = report["models"][-1]
    assert (plain["opset"], plain["layers"], plain["without_rule"], plain["refused"]) == ("20", 5, [], "")
    assert all(r["refused"] for r in report["models"] if not r["covered"] and r["file"] != "deep/odd.onnx")
    assert report["models"][-2]["layers"] == 1


def test_all_covered_is_0_and_rules_count(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    small_nets.unregister(monkeypatch, LAYERS, "Tanh")
    folder()
    assert "covered 0 of 1" in run(1, "inspect", "--coverage", "zoo/deep")[0]
    assert "covered 1 of 1" in run(0, "inspect", "--coverage", "zoo/deep", "--rule", "Tanh=pass")[0]
    assert "covered 1 of 1" in run(0, "inspect", "--coverage", "zoo/deep", "--on-unsupported", "pass")[0]
    out, _ = run(1, "inspect", "--coverage", "zoo", "-m", "epsilon_gamma_box")
    assert "plain.onnx" in out


def test_a_bug_in_one_file_is_its_row(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder()

    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("odd")

    monkeypatch.setattr("onnxlrp.commands.coverage.compile", broken)
    out, _ = run(1, "inspect", "--coverage", "zoo")
    assert "a bug in onnxlrp: RuntimeError: odd" in out
    assert len(out.splitlines()) == 9


def test_requests_for_a_table_refused(run: Any) -> None:
    Path("none").mkdir()
    assert "no .onnx file" in run(5, "inspect", "--coverage", "none")[1]
    assert "no such folder" in run(3, "inspect", "--coverage", "nowhere")[1]
    assert "are both given" in run(2, "inspect", "x.onnx", "--coverage", "none")[1]
    assert "no model given" in run(2, "inspect")[1]
