"""Random valid graphs are explained rightly, or refused by name (support/random_graphs, support/graph_judge).

`fuzz/run.py` judges many more, by their seeds.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import onnxlrp
from support import graph_judge as judge
from support import graph_run as run
from support.random_graphs import random_model

QUICK, ALL = 15, 200


@pytest.mark.parametrize(
    "seed", [pytest.param(n, marks=() if n < QUICK else pytest.mark.slow, id=str(n)) for n in range(ALL)]
)
def test_a_random_graph(seed: int) -> None:
    outcome = judge.judge(random_model(seed))
    assert outcome == "explained" or outcome.startswith("refused: ")


def test_the_judge_finds_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """Scores that are not the file's, and a gradient that is a tenth too large."""
    made = next(one for one in map(random_model, range(50)) if not one.quantized and not one.given)
    reference = onnxlrp.load(made.model, engine="reference")
    slope = reference.explain(made.x, target=1, method="gradient").relevance
    with pytest.raises(AssertionError, match="finite differences"):
        judge.finite_differences(reference, made.x, slope * 1.1)
    right = judge.untouched
    monkeypatch.setattr(judge, "untouched", lambda *args: right(*args) * 1.01)
    with pytest.raises(AssertionError, match="scores"):
        judge.judge(made)


def test_a_run_goes_on_where_it_was_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(run, "random_model", asked.append)
    monkeypatch.setattr(run.graph_judge, "judge", lambda made, export: "refused: 'a' has 3 of them")
    monkeypatch.setattr(run, "EVERY", 2)
    path = tmp_path / "fuzz.json"
    for count in (3, 5):
        assert run.judge_many(count, 10, path) == 0
    assert asked == [10, 11, 12, 13, 14]
    assert json.loads(path.read_text(encoding="utf-8"))["outcomes"] == {"refused: … has # of them": 5}
