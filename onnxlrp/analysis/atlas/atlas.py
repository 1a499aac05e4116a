"""Atlas: the top samples of every unit, the units of every class, and the folder that they are kept in."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ... import files
from ...errors import InputError, UsageError, did_you_mean
from ...graph.outputs.units import Unit
from ...graph.recognition.receptive_field import Box
from ...streaming import rows
from . import store
from .tops import Array, ClassSums, Tops, hits


class Hit(NamedTuple):
    """A sample that a unit answers to.

    Attributes:
        sample: Its number among all samples of the run.
        name: Its name.
        value: The value of the unit: activation, or share of the layer's relevance.
        position: The place of the largest element, along each axis of positions.
        box: Its receptive field: (start, stop) along each axis of the input.
    """

    sample: int
    name: str
    value: float
    position: tuple[int, ...]
    box: Box


class Share(NamedTuple):
    """A unit that matters for a class.

    Attributes:
        layer: The layer.
        channel: The channel.
        value: The mean over the samples of the class.
    """

    layer: str
    channel: int
    value: float


@dataclass(frozen=True, eq=False)
class LayerUnits:
    """The units of a layer.

    Attributes:
        unit: The layer's result, all of it.
        fields: Receptive fields by flat position: [positions, input axes, 2]; an axis of the input that counts as a
            whole is (0, length).
        tops: By "activation" and "relevance".
    """

    unit: Unit
    fields: Array
    tops: dict[str, Tops]

    @property
    def label(self) -> str:
        """The name of the layer."""
        return self.unit.label

    def position(self, flat: int) -> tuple[int, ...]:
        """Return a flat position along each axis of positions."""
        return tuple(int(n) for n in np.unravel_index(flat, self.unit.space)) if self.unit.space else ()

    def box(self, flat: int) -> Box:
        """Return the receptive field of a flat position."""
        return tuple((int(low), int(high)) for low, high in self.fields[flat])


@dataclass(frozen=True, eq=False)
class AtlasData:
    """What is known of the units of a model.

    Attributes:
        folder: Where it is kept.
        layers: The layers.
        classes: Sums by class of the values of each layer, "activation/N" and "relevance/N".
        about: What was asked for: model, method, preprocessing, options; the numbers of samples; class names.
        names: The names of the samples that some unit shows, by number.
    """

    folder: Path
    layers: Sequence[LayerUnits]
    classes: ClassSums
    about: dict[str, Any]
    names: dict[int, dict[str, Any]] = field(default_factory=dict)

    def layer(self, label: str) -> LayerUnits:
        """Return a layer by its name. Raises UsageError."""
        for one in self.layers:
            if one.label == label:
                return one
        raise UsageError(f'the atlas has no layer "{label}"', did_you_mean(label, [one.label for one in self.layers]))

    def top(self, unit: str, by: str = "activation") -> list[Hit]:
        """Return the samples that a unit answers to most, the first one most.

        Args:
            unit: LAYER:CHANNEL.
            by: "activation" (ActMax) or "relevance" (RelMax).

        Raises:
            UsageError: There is no such unit, or samples were not ordered so.
        """
        label, _, word = unit.rpartition(":")
        found = self.layer(label or unit)
        if not (word.isdecimal() and int(word) < found.unit.channels and label):
            raise UsageError(
                f'"{unit}" is no unit of {found.label}', f"give {found.label}:0 to :{found.unit.channels - 1}"
            )
        if by not in found.tops:
            raise UsageError(f"the atlas is not ordered by {by}", did_you_mean(by, found.tops))
        return list(self.hits(found, by, int(word)))

    def hits(self, layer: LayerUnits, by: str, channel: int) -> Iterator[Hit]:
        """Yield the samples of a unit of a layer."""
        for sample, value, flat in hits(layer.tops[by], channel):
            name = self.names.get(sample, {}).get("name", str(sample))
            yield Hit(sample, name, value, layer.position(flat), layer.box(flat))

    def units(self, of: int | str, by: str = "relevance", count: int = 10, layer: str | None = None) -> list[Share]:
        """Return the units that matter most for a class, by the mean over its samples.

        Args:
            of: The class id, or its name.
            by: "relevance" or "activation".
            count: How many of each layer.
            layer: One layer; None for all, in their order.

        Raises:
            UsageError: No sample was of this class, or samples were not ordered so.
        """
        row = self._row(of)
        found = []
        for n, one in enumerate(self.layers):
            if layer is not None and one.label != layer:
                continue
            if f"{by}/{n}" not in self.classes.sums:
                raise UsageError(f"the atlas is not ordered by {by}", did_you_mean(by, one.tops))
            means = self.classes.means(f"{by}/{n}")[row]
            order = np.argsort(-means, kind="stable")[:count]
            found += [Share(one.label, int(c), float(means[c])) for c in order]
        if layer is not None:
            self.layer(layer)
        return found

    def chief(self, number: int, count: int) -> list[int]:
        """Return the units of the N-th layer that matter most over all samples, by relevance where there is some."""
        by = "relevance" if "relevance" in self.about["identity"]["by"] else "activation"
        total = self.classes.sums[f"{by}/{number}"].sum(axis=0)
        return [int(c) for c in np.argsort(-total, kind="stable")[:count]]

    def label(self, one: int) -> str:
        """Return the name of a class, else its number."""
        labels = self.about.get("labels")
        return str(labels[one]).split(",")[0] if labels and one < len(labels) else str(one)

    def _row(self, of: int | str) -> int:
        words = {self.label(one): n for n, one in enumerate(self.classes.ids)}
        if isinstance(of, str) and not of.isdecimal():
            if of in words:
                return words[of]
            raise UsageError(f'no sample is of the class "{of}"', did_you_mean(of, words))
        if int(of) in self.classes.ids:
            return self.classes.ids.index(int(of))
        raise UsageError(f"no sample is of class {of}", f"known: {', '.join(map(str, self.classes.ids[:20]))}")

    # -- files

    def save(self, formats: Sequence[str]) -> list[Path]:
        """Write the manifest, and the data in `store` formats "json" and "npz". Raises InputError."""
        written = []
        if "npz" in formats:
            written.append(store.write_npz(self.folder / store.UNITS, self._arrays()))
        if "json" in formats:
            text = json.dumps(files.to_jsonable(self.to_dict()), ensure_ascii=False, allow_nan=False)
            written.append(files.replace(self.folder / store.DATA, (text + "\n").encode()))
        return [*written, store.write_json(self.folder / store.MANIFEST, self.about)]

    def _arrays(self) -> dict[str, Array]:
        arrays: dict[str, Array] = {
            "classes/ids": np.array(self.classes.ids, np.int64),
            "classes/counts": np.array(self.classes.counts, np.int64),
        }
        for n, one in enumerate(self.layers):
            arrays[f"{n}/fields"] = one.fields
            for by, top in one.tops.items():
                arrays |= {f"{n}/{by}/{key}": array for key, array in top.arrays().items()}
                arrays[f"{n}/{by}/classes"] = self.classes.sums[f"{by}/{n}"]
        return arrays

    def to_dict(self) -> dict[str, Any]:
        """Return all of it in JSON's types."""
        layers = []
        for one in self.layers:
            units = [
                {"channel": c, **{by: [hit._asdict() for hit in self.hits(one, by, c)] for by in one.tops}}
                for c in range(one.unit.channels)
            ]
            layers.append({"layer": one.label, "shape": list(one.unit.shape), "units": units})
        by = "relevance" if "relevance" in self.about["identity"]["by"] else "activation"
        classes = [
            {"id": one, "label": self.label(one), "samples": self.classes.counts[n],
             by: [share._asdict() for share in self.units(one, by, 5)]}
            for n, one in enumerate(self.classes.ids)
        ]  # fmt: skip
        return {**self.about, "classes": classes, "layers": layers}

    @classmethod
    def read(cls, folder: str | Path) -> Any:
        """Read a finished atlas.

        Args:
            folder: Its folder, with units.npz in it.

        Raises:
            InputError: There is none, it is damaged, or has no units.npz.
        """
        folder = Path(folder)
        about = store.manifest(folder)
        if about is None:
            raise InputError(f"{folder}: holds no finished atlas", "onnxlrp atlas MODEL images/ -o FOLDER makes one")
        if not (folder / store.UNITS).exists():
            raise InputError(f"{folder}: the atlas has no {store.UNITS}", "make it with --format npz")
        arrays = store.read_npz(folder / store.UNITS)
        try:
            return cls(folder, *_parts(about, arrays), about, _names(folder, arrays))
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise InputError(f"{folder}: a damaged atlas ({files.reason(error)})", "make it again") from None


