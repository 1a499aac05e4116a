"""Sources: what files, folders and globs name, and what the items are called."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from onnxlrp.errors import InputError, NothingToDo
from onnxlrp.explanation.names import file_word
from onnxlrp.streaming.sources import expand, files, names_by_folder


def picture(path: Path, heatmap: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    words = PngImagePlugin.PngInfo()
    if heatmap:
        words.add_text("Software", "onnxlrp")
    Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(path, pnginfo=words)
    return path


def test_folders_and_globs_are_expanded_in_their_place(tmp_path: Path) -> None:
    a, b, c = (picture(tmp_path / name) for name in ("x/a.png", "x/b.png", "c.png"))
    (tmp_path / "x" / "notes.txt").write_text("no picture")
    assert files([str(c), str(tmp_path / "x")]).paths == [c, a, b]
    assert files([str(tmp_path / "x" / "*.png"), str(c)]).paths == [a, b, c]
    assert expand("x/b*", tmp_path) == [b]


def test_heatmaps_of_a_folder_are_left_out_and_counted(tmp_path: Path) -> None:
    a, own = picture(tmp_path / "a.png"), picture(tmp_path / "a.7.png", heatmap=True)
    found = files([str(tmp_path)])
    assert found.paths == [a]
    assert found.left_out == {tmp_path: 1}
    assert files([str(own)]).paths == [own]  # named by itself, it is meant
    a.unlink()
    with pytest.raises(NothingToDo, match="nothing but heatmaps"):
        files([str(tmp_path)])


def test_names_tell_items_apart(tmp_path: Path) -> None:
    paths = [picture(tmp_path / name) for name in ("x/a.png", "y/a.png", "b.png")]
    assert [item.name for item in files(map(str, paths))] == ["a", "a-2", "b"]  # type: ignore[arg-type]
    assert names_by_folder(paths)[:2] == ["x/a", "y/a"]
    with pytest.raises(InputError, match="given twice"):
        names_by_folder([paths[0], paths[0]])


@pytest.mark.parametrize("word", ["none.png", "odd[name.png"])
def test_a_file_that_is_not_there_is_named_when_it_is_read(tmp_path: Path, word: str) -> None:
    assert expand(word, tmp_path) == [tmp_path / word]
    with pytest.raises(NothingToDo, match="matches no picture"):
        expand("*.png", tmp_path)


def test_names_are_told_apart_as_they_are_written(tmp_path: Path) -> None:
    for name in ("a b.png", "a_b.png", "a  b.png", "c.png"):
        picture(tmp_path / name)
    names = [item.name for item in files([str(tmp_path)])]
    assert len({file_word(name) for name in names}) == 4
    assert [len(name) for name in names] == [4, 5, 5, 1]  # -2 and -3 at the second and third
