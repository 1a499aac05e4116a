"""Evaluate methods by metrics over samples: `evaluate(model, x, methods, metrics) -> Evaluation`, resumable."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence, Set
from functools import cached_property
from numbers import Integral
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np

from ..errors import NothingToDo, UnsupportedError, UsageError, at_least, of_type
from ..explanation.targets import for_samples, from_scores
from ..files import to_jsonable
from ..methods.registry import Array
from ..model import Model
from ..model.interface.extra_inputs import summary
from ..model.interface.several_sizes import Group, groups, in_order
from ..model.programs import identity
from ..preprocessing.samples import Samples
from ..streaming import collect
from ..version import __version__
from .context import Attributor, EvaluationContext
from .controls import CONTROLS
from .metrics.registry import METRICS, Metric, joined
from .results import Cell, Evaluation, key_of, measured_cell, read
from .setup import Methods, Metrics, Progress, make_attributors, make_metrics


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
    """Evaluate methods by metrics on samples.

    A method that cannot explain this model has a refused cell. Metrics that ask for controls have cells of maps that
    know nothing of the model, edges and a Gaussian in the middle, where the samples are pictures.

    Args:
        model: The model.
        x: The samples: anything that `Model.read` takes; those of a list may differ in size, where the file leaves
            sizes open. Each is measured at its own size.
        methods: Names of methods; or, by names of your own, a method's name, a Composite, a Method, or a function of
            (model, x [N, …], ids [N]) that returns relevance in x's shape.
        metrics: Names of metrics, options by name, or Metrics.
        target: The class explained of each sample, as of `Model.explain`.
        masks: A folder with a mask NAME.png or NAME.npy of each sample, or boolean arrays in the shape of the heatmaps.
        options: Options of methods, by name.
        seed: The seed of every metric, method and interval that draws random numbers.
        out: A file that keeps every cell as soon as it is computed. Cells that it holds of the same question (model,
            samples, classes, options, seed; a function is known by its name) are not computed again.
        batch_size: Samples of a batch.
        progress: Called with the cells done, their number, and the name of the next.

    Raises:
        UsageError: A method, metric, option or target does not exist, or `out` holds another evaluation.
        InputError: A sample, a mask or `out` cannot be read.
        NothingToDo: No sample has a mask, and a metric needs one.
        CheckFailed: A method gives relevance that is not finite.
    """
    of_type((Mapping, Sequence, Set), "names of methods", methods=methods)
    of_type((Mapping, Sequence, Set), "names of metrics", metrics=metrics)
    for metric in () if isinstance(metrics, Mapping) else metrics:
        if not isinstance(metric, str) and not hasattr(metric, "name"):
            raise UsageError(f"metrics: {repr(metric)[:80]} is no metric", f"give names: {', '.join(METRICS)}")
    of_type((Mapping, NoneType), "options of methods by their names", options=options)
    of_type(Integral, "a whole number", seed=seed)
    if batch_size is not None:
        at_least(1, whole=True, batch_size=batch_size)
    model = model.for_target(target)
    found = groups(model, x)
    of_all = for_samples(target, model.labels, model.classes, sum(len(one.samples) for one in found), model.place)
    parts = [_part(model, one, of_all, batch_size) for one in found]
    run = _EvaluationRun(
        model,
        parts,
        make_attributors(methods, options or {}, seed, batch_size, model.default_method),
        make_metrics(metrics, seed),
    )
    run.masks, run.seed, run.batch_size = masks, seed, batch_size
    if all(part.samples.kind.is_image for part in parts) and any(METRICS[name].controls for name in run.metrics):
        run.controls = [Attributor(name, way, {}, batch_size) for name, way in CONTROLS.items()]
    run.check()
    return run.go(Path(out) if out is not None else None, progress or (lambda done, total, name: None))


@dataclasses.dataclass(frozen=True, eq=False)
class _Part:
    """Samples of one size, the model for them and the class of each."""

    model: Model
    group: Group
    ids: Array

    @property
    def samples(self) -> Samples:
        return self.group.samples


def _part(model: Model, group: Group, target: Any, batch_size: int | None) -> _Part:
    """Return samples of one size with the classes that are explained: those given for all, or found by the scores."""
    x = group.samples.values
    model = group.model(model).fixed(x, batch_size)  # where it is while parts are hidden
    if isinstance(target, np.ndarray):
        return _Part(model, group, target[group.places])
    logits = model.outputs(x, batch_size=batch_size)["logits"]
    ids = from_scores(target, model.ranked(logits.reshape(len(x), -1)))
    if ids.ndim > 1:
        raise UsageError("several targets of each sample", "explain one at a time: target='top1'")
    return _Part(model, group, ids)


@dataclasses.dataclass(eq=False)
class _EvaluationRun:
    """One evaluation while it runs."""

    model: Model
    parts: Sequence[_Part]
    methods: Sequence[Attributor]
    metrics: Mapping[str, Metric]
    masks: str | Path | Sequence[Array | None] | None = None
    seed: int = 0
    batch_size: int | None = None
    controls: Sequence[Attributor] = ()

    def check(self) -> None:
        """Refuse metrics whose masks are missing, before anything is computed."""
        for name in self.metrics:
            if METRICS[name].masks and self.masks is None:
                raise UsageError(
                    f"{name} needs masks of the objects, and none are given",
                    "give a folder with a mask NAME.png of each sample: --masks DIR",
                )
        if any(METRICS[name].masks for name in self.metrics) and not any(
            mask is not None and mask.any() for masks in self.inside for mask in masks
        ):
            raise NothingToDo("no sample has a mask", "name a mask like its sample: NAME.png")

    def go(self, out: Path | None, progress: Progress) -> Evaluation:
        """Compute every cell that the file does not hold yet, in order."""
        requested = [
            (attributor, name, self._empty(attributor, name))
            for attributor in (*self.methods, *self.controls)
            for name in self.metrics
            if attributor not in self.controls or METRICS[name].controls
        ]
        kept = self._stored(out)
        # Requested cells come first, in their order, however often the run was interrupted.
        order = [*dict.fromkeys([*(empty.key for *_, empty in requested), *kept])]
        contexts = {attributor.name: self._context(attributor) for attributor in (*self.methods, *self.controls)}
        for done, (attributor, name, empty) in enumerate(requested):
            progress(done, len(requested), f"{attributor.name} {name}")
            if empty.key in kept and not kept[empty.key].refused:
                continue
            kept[empty.key] = self._measured(empty, name, contexts[attributor.name])
            if out is not None:
                Evaluation(self.about, [kept[key] for key in order if key in kept]).save(out)
        progress(len(requested), len(requested), "")
        return Evaluation(self.about, [kept[empty.key] for *_, empty in requested])

    def _context(self, attributor: Attributor) -> Callable[[], list[EvaluationContext]]:
        """Return a function that gives the method's explanations, of each size, computed on its first call."""
        made: list[EvaluationContext] = []

        def get() -> list[EvaluationContext]:
            if not made:
                made.extend([self._explained(attributor, n) for n in range(len(self.parts))])
            return made

        return get

    def _explained(self, attributor: Attributor, n: int) -> EvaluationContext:
        part = self.parts[n]
        wants = any(METRICS[name].ledger for name in self.metrics)
        ledger = wants and attributor.conserves(part.model, part.samples.pictures)
        try:
            explanation = attributor(part.model, part.samples, part.ids, ledger=ledger)
        except UsageError as error:  # options were checked: the method does not fit this model
            raise UnsupportedError(error.message, error.fix, error.command) from error
        masks = self.inside[n] if self.masks is not None else None
        places = part.group.places if len(self.parts) > 1 else None
        return EvaluationContext(
            part.model, part.samples, part.ids, attributor, explanation, masks, self.batch_size, places
        )

    def _measured(self, empty: Cell, name: str, contexts: Callable[[], list[EvaluationContext]]) -> Cell:
        places = [part.group.places for part in self.parts]
        try:
            found = joined([self.metrics[name](context) for context in contexts()], places)
        except UnsupportedError as error:
            count = sum(map(len, places))
            return dataclasses.replace(empty, values=[None] * count, note=str(error), refused=True)
        return measured_cell(empty, found.values, found.curves, found.why, self.seed)

    def _empty(self, attributor: Attributor, name: str) -> Cell:
        """Return the cell of a method and a metric, without its result."""
        entry, settings = METRICS[name], dataclasses.asdict(self.metrics[name])  # type: ignore[call-overload]
        identity_of_method = _identity(attributor.method)
        masks = self._masks_digest if entry.masks else ""
        key = key_of(attributor.name, identity_of_method, attributor.options, name, settings, masks, self.seed)
        return Cell(key, attributor.name, to_jsonable(dict(attributor.options)), name, settings, entry.better)

    def _stored(self, out: Path | None) -> dict[str, Cell]:
        """Read the cells of an earlier run. Raises UsageError where they are of another evaluation."""
        if out is None or not out.exists():
            return {}
        before = read(out)
        for what, value in self.about.items():
            if before.about.get(what) != value:
                raise UsageError(
                    f"{out}: holds an evaluation with {_difference(what)}", "choose another name with -o, or remove it"
                )
        return {cell.key: cell for cell in before.cells}

    @cached_property
    def inside(self) -> list[list[Array | None]]:
        """For each size the mask of each sample on the grid of the heatmaps, None where it has none."""
        if isinstance(self.masks, str | Path):
            return [self._from_files(Path(self.masks), part) for part in self.parts]
        count = sum(len(part.samples) for part in self.parts)
        given = list(self.masks or [None] * count)
        for part in self.parts:
            own, grid = [given[n] for n in part.group.places if n < len(given)], part.samples.kind.grid
            wrong = [mask.shape for mask in own if mask is not None and mask.shape != grid]
            if len(given) != count or wrong:
                raise UsageError(
                    f"{len(given)} masks{f', one of shape {wrong[0]}' if wrong else ''} for {count} samples"
                    f"{'' if len(own) == count else f', {len(own)} of them'} of shape {grid}",
                    "give a mask of the samples' height and width for each, or None",
                )
        masks = [None if mask is None else mask.astype(bool) for mask in given]
        return [[masks[n] for n in part.group.places] for part in self.parts]

    def _from_files(self, folder: Path, part: _Part) -> list[Array | None]:
        grid = part.samples.kind.grid
        if not part.samples.kind.is_image:
            raise UsageError(
                f"masks from files for an input of shape {grid}, which is not a picture", "give masks as arrays"
            )
        return collect.masks(folder, part.samples, part.model, grid)

    @cached_property
    def _masks_digest(self) -> str:
        digest = hashlib.sha256()
        for mask in in_order([part.group for part in self.parts], self.inside):
            digest.update(b"-" if mask is None else np.packbits(mask).tobytes())
        return digest.hexdigest()[:16]

    @cached_property
    def about(self) -> dict[str, Any]:
        """What all cells have in common, without time and date: equal evaluations give equal files."""
        digest = hashlib.sha256()
        for part in self.parts:
            values = np.ascontiguousarray(part.samples.values)
            digest.update(f"{values.dtype}{values.shape}".encode() + values.tobytes())
        own = [part.group for part in self.parts]
        for name, array in sorted(self.model.given.items()):
            digest.update(f"{name}{array.dtype}{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
        graph, given = self.model.graph, {name: summary(array) for name, array in self.model.given.items()}
        return {
            "onnxlrp": __version__,
            "model": {"file": Path(graph.source or "model").name, "sha256": graph.sha256},
            "engine": getattr(self.model.engine, "name", type(self.model.engine).__name__.lower()),
            "samples": {
                "sha256": digest.hexdigest(),
                "names": in_order(own, [part.samples.names for part in self.parts]),
            },
            **({"given": given} if given else {}),
            "targets": in_order(own, [part.ids.tolist() for part in self.parts]),
        }


def _identity(method: Any) -> Any:
    """Return what identifies a method: a name, the rules of a composite, the name of a function."""
    if hasattr(method, "__qualname__"):
        return f"{method.__module__}.{method.__qualname__}"
    return method if isinstance(method, str) else identity(method)


def _difference(what: str) -> str:
    named = {"model": "another model", "samples": "other samples", "targets": "other classes"}
    return named.get(what, f"another {what}")
