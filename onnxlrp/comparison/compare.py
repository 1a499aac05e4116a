"""Compare two models on the same samples: their logits, their heatmaps, and their activations layer by layer.

The result is in JSON's types; `verdict.judge` holds it against limits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import UnsupportedError, UsageError, at_least, of_type, one_of
from ..explanation import Explanation, maps
from ..explanation.figures import Drawn
from ..explanation.targets import for_samples, from_scores
from ..files import to_jsonable
from ..model import ExplainOptions, Model
from ..model.interface.extra_inputs import rows as given_rows
from ..model.interface.extra_inputs import summary
from ..preprocessing import labels
from ..preprocessing.samples import Samples
from ..streaming.batches import Progress, Rejected, batches, joined
from ..streaming.sources import Item, Source
from .divergence import FLOOR, Divergence, DivergenceMeter
from .similarity import METRICS
from .worst_samples import WorstSample, WorstSamples

Array = npt.NDArray[Any]

SCHEMA = 1  # version of the result
ALL = tuple(METRICS)


@dataclass(frozen=True, kw_only=True)
class CompareOptions(ExplainOptions):
    """Options of a comparison: what both models are asked for, and what is compared.

    Attributes:
        batch_size: Samples of a batch.
        metrics: Names of similarities of heatmaps.
        floor: Drift of a layer that counts as none; None for ten times A's own noise.
        worst: How many of the least similar samples, by the first metric, are kept with their heatmaps.
    """

    batch_size: int | None = 8
    metrics: Sequence[str] = ALL
    floor: float | None = None
    worst: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.targets is not None:
            raise UsageError(f"targets={self.targets!r}", "one class of each sample is explained: give target=")
        of_type(Iterable, "a list of similarities", metrics=self.metrics)
        for name in self.metrics:
            of_type(str, f"a similarity: {', '.join(METRICS)}", metrics=name)
            one_of(METRICS, metrics=name)
        at_least(0, whole=True, worst=self.worst)
        if self.floor is not None:
            at_least(0, floor=self.floor)
        if self.batch_size is not None:
            at_least(1, whole=True, batch_size=self.batch_size)


@dataclass(frozen=True, eq=False)
class Comparison:
    """The result of a comparison.

    Attributes:
        result: Models, options, samples and layers, in JSON's types.
        worst: The least similar samples, worst first.
    """

    result: dict[str, Any]
    worst: Sequence[WorstSample]


def compare(
    a: Model,
    b: Model,
    samples: Source | Sequence[tuple[str, Any]],
    how: CompareOptions | None = None,
    progress: Progress = lambda done, of, name: None,
) -> Comparison:
    """Compare logits, explanations and activations of two models on every sample.

    Each model has its own preprocessing; both explain the class that A is asked for.

    Args:
        a: The first model, which the other is measured against.
        b: The second model, of the same classes.
        samples: A source, or names of samples, each with anything that `Model.read` takes.
        how: The options; None for the defaults.
        progress: Called with the samples done, their number, and the name of the next.

    Raises:
        UsageError: The models have different classes, or the target is not one class.
        InputError: A sample cannot be read.
        UnsupportedError: A method cannot explain one of the models.
    """
    unread = [model for model in (a, b) if model.graph.opaque is not None]
    # Of a model whose layers cannot be read, few methods are left: its default is taken for both.
    how = (unread or [a])[0].decided(how or CompareOptions())
    samples = _pairs(samples)
    a, b = a.for_target(how.target), b.for_target(how.target)
    if a.classes != b.classes:
        raise UsageError(
            f"A scores {a.classes} classes, B {b.classes}", "compare models of the same classes, or name --output"
        )
    size = how.batch_size or len(samples)
    meter = None if unread else DivergenceMeter(a, b, size)
    worst = WorstSamples((how.metrics or ["logits"])[0], how.worst)
    rows: list[dict[str, Any]] = []
    pictures = False
    for batch in batches([Item(*item) for item in samples], [a, b], size, progress=progress):
        if isinstance(batch, Rejected):
            raise batch.error
        x, y = joined(batch, [a, b])
        at = np.arange(len(rows), len(rows) + len(x))
        found, shown = _compare_batch(a, b, x, y, at, how)
        if meter is not None:
            meter.add(x.values, y.values, at)
        rows += found
        worst.add(shown)
        pictures = pictures or x.pictures
    progress(len(samples), len(samples), "")
    divergence = Divergence((), how.floor or FLOOR) if meter is None else meter.result(how.floor)
    models = {side: _model_info(model, pictures) for side, model in (("a", a), ("b", b))}
    return Comparison(
        {"schema": SCHEMA, **models, **_options_info(how), "samples": rows, **_divergence(divergence)}, worst.kept()
    )


def _pairs(samples: Source | Sequence[tuple[str, Any]]) -> Source | Sequence[tuple[str, Any]]:
    """Return samples that are a source, or pairs. Raises UsageError."""
    fix = "give a source, or a list of (name, sample)"
    if isinstance(samples, str | bytes | Mapping) or not hasattr(samples, "__len__"):
        raise UsageError(f"samples={repr(samples)[:80]} is of type {type(samples).__name__}", fix)
    for item in samples:
        if isinstance(item, Item):
            continue
        if not (isinstance(item, tuple | list) and 2 <= len(item) <= 3 and isinstance(item[0], str)):
            raise UsageError(f"samples: {repr(item)[:80]} is no pair", fix)
    return samples


def _compare_batch(
    a: Model, b: Model, x: Samples, y: Samples, at: Array, how: CompareOptions
) -> tuple[list[dict[str, Any]], list[WorstSample]]:
    """Compare the samples of a batch; `at` [N] are their numbers among all."""
    a, b = (model.at(z.kind.shape, z.own_size) for model, z in ((a, x), (b, y)))
    a, b = (replace(model, given={**model.given, **given_rows(model.given, at)}) for model in (a, b))
    a = a.fixed(x.values, how.batch_size)
    b = b.placed_as(a).fixed(y.values, how.batch_size)
    logits = [_logits(model, z, how) for model, z in ((a, x), (b, y))]
    asked = for_samples(how.target, a.labels, a.classes, len(x), a.place)
    if not isinstance(asked, np.ndarray) and asked.k > 1:
        raise UsageError(f'--target "{how.target}" is several classes', "compare one: --target top1, an id or a label")
    ids = asked if isinstance(asked, np.ndarray) else from_scores(asked, a.ranked(logits[0]))
    explained = [_explain(model, z, ids, how) for model, z in ((a, x), (b, y))]
    heat = [e.kind.to_maps(e.relevance) for e in explained]
    similarities = _similarities(a, b, heat, x, how.metrics)
    moved = np.abs(logits[1] - logits[0]).max(axis=1) / np.maximum(np.abs(logits[0]).max(axis=1), 1e-30)
    best = [scores.argmax(axis=1) for scores in logits]
    rows, shown = [], []
    for n, name in enumerate(x.names):
        row: dict[str, Any] = {
            "name": str(name),
            "target": int(ids[n]),
            "label": labels.name(a.labels, int(ids[n])),
            "top1": [int(best[0][n]), int(best[1][n])],
            "top1_labels": [labels.name(m.labels, int(best[i][n])) for i, m in enumerate((a, b))],
            "logits": to_jsonable(moved[n]),
            **{metric: to_jsonable(values[n]) for metric, values in similarities.items()},
        }
        rows.append(row)
        p, q = (_drawn(e, n) for e in explained)
        shown.append(WorstSample(row, (heat[0][n], heat[1][n]), (x.views[n], y.views[n]), (p, q)))
    return rows, shown


def _drawn(found: Explanation, n: int) -> Drawn | None:
    """What the figure of a sample that is no image shows."""
    if found.kind.is_image:
        return None
    x = None if found.inputs is None else found.inputs[n]
    return Drawn(found.kind, found.relevance[n], x, found.feature_names)


def _explain(model: Model, samples: Samples, ids: Array, how: CompareOptions) -> Explanation:
    try:
        return model.explain(samples, how.at(target=ids))
    except UnsupportedError as error:
        raise UnsupportedError(f"{_name(model)}: {error.message}", error.fix) from None


def _logits(model: Model, samples: Samples, how: CompareOptions) -> Array:
    values = samples.values.astype(model.graph.inputs[0].dtype, copy=False)
    found = model.outputs(values, batch_size=how.batch_size)["logits"]
    return found.reshape(len(samples), -1).astype(np.float64)


def _similarities(
    a: Model, b: Model, heat: Sequence[Array], samples: Samples, metrics: Sequence[str]
) -> dict[str, Array]:
    """Compute the similarities of heatmaps [N, H, W].

    Heatmaps are compared as they are where both models see the same part of the picture on the same grid, else mapped
    to the grid of the picture and pooled.
    """
    if not samples.pictures or _frame(a) == _frame(b):
        return {name: METRICS[name].compute(heat[0], heat[1]) for name in metrics}
    found: dict[str, list[float]] = {name: [] for name in metrics}
    for x, y, image in zip(heat[0], heat[1], samples.originals, strict=True):
        assert image is not None
        size = image.height, image.width
        p, q = (
            maps.pooled(model.preprocessing.map_to_original(one, size)[np.newaxis]) for model, one in ((a, x), (b, y))
        )
        for name, values in found.items():
            values.append(float(METRICS[name].compute(p, q)[0]))
    return {name: np.array(values) for name, values in found.items()}


def _frame(model: Model) -> list[Any]:
    """Return which part of a picture a model sees, and in how many pixels."""
    stated = model.preprocessing.to_dict()
    return [stated.get(key) for key in ("size", "resize", "resize_to", "crop", "offset")]


def _model_info(model: Model, pictures: bool) -> dict[str, Any]:
    about = {
        "model": _name(model),
        "sha256": model.graph.sha256,
        "engine": model.engine.name,
        "classes": model.classes,
        **({"given": {name: summary(array) for name, array in model.given.items()}} if model.given else {}),
    }
    if not pictures:
        return about
    prep = model.preprocessing
    return {**about, "preprocessing": prep.to_dict(), "assumed": list(prep.assumed)}


def _name(model: Model) -> str:
    return str(model.path or model.graph.source or "model")


def _options_info(how: CompareOptions) -> dict[str, Any]:
    from ..version import __version__

    options = {name: value for name, value in how.keywords().items() if name != "rules"}
    rules = [f"{match}={rule}" for match, rule in how.entries]
    asked = {"method": how.method, "options": to_jsonable(options), "rules": rules, "target": how.target}
    return {"onnxlrp": __version__, **asked, "metrics": list(how.metrics)}


def _divergence(divergence: Divergence) -> dict[str, Any]:
    rows = [{"layer": row.layer, "drift": to_jsonable(row.drift)} for row in divergence.rows]
    return {"floor": divergence.floor, "layers": rows}
