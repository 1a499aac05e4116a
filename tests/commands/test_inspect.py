"""`onnxlrp inspect`: the layers and their rules."""

from __future__ import annotations

import json
from typing import Any

from support.command_line import DIGITS, one_layer


def test_inspect(run: Any) -> None:
    out, err = run(0, "inspect", DIGITS, "-m", "epsilon_gamma_box", "--rule", "Gemm=gamma(0.5)")
    assert not err
    for piece in ("input", "float32 [N, 1, 28, 28]", "logits", "[model metadata]", "any", "zbox(low=0", "no rule"):
        assert piece in out
    data = json.loads(run(0, "inspect", DIGITS, "--rule", "Gemm=gamma(0.5)", "--json")[0])
    assert data["batch"] is None
    assert data["preprocessing"]["source"] == "model metadata"
    assert data["inputs"] == [{"name": "image", "dtype": "float32", "shape": [1, 28, 28]}]
    assert data["labels"] == list("0123456789")
    assert not data["without_rule"]
    rules = {row["op"]: row["rule"] for row in data["layers"]}
    assert rules["Gemm"] == "gamma(gamma=0.5)"
    assert rules["Relu"] == "pass"
    assert next(row for row in data["layers"] if row["op"] == "Conv")["rule"] == "flat"


def test_inspect_marks_operators_without_a_rule(run: Any, untaught: str) -> None:
    one_layer(untaught)
    out, _ = run(0, "inspect", "odd.onnx")
    assert "-- NO RULE --" in out
    assert f"--rule '{untaught}=pass'" in out
    assert json.loads(run(0, "inspect", "odd.onnx", "--json")[0])["without_rule"] == ["odd_node"]
    out, _ = run(0, "inspect", "odd.onnx", "--rule", f"{untaught}=pass")
    assert "-- NO RULE --" not in out
    out, _ = run(0, "inspect", "odd.onnx", "--on-unsupported", "pass")
    assert "pass  [--on-unsupported]" in out


def test_inspect_a_model_that_takes_no_picture(run: Any) -> None:
    one_layer("Relu", shape=(16,))
    assert "prep    none:" in run(0, "inspect", "odd.onnx")[0]
