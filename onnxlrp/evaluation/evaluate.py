"""Methods times metrics over samples: `evaluate(model, x, methods, metrics) -> Evaluation`, resumable."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import NothingToDo, UnsupportedError, UsageError
from ..explanation.targets import for_samples, from_scores
from ..files import to_jsonable
from ..methods.registry import Array
from ..model import Model
from ..model.extra_inputs import said
from ..model.programs import identity
from ..preprocessing.samples import Samples
from ..streaming import collect
from ..version import __version__
from .metrics.registry import METRICS, Metric
from .metrics.trial import Attributor, Trial
from .results import Cell, Evaluation, judged, key_of, read
from .setup import Methods, Metrics, Progress, attributors, judges


def evaluate(
    model: Model,
    x: Any,
    methods: Methods,
    metrics: Metrics,
    *,
    target: Any = "top1",
    masks: str | Path | Sequence[Array | None] | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    batch_size: int | None = 32,
    progress: Progress | None = None,
) -> Evaluation:
    """Judge methods by metrics on samples x, explained for the `target` of each.

    `methods` are names, or by a name of your own: a method's name, a Composite, a Method, or a function of
    (model, x [N, …], ids [N]) that gives relevance in x's shape; `options` are those of methods by name. `metrics` are
    names, options by name, or Metrics. `masks` is a folder with a mask NAME.png or NAME.npy of each sample, or a list
    of boolean arrays. `seed` is that of every metric, method and interval that draws.

    With `out` every cell is kept in this file as soon as it is there, and what the file holds of the same question
    (model, samples, classes, options, seed; a function of one's own is known by its name) is not computed again.
    Raises UsageError, InputError, NothingToDo, CheckFailed; a method that cannot explain this model has a refused cell.
    """
    samples = model.read(x)
    found = for_samples(target, model.labels, model.classes, len(samples))
    if not isinstance(found, np.ndarray):
        logits = model.outputs(samples.values, batch_size=batch_size)["logits"]
        found = from_scores(found, logits.reshape(len(samples), -1))
        if found.ndim > 1:
            raise UsageError("several targets of each sample", "explain one at a time: target='top1'")
    run = _Run(model, samples, found, attributors(methods, options or {}, seed, batch_size), judges(metrics, seed))
    run.masks, run.seed, run.batch_size = masks, seed, batch_size
    run.check()
    return run.go(Path(out) if out is not None else None, progress or (lambda done, total, name: None))


@dataclasses.dataclass(eq=False)
class _Run:
    """One evaluation on its way."""

    model: Model
    samples: Samples
    ids: Array
    methods: Sequence[Attributor]
    metrics: Mapping[str, Metric]
    masks: str | Path | Sequence[Array | None] | None = None
    seed: int = 0
    batch_size: int | None = None

    def check(self) -> None:
        """Refuse before anything is computed."""
        for name in self.metrics:
            if METRICS[name].masks and self.masks is None:
                raise UsageError(
                    f"{name} asks whether relevance lies on the object, and no masks are given",
                    "give a folder with a mask NAME.png of each sample: --masks DIR",
                )
        if any(METRICS[name].masks for name in self.metrics) and not any(
            mask is not None and mask.any() for mask in self.inside
        ):
            raise NothingToDo("no sample has a mask", "name a mask like its sample: NAME.png")

    def go(self, out: Path | None, progress: Progress) -> Evaluation:
        """Every cell that the file does not hold yet, in order."""
        asked = [(by, name, self._empty(by, name)) for by in self.methods for name in self.metrics]
        kept = self._stored(out)
        # What is asked for comes first and in its order, however often the run was stopped.
        order = [*dict.fromkeys([*(empty.key for *_, empty in asked), *kept])]
        trials = {by.name: self._trial(by) for by in self.methods}
        for done, (by, name, empty) in enumerate(asked):
            progress(done, len(asked), f"{by.name} {name}")
            if empty.key in kept and not kept[empty.key].refused:
                continue
            kept[empty.key] = self._measured(empty, name, trials[by.name])
            if out is not None:
                Evaluation(self.about, [kept[key] for key in order if key in kept]).save(out)
        progress(len(asked), len(asked), "")
        return Evaluation(self.about, [kept[empty.key] for *_, empty in asked])

    def _trial(self, by: Attributor) -> Callable[[], Trial]:
        """The method's explanations: computed when a metric first asks, and once."""
        made: list[Trial] = []

        def trial() -> Trial:
            if not made:
                wants = any(METRICS[name].ledger for name in self.metrics)
                ledger = wants and by.conserves(self.model, self.samples.pictures)
                explanation = by(self.model, self.samples, self.ids, ledger=ledger)
                masks = self.inside if self.masks is not None else None
                made.append(Trial(self.model, self.samples, self.ids, by, explanation, masks, self.batch_size))
            return made[0]

        return trial

    def _measured(self, empty: Cell, name: str, trial: Callable[[], Trial]) -> Cell:
        try:
            found = self.metrics[name](trial())
        except UnsupportedError as error:
            return dataclasses.replace(empty, values=[None] * len(self.samples), note=str(error), refused=True)
        return judged(empty, found.values, found.curves, found.why, self.seed)

    def _empty(self, by: Attributor, name: str) -> Cell:
        """What is asked, without an answer."""
        entry, settings = METRICS[name], dataclasses.asdict(self.metrics[name])  # type: ignore[call-overload]
        way = _way(by.method)
        masks = self._masks_digest if entry.masks else ""
        key = key_of(by.name, way, by.options, name, settings, masks, self.seed)
        return Cell(key, by.name, to_jsonable(dict(by.options)), name, settings, entry.better)

    def _stored(self, out: Path | None) -> dict[str, Cell]:
        """The cells of the results that are there. Raises UsageError where those are of another question."""
        if out is None or not out.exists():
            return {}
        before = read(out)
        for what, value in self.about.items():
            if before.about.get(what) != value:
                raise UsageError(
                    f"{out}: holds an evaluation with {_differs(what)}", "choose another name with -o, or remove it"
                )
        return {cell.key: cell for cell in before.cells}

    @cached_property
    def inside(self) -> list[Array | None]:
        """The mask of each sample on the grid of the maps, None where it has none."""
        grid = self.samples.kind.grid
        if isinstance(self.masks, str | Path):
            if not self.samples.kind.is_image:
                raise UsageError(f"masks for an input of shape {grid}, which is no picture", "give masks as arrays")
            folder, several = Path(self.masks), enumerate(self.samples.names)
            return [collect.mask(folder, name, self.samples, i, self.model, grid) for i, name in several]
        given = list(self.masks or [None] * len(self.samples))
        wrong = [m.shape for m in given if m is not None and m.shape != grid]
        if len(given) != len(self.samples) or wrong:
            raise UsageError(
                f"{len(given)} masks{f', one of shape {wrong[0]}' if wrong else ''} for {len(self.samples)} samples of "
                f"shape {grid}",
                "give a mask of the samples' height and width for each, or None",
            )
        return [None if mask is None else mask.astype(bool) for mask in given]

    @cached_property
    def _masks_digest(self) -> str:
        digest = hashlib.sha256()
        for mask in self.inside:
            digest.update(b"-" if mask is None else np.packbits(mask).tobytes())
        return digest.hexdigest()[:16]

    @cached_property
    def about(self) -> dict[str, Any]:
        """What all cells have in common; no time and no date, so that the same question gives the same file."""
        values = np.ascontiguousarray(self.samples.values)
        digest = hashlib.sha256(f"{values.dtype}{values.shape}".encode() + values.tobytes())
        for name, array in sorted(self.model.given.items()):
            digest.update(f"{name}{array.dtype}{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
        graph, given = self.model.graph, {name: said(array) for name, array in self.model.given.items()}
        return {
            "onnxlrp": __version__,
            "model": {"file": Path(graph.source or "model").name, "sha256": graph.sha256},
            "engine": getattr(self.model.engine, "name", type(self.model.engine).__name__.lower()),
            "samples": {"sha256": digest.hexdigest(), "names": list(self.samples.names)},
            **({"given": given} if given else {}),
            "targets": self.ids.tolist(),
        }


def _way(method: Any) -> Any:
    """What tells a method from another: a name, the rules of a composite, the name of a function."""
    if hasattr(method, "__qualname__"):
        return f"{method.__module__}.{method.__qualname__}"
    return method if isinstance(method, str) else identity(method)


def _differs(what: str) -> str:
    named = {"model": "another model", "samples": "other samples", "targets": "other classes"}
    return named.get(what, f"another {what}")
