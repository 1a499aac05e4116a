"""What a run of checks is told: frozen settings, every one with a documented default."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

OFF = "off"


@dataclass(frozen=True)
class Settings:
    """`model` is the file; `samples` are files, folders and globs; `masks` is a folder with a mask NAME.png or NAME.npy
    of a sample; `expected` are stored outputs (.npz files, `test_data_set_*` folders); `baseline` is the folder of the
    baseline. Paths are relative to `folder`, the place of the TOML.

    `method` with its `options`, `rules` (match → rule, before the method's) and `on_unsupported`, `target`, `output`,
    `input`, `given`, `engine`, `prep`, `strict`, `size`, `batch_size`, `max_memory` and
    `allow_linked_data` are those of `load` and `explain`.
    `thresholds` are those of each check by its id, `severities` are "error", "warning", "note" or "off".
    """

    model: str | None = None
    samples: tuple[str, ...] = ()
    masks: str | None = None
    expected: tuple[str, ...] = ()
    baseline: str | None = None
    method: str = "epsilon_plus_flat"
    options: Mapping[str, Any] = field(default_factory=dict)
    rules: Mapping[str, str] = field(default_factory=dict)
    on_unsupported: str = "error"
    target: str | int = "top1"
    output: str | None = None
    input: str | None = None
    given: Mapping[str, Any] = field(default_factory=dict)
    engine: str = "auto"
    prep: Mapping[str, Any] = field(default_factory=dict)
    strict: bool = False
    size: tuple[int, ...] | None = None
    batch_size: int = 8
    max_memory: str | None = None
    allow_linked_data: bool = False
    thresholds: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    severities: Mapping[str, str] = field(default_factory=dict)
    folder: Path = Path()

    def path(self, name: str) -> Path:
        """A path of the settings as seen from here."""
        return self.folder / name

    @property
    def asked(self) -> dict[str, Any]:
        """What decides an explanation beside the model and the sample."""
        names = ("method", "options", "rules", "on_unsupported", "target", "output", "input", "given")
        return {name: _plain(getattr(self, name)) for name in names}

    @property
    def method_hash(self) -> str:
        """SHA-256 of `asked`."""
        return hashlib.sha256(json.dumps(self.asked, sort_keys=True, default=str).encode()).hexdigest()


def _plain(value: Any) -> Any:
    """JSON's types; of a file the name alone, so that another place of the folder is no other method."""
    if isinstance(value, Mapping):
        return {key: Path(item).name if isinstance(item, str) else item for key, item in value.items()}
    return value
