"""Which samples show which concepts: masks in folders, labels by folders or in a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import InputError, UsageError
from ...files import read_text
from ...preprocessing.samples import Samples
from ...streaming import collect
from ...streaming.sources import Files, Item, files
from .layer import Array

_MOST = 1 << 26  # bytes of a table


@dataclass(frozen=True)
class Masks:
    """A folder with a mask NAME.png for each sample, or a folder of such folders, one for each concept.

    A sample without a mask has nothing of the concept.

    Attributes:
        folder: The folder.
        concepts: The names of the concepts.
    """

    folder: Path
    concepts: tuple[str, ...]

    @classmethod
    def of(cls, folder: str | Path) -> Masks:
        """Find the concepts of a folder.

        Raises:
            InputError: There is no such folder.
        """
        folder = Path(folder)
        if not folder.is_dir():
            raise InputError(f"{folder}: no such folder of masks", "check the path")
        inside = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
        return cls(folder, tuple(inside) or ("",))

    @property
    def names(self) -> list[str]:
        """The concepts in words: a folder without folders has one, called like itself."""
        return [name or self.folder.name for name in self.concepts]

    def read(self, samples: Samples, model: Any) -> tuple[Array, Array]:
        """Read the masks of samples.

        Returns:
            Masks [n, concepts, H, W] on the grid of the input, and which of them there are [n, concepts].

        Raises:
            InputError: A mask of another size.
        """
        grid = samples.kind.grid
        found = np.zeros((len(samples), len(self.concepts), *grid), bool)
        there = np.zeros(found.shape[:2], bool)
        for k, name in enumerate(self.concepts):
            for n, mask in enumerate(collect.masks(self.folder / name, samples, model, grid)):
                if mask is not None:
                    found[n, k], there[n, k] = mask, True
        return found, there


@dataclass(frozen=True)
class Labels:
    """The labels of samples by their names.

    Attributes:
        of: Labels by the name of a sample.
        names: All labels, sorted.
    """

    of: dict[str, frozenset[str]]
    names: tuple[str, ...]

    @classmethod
    def made(cls, of: dict[str, set[str]]) -> Labels:
        """Return labels by the names of samples. Raises InputError where there is only one label."""
        names = sorted({label for labels in of.values() for label in labels})
        everywhere = all(set(names) == labels for labels in of.values())
        if not names or (everywhere and len(names) == 1):
            said = f'one label, "{names[0]}"' if names else "no label"
            raise InputError(f"{said} of all samples: nothing to tell apart", "give samples with and without a concept")
        return cls({name: frozenset(labels) for name, labels in of.items()}, tuple(names))

    @classmethod
    def table(cls, path: str | Path) -> Labels:
        """Read lines NAME,LABEL of a .csv file; a sample may have several lines or labels, a first line may be a head.

        Raises:
            InputError: The file cannot be read, or a line is no pair.
        """
        path = Path(path)
        try:
            lines = list(csv.reader(io.StringIO(read_text(path, _MOST))))
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise InputError(f"{path}: cannot be read ({error})", "give a .csv file of lines NAME,LABEL") from None
        found: dict[str, set[str]] = {}
        for number, line in enumerate(lines, 1):
            words = [word.strip() for word in line if word.strip()]
            if not words or (number == 1 and words[-1].lower() in ("label", "labels", "class", "concept")):
                continue
            if len(words) < 2:
                raise InputError(f"{path}: line {number} is no NAME,LABEL", "write the name of a sample and its label")
            found.setdefault(Path(words[0]).stem, set()).update(words[1:])
        return cls.made(found)

    def read(self, samples: Samples) -> Array:
        """Return which samples have which labels [n, labels]."""
        rows = [[label in self.of.get(name, ()) for label in self.names] for name in samples.names]
        return np.array(rows, bool).reshape(len(samples), len(self.names))


def by_folder(words: Sequence[str], recursive: bool = False) -> tuple[Files, Labels] | None:
    """Find the pictures of a folder of folders, labelled by these; None for other words.

    Args:
        words: The folder alone.
        recursive: Of each label's folder also those in the folders below it.

    Raises:
        NothingToDo: A folder without pictures.
    """
    if len(words) != 1 or not Path(words[0]).is_dir():
        return None
    inside = sorted(path for path in Path(words[0]).iterdir() if path.is_dir() and not path.name.startswith("."))
    if not inside:
        return None
    if len(inside) == 1:
        raise InputError(f'{words[0]}: one class, "{inside[0].name}"', "give a folder for each of several classes")
    items: list[Item] = []
    labels: dict[str, set[str]] = {}
    for folder in inside:
        for item in files([str(folder)], recursive=recursive):
            name = f"{folder.name}/{item.name}"
            items.append(Item(name, item.content))
            labels[name] = {folder.name}
    return Files(items), Labels.made(labels)


def check_match(labels: Labels, names: Sequence[str]) -> None:
    """Refuse labels of which none belongs to a sample. Raises UsageError."""
    if not any(name in labels.of for name in names):
        some = next(iter(labels.of), "")
        raise UsageError(
            f'no sample is named in the labels (the first is "{some}")', "name samples by their file stems"
        )
