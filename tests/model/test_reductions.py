"""Numbers of channels, reduced inside of the program, against numpy on whole records."""

from __future__ import annotations

import numpy as np
import pytest

from onnxlrp.engines.factory import make_engine
from onnxlrp.errors import UsageError
from onnxlrp.graph.outputs.units import start
from onnxlrp.model import Model
from support import small_nets, unit_models
from support.arrays import Array

WORDS = ("sum", "max", "argmax", "abssum")
each_engine = pytest.mark.parametrize("engine", ["reference", "ort", "emulator"])
each_case = pytest.mark.parametrize("case", unit_models.CASES.values(), ids=unit_models.CASES)


def loaded(case: unit_models.Case, engine: str) -> Model:
    try:
        return Model(small_nets.load(case.make()), make_engine(engine))
    except UsageError as error:
        pytest.skip(error.message)


def expected(rows: Array, word: str) -> Array:
    """Of rows [N, C, positions]; the first of equals."""
    if word == "argmax":
        return np.asarray(rows.argmax(axis=2))
    terms = np.abs(rows) if word == "abssum" else rows
    return np.asarray(terms.max(axis=2) if word == "max" else terms.sum(axis=2))


@pytest.mark.few(9)
@each_engine
@each_case
def test_reductions_are_those_of_the_whole(case: unit_models.Case, engine: str) -> None:
    """Behind a ReLU many positions are equal: the first is the place."""
    model = loaded(case, engine)
    x = np.random.default_rng(0).normal(size=(3, *model.graph.inputs[0].shape)).astype(np.float32)
    names, composite, ids = [case.tensor, model.graph.inputs[0].name], model.composite("epsilon"), np.zeros(3, np.int64)
    whole = model.outputs(x, composite, ids=ids, record=names, activations=names)
    found = model.outputs(x, composite, ids=ids, record=names, activations=names, reduce=WORDS, batch_size=2)
    assert not any(key in found for key in whole if "/" in key)
    np.testing.assert_allclose(found["relevance"], whole["relevance"], rtol=1e-4, atol=1e-6)
    for what in ("record", "activation"):
        values = np.moveaxis(whole[f"{what}/{case.tensor}"], 1 + case.axis, 1)
        rows = values.reshape(*values.shape[:2], -1)
        for word in WORDS:
            one = found[f"{what}/{case.tensor}/{word}"]
            assert one.shape == (3, case.channels)
            tolerance = 1e-5 * max(1.0, float(np.abs(rows).sum(axis=2).max()))
            np.testing.assert_allclose(one, expected(rows, word), atol=0 if word == "argmax" else tolerance)
        assert found[f"{what}/{case.tensor}/argmax"].dtype == np.int64


@each_engine
def test_units_are_reduced_to_one_number(engine: str) -> None:
    case = unit_models.CASES["behind a ReLU"]
    model = loaded(case, engine)
    x = np.random.default_rng(0).normal(size=(2, 2, 6, 6)).astype(np.float32)
    words = ["relu3:1", "relu3:1@2,3", "relu3@2,3"]
    whole = model.outputs(x, activations=words)
    found = model.outputs(x, activations=words, reduce=WORDS)
    for word in WORDS:
        channel = whole["activation/relu3:1"].reshape(2, 1, -1)
        np.testing.assert_allclose(found[f"activation/relu3:1/{word}"], expected(channel, word)[:, 0], rtol=1e-5)
        one = whole["activation/relu3:1@2,3"].reshape(2, 1, 1)
        np.testing.assert_allclose(found[f"activation/relu3:1@2,3/{word}"], expected(one, word)[:, 0], rtol=1e-5)
        place = whole["activation/relu3@2,3"][..., None]
        np.testing.assert_allclose(found[f"activation/relu3@2,3/{word}"], expected(place, word), rtol=1e-5)


def test_reductions_with_starts_and_without_a_composite() -> None:
    model = loaded(unit_models.CASES["before a ReLU"], "ort")
    x = np.random.default_rng(0).normal(size=(2, 2, 6, 6)).astype(np.float32)
    starts = [start(model.graph, "relu3:2")]
    found = model.outputs(x, model.composite("gradient"), starts=starts, record=["conv2"], reduce=("abssum",))
    whole = model.outputs(x, model.composite("gradient"), starts=starts, record=["conv2"])["record/conv2"]
    np.testing.assert_allclose(found["record/conv2/abssum"], np.abs(whole).sum(axis=(2, 3)), rtol=1e-5, atol=1e-6)
    assert found["record/conv2/abssum"][:, [0, 1, 3, 4]].max() == 0
    with pytest.raises(UsageError, match="mean"):
        model.outputs(x, activations=["conv2"], reduce=("mean",))
