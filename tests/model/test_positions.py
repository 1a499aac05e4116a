"""The relevance of position embeddings: against sums that numpy computes, and against the ledger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxlrp
from onnxlrp.cli import main
from onnxlrp.errors import UnsupportedError, UsageError
from onnxlrp.methods.registry import composites, make_composite
from support.attention_models import GRID, ROWS, WIDTH, Transformer
from support.tiny_models import node

CLASSES = 3


def linear(before: bool) -> tuple[Any, dict[str, Any]]:
    """Logits Σ_t w_t · (x_t + p_t) over patches [2 x 3] and a class token, added before it or behind it."""
    rng = np.random.default_rng(0)
    count = 6 + (not before)
    w = {
        "patch": rng.normal(size=(WIDTH, 3, 4, 4)),
        "class": rng.normal(size=(1, 1, WIDTH)),
        "places": rng.normal(size=(1, count, WIDTH)),
        "head": rng.normal(size=(7 * WIDTH, CLASSES)),
    }
    nodes = [
        node("Conv", ["x", "patch"], ["c"], strides=[4, 4]),
        node("Reshape", ["c", "rows"], ["r"]),
        node("Transpose", ["r"], ["t"], perm=[0, 2, 1]),
        node("Shape", ["t"], ["n"], start=0, end=1),
        node("Concat", ["n", "one"], ["shape"], axis=0),
        node("Expand", ["class", "shape"], ["token"]),
    ]
    if before:
        nodes += [node("Add", ["t", "places"], ["z"], name="add"), node("Concat", ["token", "z"], ["all"], axis=1)]
    else:
        nodes += [node("Concat", ["token", "t"], ["z"], axis=1), node("Add", ["z", "places"], ["all"], name="add")]
    nodes += [node("Reshape", ["all", "flat"], ["f"]), node("MatMul", ["f", "head"], ["y"])]
    held = [numpy_helper.from_array(v.astype(np.float32), name) for name, v in w.items()]
    ints = {"rows": [0, WIDTH, -1], "one": [1, WIDTH], "flat": [0, 7 * WIDTH]}
    held += [numpy_helper.from_array(np.array(v), name) for name, v in ints.items()]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 12])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", CLASSES])
    graph = helper.make_graph(nodes, "g", [x], [y], held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), w


@pytest.mark.parametrize("before", [True, False])
def test_of_a_linear_model_it_is_the_positions_times_their_weights(before: bool) -> None:
    proto, w = linear(before)
    x = np.random.default_rng(1).normal(size=(2, 3, 8, 12)).astype(np.float32)
    model = onnxlrp.load(proto)
    how: dict[str, Any] = {"method": "epsilon", "rules": [("position", "epsilon(1e-9)")], "positions": True}
    found = model.explain(x, 1, **how)
    weights = w["head"][:, 1].reshape(7, WIDTH)
    own = (w["places"][0] * weights[-len(w["places"][0]) :]).sum(axis=1)  # of each token
    blocks = found.relevance.reshape(2, 3, GRID[0], 4, GRID[1], 4)
    np.testing.assert_allclose(blocks.sum(axis=(1, 3, 5)).reshape(2, 6), np.stack([own[-6:]] * 2), rtol=1e-3, atol=1e-4)
    flat = blocks.transpose(0, 2, 4, 1, 3, 5).reshape(2, 6, 48)  # even over the pixels of a patch
    np.testing.assert_allclose(flat, np.repeat(flat[..., :1], 48, axis=2), rtol=1e-6)
    np.testing.assert_allclose(found.notes["share of positions"], own.sum() / found.logit, rtol=1e-3)
    if before:
        assert "share of the class token" not in found.notes
    else:
        token = ((w["class"][0, 0] + w["places"][0, 0]) * weights[0]).sum()
        np.testing.assert_allclose(found.notes["share of the class token"], token / found.logit, rtol=1e-3)
    several = model.explain(x, targets=[1, 0], **how)
    np.testing.assert_allclose(several.relevance[0], found.relevance, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(several.notes["share of positions"][0], found.notes["share of positions"], rtol=1e-4)


@pytest.mark.parametrize("ids", [True, False])
def test_the_ledger_has_the_same_sum(ids: bool) -> None:
    made = Transformer(ids=ids)
    rng = np.random.default_rng(2)
    x: Any = rng.integers(ROWS, size=(2, 5)) if ids else rng.normal(size=(2, 3, 8, 12)).astype(np.float32)
    model = onnxlrp.load(made.proto(), engine="reference")
    found = model.explain(x, 1, positions=True, ledger=True)
    row = next(row for row in found.ledger if row.op == "Add" and np.any(row.bias))
    np.testing.assert_allclose(found.notes["share of positions"] * found.logit, row.bias, rtol=1e-5)
    if ids:  # every token is a place
        np.testing.assert_allclose(found.total, row.bias, rtol=1e-5)
        plain = model.explain(x, 1)
        np.testing.assert_allclose(found.total + plain.total, row.arrived, rtol=1e-3)


def test_refused_where_positions_have_no_relevance_or_there_are_none() -> None:
    model = onnxlrp.load(Transformer().proto())
    x = np.zeros((1, 3, 8, 12), np.float32)
    with pytest.raises(UsageError, match="gives positions no relevance") as caught:
        model.explain(x, 0, method="epsilon_plus_flat", positions=True)
    assert "position=epsilon" in caught.value.fix
    found = model.explain(x, 0, method="epsilon_plus_flat", positions=True, rules={"position": "epsilon"})
    assert found.relevance.shape == x.shape
    from support.small_nets import NETS

    with pytest.raises(UnsupportedError, match="adds no position embeddings"):
        onnxlrp.load(NETS["plain"]()).explain(np.zeros((1, 2, 5, 5), np.float32), 0, positions=True)
    with pytest.raises(UsageError, match="positions") as caught:
        model.explain(x, 0, method="occlusion", positions=True)
    assert caught.value.fix.endswith("such as attention")


@pytest.mark.few(12)
@pytest.mark.parametrize("ids", [True, False])
@pytest.mark.parametrize("method", [name for name in composites() if not name.startswith("pattern")])
def test_composites_of_gradients_have_no_share_whatever_their_rules(method: str, ids: bool) -> None:
    made = Transformer(ids=ids)
    rng = np.random.default_rng(2)
    x: Any = rng.integers(ROWS, size=(1, 5)) if ids else rng.normal(size=(1, 3, 8, 12)).astype(np.float32)
    model = onnxlrp.load(made.proto(), engine="reference")
    rules = {"position": "epsilon", "first": "epsilon"}  # zBox would need bounds
    how: dict[str, Any] = {"method": method, "rules": rules, "positions": True}
    if make_composite(method).seed == "one":
        with pytest.raises(UsageError, match="gives gradients") as caught:
            model.explain(x, **how)
        assert caught.value.fix == "take -m attention"
    else:
        found = model.explain(x, ledger=True, **how)
        assert found.logit > 0  # deep Taylor explains no other
        row = next(row for row in found.ledger if row.op == "Add" and np.any(row.bias))
        np.testing.assert_allclose(found.notes["share of positions"] * found.logit, row.bias, rtol=1e-5)


def test_the_command_says_the_shares_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import onnx

    onnx.save(linear(before=False)[0], tmp_path / "m.onnx")
    np.save(tmp_path / "x.npy", np.random.default_rng(1).normal(size=(3, 8, 12)).astype(np.float32))
    words = ["explain", str(tmp_path / "m.onnx"), str(tmp_path / "x.npy"), "--positions", "-m", "attention"]
    assert main([*words, "-o", str(tmp_path / "p.png")]) == 0
    said = capsys.readouterr().out
    assert "positions " in said
    assert "class token " in said
    assert (tmp_path / "p.png").stat().st_size > 0
