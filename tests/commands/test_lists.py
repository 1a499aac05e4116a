"""`onnxlrp methods`, `onnxlrp rules` and `onnxlrp operators`."""

from __future__ import annotations

import json
from typing import Any

from onnxlrp.methods.registry import METHODS


def test_lists(run: Any) -> None:
    out, _ = run(0, "methods")
    assert all(name in out for name in METHODS)
    data = json.loads(run(0, "methods", "--json")[0])
    assert data["default"] == "epsilon_plus_flat"
    assert {row["name"] for row in data["methods"]} == set(METHODS)
    out, _ = run(0, "rules")
    assert "gamma(gamma, epsilon)" in out
    assert any(row["name"] == "zbox" for row in json.loads(run(0, "rules", "--json")[0])["rules"])


def test_operators_are_listed_with_those_that_are_read_as_others(run: Any) -> None:
    data = json.loads(run(0, "operators", "--json")[0])["operators"]
    kinds = {row["name"]: row["kind"] for row in data}
    assert len(kinds) == len(data)
    assert {"Conv": "convolution", "Gemm": "dense", "MaxPool": "maxpool", "Relu": "activation"}.items() <= kinds.items()
    assert [kinds[name] for name in ("Split", "QLinearConv", "com.microsoft::BiasGelu")] == [None] * 3
    assert all(row["summary"] for row in data)
    assert "Relu: y" not in run(0, "operators")[0]
