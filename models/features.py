"""What fisher.onnx and bow.onnx have in common: local descriptors of a scene, and a linear classifier of their vector.

Both are written as graphs of standard operators, and what comes before a part is run by onnxruntime to train it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime as ort
from finish import HERE, Floats, finish, logits, record
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from scenes import CLASSES, HELD_OUT, PREP, SIZE, draw, normalise

TEST = 2_000
ORIENTATIONS, CELL, WINDOW = 8, 4, 4
"""Orientations of gradients; pixels of a cell's side; cells of a descriptor's side."""
SAMPLED = 30_000
"""Descriptors that components, mixtures and codebooks are found from."""

_SHARPNESS = 1.0  # standard deviation of the Gaussian whose derivatives are the filters, pixels
_LEAST = 1e-6  # no descriptor is shorter: one of a plain picture has no direction

Labels = NDArray[np.int64]
Scenes = NDArray[np.uint8]
Drawn = Callable[[int, int], tuple[Scenes, Labels]]


class Recipe(NamedTuple):
    """What is trained.

    Attributes:
        encode: Writes what makes a vector of `components`, fitted to a sample of these or to the scenes [N, 3, H, W]
            and their labels, and returns its name.
        components: Principal components that are kept of a descriptor.
        scenes: Scenes of the training.
        cost: C of the support vector machine.
        dual: Solve its dual problem, which is faster for long vectors.
    """

    encode: Callable[[Written, Floats, Scenes, Labels], str]
    components: int
    scenes: int
    cost: float
    dual: bool


class Written:
    """A graph of standard operators from the input `image`, written node by node; each node is named as its result."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, op: str, result: str, *operands: str | float | list[int] | NDArray[Any], **attributes: Any) -> str:
        """Add a node; operands are names, numbers as float32, or lists of int64. Return the name of its result."""
        names = []
        for place, operand in enumerate(operands):
            if isinstance(operand, str):
                names.append(operand)
                continue
            kind = np.int64 if isinstance(operand, list) else np.float32
            names.append(f"{result}.{place}")
            self.constants.append(numpy_helper.from_array(np.asarray(operand, kind, order="C"), names[-1]))
        self.nodes.append(helper.make_node(op, names, [result], name=result, **attributes))
        return result

    def model(self, output: str, shape: Sequence[int | str]) -> onnx.ModelProto:
        """Return the model whose output is one of the results."""
        given = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, SIZE, SIZE])
        made = helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)
        graph = helper.make_graph(self.nodes, "features", [given], [made], self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)

    def run(self, output: str, images: NDArray[np.uint8], batch: int = 20) -> Floats:
        """Compute one of the results for images [N, 3, H, W]."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1  # sums in one order, whatever the machine
        model = self.model(output, None)  # type: ignore[arg-type]
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        parts = (normalise(images[i : i + batch]) for i in range(0, len(images), batch))
        return np.concatenate([session.run([output], {"image": part})[0] for part in parts])


def gradient_filters() -> Floats:
    """Return derivatives of a Gaussian in each colour [3 · orientations, 3, 5, 5], half a turn in equal steps."""
    r = np.arange(-2, 3)
    bell = np.exp(-(r**2) / (2 * _SHARPNESS**2))
    slope = r * bell
    across, down = (np.outer(a, b) / np.abs(np.outer(a, b)).sum() for a, b in ((bell, slope), (slope, bell)))
    angles = np.pi * np.arange(ORIENTATIONS) / ORIENTATIONS
    filters = np.cos(angles)[:, None, None] * across + np.sin(angles)[:, None, None] * down
    return np.concatenate([filters[:, None] * np.eye(3)[c][None, :, None, None] for c in range(3)]).astype(np.float32)


def cells(graph: Written) -> str:
    """Write oriented gradients, averaged in cells [N, orientations, 14, 14] (Dalal and Triggs 2005).

    The absolute derivatives of the three colours are added up. Neighbouring cells overlap by half.
    """
    side = SIZE - 4
    graph.add("Conv", "gradients", "image", gradient_filters())
    graph.add("Abs", "strengths", "gradients")
    graph.add("Reshape", "colours", "strengths", [0, 3, ORIENTATIONS, side, side])
    graph.add("ReduceSum", "oriented", "colours", [1], keepdims=0)
    return graph.add("AveragePool", "cells", "oriented", kernel_shape=[2 * CELL] * 2, strides=[CELL] * 2)


def components(graph: Written, images: NDArray[np.uint8], count: int) -> Floats:
    """Write principal components [N, places, count] of descriptors, as `components`; return those sampled to train.

    A descriptor d is what 4 × 4 neighbouring cells hold, at unit length. Its components P (d / ‖d‖ − mean) are written
    as a convolution of the cells, divided by the lengths.
    """
    from sklearn.decomposition import PCA

    held = graph.run(cells(graph), images)
    windows = np.lib.stride_tricks.sliding_window_view(held, (WINDOW, WINDOW), axis=(2, 3))
    places = windows.shape[2]
    one, row, column = np.unravel_index(
        np.random.default_rng(0).choice(len(held) * places**2, SAMPLED, replace=False), (len(held), places, places)
    )
    sampled = windows[one, :, row, column].reshape(SAMPLED, -1).astype(np.float64)
    sampled /= np.maximum(np.linalg.norm(sampled, axis=1, keepdims=True), _LEAST)
    pca = PCA(count, svd_solver="full").fit(sampled)
    window = (ORIENTATIONS, WINDOW, WINDOW)
    graph.add("Conv", "projections", "cells", pca.components_.reshape(count, *window))
    graph.add("Mul", "squared_cells", "cells", "cells")
    graph.add("Conv", "squared_lengths", "squared_cells", np.ones((1, *window)))
    graph.add("Sqrt", "lengths", "squared_lengths")
    graph.add("Max", "safe_lengths", "lengths", _LEAST)
    graph.add("Div", "directions", "projections", "safe_lengths")
    graph.add("Sub", "centred", "directions", (pca.components_ @ pca.mean_)[:, None, None])
    graph.add("Reshape", "rows", "centred", [0, count, places**2])
    graph.add("Transpose", "components", "rows", perm=[0, 2, 1])
    return np.asarray(pca.transform(sampled))


def normalised(graph: Written, vector: str) -> str:
    """Write power and length normalisation of a vector: sgn(v) √|v|, of unit length (Perronnin et al. 2010)."""
    graph.add("Sign", "signs", vector)
    graph.add("Abs", "sizes", vector)
    graph.add("Sqrt", "roots", "sizes")
    graph.add("Mul", "powers", "signs", "roots")
    graph.add("ReduceL2", "norm", "powers", axes=[1], keepdims=1)
    return graph.add("Div", "unit_vector", "powers", "norm")


def make(name: str, recipe: Recipe, drawn: Drawn = draw) -> None:
    """Train on the scenes of `drawn(first seed, count)`, export NAME.onnx and record its measurements."""
    from sklearn.svm import LinearSVC

    start = time.time()
    images, labels = drawn(0, recipe.scenes)
    graph = Written()
    sampled = components(graph, images, recipe.components)
    unit = normalised(graph, recipe.encode(graph, sampled, images, labels))
    vectors = graph.run(unit, images).astype(np.float64)
    machine = LinearSVC(C=recipe.cost, dual=recipe.dual, random_state=0, max_iter=5000).fit(vectors, labels)
    graph.add("Gemm", "logits", unit, machine.coef_, machine.intercept_, transB=1)
    file = HERE / f"{name}.onnx"
    onnx.save(graph.model("logits", ["batch", len(CLASSES)]), file)
    finish(file, PREP)
    print(f"{time.time() - start:.0f} s")
    known = {"training_accuracy": round(float(machine.score(vectors, labels)), 4), "training_scenes": len(images)}
    record(name, vector=vectors.shape[1], **known, **measured(file, *drawn(HELD_OUT, TEST)))


def measured(file: Path, images: NDArray[np.uint8], labels: Labels) -> dict[str, Any]:
    """Measure the file on held-out images [N, 3, H, W]."""
    found = logits(file, normalise(images)).argmax(axis=1)
    return {
        "bytes": file.stat().st_size,
        "held_out_accuracy": round(float((found == labels).mean()), 4),
        "held_out_scenes": len(images),
    }
