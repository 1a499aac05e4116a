"""Settings of a run of checks, each with a default."""

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
    """The settings of a run of checks: the data, the options of `load` and `explain`, and thresholds.

    Attributes:
        model: The model's file.
        samples: Files, folders and globs.
        masks: A folder with a mask NAME.png or NAME.npy for each sample.
        expected: Stored outputs: .npz files, `test_data_set_*` folders.
        baseline: The folder of the baseline.
        method: The method of `explain`.
        options: The options of the method.
        rules: Rules by match, which take precedence over the method's.
        on_unsupported: As of `explain`.
        target: As of `explain`.
        output: The explained output.
        input: The explained input.
        given: Values of the other inputs, by name.
        kind: What the explained input is, as of `explain`.
        engine: The engine of `load`.
        prep: The preprocessing, as of `load`.
        strict: Refuse an assumed preprocessing.
        size: Height and width of the input, where the model leaves them open.
        batch_size: Samples of a batch.
        max_memory: As of `load`.
        allow_linked_data: As of `load`.
        thresholds: Thresholds of checks by the id of the check.
        severities: "error", "warning", "note" or "off" by the id of the check.
        folder: The folder that paths are relative to: that of the TOML file.
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
    kind: str | None = None
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
        """Resolve a path of the settings."""
        return self.folder / name

    @property
    def requested(self) -> dict[str, Any]:
        """The settings that an explanation depends on, besides the model and the sample."""
        names = ("method", "options", "rules", "on_unsupported", "target", "output", "input", "given")
        stated = {name: _without_folders(getattr(self, name)) for name in names}
        return stated if self.kind is None else {**stated, "kind": self.kind}

    @property
    def method_hash(self) -> str:
        """SHA-256 of `requested`."""
        return hashlib.sha256(json.dumps(self.requested, sort_keys=True, default=str).encode()).hexdigest()


def _without_folders(value: Any) -> Any:
    """Reduce files to their names, so that the same settings in another folder have the same hash."""
    if isinstance(value, Mapping):
        return {key: Path(item).name if isinstance(item, str) else item for key, item in value.items()}
    return value
