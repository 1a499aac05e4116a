"""An explanation as the page draws it: numbers and pictures in JSON's types."""

from __future__ import annotations

import base64
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..composites import Composite
from ..explanation import Explanation, ledger
from ..explanation.forms import form_of
from ..explanation.result import Array, assumed, class_id, label
from ..explanation.saving import encode_png
from ..explanation.tokens import tokens
from ..files import to_jsonable
from ..graph.axes.maps import maps_of
from ..graph.graph import Graph
from ..graph.outputs.units import Unit, layers
from ..model import Model
from ..pictures.colors import limit
from ..preprocessing import labels
from ..rules import described

TOP = 8  # classes
BARS = 30  # features of a table; the rest is summed up
CHANNELS = 12  # of an inner layer
_SMALL = 64  # classes whose scores are all sent


def drawn(e: Explanation) -> dict[str, Any]:
    """Return an explanation of one sample for the page.

    Args:
        e: The explanation.
    """
    logit, total = (float(np.ravel(np.asarray(a))[0]) for a in (e.logit, e.total))
    best = [{"id": n, "label": name, "value": value, "target": str(n)} for n, name, value in e.top(TOP)[0]]
    own = class_id(e, 0)
    place = str(e.provenance.get("place", ""))
    made = {
        "title": e.title(),
        "method": e.method,
        "target": {"id": own, "label": label(e, 0), "place": place},
        "quantity": e.quantity,
        "what": "value" if e.is_value else "logit",
        "top": _with_own(best, e, own),
        "boxes": _boxes(e),
        "logit": logit,
        "sum": total,
        "kind": e.kind.name,
        "notes": {name: np.asarray(value).tolist() for name, value in e.notes.items() if np.size(value) <= _SMALL},
        "assumed": list(assumed(e)),
        "ledger": rows(e.ledger),
        "absorbed": None if e.ledger is None else {k: float(np.ravel(v)[0]) for k, v in ledger.sums(e.ledger).items()},
        **_form(e),
    }
    plain: dict[str, Any] = to_jsonable(made)
    return plain


def _with_own(best: list[dict[str, Any]], e: Explanation, own: int) -> list[dict[str, Any]]:
    """The best classes, and the one that is explained where it is none of them."""
    if all(row["id"] != own for row in best):
        shown = e.probabilities if e.shares is None else e.shares
        best = [*best, {"id": own, "label": label(e, 0), "value": float(shown[0, own]), "target": str(own)}]
    return best


def _boxes(e: Explanation) -> list[dict[str, Any]] | None:
    """The boxes of a detector, and the targets that explain them."""
    if not e.boxes:
        return None
    found = e.boxes[0]
    return [
        {**box._asdict(), "target": f"box:{n + 1}", "chosen": n == found.chosen}
        for n, box in enumerate(found.found[: 3 * TOP])
    ]


def _form(e: Explanation) -> dict[str, Any]:
    """What shows the relevance, by the kind of the input."""
    values, kind = e.relevance[0], e.kind
    x = None if e.inputs is None else e.inputs[0]
    form = form_of(kind, x is not None)
    if kind.is_image:
        drawing = kind.to_drawing(values)
        assert drawing is not None
        picture = e.images[0] if e.images else None
        return {"form": "map", "heat": heat(drawing), "picture": None if picture is None else picture_uri(picture)}
    if form == "bars":
        return {"form": "bars", "bars": _bars(values, x, e.feature_names)}
    if form == "words":
        found = tokens(e)
        v = limit([token.relevance for token in found])
        return {"form": "words", "v": v, "words": [token._asdict() for token in found]}
    return {"form": "figure", "figure": picture_uri(e.figure())}


def heat(values: Array) -> dict[str, Any]:
    """Return a map [H, W] for the page: base64 of its numbers (little-endian float32), and the limit of colours."""
    numbers = np.ascontiguousarray(values, dtype="<f4")
    return {"size": list(values.shape), "data": base64.b64encode(numbers.tobytes()).decode(), "v": limit(values)}


def picture_uri(picture: Any) -> str:
    """Return a picture as the address of its data."""
    return "data:image/png;base64," + base64.b64encode(encode_png(picture, {})).decode()


