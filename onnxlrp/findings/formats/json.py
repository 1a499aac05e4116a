"""Findings as JSON with a schema version: what `Findings.from_dict` reads again."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

from ..finding import Findings


def text(findings: Findings) -> str:
    """The JSON of a run; NaN and infinity become null."""
    return json.dumps(_plain(findings.to_dict()), indent=1, ensure_ascii=True, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int | bool) else str(value)