def _parts(about: dict[str, Any], arrays: dict[str, Array]) -> tuple[list[LayerUnits], ClassSums]:
    layers, sums = [], {}
    for n, one in enumerate(about["layers"]):
        tops = {}
        for by in about["identity"]["by"]:
            tops[by] = Tops(*(arrays[f"{n}/{by}/{key}"] for key in ("values", "samples", "positions")))
            sums[f"{by}/{n}"] = arrays[f"{n}/{by}/classes"]
        unit = Unit(one["tensor"], one["label"], tuple(one["shape"]), one["axis"])
        layers.append(LayerUnits(unit, arrays[f"{n}/fields"], tops))
    return layers, ClassSums(arrays["classes/ids"].tolist(), arrays["classes/counts"].tolist(), sums)


def _names(folder: Path, arrays: dict[str, Array]) -> dict[int, dict[str, Any]]:
    return shown_rows(folder / store.ROWS, [array for key, array in arrays.items() if key.endswith("/samples")])


def shown_rows(path: Path, samples: Sequence[Array]) -> dict[int, dict[str, Any]]:
    """Return the rows of the samples that some unit shows, by number. Raises InputError."""
    wanted = set(np.unique(np.concatenate([array.ravel() for array in samples])).tolist()) if samples else set()
    return {row["sample"]: row for row in rows.rows(path) if row.get("sample") in wanted}