def _bars(values: Array, x: Array | None, names: Sequence[str] | None) -> list[dict[str, Any]]:
    """Features, the strongest first, the weakest summed up."""
    r = np.asarray(values, np.float64).ravel()
    own = None if x is None else np.asarray(x).ravel()
    order = np.argsort(-np.abs(r), kind="stable")
    shown = order if len(order) <= BARS else order[: BARS - 1]
    made = [
        {
            "name": str(names[n]) if names else f"feature {n}",
            "value": None if own is None else _cell(own[n]),
            "relevance": float(r[n]),
        }
        for n in shown
    ]
    if len(shown) < len(order):
        rest = order[len(shown) :]
        made.append({"name": f"{len(rest)} others", "value": None, "relevance": float(r[rest].sum())})
    return made


def _cell(x: Any) -> str:
    if isinstance(x, str):
        return x
    return "missing" if math.isnan(x) else f"{x:.4g}"


def rows(found: Sequence[ledger.LedgerRow] | None) -> list[dict[str, Any]] | None:
    """Return the ledger of one sample, from the output to the input; None where none was kept."""
    if found is None:
        return None
    return [
        {key: value[0] if isinstance(value, list) else value for key, value in row.to_dict().items()} for row in found
    ]


# -- layers


def listing(model: Model, composite: Composite | None) -> list[dict[str, Any]]:
    """Return the layers of a model from input to output, with their rules.

    Args:
        model: The model.
        composite: The rules; None for a method that has none.
    """
    graph = model.graph
    if graph.opaque is not None:
        return []
    paths = Counter(layer.path for layer in graph.layers)
    named = {unit.tensor: unit.label for unit in layers(graph, ".*")}
    return [
        {
            "label": layer.label,
            "match": layer.path if paths[layer.path] == 1 and layer.path else layer.name,
            "record": named.get(next(name for name in layer.outputs if name), ""),
            "op": layer.op,
            "kind": "" if seen.kind == "unknown" else seen.kind,
            "shape": list(graph.shapes[layer.outputs[0]]),
            "rule": None if rule is None or composite is None else described(rule),
        }
        for layer, seen, rule in model.layers(composite or Composite(()))
    ]


def inner(e: Explanation, graph: Graph, unit: Unit) -> dict[str, Any]:
    """Return the relevance of a layer's result for the page: its sum over channels, and the strongest channels.

    Args:
        e: The explanation of one sample, with the layer recorded.
        graph: The graph.
        unit: The layer.
    """
    values = np.asarray(e.layers[unit.label][0], np.float64)
    found = maps_of(graph, e.kind.spatial_axes).get(unit.tensor) if e.kind.is_image else None
    if found is not None:  # its places are those of the picture, as of tokens of patches
        parts = found.maps(values[np.newaxis])[0]
    else:
        parts = np.moveaxis(values, unit.axis, 0) if values.ndim else values.reshape(1)
        parts = parts.reshape(len(parts), *_space(parts.shape[1:]))
    sums = parts.reshape(len(parts), -1).sum(axis=1)
    order = np.argsort(-np.abs(sums), kind="stable")[:CHANNELS]
    spatial = parts[0].size > 1
    shared = limit(parts[order]) if spatial else 0.0
    made: Mapping[str, Any] = {
        "layer": unit.label,
        "shape": list(unit.shape),
        "channels": len(parts),
        "sum": float(values.sum()),
        "over": found is not None,
        "others": 0 if found is None else found.others,
        "elsewhere": float(values.sum() - parts.sum()),
        "heat": heat(parts.sum(axis=0)) if spatial else None,
        "v": shared,
        "strongest": [
            {"channel": int(n), "sum": float(sums[n]), "heat": heat(parts[n]) if spatial else None} for n in order
        ],
    }
    plain: dict[str, Any] = to_jsonable(made)
    return plain


def _space(shape: tuple[int, ...]) -> tuple[int, int]:
    """The height and width that the positions of a layer are drawn in."""
    if len(shape) < 2:
        return 1, math.prod(shape)
    return math.prod(shape[:-1]), shape[-1]


def classes(model: Model, most: int = 5000) -> list[str]:
    """Return the names of a model's classes, for a list to choose from; [] where they are too many.

    Args:
        model: The model.
        most: The most classes.
    """
    return [] if model.classes > most else [labels.name(model.labels, n) for n in range(model.classes)]
