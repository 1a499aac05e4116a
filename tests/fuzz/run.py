"""Explain random graphs by seed, and write the result: `PYTHONPATH=tests python -m fuzz.run 10000 [FIRST] [FILE]`."""

from __future__ import annotations

import sys
from pathlib import Path

from support.graph_run import judge_many

if __name__ == "__main__":
    words = sys.argv[1:]
    wanted, start = int(words[0]), int(words[1]) if len(words) > 1 else 0
    raise SystemExit(min(1, judge_many(wanted, start, Path(words[2] if len(words) > 2 else "fuzz.json"))))
