"""Bilinear Resize: which pixels each result is made of, by the rule that the file states.

Reported of meta-pytorch/captum (issue 712: Upsample has no rule), onnx/onnx-tensorflow (issue 632), NVIDIA/TensorRT
(issue 273), onnx/onnx (issue 4276: one result), pytorch/pytorch (issues 22906, 183523).
"""

from __future__ import annotations

import numpy as np
import pytest

from support.numpy_nets import check, model, node


def matrix(rule: str, before: int, after: int) -> np.ndarray:
    """[after, before]: two neighbours of each coordinate, shared by its distance to them."""
    scale, found = after / before, np.zeros((after, before))
    for i in range(after):
        at = {"half_pixel": (i + 0.5) / scale - 0.5, "asymmetric": i / scale,
              "align_corners": i * (before - 1) / max(after - 1, 1),
              "pytorch_half_pixel": (i + 0.5) / scale - 0.5 if after > 1 else 0.0}[rule]  # fmt: skip
        low = int(np.floor(at))
        for neighbour, share in ((low, 1 - (at - low)), (low + 1, at - low)):
            found[i, min(max(neighbour, 0), before - 1)] += share
    return found


@pytest.mark.few(6)
@pytest.mark.parametrize("after", [(7, 8), (2, 5), (1, 1)])
@pytest.mark.parametrize("rule", ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"])
def test_bilinear(rule: str, after: tuple[int, int]) -> None:
    x = np.random.default_rng(0).normal(size=(2, 2, 4, 5))
    layer = node("Resize", "x - - sizes", "a", mode="linear", coordinate_transformation_mode=rule)
    start = [node("Shape", "x", "s", start=0, end=2), node("Concat", "s hw", "sizes", axis=0)]
    proto = model([*start, layer, node("Flatten", "a", "y")], (2, 4, 5), {"hw": np.array(after)})
    rows, columns = matrix(rule, 4, after[0]), matrix(rule, 5, after[1])
    check(proto, lambda one: np.einsum("ah,bw,chw->cab", rows, columns, one).reshape(-1), x, target=1)
