"""zennit's relevance in float64 (tests/golden, made by make.py there) against ours, for every rule and architecture."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onnxlrp

GOLDEN = Path(__file__).parent
NETS = ("vgg", "resnet", "mobilenet", "squeezenet", "pooling", "signal", "dense", "mixer", "densenet")
COMPOSITES = (
    "epsilon_plus",
    "epsilon_plus_flat",
    "epsilon_alpha2_beta1",
    "epsilon_alpha2_beta1_flat",
    "epsilon_gamma_box",
    "gamma",
    "zplus",
    "epsilon",
    "excitation_backprop",
    "guided_backprop",
    "deconvnet",
    "gradient",
)
OPTIONS = {"epsilon_gamma_box": {"low": -3.0, "high": 3.0}}
CASES = [pytest.param(net, composite, id=f"{net}-{composite}") for net in NETS for composite in COMPOSITES]
# The reference engine computes in float64 as zennit did: 1e-9 of max|R|.
# In float32 we may be as far off as zennit in float32 is, thrice; where zennit is lucky, 1e-5; never more than 1e-4.
FACTOR, FLOOR, CEILING = 3, 1e-5, 1e-4


@cache
def golden(net: Any) -> Any:
    with np.load(GOLDEN / f"{net}.npz") as arrays:
        return dict(arrays)


@cache
def model(net: Any, engine: Any) -> Any:
    return onnxlrp.load(GOLDEN / f"{net}.onnx", engine=engine)


def explain(net: Any, composite: Any, engine: Any) -> Any:
    data, options = golden(net), OPTIONS.get(composite, {})
    return model(net, engine).explain(data["x"], target=data["target"], method=composite, **options)


def distance(ours: Any, theirs: Any) -> Any:
    return np.abs(ours - theirs).max() / np.abs(theirs).max()


@pytest.mark.few(36)
@pytest.mark.parametrize(("net", "composite"), CASES)
def test_reference_engine_is_zennit_in_float64(net: Any, composite: Any) -> None:
    out, data = explain(net, composite, "reference"), golden(net)
    assert distance(out.output, data["logits"]) < 1e-12
    assert distance(out.relevance, data[f"relevance/{composite}"]) < 1e-9


@pytest.mark.few(8)
@pytest.mark.parametrize(("net", "composite"), CASES)
def test_ort_engine_is_as_exact_as_zennit_in_float32(net: Any, composite: Any) -> None:
    out, data = explain(net, composite, "ort"), golden(net)
    allowed = min(max(FACTOR * float(data[f"error/{composite}"]), FLOOR), CEILING)
    assert distance(out.relevance, data[f"relevance/{composite}"]) < allowed
