"""Explain random graphs by seed, and write the result: `PYTHONPATH=tests python -m fuzz.run 10000 [FIRST] [FILE]`."""

from __future__ import annotations

import json
import sys
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

from support.graph_judge import judge
from support.random_graphs import random_model


def main(count: int, first: int, path: Path) -> int:
    """Judge graphs by their seeds; return the number of wrong ones."""
    warnings.simplefilter("error", RuntimeWarning)
    outcomes: Counter[str] = Counter()
    wrong: dict[int, str] = {}
    for seed in range(first, first + count):
        try:
            outcomes[judge(*random_model(seed))] += 1
        except Exception as error:  # anything foreign is wrong too
            wrong[seed] = f"{type(error).__name__}: {str(error)[:300]}"
            print(seed, wrong[seed], flush=True)
    result: dict[str, Any] = {"graphs": count, "first_seed": first, "wrong": wrong, "outcomes": dict(outcomes)}
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"{count} graphs: {outcomes['explained']} explained, {len(wrong)} wrong; {path}")
    return len(wrong)


if __name__ == "__main__":
    words = sys.argv[1:]
    wanted, start = int(words[0]), int(words[1]) if len(words) > 1 else 0
    raise SystemExit(min(1, main(wanted, start, Path(words[2] if len(words) > 2 else "fuzz.json"))))
