"""What other analyses know of units: the concepts that they detect."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ... import files
from ...errors import InputError, UsageError


@dataclass(frozen=True, eq=False)
class Concepts:
    """The concept of each unit that `onnxlrp concepts find` names.

    Attributes:
        path: The file.
        sha256: The hash of the model that it is of.
        units: By layer and channel: concept, "iou" (of masks), "auc", "significant".
    """

    path: Path
    sha256: str
    units: Mapping[tuple[str, int], Mapping[str, Any]]

    @classmethod
    def read(cls, path: Path) -> Concepts:
        """Read the file. Raises InputError."""
        files.check(path)
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            units = {
                (str(layer["layer"]), int(unit["unit"])): {"concept": str(unit["concept"]), **unit}
                for layer in found["layers"]
                for unit in layer["units"]
            }
            return cls(path, str(found["provenance"]["sha256"]), units)
        except (ValueError, KeyError, TypeError, AttributeError, UnicodeError):
            raise InputError(
                f"{path}: not the JSON of concepts find", "onnxlrp concepts find MODEL images/ --layer PATH -o DIR"
            ) from None

    def check(self, sha256: str, layers: list[str]) -> None:
        """Raise UsageError where it is of another model, or of none of the layers."""
        if self.sha256 != sha256:
            raise UsageError(f"{self.path}: concepts of another model", "find them of this one")
        known = sorted({layer for layer, _ in self.units})
        if not set(known) & set(layers):
            raise UsageError(
                f"{self.path}: concepts of {', '.join(known)}, which are no layers of the atlas",
                "ask for them with --layers",
            )

    def line(self, layer: str, channel: int) -> str:
        """Return what is known of a unit in words, "" where nothing is."""
        unit = self.units.get((layer, channel))
        if unit is None or not (unit.get("significant") or unit.get("detector")):
            return ""
        numbers = [
            f"{name} {unit[key]:.2f}" for key, name in (("iou", "IoU"), ("auc", "AUC")) if unit.get(key) is not None
        ]
        return f"{unit['concept']} ({', '.join(numbers)})"
