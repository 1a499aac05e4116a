"""One pass over the samples: values of every channel, the largest of which are kept."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...composites import Composite
from ...errors import InputError, OnnxLrpError
from ...explanation import targets
from ...graph.outputs.units import Unit
from ...preprocessing.samples import several_sizes
from ...streaming.batches import Batch, Rejected, batches, joined
from ...streaming.rows import Rows
from . import store
from .asked import Asked
from .layers import chosen
from .source import Pictures
from .tops import Array, ClassSums, Tops, shares

SECONDS = 20.0  # between two states that a cut run can go on from

Progress = Callable[[int, int], bool]  # (done, of) -> whether to go on
Reject = Callable[[Rejected], None]


@dataclass(eq=False)
class Collector:
    """Collects the tops of a run.

    Attributes:
        model: The model.
        asked: What is asked for.
        composite: Gives the rules of relevance; told whether samples are pictures.
        source: The samples.
        folder: Where rows and states are written.
        identity: What must be the same for a run to go on.
        every: Seconds between two states.
        layers: The layers, known when the first sample is read.
        tops: By what they are ordered by, those of each layer.
        sums: Values summed by class, by "activation/N" and "relevance/N" of the N-th layer.
        number: The number of the next sample.
        rejected: The number of samples without values.
        shape: The shape of all samples.
    """

    model: Any
    asked: Asked
    composite: Callable[[bool], Composite]
    source: Pictures
    folder: Path
    identity: Mapping[str, Any]
    every: float = SECONDS
    layers: list[Unit] = field(default_factory=list)
    tops: dict[str, list[Tops]] = field(default_factory=dict)
    sums: ClassSums = field(default_factory=ClassSums)
    number: int = 0
    rejected: int = 0
    shape: tuple[int, ...] | None = None
    _classes: list[int] | None = None
    _rules: dict[bool, Composite] = field(default_factory=dict)

    def run(self, resume: bool, progress: Progress, reject: Reject) -> bool:
        """Read all samples; return whether the end was reached.

        Args:
            resume: Go on from the state in the folder, if there is one.
            progress: Told of the items done; returning False stops after the state is written.
            reject: Told of items that cannot be read.

        Raises:
            UsageError: A state of another run, layers that do not exist, folders that name no class.
            InputError: Samples of several sizes, or files that cannot be written.
        """
        model, asked = self.model, self.asked
        if asked.folders:
            self._classes = self.source.classes(model.labels, model.classes)
        self._asked_class(1, None)  # a class that does not exist is refused before anything is written
        if not any(model.graph.open_axes.values()):
            self._choose_layers()
        rows, started = Rows(self.folder / store.ROWS), not self.folder.exists()
        try:
            return self._run(rows, resume, progress, reject)
        except OnnxLrpError:
            if not (self.folder / store.STATE).exists():  # nothing that a run could go on from
                rows.discard()
                with contextlib.suppress(OSError):
                    if started:
                        self.folder.rmdir()
            raise

    def _run(self, rows: Rows, resume: bool, progress: Progress, reject: Reject) -> bool:
        model, asked = self.model, self.asked
        item, sample = self._resumed(rows) if resume and (self.folder / store.STATE).exists() else (0, 0)
        if not (item or sample):
            rows.begin()
            for name in (store.MANIFEST, store.STATE):  # of a run before: they do not belong to what comes
                (self.folder / name).unlink(missing_ok=True)
        source = self.source.after(item, sample)
        where = {id(one): n for n, one in enumerate(source.items)}
        saved = time.monotonic()
        for batch in batches(source, [model], asked.batch_size):
            if isinstance(batch, Rejected):
                reject(batch)
                rows.add([self._failed(batch.item.name, batch.item.origin, batch.error.message)])
                item, sample = where[id(batch.item)] + 1, 0
            else:
                rows.add(self._batch(batch, where))
                last = batch[-1]
                start = last.start + len(last)
                whole = last.start + len(last) == last.size
                item, sample = where[id(last.item)] + whole, 0 if whole else start
            going = progress(item, len(self.source.items))
            if not going or time.monotonic() - saved >= self.every:
                self._save(rows, item, sample)
                saved = time.monotonic()
            if not going and item < len(self.source.items):
                return False
        if self.number == self.rejected:
            raise InputError("no sample could be read", "name other files")
        rows.end()
        return True

    # -- batches

    def _batch(self, batch: Batch, where: Mapping[int, int]) -> list[dict[str, Any]]:
        """Take the values of a batch; return its rows."""
        first = batch[0].samples[0]  # all of a batch are of one size
        if self.shape is None:
            self.shape = first.kind.shape
        elif self.shape != first.kind.shape:
            raise several_sizes({self.shape: ["those before"], first.kind.shape: first.names}, first.pictures)
        model = self.model.at(first.kind.shape, first.own_size)
        (samples,) = joined(batch, [model])
        if not self.layers:
            self.model = model
            self._choose_layers()
        items = [where[id(piece.item)] for piece in batch for _ in range(len(piece))]
        starts = [piece.start + n for piece in batch for n in range(len(piece))]
        ids = None if self._classes is None else np.array([self._classes[n] for n in items])
        numbers = self.number + np.arange(len(samples))
        values, places, logits = self._values(model, samples, ids, numbers)
        predicted = targets.from_scores(targets.TOP1, logits)
        fine: Array = np.asarray(np.isfinite(logits).all(axis=1))
        for array in values.values():
            fine &= np.isfinite(array).all(axis=1)
        groups = predicted if ids is None else ids
        self._keep({k: v[fine] for k, v in values.items()}, numbers[fine], {k: v[fine] for k, v in places.items()})
        self.sums.add(groups[fine], {k: v[fine] for k, v in values.items()})
        rows = []
        for n, name in enumerate(samples.names):
            row = {"sample": self.number, "name": name, "file": self.source.items[items[n]].origin, "start": starts[n]}
            row |= {"class": int(groups[n]), "predicted": int(predicted[n])}
            rows.append(row if fine[n] else {**row, "error": "its scores or relevance are NaN or infinite"})
            self.number += 1
        self.rejected += int((~fine).sum())
        return rows

    def _values(
        self, model: Any, samples: Any, ids: Array | None, numbers: Array
    ) -> tuple[dict[str, Array], dict[str, Array], Array]:
        """Values [N, C] and positions [N, C] by "activation/N" and "relevance/N", and the logits [N, K]."""
        asked, names = self.asked, list(self.layers)
        recorded = names if "relevance" in asked.by else []
        seen = names if "activation" in asked.by else []
        composite = None
        if recorded:
            if samples.pictures not in self._rules:
                self._rules[samples.pictures] = self.composite(samples.pictures)
            composite = self._rules[samples.pictures]
            ids = self._asked_class(len(samples), ids)
        own_rows = any(len(array) > 1 for array in model.given.values())
        found = model.outputs(
            samples.values,
            composite,
            ids=ids if recorded else None,
            record=recorded,
            activations=seen,
            at=numbers if own_rows else None,
            reduce=(asked.value, "argmax"),
        )
        values, places = {}, {}
        for n, unit in enumerate(names):
            for by, word in (("activation", "activation"), ("relevance", "record")):
                if by in asked.by:
                    taken = found[f"{word}/{unit.label}/{asked.value}"]
                    values[f"{by}/{n}"] = shares(taken) if by == "relevance" else taken
                    places[f"{by}/{n}"] = found[f"{word}/{unit.label}/argmax"].astype(np.int64)
        return values, places, found["logits"].reshape(len(samples), -1)

    def _asked_class(self, count: int, ids: Array | None) -> Array | None:
        """The class of each sample that relevance is computed for, None for its best."""
        asked = targets.for_samples(self.asked.target, self.model.labels, self.model.classes, count)
        return ids if isinstance(asked, targets.Target) else asked

    def _keep(self, values: Mapping[str, Array], numbers: Array, places: Mapping[str, Array]) -> None:
        for by, tops in self.tops.items():
            for n, top in enumerate(tops):
                top.add(values[f"{by}/{n}"], numbers, places[f"{by}/{n}"])

    def _failed(self, name: str, origin: str, why: str) -> dict[str, Any]:
        row = {"sample": self.number, "name": name, "file": origin, "error": why}
        self.number += 1
        self.rejected += 1
        return row

    def _choose_layers(self) -> None:
        graph, propagated = self.model.graph, "relevance" in self.asked.by
        self.layers = chosen(graph, self.asked.layers, self.model.head.logits, propagated)
        self.tops = {by: [Tops.empty(one.channels, self.asked.top) for one in self.layers] for by in self.asked.by}

    # -- states

    def _save(self, rows: Rows, item: int, sample: int) -> None:
        arrays: dict[str, Array] = {}
        for by, tops in self.tops.items():
            for n, top in enumerate(tops):
                arrays |= {f"{by}/{n}/{key}": array for key, array in top.arrays().items()}
        met = len(self.sums.ids)
        arrays |= {f"sums/{name}": array[:met] for name, array in self.sums.sums.items()}
        arrays |= {"ids": np.array(self.sums.ids, np.int64), "counts": np.array(self.sums.counts, np.int64)}
        where = {"item": item, "sample": sample, "bytes": rows.size, "number": self.number, "rejected": self.rejected}
        store.save_state(self.folder, arrays, self.identity, {**where, "shape": self.shape})

    def _resumed(self, rows: Rows) -> tuple[int, int]:
        """Take the state of the folder; return the item and the sample of it to go on with."""
        arrays, where = store.load_state(self.folder, self.identity)
        shape = where["shape"]
        if shape is not None:
            self.shape = tuple(shape)
            self.model = self.model.at(self.shape)
            self._choose_layers()
            for by, tops in self.tops.items():
                for n in range(len(tops)):
                    tops[n] = Tops(*(arrays[f"{by}/{n}/{key}"] for key in ("values", "samples", "positions")))
        names = [name for name in arrays if name.startswith("sums/")]
        sums = {name.removeprefix("sums/"): arrays[name].copy() for name in names}
        self.sums = ClassSums(arrays["ids"].tolist(), arrays["counts"].tolist(), sums)
        self.number, self.rejected = where["number"], where["rejected"]
        rows.begin(where["bytes"])
        return where["item"], where["sample"]
