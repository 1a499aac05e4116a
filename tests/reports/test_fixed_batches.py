"""A batch that the exporter wrote into Reshape, Expand and Gather, in a file that states any batch.

Reported of microsoft/onnxruntime (issues 10463, 2779), pytorch/pytorch (issues 99613, 43795) and onnx/onnx (issue
5171): only the size of the example runs. Every sample is explained as it is alone.
"""

from __future__ import annotations

import numpy as np
import pytest

import onnxlrp
from onnxlrp.errors import UnsupportedError
from support.numpy_nets import model, near, node, relu, slope

RNG = np.random.default_rng(0)
W, V = RNG.normal(size=(6, 4)), RNG.normal(size=(8, 3))
X = RNG.normal(size=(3, 3, 4))


def f(p: np.ndarray) -> np.ndarray:
    return relu(p.reshape(2, 6) @ W).reshape(8) @ V


def reshaping(example: int, batch: int | str) -> object:
    nodes = [
        node("Reshape", "x two", "a"), node("MatMul", "a w", "b"), node("Relu", "b", "c"),
        node("Reshape", "c flat", "d"), node("MatMul", "d v", "y"),
    ]  # fmt: skip
    constants = {"w": W, "v": V, "two": np.array([example, 2, 6]), "flat": np.array([example, 8])}
    return model(nodes, (3, 4), constants, batch=batch)


@pytest.mark.parametrize("batch", [1, "N"])
@pytest.mark.parametrize("example", [1, 2, 3])
def test_the_batch_of_the_example_in_the_target_of_a_reshape(example: int, batch: int | str) -> None:
    """A file that states any batch, and runs with one size alone, is read as if it stated this one."""
    loaded = onnxlrp.load(reshaping(example, batch if batch == "N" else example))
    wanted = [slope(lambda p: f(p)[1], one) for one in X]
    e = loaded.explain(X, target=1, method="gradient")
    near(e.relevance, wanted)
    near(e.output, [f(one) for one in X])
    near(loaded.explain(X[:1], target=1, method="gradient").relevance, wanted[:1])
    # Nothing absorbs without biases: ΣR is the logit.
    near(loaded.explain(X, target=1, method="epsilon").relevance.sum((1, 2)), [f(one)[1] for one in X], 1e-4)


def test_the_batch_of_the_example_in_an_expand() -> None:
    """A class token that the exporter expanded to the one sample of its example."""
    token, w = RNG.normal(size=(1, 1, 4)), RNG.normal(size=(4, 4))
    nodes = [
        node("Expand", "row one", "t"), node("Add", "x zero", "s"), node("Concat", "t s", "c", axis=1),
        node("MatMul", "c w", "m"), node("Relu", "m", "r"), node("ReduceSum", "r axis", "y", keepdims=0),
    ]  # fmt: skip
    constants = {"row": token, "w": w, "one": np.array([1, 1, 4]), "axis": np.array([1]), "zero": np.zeros((3, 4))}
    loaded = onnxlrp.load(model(nodes, (3, 4), constants, batch="N"))

    def g(p: np.ndarray) -> np.ndarray:
        return np.asarray(relu(np.concatenate([token[0], p]) @ w).sum(0))

    near(loaded.explain(X, target=1, method="gradient").relevance, [slope(lambda p: g(p)[1], one) for one in X])


def test_samples_that_are_mixed_are_refused_still() -> None:
    """With the batch in the rows, a file runs with two samples too, and gives other numbers: it is no file of one."""
    nodes = [node("MatMul", "x v", "a"), node("Softmax", "a", "y", axis=0)]
    loaded = onnxlrp.load(model(nodes, (4,), {"v": RNG.normal(size=(4, 3))}, batch="N"))
    x = RNG.normal(size=(3, 4))
    with pytest.raises(UnsupportedError, match="batch"):
        loaded.explain(x, target=1, method="gradient")
    near(loaded.explain(x, target=1, method="occlusion").output, np.ones((3, 3)))
