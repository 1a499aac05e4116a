"""Vocabularies: which words there are, and how texts become ids."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from onnxlrp.errors import InputError, UsageError
from onnxlrp.inputs.text import Vocabulary, find

BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "play", "##ing", "##ed", "the", "un", "##do", ".", "Ann"]


@pytest.mark.parametrize(
    ("words", "text", "expected"),
    [
        (BERT, "[CLS] The playing. [SEP]", [2, 7, 4, 5, 10, 3]),
        (BERT, "undoing Ann ann", [8, 9, 5, 11, 1]),
        (BERT, "[CLS]the", [2, 7]),
        (["<pad>", "a", "b", " "], "ab a", [1, 2, 3, 1]),
        (["<pad>", "a", "b", " "], "<pad>b", [0, 2]),
        (["good", "bad"], "bad good, bad", None),
        (["good", "bad", ","], "bad good, bad", [1, 0, 2, 1]),
    ],
)
def test_lists_of_words(words: list[str], text: str, expected: list[int] | None) -> None:
    vocabulary = Vocabulary(words, "words")
    if expected is None:
        with pytest.raises(InputError, match="is no word of words"):
            vocabulary.encode(text)
    else:
        assert vocabulary.encode(text) == expected


def test_a_word_that_stands_twice_has_its_first_id() -> None:
    assert Vocabulary(["a", "b", "a"], "").ids == {"a": 0, "b": 1}


def test_filling_up_needs_a_padding() -> None:
    assert Vocabulary(["a", "<pad>"], "").fit([0], 3, "it") == [0, 1, 1]
    with pytest.raises(InputError, match="no word of w is a padding"):
        Vocabulary(["a", "b"], "w").fit([0], 3, "it")
    with pytest.raises(InputError, match="4 tokens, the model takes 3"):
        Vocabulary(["a", "<pad>"], "w").fit([0] * 4, 3, "it")


def test_subwords_are_shown_as_what_they_stand_for() -> None:
    assert Vocabulary(["Ġthe", "ĠcafÃ©", "s", "Ċ"], "").shown == (" the", " café", "s", "\n")
    assert Vocabulary(["▁the", "s"], "").shown == (" the", "s")
    assert Vocabulary(["##ing", "ĠX"], "").shown == ("##ing", "ĠX")


TOKENIZER = {
    "version": "1.0",
    "truncation": {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0},
    "padding": None,
    "added_tokens": [
        {"id": 0, "content": "[PAD]", "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
         "special": True},
        {"id": 4, "content": "[END]", "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
         "special": True},
    ],
    "normalizer": {"type": "Lowercase"},
    "pre_tokenizer": {"type": "Whitespace"},
    "post_processor": {
        "type": "TemplateProcessing",
        "single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "[END]", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"[END]": {"id": "[END]", "ids": [4], "tokens": ["[END]"]}},
    },
    "decoder": None,
    "model": {"type": "WordLevel", "vocab": {"[PAD]": 0, "good": 1, "film": 2, "?": 3}, "unk_token": "?"},
}  # fmt: skip


@pytest.fixture
def tokenizer(tmp_path: Path) -> Path:
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(TOKENIZER))
    return path


def test_the_words_of_a_tokenizer_need_no_package(tokenizer: Path) -> None:
    found = find(str(tokenizer), None, {})
    assert [*found.words] == ["[PAD]", "good", "film", "?", "[END]"]
    assert found.padding == 0
    beside = find(None, tokenizer.parent / "model.onnx", {})
    assert (beside.source, [*beside.words]) == ("tokenizer.json", [*found.words])
    above = find(None, tokenizer.parent / "onnx" / "model.onnx", {})
    assert above.source == "tokenizer.json"
    if importlib.util.find_spec("tokenizers") is None:
        with pytest.raises(UsageError, match="needs the package tokenizers") as caught:
            found.encode("good film")
        assert "pip install tokenizers" in caught.value.fix


def test_a_tokenizer_reads_texts(tokenizer: Path) -> None:
    pytest.importorskip("tokenizers")
    assert find(str(tokenizer), None, {}).encode("Good good film") == [1, 1, 2, 4]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("vocab.txt", "[PAD]\ngood\nfilm\n"),
        ("vocab.json", '{"film": 2, "[PAD]": 0, "good": 1}'),
        ("vocab.json", '["[PAD]", "good", "film"]'),
        ("vocab.txt", "\ufeff[PAD]\r\ngood\r\nfilm\r\n"),
    ],
)
def test_files_of_words(tmp_path: Path, name: str, content: str) -> None:
    path = tmp_path / name
    path.write_bytes(content.encode())
    for found in (find(path, None, {}), find(None, tmp_path / "m.onnx", {})):
        assert [*found.words] == ["[PAD]", "good", "film"]


def test_metadata_goes_before_files(tmp_path: Path) -> None:
    (tmp_path / "vocab.txt").write_text("a\nb\n")
    model = tmp_path / "m.onnx"
    assert [*find(None, model, {"onnxlrp.tokens": '["x", "y"]'}).words] == ["x", "y"]
    assert [*find(None, model, {"feature_names": "x,y"}).words] == ["a", "b"]
    assert find(None, tmp_path / "a" / "b" / "m.onnx", {}) is None
    assert [*find(["p", "q"], model, {}).words] == ["p", "q"]


@pytest.mark.parametrize("content", ["{}", "[1]", "{", '{"a": "b"}', '{"model": {"vocab": 3}}', '{"a": -1}', "[]"])
def test_files_without_words(tmp_path: Path, content: str) -> None:
    path = tmp_path / "vocab.json"
    path.write_text(content)
    with pytest.raises(InputError) as caught:
        find(str(path), None, {})
    assert "tokenizer.json" in caught.value.fix
    assert find(None, tmp_path / "m.onnx", {}) is None  # nobody named it
