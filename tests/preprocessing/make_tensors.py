"""Makes tensors.npz, what transformers and timm make of the pictures of prep_cases.py.

    pip install torch transformers && pip install --no-deps timm
    PYTHONPATH=tests python tests/preprocessing/make_tensors.py

Every STRIDE-th row and column of large tensors, so that the file stays small.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from support import prep_cases, preprocessing_libraries


def main() -> None:
    made: dict[str, Any] = {}
    for name in (*prep_cases.HUGGINGFACE, *prep_cases.TIMM):
        for n, tensor in enumerate(preprocessing_libraries.tensors(name)):
            made[f"{name}/{n}"] = prep_cases.thinned(tensor).astype(np.float32)
    np.savez_compressed(Path(__file__).with_name("tensors.npz"), **made)


if __name__ == "__main__":
    main()
