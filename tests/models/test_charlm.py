"""The character model: it reads text by its own vocabulary, and some of its cells count."""

from __future__ import annotations

from typing import Any

import charlm
import numpy as np
import pytest

import onnxlrp
from support.paths import MODELS


@pytest.fixture(scope="module")
def model() -> Any:
    return onnxlrp.load(MODELS / "charlm.onnx")


def test_the_vocabulary_is_that_of_the_file(model: Any) -> None:
    assert tuple(model.vocabulary.words) == charlm.CHARACTERS
    assert model.vocabulary.is_letters
    assert len(model.for_target("top1").labels) == len(charlm.CHARACTERS)
    text = "x[i] = 'é'\n"
    np.testing.assert_array_equal(model.vocabulary.characters(text), charlm.ids(text))


def test_held_out_files_are_no_training_files() -> None:
    held, trained = charlm.files(held_out=True), charlm.files(held_out=False)
    assert not set(held) & set(trained)
    assert len(held) > 20


@pytest.mark.slow
def test_cells_count_brackets_and_know_quotes(model: Any) -> None:
    text = charlm.text(held_out=True, characters=40_000)
    found = {one.name: one for one in model.cells(onnxlrp.Text(text)).tracked}
    assert abs(found["brackets"].value) >= 0.7
    assert found["quotes"].strength >= 0.85
    assert found["brackets"].is_outside
    assert found["quotes"].is_outside
