"""Watch the cells of a model along texts, and find those that track properties."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import InputError, UnsupportedError, UsageError, at_least, listed
from ...files import check, read_text, reason
from ...inputs.text import Text
from ...preprocessing import tables
from ..reading import Progress, go_on
from . import properties as of_text
from .result import CellsResult
from .tracking import track
from .watch import WINDOW, Watch

Array = npt.NDArray[Any]

EXCERPT = 1000
_LONGEST = 64 << 20  # bytes of a text


class Cells(CellsResult):
    """The cells of a recurrent model along texts (Karpathy et al. 2015).

    `model.cells("text.txt")` finds them. A cell is a unit of the model, such as "lstm.cell:12": an LSTM's is shown as
    tanh c, those of GRU and RNN as h.

    References:
        Karpathy, Johnson, Fei-Fei 2015, "Visualizing and understanding recurrent networks".
    """

    @classmethod
    def find(
        cls,
        model: Any,
        x: Any,
        properties: Sequence[str] | None = None,
        *,
        shown: Sequence[str] = (),
        level: float = 0.05,
        window: int = WINDOW,
        excerpt: int = EXCERPT,
        start: int | None = None,
        progress: Progress = go_on,
    ) -> Cells:
        """Run a model over texts, and find the cell that tracks each property.

        The cell of a property is chosen on the first half of the places, and its statistic reported on the second: the
        AUC of a property of two values, Pearson's r of another. Chance is the largest statistic of any cell with the
        property shifted round the half, at every shift of at least a twentieth of it.

        Args:
            model: The model, as `onnxlrp.load` returns it.
            x: A text (`onnxlrp.Text`), the path of one, ids or values [places, …], or a list of them; each begins with
                the initial states.
            properties: Names of "quotes", "column", "indentation" and "brackets", and paths of tables with a row for
                each place and a column for each property. All four by default, for models that read characters.
            shown: Cells that pages and pictures begin with, such as "lstm.cell:12".
            level: The level of the tests.
            window: The most places that are run at once, where the file leaves the length open.
            excerpt: Places that pages show.
            start: The first of them; by default the first line of the half on which cells are reported.
            progress: Told of the places that are done.

        Returns:
            The cells, their gates and properties.

        Raises:
            UsageError: There is no such property or cell.
            InputError: A text or table that cannot be read, or does not fit.
            UnsupportedError: The model has no recurrent layer, or nothing says how texts become its input.
        """
        at_least(1, whole=True, excerpt=excerpt)
        names, files = of_text.split(list(properties or []))
        watch = Watch(model, window, progress)
        several = [*x] if isinstance(x, list | tuple) else [x]
        texts = [_Sequence.of(model, one) for one in several]
        if not texts:
            raise UsageError("no text", "give one")
        of_characters = all(one.text is not None and one.is_letters for one in texts)
        if names and not of_characters:
            raise UsageError(
                f"{names[0]} is a property of characters, which the model does not read one by one",
                "give a table with a row for each token or step: FILE.csv",
            )
        if properties is None and of_characters:
            names = list(of_text.PROPERTIES)
        unknown = sorted({character for one in texts for character in one.unknown})
        if unknown:
            said = listed([repr(character) for character in unknown], 8)
            watch.notes.append((f"characters that the model has no id for are read as unknown: {said}", ""))
        values: dict[str, Array] = of_text.of_texts([str(one.text) for one in texts], names) if names else {}
        places = sum(len(one.values) for one in texts)
        for file in files:
            own = of_text.of_table(file, places)
            if twice := [name for name in own if name in values]:
                raise UsageError(f'two properties are called "{twice[0]}"', f"rename the column in {file}")
            values |= own
        runs = watch([one.values for one in texts])
        states = np.concatenate([run.states for run in runs], axis=1)
        symbols = [symbol for one in texts for symbol in one.symbols]
        found = cls(
            runs=runs,
            symbols=symbols,
            starts=[0, *np.cumsum([len(one.values) for one in texts])[:-1].tolist()],
            properties=values,
            tracked=[track(states, own, name, level) for name, own in values.items()],
            excerpt=_excerpt(symbols, excerpt, start),
            notes=watch.notes,
            provenance={
                "model": model.graph.source,
                "sha256": model.graph.sha256,
                "engine": model.engine.name,
                "texts": [one.name for one in texts],
                "window": watch.length,
                "level": level,
            },
        )
        found.shown = [found.number_of(word) for word in shown]
        return found

    def save(self, path: str | Path, formats: Sequence[str] = ()) -> list[Path]:
        """Write a page, the record, the arrays or a picture.

        Args:
            path: The file; its suffix is the format where none is named.
            formats: Of "html" (an offline page), "json", "npz" (states, shares, properties, null distributions) and
                "png" (the cells that track a property); each is written beside the others under its suffix.

        Raises:
            UsageError: There is no such format.
            InputError: A file cannot be written.
        """
        from .saving import save  # a page is not always asked for

        return save(self, path, formats)


def _excerpt(symbols: Sequence[str], count: int, start: int | None) -> range:
    if start is None:
        half = len(symbols) // 2
        line = next((n + 1 for n in range(half, len(symbols)) if symbols[n] == "\n"), half)
        start = line if line < len(symbols) else half
    if not 0 <= start < len(symbols):
        raise UsageError(f"start {start}: the text has {len(symbols)} places", f"give 0 to {len(symbols) - 1}")
    return range(start, min(len(symbols), start + count))


class _Sequence:
    """A text, or ids or values, as a model takes them.

    Attributes:
        name: The name of the text in messages.
        text: The text; None for ids and values.
        values: The ids [places], or the values [places, …].
        symbols: What is shown at each place.
        unknown: The characters that the vocabulary does not have.
        is_letters: Whether each place is a character of the text.
    """

    def __init__(self, name: str, text: str | None, values: Array, symbols: Sequence[str], unknown: Sequence[str] = (),
                 is_letters: bool = False) -> None:  # fmt: skip
        self.name, self.text, self.values, self.symbols = name, text, values, symbols
        self.unknown, self.is_letters = unknown, is_letters

    @classmethod
    def of(cls, model: Any, x: Any) -> _Sequence:
        """Read a text, or an array."""
        if isinstance(x, Text):
            return cls._of_text(model, str(x), "the text")
        if isinstance(x, str | os.PathLike):
            path = Path(x)
            if path.suffix.lower() != ".npy" and not tables.is_table(path):
                return cls._of_text(model, _content(path), path.name)
            name = path.name
        else:
            name = "the array"
        samples = model.read(x)
        if len(samples) != 1:
            raise InputError(f"{name}: {len(samples)} samples", "give one sequence at a time: [places, …]")
        values = np.asarray(samples.values[0])
        known = model.words
        if values.ndim == 1 and values.dtype.kind in "iu":
            symbols = [known[n] if known and 0 <= n < len(known) else str(n) for n in values.tolist()]
            letters = bool(known) and model.vocabulary.is_letters
            return cls(name, "".join(symbols) if letters else None, values, symbols, (), letters)
        return cls(name, None, values, [str(n) for n in range(len(values))])

    @classmethod
    def _of_text(cls, model: Any, text: str, name: str) -> _Sequence:
        vocabulary = model.vocabulary
        if model.kind.name != "tokens" or len(model.kind.shape) != 1:
            raise UnsupportedError(
                f"{name} is a text, and the input is {model.kind.describe()} [{model.kind.source}]",
                "give arrays as .npy, or name the input of token ids: --input NAME",
            )
        if vocabulary is None:
            raise UnsupportedError(
                f"{name} is a text, and nothing says the words of the model's token ids",
                "give them: --tokenizer FILE, a tokenizer.json or a word on each line; or give ids as an .npy file",
            )
        if not text:
            raise InputError(f"{name}: the text is empty", "give a text with at least one character")
        dtype = model.graph.inputs[0].dtype
        if vocabulary.is_letters:
            values = np.asarray(vocabulary.characters(text), dtype)
            return cls(name, text, values, list(text), vocabulary.unknown(text), True)
        ids = vocabulary.encode(text)
        return cls(name, text, np.asarray(ids, dtype), [vocabulary.shown[n] for n in ids])


def _content(path: Path) -> str:
    """Return the whole text of a file, each line ended by one character."""
    check(path)
    try:
        return read_text(path, _LONGEST).replace("\r\n", "\n").replace("\r", "\n")
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as text ({reason(error)})", "give a text in UTF-8") from None
