"""What a rung of the ladder is asked, and what it answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import InputError
from ...files import reason
from ...inputs import InputKind
from ..checking import sifted
from ..fields import COLORS_OF, Pieces, Source

LONGEST_TEXT = 4 << 20


@dataclass(frozen=True)
class SourceContext:
    """A model as far as sources look at it: `kind` and `dtype` of its input; `high` is the largest pixel
    value, 255 or 1, that the graph's own arithmetic on its input expects, where it has such arithmetic."""

    flags: Mapping[str, Any] = field(default_factory=dict)
    model: Path | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    kind: InputKind | None = None
    dtype: str = "float32"
    high: float | None = None

    @property
    def channels(self) -> int:
        """3 or 1; 0 of an input that is no picture of so many."""
        kind = self.kind
        return kind.channels if kind is not None and kind.layout and kind.channels in COLORS_OF else 0

    @property
    def fixed(self) -> tuple[int, int] | None:
        """(height, width), below 1 where the model leaves them open; None of an input that is no picture."""
        if self.kind is None or not self.channels:
            return None
        height, width = self.kind.grid
        return height, width

    def beside(self, name: str) -> tuple[str, Path] | None:
        """A file in the model's folder, else one level up, and what to call it; symbolic links are not followed."""
        if self.model is None:
            return None
        folder = self.model.absolute().parent
        for said, path in ((name, folder / name), (f"../{name}", folder.parent / name)):
            if path.is_file():
                return said, path
        return None


@dataclass(frozen=True)
class Statement:
    """What one source states, and what it says that is not done here."""

    rung: Source
    pieces: Pieces
    notes: tuple[str, ...] = ()


def foreign(name: str, raw: Mapping[str, Any], notes: tuple[str, ...] = ()) -> Statement:
    """The statement of a source that was not written for onnxlrp."""
    rung = Source(name, InputError, foreign=True)
    pieces, more = sifted({key: value for key, value in raw.items() if value is not None}, rung)
    return Statement(rung, pieces, (*(f"{name}: {note}" for note in notes), *more))


def json_beside(place: SourceContext, name: str) -> tuple[str, dict[str, Any], tuple[str, ...]] | None:
    """A JSON object beside the model, what to call its file, and why it is empty where it cannot be read."""
    found = place.beside(name)
    if found is None:
        return None
    said, path = found
    try:
        if path.stat().st_size > LONGEST_TEXT:
            return said, {}, ("larger than 4 MiB: not read",)
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        return said, {}, (f"cannot be read as JSON ({reason(error)}): not used",)
    if not isinstance(value, dict):
        return said, {}, ("no JSON object: not used",)
    return said, value, ()
