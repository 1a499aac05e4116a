"""LXT's relevance in float64 (made by lxt_goldens.py here) against ours: AttnLRP, and CP-LRP with epsilon."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onnxlrp

GOLDEN = Path(__file__).parent
RULES: dict[str, tuple[str, dict[str, Any]]] = {
    "attnlrp": ("attnlrp", {"stabilizer": 1e-9}),
    "cp": ("attention", {"gamma": 0.0, "first_gamma": 0.0, "stabilizer": 1e-9}),
}


@pytest.mark.few(4)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("net", ["vit", "encoder"])
@pytest.mark.parametrize(("engine", "most"), [("reference", 1e-6), ("ort", 1e-3)])
def test_equal_to_lxt(net: str, rule: str, engine: str, most: float) -> None:
    method, options = RULES[rule]
    with np.load(GOLDEN / "lxt.npz") as made:
        x, target, logits, wanted = (made[f"{net}/{key}"] for key in ("x", "target", "logits", rule))
    model = onnxlrp.load(GOLDEN / f"lxt_{net}.onnx", engine=engine)
    # Behind no layer with weights an addition of a constant is preprocessing to us, and passed; LXT shares it.
    rules = [("/Add", "epsilon(1e-9)")] if net == "encoder" else []
    found = model.explain(x, target, method=method, rules=rules, **options)
    np.testing.assert_allclose(found.logit, logits[np.arange(3), target], rtol=1e-5)
    largest = np.abs(wanted).reshape(3, -1).max(axis=1)
    error = np.abs(found.relevance - wanted).reshape(3, -1).max(axis=1) / largest
    assert (error < most).all(), error


@pytest.mark.few(6)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("net", ["gpt2", "llama"])
@pytest.mark.parametrize("exporter", ["legacy", "dynamo"])
@pytest.mark.parametrize(("engine", "most"), [("reference", 1e-6), ("ort", 1e-3)])
def test_decoders_are_equal_to_lxt(net: str, exporter: str, rule: str, engine: str, most: float) -> None:
    """The last token's logit is shared among the tokens; rotation, groups of heads and gates are those of the file."""
    method, options = RULES[rule]
    with np.load(GOLDEN / "lxt.npz") as made:
        ids, target, logits, wanted = (made[f"{net}/{key}"] for key in ("x", "target", "logits", rule))
    model = onnxlrp.load(GOLDEN / f"lxt_{net}_{exporter}.onnx", engine=engine, size={"L": ids.shape[1]})
    found = model.explain(ids, target, method=method, **options)
    np.testing.assert_allclose(found.logit, logits[np.arange(3), target], rtol=1e-5)
    error = np.abs(found.relevance - wanted).max(axis=1) / np.abs(wanted).max(axis=1)
    assert (error < most).all(), error
