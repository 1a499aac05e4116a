"""What all methods promise that hide parts of the input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from onnxlrp.errors import UnsupportedError, UsageError
from onnxlrp.methods.registry import make
from support.planted import inside, planted, unruled
from support.problems import explain, model, problem
from support.small_nets import Net

FORWARD: dict[str, dict[str, Any]] = {
    "occlusion": {"window": 4, "stride": 1},
    "rise": {"samples": 200, "cells": 8, "centred": True},
    "lime": {"samples": 200, "segments": "grid", "features": 16, "baseline": "zero"},
    "kernel_shap": {"samples": 200, "segments": "grid", "features": 16},
}
ALL = {**FORWARD, "meaningful_perturbation": {"steps": 12, "cells": 4}}


def heat(found: Any) -> Any:
    return found.relevance.sum(axis=1)


@pytest.mark.parametrize("name", FORWARD)
def test_relevance_lies_where_the_model_reads(name: str) -> None:
    found = heat(explain(name, planted(), **{"baseline": "black", **FORWARD[name]}))[0]
    within = inside()
    assert found[within].mean() > 5 * np.abs(found[~within]).mean()
    assert np.unravel_index(found.argmax(), found.shape) in list(zip(*np.nonzero(within), strict=True))


@pytest.mark.parametrize("name", ["lime", "kernel_shap"])
def test_segments_that_are_not_read_have_nothing(name: str) -> None:
    """The squares of 4 x 4 are read whole or not at all. A ridge leaves a trace on the others, and no more."""
    options = {**FORWARD[name], "baseline": "black", "score": "logit"}
    found = heat(explain(name, planted(), **options))[0]
    assert np.abs(found[~inside()]).max() < (1e-2 if name == "lime" else 1e-9) * found[inside()].min()


@pytest.mark.parametrize("name", FORWARD)
def test_operators_without_a_rule_do_not_matter(name: str) -> None:
    p = problem(unruled(), 1)
    p.x[:], p.ids[:] = 1.0, 0
    with pytest.raises(UnsupportedError):
        p.propagate(p.composite("epsilon_plus"), p.x, np.arange(1))
    found = heat(explain(name, p, **{**FORWARD[name], "baseline": "zero", "score": "logit"}))[0]
    assert found[inside()].mean() > 3 * np.abs(found[~inside()]).mean()


@pytest.mark.parametrize("name", ALL)
def test_a_seed_makes_it_repeatable_whatever_the_batches_are(name: str) -> None:
    first = explain(name, problem(batch_size=7), **ALL[name]).relevance
    np.testing.assert_allclose(explain(name, problem(batch_size=1), **ALL[name]).relevance, first, rtol=1e-6, atol=1e-9)
    assert np.isfinite(first).all()
    assert np.abs(first).max() > 0


@pytest.mark.parametrize("name", sorted(set(ALL) - {"occlusion"}))
def test_another_seed_is_another_draw(name: Any) -> None:
    first, second = (explain(name, problem(), **ALL[name], seed=seed).relevance for seed in (0, 1))
    assert not np.allclose(first, second)


@pytest.mark.parametrize("name", ALL)
def test_a_sample_is_explained_as_if_it_were_alone(name: str) -> None:
    both = problem(samples=2)
    alone = problem(samples=2)
    object.__setattr__(alone, "x", both.x[1:])
    object.__setattr__(alone, "ids", both.ids[1:])
    options = {**ALL[name], **({"reference": "mean"} if name.startswith("meaningful") else {"baseline": "mean"})}
    expected = explain(name, both, **options).relevance[1:]
    np.testing.assert_allclose(explain(name, alone, **options).relevance, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", ALL)
def test_what_is_done_when_the_user_stops_is_kept(name: str) -> None:
    seen = []

    def stop(done: Any, total: Any) -> Any:
        seen.append((done, total))
        return len(seen) < 3

    found = explain(name, problem(batch_size=8, progress=stop), **{**ALL[name], "seed": 0})
    done = 3 if name.startswith("meaningful") else 12
    assert seen[-1][0] == 2 * done
    assert np.isfinite(found.relevance).all()
    assert np.abs(found.relevance).max() > 0
    key = {"occlusion": "windows", "kernel_shap": "coalitions", "meaningful_perturbation": "steps"}.get(name, "samples")
    assert found.notes[key].startswith(f"{done} of ")


@pytest.mark.parametrize("name", FORWARD)
def test_probabilities_of_separate_classes_are_sigmoids(name: str) -> None:
    """A model that ends in a Sigmoid is asked for it, and not for a softmax over labels that do not exclude another."""

    def build(n: Net) -> Any:
        return n.op("Sigmoid", n.dense(n.op("Flatten", "x"), 2 * 64, 3))

    p = problem(model(build, 2, 8, 8))
    from onnxlrp.methods.masks import scores

    found = scores(p, p.x, "probability")[0]
    np.testing.assert_allclose(found, 1 / (1 + np.exp(-p.scores(p.x, np.arange(2)))), rtol=1e-9)
    outputs = p.model.outputs(p.x)["scores"]
    np.testing.assert_allclose(found, outputs[np.arange(2), p.ids], rtol=1e-9)
    assert np.isfinite(explain(name, p, **FORWARD[name]).relevance).all()


@pytest.mark.parametrize("name", FORWARD)
def test_vectors_and_sequences(name: str) -> None:
    """A vector's third value alone counts; a sequence's second row."""

    def reads(n: Net, at: Any, *shape: Any) -> Any:
        weight = np.zeros((2, *shape))
        weight[0][at] = 3
        return n.op("Gemm", n.op("Flatten", "x"), weight.reshape(2, -1), np.zeros(2), transB=1)

    options = {"samples": 300} if name != "occlusion" else {}
    p = problem(model(lambda n: reads(n, 2, 6), 6), 1)
    p.x[:], p.ids[:] = 1.0, 0
    found = explain(name, p, **options, score="logit").relevance[0]
    assert found.shape == (6,)
    assert found.argmax() == 2
    p = problem(model(lambda n: reads(n, 1, 4, 3), 4, 3), 1)
    p.x[:], p.ids[:] = 1.0, 0
    found = explain(name, p, **options, score="logit").relevance[0]
    assert found.shape == (4, 3)
    assert found.sum(axis=1).argmax() == 1


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("occlusion", {"window": -1}),
        ("occlusion", {"stride": -1}),
        ("occlusion", {"score": "chance"}),
        ("rise", {"samples": 0}),
        ("rise", {"samples": 10.5}),
        ("rise", {"samples": "many"}),
        ("rise", {"p1": 1.0}),
        ("rise", {"cells": -2}),
        ("lime", {"width": 0}),
        ("lime", {"alpha": -1}),
        ("lime", {"samples": 1}),
        ("kernel_shap", {"samples": 0}),
        ("kernel_shap", {"features": 0}),
        ("meaningful_perturbation", {"game": "deletoin"}),
        ("meaningful_perturbation", {"steps": 0}),
    ],
)
def test_bad_options_are_refused_with_the_fix(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as caught:
        make(name, **options)
    assert caught.value.fix


@pytest.mark.parametrize(
    ("name", "option"), [(n, "baseline") for n in FORWARD] + [("meaningful_perturbation", "reference")]
)
def test_an_unknown_baseline_is_refused(name: Any, option: Any) -> None:
    with pytest.raises(UsageError, match="baseline"):
        explain(name, **{**ALL[name], option: "blank"})
