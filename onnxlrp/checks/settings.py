"""Settings of a run of checks, each with a default."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType
from typing import Any

from ..errors import UsageError, of_type
from ..model.options import values as values
from ..model.options.declaration import declared, stated
from ..model.options.explain import ExplainOptions
from ..streaming import sources
from ..streaming.sources import Files

OFF = "off"
# What every baseline was asked for; further options are named where they are stated.
_ALWAYS = ("method", "options", "rules", "on_unsupported", "target", "output", "input", "given")
_TABLES = ("options", "rules", "given")  # empty where nothing is stated


@dataclass(frozen=True, kw_only=True)
class Settings(ExplainOptions):
    """The settings of a run of checks: what explanations are asked for, the data, options of `load`, and thresholds.

    A field with a kind of TOML value is a key of the settings file, those of ExplainOptions too.

    Attributes:
        model: The model's file.
        samples: Files, folders, globs and archives.
        recursive: Folders with all below them.
        from_list: A list of paths in the place of samples: a text, a .csv or a .parquet file.
        path_column: The column of paths of that list.
        name_column: The column of a table that names its rows.
        masks: A folder with a mask NAME.png or NAME.npy for each sample.
        expected: Stored outputs: .npz files, `test_data_set_*` folders.
        baseline: The folder of the baseline.
        engine: The engine of `load`.
        prep: The preprocessing, as of `load`.
        strict: Refuse an assumed preprocessing.
        size: Lengths of the input's axes that the model leaves open: height and width, or by name.
        batch_size: Samples at a time.
        max_memory: As of `load`.
        allow_linked_data: As of `load`.
        thresholds: Thresholds of checks by the id of the check.
        severities: "error", "warning", "note" or "off" by the id of the check.
        folder: The folder that paths are relative to: that of the TOML file.
    """

    model: str | None = field(default=None, metadata=stated(toml=values.TEXT))
    samples: tuple[str, ...] = field(default=(), metadata=stated(toml=values.TEXTS))
    recursive: bool = field(default=False, metadata=stated(toml=values.SWITCH))
    from_list: str | None = field(default=None, metadata=stated(toml=values.TEXT))
    path_column: str | None = field(default=None, metadata=stated(toml=values.TEXT))
    name_column: str | None = field(default=None, metadata=stated(toml=values.TEXT))
    masks: str | None = field(default=None, metadata=stated(toml=values.TEXT))
    expected: tuple[str, ...] = field(default=(), metadata=stated(toml=values.TEXTS))
    baseline: str | None = field(default=None, metadata=stated(toml=values.TEXT))
    engine: str = field(default="auto", metadata=stated(toml=values.TEXT))
    prep: Mapping[str, Any] = field(default_factory=dict, metadata=stated(toml=values.PREPROCESSING))
    strict: bool = field(default=False, metadata=stated(toml=values.SWITCH))
    size: tuple[int, ...] | Mapping[str, int] | None = field(default=None, metadata=stated(toml=values.LENGTHS))
    batch_size: int | None = field(default=8, metadata=stated(toml=values.COUNT))
    max_memory: str | None = field(default=None, metadata=stated(toml=values.SIZE))
    allow_linked_data: bool = field(default=False, metadata=stated(toml=values.SWITCH))
    thresholds: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    severities: Mapping[str, str] = field(default_factory=dict)
    folder: Path = Path()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.targets is not None:
            raise UsageError(f"targets={self.targets!r}", "one class of each sample is explained: give target=")
        paths = (str, os.PathLike, NoneType)
        of_type(paths, "a path", model=self.model, masks=self.masks, baseline=self.baseline, from_list=self.from_list)
        of_type((str, NoneType), "a name", path_column=self.path_column, name_column=self.name_column)
        for name in ("samples", "expected"):
            words = getattr(self, name)
            of_type(Sequence, "a list of paths", **{name: words})
            of_type((str, os.PathLike), "a path", **{f"{name}[{n}]": word for n, word in enumerate(words)})
        of_type((Mapping, NoneType), "a table", prep=self.prep)
        of_type(Mapping, "a table", thresholds=self.thresholds, severities=self.severities)
        of_type((str, os.PathLike), "a path", folder=self.folder)

    def source(self, words: Sequence[str] | None = None) -> Files | None:
        """Find the samples: words of the caller, else those of the settings; None where there are none.

        Args:
            words: Files, folders, globs and archives, relative to the working directory.

        Raises:
            UsageError: A column of paths without a list.
            InputError: A folder, list or archive that cannot be read, or a file that is given twice.
            NothingToDo: There is nothing to read.
        """
        if words is not None:
            column = self.path_column if self.from_list is None else None  # that of a list of the settings
            return sources.find(words, None, column, self.name_column, self.recursive, by_folder=True)
        if not self.samples and self.from_list is None:
            return None
        how = {name: getattr(self, name) for name in ("from_list", "path_column", "name_column", "recursive", "folder")}
        return sources.find(self.samples, **how, by_folder=True)

    def path(self, name: str) -> Path:
        """Resolve a path of the settings."""
        return self.folder / name

    @property
    def requested(self) -> dict[str, Any]:
        """The settings that an explanation depends on, besides the model and the sample."""
        found = {name: getattr(self, name) or {} if name in _TABLES else getattr(self, name) for name in _ALWAYS}
        others = [f for f, said in declared(ExplainOptions) if said.toml and f.name not in (*_ALWAYS, "batch_size")]
        found |= {f.name: getattr(self, f.name) for f in others if getattr(self, f.name) != f.default}
        return {name: _without_folders(value) for name, value in found.items()}

    @property
    def method_hash(self) -> str:
        """SHA-256 of `requested`."""
        return hashlib.sha256(json.dumps(self.requested, sort_keys=True, default=str).encode()).hexdigest()


def _without_folders(value: Any) -> Any:
    """Reduce files to their names, so that the same settings in another folder have the same hash."""
    if isinstance(value, Mapping):
        return {key: Path(item).name if isinstance(item, str) else item for key, item in value.items()}
    return value
