"""Makes tensors.npz, what transformers and timm make of the pictures of prep_cases.py.

    pip install torch transformers && pip install --no-deps timm && python tests/preprocessing/make_tensors.py

Every STRIDE-th row and column of large tensors, so that the file stays small.
"""

from __future__ import annotations

from pathlib import Path

import libraries
import numpy as np
import prep_cases


def thinned(tensor):
    """A tensor of at most 30 rows and columns."""
    step = max(1, tensor.shape[-1] // 24)
    return tensor[..., ::step, ::step]


def main():
    made = {}
    for name in (*prep_cases.HUGGINGFACE, *prep_cases.TIMM):
        for n, tensor in enumerate(libraries.tensors(name)):
            made[f"{name}/{n}"] = thinned(tensor).astype(np.float32)
    np.savez_compressed(Path(__file__).with_name("tensors.npz"), **made)


if __name__ == "__main__":
    main()
