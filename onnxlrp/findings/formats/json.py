"""Findings as JSON, with a schema version; `Findings.from_dict` reads it."""

from __future__ import annotations

import json

from ...files import to_jsonable
from ..finding import Findings


def text(findings: Findings) -> str:
    """Format a run as JSON; NaN and infinity become null."""
    return json.dumps(to_jsonable(findings.to_dict()), indent=1, ensure_ascii=True, allow_nan=False) + "\n"
