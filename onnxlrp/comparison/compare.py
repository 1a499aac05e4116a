"""Two models on the same samples: what they answer, why, and where they part. The computation gives a result in JSON's
types; the verdict over it is `verdict.judge`."""

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
from .divergence import Divergence, Meter
from .similarity import METRICS
from .worst_samples import Shown, Worst

Array = npt.NDArray[Any]
Named = tuple[str, Any]  # a sample's name, and what Model.read takes

SCHEMA = 1  # version of the result
ALL = tuple(METRICS)


@dataclass(frozen=True)
class CompareOptions:
    """What is compared: class `target` of A's choice or a named one, explained by `method` in both models."""

    method: str = DEFAULT
    options: Mapping[str, Any] = field(default_factory=dict)
    rules: Sequence[tuple[Match, Rule]] = ()
    target: str = "top1"
    metrics: Sequence[str] = ALL
    batch_size: int = 8
    floor: float | None = None  # drift of a layer that counts as none; None for the measured one
    worst: int = 4  # samples that are kept to be shown, by the first metric


@dataclass(frozen=True, eq=False)
class Comparison:
    """`result` in JSON's types, and the worst samples, worst first."""

    result: dict[str, Any]
    worst: Sequence[Shown]


def compare(
    a: Model,
    b: Model,
    samples: Sequence[Named],
    how: CompareOptions | None = None,
    progress: Callable[[int, int, str], None] = lambda done, of, name: None,
) -> Comparison:
    """Logits, explanations and activations of both models on every sample, each with its own preprocessing.

    Both explain the class that A is asked for. Raises UsageError, InputError, UnsupportedError.
    """
    how = how or CompareOptions()
    if a.classes != b.classes:
        raise UsageError(
            f"A scores {a.classes} classes, B {b.classes}", "compare models of the same classes, or name --output"
        )
    for model in (a, b):
        model.refuse_maps()
    meter = Meter(a, b, how.batch_size)
    worst = Worst((how.metrics or ["logits"])[0], how.worst)
    rows: list[dict[str, Any]] = []
    pictures = False
    for x, y in _batches(a, b, samples, how.batch_size, progress):
        at = np.arange(len(rows), len(rows) + len(x))
        found, shown = _rows(a, b, x, y, at, how)
        meter.add(x.values, y.values, at)
        rows += found
        worst.add(shown)
        pictures = pictures or x.pictures
    progress(len(samples), len(samples), "")
    parting = meter.result(how.floor)
    models = {side: _about(model, pictures) for side, model in (("a", a), ("b", b))}
    return Comparison({"schema": SCHEMA, **models, **_asked(how), "samples": rows, **_parted(parting)}, worst.kept())


def _batches(
    a: Model, b: Model, samples: Sequence[Named], size: int, progress: Callable[[int, int, str], None]
) -> Iterator[tuple[Samples, Samples]]:
    """The samples as each model takes them, at most `size` files at a time, pictures and arrays apart."""
    held: list[tuple[Samples, Samples]] = []

    def joined() -> tuple[Samples, Samples]:
        return a.read([x for x, _ in held]), b.read([y for _, y in held])

    for done, (name, source) in enumerate(samples):
        progress(done, len(samples), name)
        x, y = (_called(model.read(source), name) for model in (a, b))
        if held and (len(held) == size or held[0][0].pictures != x.pictures):
            yield joined()
            held.clear()
        held.append((x, y))
    if held:
        yield joined()


def _called(samples: Samples, name: str) -> Samples:
    n = len(samples)
    return replace(samples, names=[name] if n == 1 else [f"{name}.{i}" for i in range(n)])


def _rows(
    a: Model, b: Model, x: Samples, y: Samples, at: Array, how: CompareOptions
) -> tuple[list[dict[str, Any]], list[Shown]]:
    """What is found of each sample of a batch; `at` [N] are their numbers among all."""
    logits = [_logits(model, z, at, how) for model, z in ((a, x), (b, y))]
    asked = for_samples(how.target, a.labels, a.classes, len(x))
    if not isinstance(asked, np.ndarray) and asked.k > 1:
        raise UsageError(f'--target "{how.target}" is several classes', "compare one: --target top1, an id or a label")
    ids = asked if isinstance(asked, np.ndarray) else from_scores(asked, logits[0])
    explained = [_explained(model, z, ids, at, how) for model, z in ((a, x), (b, y))]
    heat = [_heat(e) for e in explained]
    alike = _alike(a, b, heat, x, how.metrics)
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
            **{metric: to_jsonable(values[n]) for metric, values in alike.items()},
        }
        rows.append(row)
        shown.append(Shown(row, (heat[0][n], heat[1][n]), (x.views[n], y.views[n])))
    return rows, shown


def _explained(model: Model, samples: Samples, ids: Array, at: Array, how: CompareOptions) -> Explanation:
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


def _heat(explanation: Explanation) -> Array:
    prep = explanation.preprocessing
    return maps.heatmaps(explanation.relevance, prep.layout if prep else None)


def _alike(a: Model, b: Model, heat: Sequence[Array], samples: Samples, metrics: Sequence[str]) -> dict[str, Array]:
    """The metrics of the maps where these can be compared: as they are if both models see the same part of the picture
    on the same grid, else on the picture's own grid, and pooled."""
    if not samples.pictures or _frame(a) == _frame(b):
        return {name: METRICS[name].of(heat[0], heat[1]) for name in metrics}
    found: dict[str, list[float]] = {name: [] for name in metrics}
    for x, y, image in zip(heat[0], heat[1], samples.originals, strict=True):
        assert image is not None
        size = image.height, image.width
        p, q = (
            maps.pooled(model.preprocessing.map_to_original(one, size)[np.newaxis]) for model, one in ((a, x), (b, y))
        )
        for name, values in found.items():
            values.append(float(METRICS[name].of(p, q)[0]))
    return {name: np.array(values) for name, values in found.items()}


def _frame(model: Model) -> list[Any]:
    """What part of a picture a model sees, and in how many pixels."""
    stated = model.preprocessing.to_dict()
    return [stated.get(key) for key in ("size", "resize", "resize_to", "crop", "offset")]


def _about(model: Model, pictures: bool) -> dict[str, Any]:
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


def _asked(how: CompareOptions) -> dict[str, Any]:
    from ..version import __version__

    options = to_jsonable(how.options)
    rules = [f"{match}={rule}" for match, rule in how.rules]
    asked = {"method": how.method, "options": options, "rules": rules, "target": how.target}
    return {"onnxlrp": __version__, **asked, "metrics": list(how.metrics)}


def _parted(parting: Divergence) -> dict[str, Any]:
    rows = [{"layer": row.layer, "drift": to_jsonable(row.drift)} for row in parting.rows]
    return {"floor": parting.floor, "layers": rows}
