"""A process that has no onnxruntime: `python without_runtime.py explain OUT MODEL…`, or `… command WORD…`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import onnxlrp

ROOT = Path(onnxlrp.__file__).parents[1]


def explained(paths: Sequence[str], engine: str) -> dict[str, npt.NDArray[Any]]:
    """Relevance of one random sample of each model by the epsilon rule; what is refused, as text."""
    found = {}
    for path in paths:
        try:
            model = onnxlrp.load(path, engine)
            tensor = model.graph.inputs[0]
            x = np.random.default_rng(0).normal(size=(1, *tensor.shape)).astype(tensor.dtype)
            found[path] = model.explain(x, method="epsilon").relevance
        except onnxlrp.OnnxLrpError as error:
            found[path] = np.array(str(error))
    return found


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """Run this file in another process."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), os.environ.get("PYTHONPATH", "")))}
    return subprocess.run(
        [sys.executable, __file__, *words], capture_output=True, text=True, env=environment, check=False
    )


class _Hidden:
    """A finder that has no onnxruntime."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name.partition(".")[0] == "onnxruntime":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


if __name__ == "__main__":
    sys.meta_path.insert(0, _Hidden())  # type: ignore[arg-type]
    what, *rest = sys.argv[1:]
    if what == "command":
        from onnxlrp.cli import main

        sys.exit(main(rest))
    np.savez(rest[0], **explained(rest[1:], "auto"))  # type: ignore[arg-type]
