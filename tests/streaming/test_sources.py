"""Sources: what files, folders and globs name, and what the items are called."""

from __future__ import annotations

import gc
import inspect
import os
import tarfile
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from onnxlrp.analysis.atlas.source import pictures
from onnxlrp.commands.parsers import COMMANDS
from onnxlrp.commands.parsers.groups import SOURCE
from onnxlrp.commands.parsers.parser import Parser
from onnxlrp.errors import InputError, NothingToDo, UsageError
from onnxlrp.explanation.names import file_word
from onnxlrp.streaming.sources import Files, Item, Paths, expand, files, find, listed, names_by_folder


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


# -- folders below folders, lists


def _tree(folder: Path, *names: str) -> None:
    for name in names:
        picture(folder / name)


def test_recursive_takes_the_folders_below_and_names_files_with_them(tmp_path: Path) -> None:
    _tree(tmp_path, "a.png", "cats/a.png", "cats/wild/a.png", ".hidden/b.png", "dogs/.c.png")
    assert [item.name for item in files([str(tmp_path)])] == ["a"]
    found = files([str(tmp_path)], recursive=True)
    assert [item.name for item in found] == ["a", "cats/a", "cats/wild/a"]
    assert [item.content for item in found] == [tmp_path / f"{item.name}.png" for item in found]
    several = files([str(tmp_path / "cats"), str(tmp_path / "cats" / "wild" / "a.png")], recursive=True)
    assert [item.name for item in several] == ["a", "wild/a", "a-2"]
    with pytest.raises(NothingToDo, match="neither"):
        files([str(tmp_path / "dogs")], recursive=True)


def test_a_folder_of_folders_says_so(tmp_path: Path) -> None:
    _tree(tmp_path, "cats/a.png")
    with pytest.raises(NothingToDo) as error:
        files([str(tmp_path)])
    assert "name one of its folders" in error.value.fix


def test_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    _tree(tmp_path, "a/one.png")
    (tmp_path / "a" / "again").symlink_to(tmp_path, target_is_directory=True)
    assert [item.name for item in files([str(tmp_path)], recursive=True)] == ["a/one"]


def test_a_list_of_paths(tmp_path: Path) -> None:
    _tree(tmp_path, "x/a.png", "y/a.png")
    (tmp_path / "lists").mkdir()
    text = tmp_path / "lists" / "all.txt"
    text.write_text(f"# pictures\n../x/a.png\n\n{tmp_path}/y/a.png\n../gone.png\n")
    found = listed(str(text))
    assert [item.name for item in found] == ["a", "a-2", "gone"]
    wanted = [tmp_path / name for name in ("x/a.png", "y/a.png", "gone.png")]
    assert [path.resolve() for path in found.paths] == wanted
    table = tmp_path / "all.csv"
    table.write_text("id,file\n1,x/a.png\n2,y/a.png\n")
    assert listed(str(table), "file").paths == [tmp_path / "x/a.png", tmp_path / "y/a.png"]
    (tmp_path / "one.csv").write_text("path\nx/a.png\n#1.png\n")  # no comment, in a table
    assert listed(str(tmp_path / "one.csv")).paths == [tmp_path / "x/a.png", tmp_path / "#1.png"]


def test_lists_that_do_not_say_which(tmp_path: Path) -> None:
    (tmp_path / "all.csv").write_text("id,file\n1,x/a.png\n")
    (tmp_path / "empty.txt").write_text("\n# nothing\n")
    (tmp_path / "gap.csv").write_text("id,file\n1,x/a.png\n2,\n3,#a.png\n")
    for name, column, match, kind in (
        ("all.csv", None, "2 columns", UsageError),
        ("all.csv", "fil", 'no column is called "fil"', UsageError),
        ("empty.txt", None, "holds no paths", NothingToDo),
        ("empty.txt", "file", "no columns", UsageError),
        ("gone.txt", None, "no such file", InputError),
        ("gap.csv", "file", r"row 2 has no path \(1 of 3 rows\)", InputError),
    ):
        with pytest.raises(kind, match=match):
            listed(str(tmp_path / name), column)


