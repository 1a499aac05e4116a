"""Judge many random graphs by their seeds, and write what came of them; a run that was ended goes on where it was."""

from __future__ import annotations

import hashlib
import json
import re
import time
import warnings
from pathlib import Path
from typing import Any

import onnx
import onnxruntime

from onnxlrp import files
from onnxlrp.version import __version__

from . import graph_judge, random_graphs
from .random_graphs import random_model

EVERY = 50  # graphs between two writings of the file


def judge_many(count: int, first: int, path: Path) -> int:
    """Judge graphs by their seeds; return the number of wrong ones."""
    warnings.simplefilter("error", RuntimeWarning)
    result = begun(count, first, path)
    for seed in sorted(result["wrong"], key=int):  # what was wrong may have been mended since
        del result["wrong"][seed]
        one(int(seed), result)
    while result["graphs"] < count:
        began = time.process_time()
        for seed in range(first + result["graphs"], first + min(count, result["graphs"] + EVERY)):
            one(seed, result)
            result["graphs"] += 1
        result["cpu_seconds"] = round(result["cpu_seconds"] + time.process_time() - began, 1)
        result["outcomes"] = dict(sorted(result["outcomes"].items(), key=lambda item: (-item[1], item[0])))
        files.replace(path, (json.dumps(result, indent=1) + "\n").encode())
    print(f"{count} graphs: {result['outcomes'].get('explained', 0)} explained, {len(result['wrong'])} wrong; {path}")
    return len(result["wrong"])


def one(seed: int, result: dict[str, Any]) -> None:
    """Judge one graph, and count what came of it and the operators that were explained."""
    made = random_model(seed)
    try:
        outcome = graph_judge.judge(made, export=seed % 4 == 0)
    except Exception as error:  # anything foreign is wrong too
        result["wrong"][str(seed)] = f"{type(error).__name__}: {str(error)[:300]}"
        print(seed, result["wrong"][str(seed)], flush=True)
        return
    kind = re.sub(r"\"[^\"]*\"|'[^']*'", "…", outcome)
    kind = re.sub(r"\d+", "#", kind)
    result["outcomes"][kind] = result["outcomes"].get(kind, 0) + 1
    if outcome == "explained":
        for op in {node.op_type for node in made.model.graph.node}:
            result["operators"][op] = result["operators"].get(op, 0) + 1


def begun(count: int, first: int, path: Path) -> dict[str, Any]:
    """What the file has of this very run; else an empty result."""
    about = {"first_seed": first, "generator": fingerprint(), "onnxlrp": __version__, "onnx": onnx.__version__,
             "onnxruntime": onnxruntime.__version__}  # fmt: skip
    if path.exists():
        found = json.loads(path.read_text(encoding="utf-8"))
        if {key: found.get(key) for key in about} == about and found["graphs"] <= count:
            return dict(found)
    return {**about, "graphs": 0, "cpu_seconds": 0.0, "wrong": {}, "outcomes": {}, "operators": {}}


def fingerprint() -> str:
    """Which generator made the graphs: a seed means another graph once it changes."""
    sources = sorted(Path(random_graphs.__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()[:16]
