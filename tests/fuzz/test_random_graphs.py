"""Random valid graphs are explained rightly, or refused by name (generator.py, judge.py; run.py for many more)."""

from __future__ import annotations

import pytest

import onnxlrp
from support import graph_judge as judge
from support.random_graphs import random_model

QUICK, ALL = 30, 200


@pytest.mark.parametrize(
    "seed", [pytest.param(n, marks=() if n < QUICK else pytest.mark.slow, id=str(n)) for n in range(ALL)]
)
def test_a_random_graph(seed: int) -> None:
    outcome = judge.judge(*random_model(seed))
    assert outcome == "explained" or outcome.startswith("refused: ")


def test_the_judge_finds_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores that are not the file's, and a gradient that is a tenth too large."""
    model, x, rounded = next(made for made in map(random_model, range(50)) if not made[2])
    reference = onnxlrp.load(model, engine="reference")
    slope = reference.explain(x, target=1, method="gradient").relevance
    with pytest.raises(AssertionError, match="finite differences"):
        judge.finite_differences(reference, x, slope * 1.1)
    right = judge.untouched
    monkeypatch.setattr(judge, "untouched", lambda *args: right(*args) * 1.01)
    with pytest.raises(AssertionError, match="scores"):
        judge.judge(model, x, rounded)
