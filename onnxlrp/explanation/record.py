"""An explanation in JSON's types, without its relevance."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from ..files import to_jsonable
from ..preprocessing import labels
from .result import Result, assumed, has_tokens, target_count


def to_dict(result: Result) -> dict[str, Any]:
    """Return scores, sums, ledger and provenance in JSON's types."""
    best = result.top(5)
    logit, total, target = (np.atleast_2d(np.asarray(a)) for a in (result.logit, result.total, result.target))
    data = {
        "samples": [
            {
                "name": result.names[n] if result.names else None,
                "targets": [
                    {
                        "id": int(target[t, n]),
                        "label": labels.name(result.labels, int(target[t, n])),
                        "logit": float(logit[t, n]),
                        "relevance_sum": float(total[t, n]),
                        **_tokens(result, n, t),
                    }
                    for t in range(target_count(result))
                ],
                **(result.boxes[n].to_dict() if result.boxes else {}),
                "top": [{"id": i, "label": label, result.quantity: p} for i, label, p in best[n]],
            }
            for n in range(len(result))
        ],
        "relevance_shape": list(result.relevance.shape),
        "ledger": None if result.ledger is None else [row.to_dict() for row in result.ledger],
        "notes": {name: np.asarray(value).tolist() for name, value in result.notes.items()},
        "provenance": origin(result),
    }
    if assumed(result):
        data["ASSUMED"] = list(assumed(result))
    plain: dict[str, Any] = to_jsonable(data)
    return plain


def _tokens(result: Result, sample: int, target: int) -> dict[str, Any]:
    """The tokens of a sample under "tokens"; nothing of other inputs."""
    if not has_tokens(result, sample):
        return {}
    from .tokens import tokens

    return {"tokens": [token._asdict() for token in tokens(result, sample, target)]}


def to_json(result: Result) -> str:
    """Format `to_dict` as JSON; NaN and infinity become null."""
    return json.dumps(to_dict(result), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def origin(result: Result) -> dict[str, Any]:
    """Return the provenance in JSON's types, with the preprocessing and its source."""
    made = dict(result.provenance)
    prep = result.preprocessing
    if prep is not None:
        stated = {"source": prep.source, "assumed": list(prep.assumed), "labels_assumed": prep.labels_assumed}
        stated |= {"conflicts": [str(c) for c in prep.conflicts]} if prep.conflicts else {}
        made.setdefault("preprocessing", {**prep.to_dict(), **stated})
    made.setdefault("kind", result.kind.to_dict())
    cleaned: dict[str, Any] = to_jsonable(made)
    return cleaned
