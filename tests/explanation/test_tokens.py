"""The view of tokens: words with their relevance, in records, pages and figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onnxlrp
from onnxlrp.errors import UnsupportedError
from onnxlrp.explanation import Explanation
from onnxlrp.explanation.tokens import Token, colors, page, tokens
from onnxlrp.inputs import decide
from onnxlrp.pictures.colors import is_dark
from support.token_models import Bag

WORDS = ["[PAD]", "the", "<b>film</b>", "was", "good", "bad", "?"]
IDS = np.array([[1, 2, 3, 4, 0], [1, 2, 3, 5, 0]])


@pytest.fixture(scope="module")
def explained() -> Any:
    return onnxlrp.load(Bag(tokens=json.dumps(WORDS)).file).explain(IDS, 1, method="epsilon")


def test_tokens_have_word_id_and_relevance(explained: Any) -> None:
    found = tokens(explained, 1)
    assert [token.text for token in found] == ["the", "<b>film</b>", "was", "bad", "[PAD]"]
    assert [token.id for token in found] == [1, 2, 3, 5, 0]
    np.testing.assert_allclose([token.relevance for token in found], explained.relevance[1])


def test_ids_stand_where_there_are_no_words() -> None:
    found = onnxlrp.load(Bag().file).explain(IDS, targets=[0, 1], method="epsilon")
    assert [token.text for token in tokens(found, 0, 1)] == ["1", "2", "3", "4", "0"]
    np.testing.assert_allclose([token.relevance for token in tokens(found, 0, 1)], found.relevance[1, 0])


def test_embeddings_have_places() -> None:
    kind = decide((3, 2), "float32", word="tokens:NLC")
    made = Explanation(np.array([[[1, 2], [3, 4], [0, 0]]]), np.zeros((1, 2)), np.array([0]), kind=kind)
    assert tokens(made) == [Token(None, "#0", 3), Token(None, "#1", 7), Token(None, "#2", 0)]


def test_a_record_lists_tokens(explained: Any) -> None:
    found = json.loads(explained.to_json())["samples"][0]["targets"][0]["tokens"]
    assert found[3]["text"] == "good"
    assert found[3]["id"] == 4
    assert found[3]["relevance"] == pytest.approx(float(explained.relevance[0, 3]))


def test_a_page_escapes_words_and_colours_them(explained: Any, tmp_path: Path) -> None:
    (path,) = explained.save(tmp_path / "words.html")
    text = path.read_text(encoding="utf-8")
    assert "<b>film" not in text
    assert "&lt;b&gt;film" in text
    assert text.count("<span") == 10
    red, green, blue = colors(tokens(explained, 0), "RdBu_r", 99.5)[3]
    assert f"background:rgb({red},{green},{blue})" in text
    assert [p.name for p in explained.save(tmp_path / "{stem}.html")] == ["array.0.html", "array.1.html"]


def test_colours_follow_signs() -> None:
    found = [Token(0, "a", 1.0), Token(1, "b", -1.0), Token(2, "c", 0.0)]
    up, down, none = colors(found, "RdBu_r", 100)
    assert up[0] > up[2]
    assert down[2] > down[0]
    assert min(none) > 240
    assert (is_dark((0, 0, 0)), is_dark((255, 255, 255))) == (True, False)


def test_a_page_is_of_tokens_alone() -> None:
    found = onnxlrp.load("models/digits.onnx").explain(np.zeros((1, 1, 28, 28), np.float32))
    with pytest.raises(UnsupportedError, match="html shows tokens"):
        page(found)
