"""Compare two models on the same samples: their logits, their heatmaps, and their activations layer by layer.

The result is in JSON's types; `verdict.judge` holds it against limits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from ..composites import Match
from ..errors import UnsupportedError, UsageError
from ..explanation import Explanation, maps
from ..explanation.targets import for_samples, from_scores
from ..files import to_jsonable
from ..model import DEFAULT, Model
from ..model.extra_inputs import rows as given_rows
from ..model.extra_inputs import said
from ..preprocessing import labels
from ..preprocessing.samples import Samples
from ..rules import Rule
from .divergence import Divergence, DivergenceMeter
from .similarity import METRICS
from .worst_samples import WorstSample, WorstSamples

Array = npt.NDArray[Any]
Named = tuple[str, Any]  # a sample's name, and what Model.read takes

SCHEMA = 1  # version of the result
ALL = tuple(METRICS)


@dataclass(frozen=True)
class CompareOptions:
    """Options of a comparison.

    Attributes:
        method: The method that explains both models.
        options: The options of the method.
        rules: Rules by match, which take precedence over the method's.
        target: The class that both explain: the best of A ("top1"), an id or a label.
        metrics: Names of similarities of heatmaps.
        batch_size: Samples of a batch.
        floor: Drift of a layer that counts as none; None for ten times A's own noise.
        worst: How many of the least similar samples, by the first metric, are kept with their heatmaps.
    """

    method: str = DEFAULT
    options: Mapping[str, Any] = field(default_factory=dict)
    rules: Sequence[tuple[Match, Rule]] = ()
    target: str = "top1"
    metrics: Sequence[str] = ALL
    batch_size: int = 8
    floor: float | None = None
    worst: int = 4


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
    samples: Sequence[Named],
    how: CompareOptions | None = None,
    progress: Callable[[int, int, str], None] = lambda done, of, name: None,
) -> Comparison:
    """Compare logits, explanations and activations of two models on every sample.

    Each model has its own preprocessing; both explain the class that A is asked for.

    Args:
        a: The first model, which the other is measured against.
        b: The second model, of the same classes.
        samples: Names of samples, each with anything that `Model.read` takes.
        how: The options; None for the defaults.
        progress: Called with the samples done, their number, and the name of the next.

    Raises:
        UsageError: The models have different classes, or the target is not one class.
        InputError: A sample cannot be read.
        UnsupportedError: A method cannot explain one of the models.
    """
    how = how or CompareOptions()
    if a.classes != b.classes:
        raise UsageError(
            f"A scores {a.classes} classes, B {b.classes}", "compare models of the same classes, or name --output"
        )
    for model in (a, b):
        model.refuse_maps()
    meter = DivergenceMeter(a, b, how.batch_size)
    worst = WorstSamples((how.metrics or ["logits"])[0], how.worst)
    rows: list[dict[str, Any]] = []
    pictures = False
    for x, y in _batches(a, b, samples, how.batch_size, progress):
        at = np.arange(len(rows), len(rows) + len(x))
        found, shown = _compare_batch(a, b, x, y, at, how)
        meter.add(x.values, y.values, at)
        rows += found
        worst.add(shown)
        pictures = pictures or x.pictures
    progress(len(samples), len(samples), "")
    divergence = meter.result(how.floor)
    models = {side: _model_info(model, pictures) for side, model in (("a", a), ("b", b))}
    return Comparison(
        {"schema": SCHEMA, **models, **_options_info(how), "samples": rows, **_divergence(divergence)}, worst.kept()
    )


def _batches(
    a: Model, b: Model, samples: Sequence[Named], size: int, progress: Callable[[int, int, str], None]
) -> Iterator[tuple[Samples, Samples]]:
    """Read the samples for both models, at most `size` files at a time, pictures and arrays apart."""
    held: list[tuple[Samples, Samples]] = []

    def joined() -> tuple[Samples, Samples]:
        return a.read([x for x, _ in held]), b.read([y for _, y in held])

    for done, (name, source) in enumerate(samples):
        progress(done, len(samples), name)
        x, y = (_named(model.read(source), name) for model in (a, b))
        if held and (len(held) == size or held[0][0].pictures != x.pictures):
            yield joined()
            held.clear()
        held.append((x, y))
    if held:
        yield joined()


def _named(samples: Samples, name: str) -> Samples:
    n = len(samples)
    return replace(samples, names=[name] if n == 1 else [f"{name}.{i}" for i in range(n)])


def _compare_batch(
    a: Model, b: Model, x: Samples, y: Samples, at: Array, how: CompareOptions
) -> tuple[list[dict[str, Any]], list[WorstSample]]:
    """Compare the samples of a batch; `at` [N] are their numbers among all."""
    logits = [_logits(model, z, at, how) for model, z in ((a, x), (b, y))]
    asked = for_samples(how.target, a.labels, a.classes, len(x))
    if not isinstance(asked, np.ndarray) and asked.k > 1:
        raise UsageError(f'--target "{how.target}" is several classes', "compare one: --target top1, an id or a label")
    ids = asked if isinstance(asked, np.ndarray) else from_scores(asked, logits[0])
    explained = [_explain(model, z, ids, at, how) for model, z in ((a, x), (b, y))]
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
        shown.append(WorstSample(row, (heat[0][n], heat[1][n]), (x.views[n], y.views[n])))
    return rows, shown


def _explain(model: Model, samples: Samples, ids: Array, at: Array, how: CompareOptions) -> Explanation:
    asked: dict[str, Any] = {
        "rules": how.rules,
        "given": given_rows(model.given, at) or None,
        "batch_size": how.batch_size,
    }
    try:
        return model.explain(samples, ids, how.method, **asked, **how.options)
    except UnsupportedError as error:
        raise UnsupportedError(f"{_name(model)}: {error.message}", error.fix) from None


def _logits(model: Model, samples: Samples, at: Array, how: CompareOptions) -> Array:
    values = samples.values.astype(model.graph.inputs[0].dtype, copy=False)
    found = model.outputs(values, at=at, batch_size=how.batch_size)["logits"]
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
        **({"given": {name: said(array) for name, array in model.given.items()}} if model.given else {}),
    }
    if not pictures:
        return about
    prep = model.preprocessing
    return {**about, "preprocessing": prep.to_dict(), "assumed": list(prep.assumed)}


def _name(model: Model) -> str:
    return str(model.path or model.graph.source or "model")


def _options_info(how: CompareOptions) -> dict[str, Any]:
    from ..version import __version__

    options = to_jsonable(how.options)
    rules = [f"{match}={rule}" for match, rule in how.rules]
    asked = {"method": how.method, "options": options, "rules": rules, "target": how.target}
    return {"onnxlrp": __version__, **asked, "metrics": list(how.metrics)}


def _divergence(divergence: Divergence) -> dict[str, Any]:
    rows = [{"layer": row.layer, "drift": to_jsonable(row.drift)} for row in divergence.rows]
    return {"floor": divergence.floor, "layers": rows}
