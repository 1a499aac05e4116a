"""`onnxlrp methods` and `onnxlrp rules`."""

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
