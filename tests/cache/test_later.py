"""What is put off until the answer is given is done once, or leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from onnxlrp.cache import later
from onnxlrp.cache.store import Store

KEY = "a" * 64


@pytest.fixture(autouse=True)
def nothing_else() -> Iterator[None]:
    later.give_up()
    yield
    later.give_up()


def test_work_is_done_in_order_and_once() -> None:
    done: list[int] = []
    for n in range(3):
        later.later(KEY, lambda n=n: done.append(n))  # type: ignore[misc]
    assert not done
    later.finish()
    later.finish()
    assert done == [0, 1, 2]


def test_work_may_put_off_more() -> None:
    done: list[str] = []
    later.later(KEY, lambda: later.later(KEY, lambda: done.append("inner")))
    later.finish()
    assert done == ["inner"]


def test_an_interrupt_gives_up_what_is_left() -> None:
    done: list[str] = []

    def interrupted() -> None:
        raise KeyboardInterrupt

    later.later(KEY, lambda: done.append("a"), lambda: done.append("undo a"))
    later.later(KEY, interrupted, lambda: done.append("undo b"))
    later.later(KEY, lambda: done.append("c"), lambda: done.append("undo c"))
    later.finish()
    assert done == ["a", "undo b", "undo c"]


def test_an_interrupted_entry_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxlrp.cache.store.has_foreign", lambda: False)
    store = Store(tmp_path / "cache", 1 << 30)
    part = store.begin()
    assert part is not None
    (part / "weights.bin").write_bytes(b"1234")

    def write(folder: Path) -> None:
        raise KeyboardInterrupt

    later.later(KEY, lambda: store.complete(KEY, part, write), lambda: store.drop(part))
    later.finish()
    assert not list(store.folder.iterdir())


def test_whoever_looks_for_an_entry_finds_what_was_put_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxlrp.cache.store.has_foreign", lambda: False)
    store = Store(tmp_path / "cache", 1 << 30)
    later.later(KEY, lambda: store.put(KEY, lambda folder: (folder / "a").touch()))
    assert store.get(KEY) is not None


@pytest.mark.parametrize("code", ["", "raise SystemExit(3)", "raise ValueError"])
def test_it_is_done_when_the_process_ends(code: str) -> None:
    lines = ("from onnxlrp.cache.later import later", "later('key', lambda: print('done'))", "print('answer')", code)
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True)
    assert done.stdout.split() == ["answer", "done"]


def test_put_off_is_nothing_that_a_first_import_waits_for() -> None:
    lines = "import sys\nimport onnxlrp.cache.later\nprint('numpy' in sys.modules)"
    done: Any = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
