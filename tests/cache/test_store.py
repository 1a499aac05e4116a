"""The folder of entries: whole or not there, bounded, and only this user's."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from onnxlrp.cache.store import Store, of_environment
from onnxlrp.errors import UsageError

A, B, C = ("a" * 64, "b" * 64, "c" * 64)
LARGE = (1 << 20) + 13  # bytes of a file that is known by a sum


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache", 1 << 30)


def content(size: int, byte: int = 7) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / "data.bin").write_bytes(bytes([byte, 1, 2, 3]) * (size // 4) + b"x" * (size % 4))

    return write


@pytest.mark.parametrize("size", [0, 1, 100, LARGE])
def test_an_entry_is_what_was_written(store: Store, size: int) -> None:
    assert store.get(A) is None
    assert store.put(A, content(size))
    place = store.get(A)
    assert place is not None
    assert len((place / "data.bin").read_bytes()) == size
    assert store.get(B) is None
    used = store.usage()
    assert (used.entries, used.why) == (1, "")
    assert used.bytes == sum(file.stat().st_size for file in place.iterdir())


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def hole(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[100:400] = bytes(300)
    file.write_bytes(bytes(data))


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(bytes(data))


def gone(file: Path) -> None:
    file.unlink()


@pytest.mark.parametrize("size", [1000, LARGE])
@pytest.mark.parametrize("damage", [cut, hole, flip, gone])
def test_a_damaged_entry_is_removed_and_made_again(store: Store, damage: Callable[[Path], None], size: int) -> None:
    store.put(A, content(size))
    damage(store.folder / A / "data.bin")
    assert store.get(A) is None
    assert not (store.folder / A).exists()
    assert store.put(A, content(size, 9))
    place = store.get(A)
    assert place is not None
    assert (place / "data.bin").read_bytes()[0] == 9


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": "0", "files": {}}', '{"format": "1"}', "\0"])
def test_an_entry_of_another_format_is_none(store: Store, text: str) -> None:
    store.put(A, content(10))
    (store.folder / A / "entry.json").write_text(text, encoding="utf-8")
    assert store.get(A) is None
    assert store.usage().entries == 0


def test_the_least_recently_used_go_first(store: Store) -> None:
    store.limit = 2500
    for age, key in enumerate((A, B)):
        store.put(key, content(1000))
        os.utime(store.folder / key / "entry.json", (age, age))
    assert store.get(A)  # used now
    store.put(C, content(1000))
    assert [key for key in (A, B, C) if store.get(key)] == [A, C]
    assert store.usage().bytes <= store.limit


def test_what_is_larger_than_the_limit_is_left_out(store: Store) -> None:
    store.limit = 500
    assert not store.put(A, content(1000))
    assert store.usage().entries == 0
    begun: list[Path] = []
    assert not store.put(A, begun.append, expected=501)
    assert not begun
    assert list(store.folder.iterdir()) == []


def test_a_run_keeps_only_a_few(store: Store) -> None:
    kept = [store.put(f"{n:064x}", content(10)) for n in range(6)]
    assert kept == [True] * 4 + [False] * 2


def test_what_fails_while_it_is_written_leaves_nothing(store: Store) -> None:
    def write(folder: Path) -> None:
        (folder / "half").write_bytes(b"half")
        raise OSError("no space left")

    assert not store.put(A, write)
    assert list(store.folder.iterdir()) == []


def test_a_file_in_the_place_of_the_folder_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file", encoding="utf-8")
    store = Store(tmp_path / "cache", 1 << 30)
    assert store.get(A) is None
    assert not store.put(A, content(10))
    assert store.usage().entries == 0


def test_an_abandoned_part_is_removed_and_a_fresh_one_stays(store: Store) -> None:
    store.put(A, content(10))
    old, new = (store.folder / f".{word * 16}.part" for word in "01")
    for part in (old, new):
        part.mkdir()
    os.utime(old, (0, 0))
    store.put(B, content(10))
    assert (old.exists(), new.exists()) == (False, True)


def test_writers_at_once_leave_a_whole_entry(tmp_path: Path) -> None:
    several = [Store(tmp_path / "cache", 1 << 30) for _ in range(8)]
    threads = [threading.Thread(target=one.put, args=(A, content(LARGE, n))) for n, one in enumerate(several)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    place = several[0].get(A)
    assert place is not None
    assert sorted(file.name for file in several[0].folder.iterdir()) == [A]


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="rights of POSIX")
def test_a_folder_where_others_write_is_not_used(store: Store) -> None:
    store.put(A, content(10))
    assert store.folder.stat().st_mode & 0o077 == 0
    store.folder.chmod(0o777)
    assert store.get(A) is None
    assert not store.put(B, content(10))
    assert "others may write" in store.usage().why
    store.folder.chmod(0o700)
    assert store.get(A) is not None


def test_clear_removes_entries_and_nothing_else(store: Store) -> None:
    store.put(A, content(10))
    (store.folder / "notes.txt").write_text("mine", encoding="utf-8")
    before = store.clear()
    assert before.entries == 1
    assert [file.name for file in store.folder.iterdir()] == ["notes.txt"]


def test_the_environment_names_folder_and_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONNXLRP_CACHE", "off")
    assert of_environment() is None
    monkeypatch.setenv("ONNXLRP_CACHE", str(tmp_path))
    monkeypatch.setenv("ONNXLRP_CACHE_SIZE", "3M")
    found = of_environment()
    assert found is not None
    assert (found.folder, found.limit) == (tmp_path, 3 << 20)
    monkeypatch.setenv("ONNXLRP_CACHE_SIZE", "much")
    with pytest.raises(UsageError, match="ONNXLRP_CACHE_SIZE"):
        of_environment()
    monkeypatch.delenv("ONNXLRP_CACHE_SIZE")
    monkeypatch.delenv("ONNXLRP_CACHE")
    monkeypatch.setattr("onnxlrp.cache.store.sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    found = of_environment()
    assert found is not None
    assert found.folder == tmp_path / "xdg" / "onnxlrp"


def test_the_listing_names_every_file(store: Store) -> None:
    store.put(A, content(LARGE))
    listing = json.loads((store.folder / A / "entry.json").read_text(encoding="utf-8"))
    assert list(listing["files"]) == ["data.bin"]
    assert listing["files"]["data.bin"][0] == LARGE
