"""What an atlas is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...errors import UsageError, at_least, one_of
from ...explanation import targets

BY = ("activation", "relevance")
VALUES = ("sum", "max")
FORMATS = ("json", "npz")


@dataclass(frozen=True)
class Asked:
    """What an atlas is asked for.

    Attributes:
        layers: A regular expression for paths and node names of layers; None for all layers with weights.
        top: Samples that are kept of each unit.
        by: What they are ordered by: "activation" (ActMax), "relevance" (RelMax).
        value: What a unit's value is: the "sum" over positions, or their "max".
        target: The class that relevance is computed for: "top1" (of each sample its own), an id or a label.
        folders: The folder of a sample names its class, which relevance is computed for (with `target` top1) and
            samples are grouped by; else it is the predicted one.
        batch_size: Samples of a batch.
        heatmaps: Of so many of the top samples of each unit the page shows the heatmap; None for 3, in a large model of
            the units that matter most alone.
    """

    layers: str | None = None
    top: int = 9
    by: Sequence[str] = BY
    value: str = "sum"
    target: int | str = "top1"
    folders: bool = False
    batch_size: int = 8
    heatmaps: int | None = None

    def __post_init__(self) -> None:
        at_least(1, whole=True, top=self.top, batch_size=self.batch_size)
        if self.heatmaps is not None:
            at_least(0, whole=True, heatmaps=self.heatmaps)
        one_of(VALUES, value=self.value)
        object.__setattr__(self, "by", tuple(word for word in BY if word in self.by) if self.by else ())
        if targets.parse(self.target).k != 1:
            raise UsageError(f"target {self.target}: one class at a time", "give a class id, a label or top1")

    @classmethod
    def of(cls, words: Mapping[str, Any]) -> Asked:
        """Return what keywords ask for. Raises UsageError for one that does not exist or fit."""
        unknown = [name for name in words if name not in cls.__dataclass_fields__]
        if unknown:
            raise UsageError(f'an atlas has no option "{unknown[0]}"', f"known: {', '.join(cls.__dataclass_fields__)}")
        by = words.get("by", BY)
        for word in [by] if isinstance(by, str) else by or [""]:
            one_of(BY, by=word)
        return cls(**{**words, "by": [by] if isinstance(by, str) else by})
