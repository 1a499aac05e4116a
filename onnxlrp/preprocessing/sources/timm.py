"""timm: `pretrained_cfg` in `config.json`, as timm's evaluation transform reads it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from ..fields import PRESETS
from .statement import SourceContext, Statement, foreign, json_beside

_INTERPOLATIONS = {"nearest-exact": "nearest", "random": "bilinear"}


def pretrained_cfg(context: SourceContext) -> Iterator[Statement]:
    """Read the evaluation transform: resize to floor(size / crop_pct), cut the centre, scale to 0..1, normalise.

    Missing fields have timm's defaults.

    `crop_mode` "squash" resizes each side by itself. An input of `test_input_size` is cut by `test_crop_pct`.
    """
    found = json_beside(context, "config.json")
    if found is None:
        return
    name, config, _ = found
    stated = config.get("pretrained_cfg")
    if not isinstance(stated, Mapping):
        return
    notes: list[str] = []
    shape, crop_pct = _geometry(stated, context.kind.shape if context.kind else ())
    size = tuple(shape[1:])
    raw: dict[str, Any] = {
        "size": size,
        "color": "RGB" if shape[0] == 3 else None,
        "scale": 1 / 255,
        "mean": stated.get("mean") or PRESETS["imagenet"]["mean"],
        "std": stated.get("std") or PRESETS["imagenet"]["std"],
        "offset": "round",
    }
    word = str(stated.get("interpolation") or "bicubic")
    raw["interpolation"] = _INTERPOLATIONS.get(word, word)
    mode = str(stated.get("crop_mode") or "center")
    scaled = tuple(math.floor(side / crop_pct) for side in size)
    if mode == "squash":
        raw |= {"resize": "stretch", "resize_to": scaled}
    else:
        raw |= {"resize": "shorter-crop"}
        raw |= {"resize_to": scaled[0]} if len(set(size)) == 1 else {"crop": crop_pct}
        if mode != "center":
            notes.append(f"crop_mode {mode[:40]!r} is not done here: the centre is cut out")
    raw["labels"] = _names(config, stated)
    yield foreign(f"{name} (timm)", raw, tuple(notes))


def _geometry(stated: Mapping[str, Any], shape: tuple[int, ...]) -> tuple[tuple[int, int, int], float]:
    """Return (channels, height, width) and crop_pct, those of testing where the input has that size."""
    train, test = (_shape(stated.get(key)) for key in ("input_size", "test_input_size"))
    if test is not None and test != train and tuple(shape) in (test, (*test[1:], test[0])):
        return test, _share(stated.get("test_crop_pct")) or _share(stated.get("crop_pct")) or 0.875
    return train or (3, 224, 224), _share(stated.get("crop_pct")) or 0.875


def _shape(value: Any) -> tuple[int, int, int] | None:
    if isinstance(value, list) and len(value) == 3 and all(isinstance(n, int) and 0 < n < 1 << 13 for n in value):
        return value[0], value[1], value[2]
    return None


def _share(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and 0.01 <= value <= 1 else None


def _names(config: Mapping[str, Any], stated: Mapping[str, Any]) -> list[Any] | None:
    """Return `label_names`, each by its `label_descriptions` where it has one."""
    names = config.get("label_names") or stated.get("label_names")
    described = config.get("label_descriptions") or stated.get("label_descriptions")
    if not isinstance(names, list):
        return None
    table = described if isinstance(described, Mapping) else {}
    return [table.get(name, name) if isinstance(name, str) else name for name in names]
