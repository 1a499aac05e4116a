"""Reports: one HTML file of explanations and checks, for offline use: `write([DIR or RUN.json, …], "report.html")`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .. import files
from ..errors import UsageError
from . import page
from .read import ReportData, read

LIMIT = 15_000_000  # bytes: what mail servers and browsers accept
# Longest side of a picture, and how many heatmaps keep their ledger; the first pair that fits is used.
_DETAIL = ((512, None), (512, 24), (256, 24), (128, 24), (64, 8))


def write(paths: Sequence[str | Path], out: str | Path) -> ReportData:
    """Write the report of JSON files of `explain`, `check`, `compare` and `evaluate`.

    Pictures come from the .npz file beside an explanation's JSON, else from its .png.

    Args:
        paths: JSON files, and folders of them.
        out: The HTML file.

    Returns:
        What was read.

    Raises:
        InputError: A file is damaged, or cannot be written.
        NothingToDo: There is nothing to report.
        UsageError: The pictures do not fit into 15 MB.
    """
    report = read([Path(path) for path in paths])
    files.replace(out, text(report))
    return report


def text(report: ReportData) -> bytes:
    """Format the page with pictures as large as fit. Raises UsageError where none do."""
    for side, ledgers in _DETAIL:
        made = page.html(report, side, ledgers).encode()
        if len(made) <= LIMIT:
            return made
    raise UsageError(f"{len(report.maps)} heatmaps do not fit into {LIMIT // 10**6} MB", "report fewer inputs at once")
