"""Grouped, depthwise and dilated convolutions, by loops over their definition.

Reported of microsoft/MMdnn (pull request 422), mlcommons/GaNDLF (issue 1041) and KhronosGroup/NNEF-Tools (issue 54):
groups that were lost.
"""

from __future__ import annotations

import numpy as np
import pytest

from support.numpy_nets import check, conv, model, node, relu

CASES = [(1, 1, 1, 4), (2, 1, 1, 4), (4, 2, 1, 4), (4, 1, 2, 8), (2, 2, 2, 6)]


@pytest.mark.few(2)
@pytest.mark.parametrize(("group", "stride", "dilation", "filters"), CASES)
def test_groups(group: int, stride: int, dilation: int, filters: int) -> None:
    rng = np.random.default_rng(0)
    how = {"stride": stride, "pad": 1, "dilation": dilation, "group": group}
    w, b, x = rng.normal(size=(filters, 4 // group, 3, 3)), rng.normal(size=filters), rng.normal(size=(2, 4, 6, 6))
    size = conv(x[0], w, b, **how).size
    v = rng.normal(size=(size, 2))
    layer = node("Conv", "x w b", "a", group=group, strides=[stride] * 2, pads=[1] * 4, dilations=[dilation] * 2)
    nodes = [layer, node("Relu", "a", "r"), node("Flatten", "r", "f"), node("MatMul", "f v", "y")]
    proto = model(nodes, (4, 6, 6), {"w": w, "b": b, "v": v})
    check(proto, lambda one: relu(conv(one, w, b, **how)).reshape(-1) @ v, x[:1], target=1)
