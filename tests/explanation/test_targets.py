"""Targets: what a word names, and what is refused with the way out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from onnxlrp.errors import UsageError
from onnxlrp.explanation.targets import TOP1, Target, for_samples, from_scores, parse, resolve
from onnxlrp.graph.outputs.places import PREDICTED, Place
from onnxlrp.preprocessing.labels import imagenet

PETS = ("tabby, tabby cat", "Egyptian cat", "crane", "crane, derrick", "maillot", "maillot, tank suit", "fox")


def test_parse() -> None:
    assert parse("281") == parse(" 281 ") == parse(281) == Target("id", id=281)
    assert parse("top1") == TOP1
    assert parse("Top3") == Target("top", k=3)
    assert parse("top hat") == Target("label", label="top hat")
    assert [str(parse(word)) for word in ("7", "top3", "fox")] == ["7", "top3", "fox"]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("7@3", Target("id", id=7, place=Place("at", (3,)))),
        ("7@-1", Target("id", id=7, place=Place("at", (-1,)))),
        ("@2", Target("top", place=Place("at", (2,)))),
        ("dog@40,25", Target("label", label="dog", place=Place("at", (40, 25)))),
        ("Dog @ 1, 2, 30, 40", Target("label", label="Dog", place=Place("at", (1, 2, 30, 40)))),
        ("top2@Predicted", Target("top", k=2, place=PREDICTED)),
        ("3@all", Target("id", id=3, place=Place("all"))),
        ("dog@masks/a@b.png", Target("label", label="dog", place=Place("mask", path="masks/a@b.png"))),
        ("dog@masks/b.png", Target("label", label="dog", place=Place("mask", path="masks/b.png"))),
        ("me@home", Target("label", label="me@home")),
        ("me@home@3", Target("label", label="me@home", place=Place("at", (3,)))),
        ("box:12", Target("top", place=Place("box", (12,)))),
        ("Box:12:dog", Target("label", label="dog", place=Place("box", (12,)))),
        ("box@30,40", Target("top", place=Place("box", (30, 40)))),
        ("box@30,40:7", Target("id", id=7, place=Place("box", (30, 40)))),
        ("box:0:size", Target("label", label="size", place=Place("box", (0,), values=True))),
        ("box cutter", Target("label", label="box cutter")),
        ("box:cutter", Target("label", label="box:cutter")),
    ],
)
def test_places(word: str, expected: Target) -> None:
    assert parse(word) == expected
    assert parse(str(expected)) == expected


def test_a_place_is_refused_where_the_output_has_none_or_another() -> None:
    with pytest.raises(UsageError, match="no places") as caught:
        resolve(parse("tabby@3,4"), PETS, 7)
    assert "tabby" in caught.value.fix
    assert resolve(parse("tabby@3,4"), PETS, 7, Place("at", (3, 4))) == 0
    assert resolve(parse("tabby"), PETS, 7, Place("at", (3, 4))) == 0
    with pytest.raises(UsageError, match="beside one of 3,5"):
        resolve(parse("tabby@3,4"), PETS, 7, Place("at", (3, 5)))


@pytest.mark.parametrize("word", ["", "  ", "-1", "top0", "9" * 30])
def test_parse_refuses(word: Any) -> None:
    with pytest.raises(UsageError) as caught:
        parse(word)
    assert caught.value.code == 2
    assert caught.value.fix


def test_labels_match_in_any_case_and_by_synonym() -> None:
    for word in ("tabby", "TABBY CAT", "tabby_cat", "tabby, tabby cat", " Tabby  cat "):
        assert resolve(parse(word), PETS, 7) == 0
    assert resolve(parse("derrick"), PETS, 7) == 3
    assert resolve(parse("tank suit"), PETS, 7) == 5
    assert resolve(TOP1, PETS, 7) is None


@pytest.mark.parametrize(("word", "hint"), [("crane", "2"), ("maillot", "4"), ("egyptain cat", '"egyptian cat"')])
def test_labels_never_guess(word: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        resolve(parse(word), PETS, 7)
    assert hint in caught.value.fix


def test_unknown_label_of_many_lists_no_thousand_names() -> None:
    with pytest.raises(UsageError) as caught:
        resolve(parse("qqqqqqqqqq"), imagenet(1000), 1000)
    assert "999" in caught.value.fix
    assert len(caught.value.fix) < 200
    with pytest.raises(UsageError) as caught:
        resolve(parse("zebraa"), imagenet(1000), 1000)
    assert '"zebra"' in caught.value.fix


@pytest.mark.slow
def test_every_imagenet_class_has_a_name_that_finds_it_or_says_why() -> None:
    names = imagenet(1000)
    assert names is not None
    lost = []
    for i, label in enumerate(names):
        try:
            assert resolve(Target("label", label=label), names, 1000) == i
        except UsageError:
            lost.append(i)
    assert lost == [134, 517, 638]  # two cranes; "maillot" alone is also how 639 is shown


def test_ranges() -> None:
    assert resolve(parse(6), None, 7) == 6
    with pytest.raises(UsageError, match="target 7") as caught:
        resolve(parse(7), None, 7)
    assert "0 to 6" in caught.value.fix
    with pytest.raises(UsageError):
        resolve(parse("top8"), None, 7)
    with pytest.raises(UsageError) as caught:
        resolve(parse("fox"), None, 7)
    assert "--labels" in caught.value.fix


def test_for_samples() -> None:
    np.testing.assert_array_equal(for_samples(3, None, 7, 2), [3, 3])
    np.testing.assert_array_equal(for_samples("fox", PETS, 7, 2), [6, 6])
    np.testing.assert_array_equal(for_samples(np.int32(3), None, 7, 1), [3])
    np.testing.assert_array_equal(for_samples(np.array(3), None, 7, 1), [3])
    for several in ([1, 6], (1, "fox"), np.array([1, 6], np.uint8), ["1", "fox"]):
        ids = for_samples(several, PETS, 7, 2)
        np.testing.assert_array_equal(ids, [1, 6])
        assert isinstance(ids, np.ndarray)
        assert ids.dtype == np.int64
    assert for_samples("top1", None, 7, 2) == TOP1
    assert for_samples(Target("top", k=2), None, 7, 2) == Target("top", k=2)


@pytest.mark.parametrize(
    "bad", [[1], [1, 2, 3], [1, -1], [1, 7], ["top1", 1], [1.5, 2.0], 1.5, None, True, [[1, 2]], np.zeros(2), {"a": 1}]
)
def test_for_samples_refuses(bad: Any) -> None:
    with pytest.raises(UsageError):
        for_samples(bad, PETS, 7, 2)


def test_from_scores() -> None:
    scores = np.array([[1, 3, 3, 0], [9, -1, 4, 5.0]], np.float32)
    np.testing.assert_array_equal(from_scores(TOP1, scores), [1, 0])
    np.testing.assert_array_equal(from_scores(Target("top", k=3), scores), [[1, 0], [2, 3], [0, 2]])


def test_a_word_within_names_finds_their_classes() -> None:
    labels = ("tabby, tabby cat", "Egyptian cat", "catamaran", "fox")
    with pytest.raises(UsageError) as caught:
        resolve(parse("cat"), labels, 4)
    assert caught.value.fix == "did you mean 0 (tabby, tabby cat) or 1 (Egyptian cat)?".replace(" or ", ", ")
    with pytest.raises(UsageError) as caught:
        resolve(parse("tam"), labels, 4)
    assert caught.value.fix == "did you mean 2 (catamaran)?"
