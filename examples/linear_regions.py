"""Depth multiplies the linear regions of a network, and with them the jumps of its gradient.

The tutorial (Samek, Montavon & Müller, CVPR 2018): a network of ReLUs on [0, 1] is linear piece by piece, and depth
multiplies the pieces. g(x) = 2 max(x, 0) - 4 max(x - 1/2, 0) folds the interval in two, and each layer more folds it
again: d layers make 2^d regions (Montúfar et al. 2014), a single layer of as many neurons at most 2d + 1. At every
fold the gradient jumps between 2^d and -2^d: with depth it is less and less informative about the function.

    python examples/linear_regions.py [picture.png]
"""

import sys
from pathlib import Path

import numpy as np
import onnx
from figure import BLUE, RED, Line, chart, sheet
from onnx import TensorProto, helper, numpy_helper

import onnxlrp

DEPTHS, POINTS = (1, 2, 3, 4, 5, 6), 4096


def network(depth: int) -> onnx.ModelProto:
    """Return a network that applies g, of two neurons, `depth` times to x [N, 1]."""
    weights = {"in": [[1.0, 1.0]], "bias": [0.0, -0.5], "out": [[2.0], [-4.0]]}
    constants = [numpy_helper.from_array(np.array(v, np.float32), name) for name, v in weights.items()]
    nodes = []
    for n in range(depth):
        nodes.append(helper.make_node("Gemm", [f"x{n}", "in", "bias"], [f"z{n}"]))
        nodes.append(helper.make_node("Relu", [f"z{n}"], [f"a{n}"]))
        nodes.append(helper.make_node("Gemm", [f"a{n}", "out"], [f"x{n + 1}"]))
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 1]) for name in ("x0", f"x{depth}"))
    graph = helper.make_graph(nodes, "folds", [x], [y], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])


def main(path: Path) -> dict[int, tuple[int, float]]:
    """Draw the picture, and return the number of linear regions on [0, 1] and the largest slope, by depth."""
    x = (np.arange(POINTS, dtype=np.float32) + 0.5) / POINTS  # never on a fold
    found: dict[int, tuple[int, float]] = {}
    values, slopes = [], []
    for depth in DEPTHS:
        explained = onnxlrp.load(network(depth)).explain(x.reshape(-1, 1), 0, method="gradient")
        f, slope = explained.output.ravel(), explained.relevance.ravel()
        folds = np.flatnonzero(np.diff(slope)) + 1
        found[depth] = len(folds) + 1, float(np.abs(slope).max())
        print(f"depth {depth}: {found[depth][0]:2} linear regions, slopes of {found[depth][1]:g}")
        title, size, bands = f"Depth {depth}: {found[depth][0]} linear regions", (320, 230), [0, *folds / POINTS, 1]
        values.append(chart(title, [Line(x, f, BLUE)], "x", size, bands=bands))
        title = f"Its gradient: {found[depth][1]:g} or -{found[depth][1]:g}"
        slopes.append(chart(title, [Line(x, slope, RED)], "x", size, span=(-9, 9), bands=bands))
    note = "Each layer folds [0, 1] in two. The gradient jumps at every fold, and grows with depth."
    sheet("Linear regions double with depth", note, [values[:3], slopes[:3]]).save(path)
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "linear_regions.png"))
