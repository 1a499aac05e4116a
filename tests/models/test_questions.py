"""The encoder that answers questions: relevance is on the word that answers, and none on what is masked."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import questions

import onnxlrp
from support.paths import MODELS


@pytest.fixture(scope="module")
def model() -> Any:
    return onnxlrp.load(MODELS / "questions.onnx")


@pytest.fixture(scope="module")
def held_out() -> Any:
    return questions.texts(range(questions.HELD_OUT, questions.HELD_OUT + 200))


# Without attention_flat: what flat leaves at an embedding is not in proportion to it, and a normalisation is before it.
@pytest.mark.parametrize("method", ["auto", "attention_flat", "attnlrp", "epsilon"])
def test_the_strongest_token_is_the_answer(model: Any, held_out: Any, method: str) -> None:
    x, classes, places = held_out
    found = model.explain(x, method=method)
    assert (found.target == classes).mean() > 0.99
    assert (found.relevance.argmax(axis=1) == places).mean() >= 0.95
    assert not found.relevance[x == questions.PAD].any()  # masked: no value of it arrives


def test_words_are_those_of_the_metadata(model: Any, held_out: Any) -> None:
    words, label, place = questions.sentence(questions.HELD_OUT)
    text = onnxlrp.Text(" ".join(words))
    np.testing.assert_array_equal(model.read(text).values[0], questions.ids(words))
    found = model.explain(text)
    assert found.title().startswith(questions.COLOURS[label])
    assert questions.WORDS[model.read(text).values[0, found.relevance[0].argmax()]] == words[place]


def test_the_default_is_attention_and_says_so(model: Any) -> None:
    assert model.default_method.name == "attention"


def test_positions_are_booked(model: Any, held_out: Any) -> None:
    """What the logit owes to positions and biases is absorbed: ΣR and the ledger's sinks are the logit."""
    found = model.explain(held_out[0][:20], ledger=True)
    assert all(row.error < 1e-4 for row in found.ledger)


def test_a_mask_that_is_made_of_ids_makes_no_first_layer(model: Any) -> None:
    """It leads to the product behind the softmax: the dense layer there reads values, not pixels."""
    assert not any(matched.first for _, matched, _ in model.layers(model.composite("attention_flat")))
