"""Interface of a preprocessing source: what it knows of the model, and what it states."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import InputError
from ...files import read_text, reason
from ...inputs import InputKind
from ..checking import check_foreign_fields
from ..fields import COLORS_OF, Fields, Source

LONGEST_TEXT = 4 << 20


@dataclass(frozen=True)
class SourceContext:
    """What sources know of a model.

    Attributes:
        flags: Fields that the user states.
        model: The model's file.
        metadata: The model's `metadata_props`.
        kind: The kind of the input, None where it is not decided yet.
        dtype: The type of the input.
        high: The largest pixel value, 255 or 1, that the graph's own arithmetic on its input expects; None without any.
        classes: The number of classes; None where it is not known.
    """

    flags: Mapping[str, Any] = field(default_factory=dict)
    model: Path | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    kind: InputKind | None = None
    dtype: str = "float32"
    high: float | None = None
    classes: int | None = None

    @property
    def channels(self) -> int:
        """3 or 1; 0 for an input that is not a picture of so many channels."""
        kind = self.kind
        return kind.channels if kind is not None and kind.layout and kind.channels in COLORS_OF else 0

    @property
    def fixed(self) -> tuple[int, int] | None:
        """(height, width), below 1 where the model leaves them open; None for an input that is not a picture."""
        if self.kind is None or not self.channels:
            return None
        height, width = self.kind.grid
        return height, width

    def beside(self, name: str) -> tuple[str, Path] | None:
        """Find a file in the model's folder, else one level up: its name in messages and its path.

        Symbolic links of the model are not followed.
        """
        if self.model is None:
            return None
        folder = self.model.absolute().parent
        for shown, path in ((name, folder / name), (f"../{name}", folder.parent / name)):
            if path.is_file():
                return shown, path
        return None


class Statement(NamedTuple):
    """The statement of one source.

    Attributes:
        source: The source.
        fields: The fields that it states.
        notes: Steps that it states and that are not done here.
    """

    source: Source
    fields: Fields
    notes: tuple[str, ...] = ()


def foreign(name: str, raw: Mapping[str, Any], notes: tuple[str, ...] = ()) -> Statement:
    """Make the statement of a source that was not written for onnxlrp."""
    source = Source(name, InputError, foreign=True)
    fields, more = check_foreign_fields({key: value for key, value in raw.items() if value is not None}, source)
    return Statement(source, fields, (*(f"{name}: {note}" for note in notes), *more))


def json_beside(context: SourceContext, name: str) -> tuple[str, dict[str, Any], tuple[str, ...]] | None:
    """Read a JSON object beside the model: the name of its file, the object, and why it is empty, if it is."""
    found = context.beside(name)
    if found is None:
        return None
    name, path = found
    try:
        value = json.loads(read_text(path, LONGEST_TEXT))
    except (OSError, ValueError, RecursionError) as error:
        return name, {}, (f"cannot be read as JSON ({reason(error)}): not used",)
    if not isinstance(value, dict):
        return name, {}, ("not a JSON object: not used",)
    return name, value, ()