@pytest.mark.parametrize(
    "command", ["explain", "evaluate", "tune", "check", "compare", "patterns", "atlas", "clusters", "concepts"]
)
def test_every_command_that_reads_samples_finds_them_alike(command: str) -> None:
    parser = Parser()
    COMMANDS[command][1](parser)
    assert {"inputs", *SOURCE} <= {action.dest for action in parser._actions}
    assert {*SOURCE} <= {*inspect.signature(find).parameters}


def test_names_by_folder_are_those_that_masks_have(tmp_path: Path) -> None:
    for name in ("x/cat/1.png", "x/dog/1.png", "x/dog/2.png"):
        picture(tmp_path / name)
    with tarfile.open(tmp_path / "x" / "cat.tar", "w") as archive:
        archive.add(tmp_path / "x" / "cat" / "1.png", "3.png")

    def names(*words: str, **how: Any) -> list[str]:
        return [item.name for item in find([str(tmp_path / word) for word in words], by_folder=True, **how)]

    assert names("x", recursive=True) == ["cat/1", "dog/1", "dog/2"]
    assert names("x/cat", "x/dog") == ["cat/1", "dog/1", "dog/2"]
    assert names("x/dog", "x/dog/1.png", "x/cat.tar") == ["1", "2", "3"]
    (tmp_path / "list.txt").write_text("x/dog/2.png\nx/cat/1.png\nx/cat/1.png\n")
    assert names(from_list=str(tmp_path / "list.txt")) == ["2", "1"]
    assert [item.name for item in find(["x/*/2.png"], folder=tmp_path)] == ["2"]
    with pytest.raises(UsageError, match="beside"):
        find(["x"], from_list="list.txt")


def test_the_class_of_an_atlas_is_the_last_folder(tmp_path: Path) -> None:
    for name in ("x/train/cat/1.png", "x/train/dog/1.png", "x/2.png"):
        picture(tmp_path / name)
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(tmp_path / "x" / "2.png", "horse/4.png")
    assert pictures([str(tmp_path / "x")], recursive=True).folders == ["", "cat", "dog"]
    assert pictures([str(tmp_path / "x" / "train")]).folders == ["cat", "dog"]
    assert pictures([str(tmp_path / "a.tar")]).folders == ["horse"]
    (tmp_path / "list.txt").write_text("x/train/dog/1.png\na.tar\n")
    assert pictures([], from_list=str(tmp_path / "list.txt")).folders == ["dog", "horse"]


def test_a_compact_source_has_the_same_items(tmp_path: Path) -> None:
    names = ["a.png", "ä ö.png", "x/a.png", os.fsdecode(b"\xff.png")]
    try:
        for name in names:
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_bytes(b"")
    except OSError:
        pytest.skip("the file system has no such names")
    whole = files([str(tmp_path)], "key", recursive=True)
    small = whole.compact()
    assert list(small) == list(whole)
    assert (small.items[-1], small.items[1:3]) == (whole.items[-1], whole.items[1:3])
    assert type(small.items) is not type(whole.items)
    with pytest.raises(IndexError):
        small.items[len(names)]
    cut = replace(whole, items=[whole.items[0]._replace(start=1), *whole.items[1:]])
    assert cut.compact() is cut
    assert list(Paths(small, [Path("b")])) == [*whole.paths, Path("b")]


def test_a_compact_source_is_small(tmp_path: Path) -> None:
    """Memory does not grow with the number of files but for their names."""
    items = [Item(f"{n:06}", tmp_path / f"{n:06}.png") for n in range(2000)]
    small = Files(items).compact()
    del items
    sizes = []
    for _ in range(2):  # Python's table of interned strings, such as parts of paths, may grow in one
        gc.collect()
        tracemalloc.start()
        again = small.compact()
        sizes.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
        assert len(again) == 2000
    assert min(sizes) < 2000 * (len(str(tmp_path)) + 60)
