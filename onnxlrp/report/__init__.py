"""One HTML file that shows explanations and checks offline: `write([DIR or RUN.json, …], "report.html")`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .. import files
from ..errors import UsageError
from . import page
from .read import Run, read

LIMIT = 15_000_000  # bytes: what a mail and a browser still take
# Longest side of a picture, and how many heatmaps keep their ledger; the first that fits is taken.
_DETAIL = ((512, None), (512, 24), (256, 24), (128, 24), (64, 8))


def write(paths: Sequence[str | Path], out: str | Path) -> Run:
    """Write the report of JSON files (of `explain`, `check`, `compare`) and folders of them; what was read.

    Pictures come from the .npz file beside an explanation's JSON, else from its .png. Raises InputError, NothingToDo,
    and UsageError where even small pictures would not fit into 15 MB.
    """
    run = read([Path(path) for path in paths])
    files.replace(out, text(run))
    return run


def text(run: Run) -> bytes:
    """The page of a run, as large as its pictures may be. Raises UsageError."""
    for side, ledgers in _DETAIL:
        made = page.html(run, side, ledgers).encode()
        if len(made) <= LIMIT:
            return made
    raise UsageError(f"{len(run.maps)} heatmaps do not fit into {LIMIT // 10**6} MB", "report fewer inputs at once")
