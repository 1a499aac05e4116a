"""Reading ahead: in order, errors in their place, few at a time, nothing left running."""

from __future__ import annotations

import threading
import time

import pytest

from onnxlrp.streaming.ahead import ahead


def test_items_come_in_order_whatever_takes_how_long() -> None:
    def read(n: int) -> int:
        time.sleep(0.002 * (n % 3))
        return n * n

    assert [(n, result()) for n, result in ahead(range(40), read, lambda n: 1, 3)] == [(n, n * n) for n in range(40)]


def test_what_reading_raises_is_raised_where_the_result_is_asked_for() -> None:
    def read(n: int) -> int:
        if n == 2:
            raise ValueError("two")
        return n

    seen: list[object] = []
    for n, result in ahead(range(5), read, lambda n: 1, 2):
        try:
            seen.append(result())
        except ValueError as error:
            seen.append((n, str(error)))
    assert seen == [0, 1, (2, "two"), 3, 4]


@pytest.mark.parametrize(("weight", "most"), [(1, 5), (1 << 30, 2)])
def test_few_are_ahead_by_number_and_by_bytes(weight: int, most: int) -> None:
    """Two threads have four waiting besides the one that is handed out; of heavy items one."""
    taken: list[int] = []

    def items() -> object:
        for n in range(30):
            taken.append(n)
            yield n

    for done, (_, result) in enumerate(ahead(items(), lambda n: n, lambda n: weight, 2)):  # type: ignore[arg-type]
        result()
        assert len(taken) <= done + most


def test_one_item_starts_no_thread_and_an_end_stops_all() -> None:
    before = threading.active_count()
    ((_, result),) = ahead([1], lambda n: (n, threading.active_count()), lambda n: 1)
    assert result() == (1, before)
    run = ahead(range(100), lambda n: n, lambda n: 1, 4)
    for _ in range(3):
        next(run)
    run.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
