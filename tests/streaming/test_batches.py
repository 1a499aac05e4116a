"""Batches: every sample once, in order, few at a time, kinds apart; what cannot be read in its place."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from onnxlrp.errors import InputError
from onnxlrp.inputs import InputKind
from onnxlrp.preprocessing.samples import Samples
from onnxlrp.streaming.batches import Piece, Rejected, batches
from onnxlrp.streaming.sources import Item

KIND = InputKind("vector", (), None, (), "the test")


@dataclass(frozen=True)
class Numbers:
    """A model that reads (first number, count, pictures), and refuses None."""

    def read(self, x: Any) -> Any:
        if x is None:
            raise InputError("broken", "send it again")
        first, count, pictures = x
        values = np.arange(first, first + count)
        return Samples(values, [None] * count, [None] * count, [""] * count, pictures, KIND)


class Source:
    """A source of one's own: it need not be a list."""

    def __init__(self, contents: list[Any]) -> None:
        self.items = [Item(f"item{n}", content) for n, content in enumerate(contents)]

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Item]:
        return iter(self.items)


@st.composite
def contents(draw: st.DrawFn) -> list[Any]:
    """Items of 1 to 7 samples, numbered through, some of them broken."""
    found: list[Any] = []
    first = 0
    for count, pictures, broken in draw(st.lists(st.tuples(st.integers(1, 7), st.booleans(), st.booleans()))):
        found.append(None if broken else (first, count, pictures))
        first += 0 if broken else count
    return found


@given(contents(), st.integers(1, 5))
def test_every_sample_comes_once_in_order_and_kinds_apart(items: list[Any], size: int) -> None:
    seen: list[int] = []
    for batch in batches(Source(items), [Numbers()], size):  # type: ignore[list-item]
        if isinstance(batch, Rejected):
            # All before it have come.
            before = items[: int(batch.item.name.removeprefix("item"))]
            assert seen == list(range(sum(item[1] for item in before if item)))
            continue
        assert 0 < sum(map(len, batch)) <= size
        assert len({piece.samples[0].pictures for piece in batch}) == 1
        for piece in batch:
            assert piece.row == len(seen)
            assert piece.size == piece.item.content[1]
            assert piece.samples[0].values[0] == piece.item.content[0] + piece.start
            seen += piece.samples[0].values.tolist()
    assert seen == list(range(sum(item[1] for item in items if item)))


@given(contents(), st.integers(1, 5))
def test_only_what_must_be_is_a_smaller_batch(items: list[Any], size: int) -> None:
    """A batch is full unless the next is of another kind, or broken, or there is none."""
    found = list(batches(Source(items), [Numbers()], size))  # type: ignore[list-item]
    for batch, after in itertools.pairwise(found):
        if isinstance(batch, Rejected) or isinstance(after, Rejected):
            continue
        kinds = [pieces[0].samples[0].pictures for pieces in (batch, after)]
        assert sum(map(len, batch)) == size or kinds[0] != kinds[1]


def test_a_rejected_item_keeps_its_rows() -> None:
    """Rows of other inputs are counted by the caller, broken items included."""
    source = Source([(0, 2, False), None, (2, 3, False)])
    pieces = [piece for batch in batches(source, [Numbers()], 8, rows=[0, 2, 3]) for piece in _pieces(batch)]  # type: ignore[list-item]
    assert [(piece.row, len(piece)) for piece in pieces] == [(0, 2), (3, 3)]


def test_each_model_reads_for_itself() -> None:
    source = Source([(0, 3, False)])
    (batch,) = batches(source, [Numbers(), Numbers()], 8)  # type: ignore[list-item]
    assert [samples.values.tolist() for samples in _pieces(batch)[0].samples] == [[0, 1, 2]] * 2


def _pieces(batch: list[Piece] | Rejected) -> list[Piece]:
    return [] if isinstance(batch, Rejected) else batch
