"""Models that read characters: a file is one text, classes are characters, and pictures keep the lines."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onnxlrp
from onnxlrp.cli import main
from onnxlrp.errors import InputError
from onnxlrp.explanation.targets import parse, resolve
from onnxlrp.inputs.text import Vocabulary
from onnxlrp.pictures.letters import letters, lines
from support.paths import MODELS

CODE = 'x = [1]\n    f("A'


@pytest.fixture(scope="module")
def charlm() -> Any:
    return onnxlrp.load(MODELS / "charlm.onnx")


@pytest.fixture(scope="module")
def file(tmp_path_factory: Any) -> Path:
    path = Path(tmp_path_factory.mktemp("texts") / "code.txt")
    path.write_bytes(CODE.replace("\n", "\r\n").encode() + b"\r\n")
    return path


def test_a_file_is_one_text_without_its_last_line_end(charlm: Any, file: Path) -> None:
    read = charlm.read(file)
    assert "".join(charlm.words[n] for n in read.values[0]) == CODE
    np.testing.assert_array_equal(read.values, charlm.read(onnxlrp.Text(CODE)).values)
    assert [len(e) for e in charlm.explain_each([file, onnxlrp.Text("ab")])] == [1, 1]
    empty = file.with_name("empty.txt")
    empty.write_text("\n")
    with pytest.raises(InputError, match="holds no text"):
        charlm.read(empty)


def test_lines_are_samples_of_a_model_of_words(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("cup ? the cup is red .\nbox ? the box is blue .\n")
    assert len(onnxlrp.load(MODELS / "questions.onnx").read(path)) == 2


def test_special_tokens_are_those_of_the_list() -> None:
    vocabulary = Vocabulary(["<unk>", "\n", "[", "]", "i", "<", ">"], "words")
    assert vocabulary.is_letters
    assert vocabulary.has_lines
    assert vocabulary.encode("i[i]\n<i><unk>") == [4, 2, 4, 3, 1, 5, 4, 6, 0]
    assert vocabulary.characters("<unk>") == [5, 0, 0, 0, 6]
    assert vocabulary.unknown("[ab]") == ["a", "b"]


def test_relevance_of_each_character_for_the_next(charlm: Any, file: Path, tmp_path: Path) -> None:
    found = charlm.explain(file, "a", ledger=True)
    assert found.relevance.shape == (1, len(CODE))
    assert found.labels[found.target[0]] == "a"
    assert all(row.error < 1e-4 for row in found.ledger)
    page = found.save(tmp_path / "page.html")[0].read_text()
    (shown,) = re.findall(r"<pre>(.*?)</pre>", page, re.DOTALL)
    assert html.unescape(re.sub("<[^>]*>", "", shown)).replace("↵\n", "\n") == CODE
    assert found.figure().width > 100


@pytest.mark.parametrize(
    ("word", "expected"),
    [("a", 2), ("A", 1), ("'3'", 0), ('"3"', 0), ("'", 5), ("'''", 5), ("_", 3), ("@", 4), ("3", 3)],
)
def test_classes_that_are_characters(word: str, expected: int) -> None:
    assert resolve(parse(word), ["3", "A", "a", "_", "@", "'", "B"], 7) == expected


def test_labels_are_still_found_in_any_case() -> None:
    assert resolve(parse("zebra"), ["Zebra", "horse, HORSE"], 2) == 0
    assert resolve(parse("'big Horse'"), ["Zebra", "big horse"], 2) == 1


def test_characters_are_laid_out_in_lines() -> None:
    assert lines("ab\ncde", 2) == [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (0, 2)]
    drawn = letters([1.0, -1.0, 0.0, 0.5], "a \nb")
    assert drawn.getpixel((24, 24)) != drawn.getpixel((40, 24))


@pytest.mark.parametrize(("name", "count"), [("charlm", 97), ("segmenter", 7), ("detector", 6)])
def test_labels_are_those_of_a_place_before_one_is_chosen(name: str, count: int) -> None:
    model = onnxlrp.load(MODELS / f"{name}.onnx")
    assert len(model.labels or ()) == count
    assert model.labels == model.for_target().labels


def test_evaluate_says_which_position_is_explained(tmp_path: Path, capsys: Any) -> None:
    file = tmp_path / "code.txt"
    file.write_text("x = f(1)\n", encoding="utf-8")
    asked = ["evaluate", str(MODELS / "charlm.onnx"), str(file), "--method", "gradient_x_input"]
    assert main([*asked, "--metric", "deletion", "--set", "deletion.steps=4"]) == 0
    assert f"position -1 of {len('x = f(1)')} positions" in capsys.readouterr().err
