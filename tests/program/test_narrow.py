"""A layer of which relevance reaches some columns alone: what numpy computes with all of them, by fewer products."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from onnxlrp.compile import compile
from onnxlrp.composites import Composite
from onnxlrp.program.linear import Matmul
from onnxlrp.program.program import SEED
from onnxlrp.rules import make
from support import small_nets
from support.conformance import each_engine

TOKENS, WIDTH, HEADS, EACH = 5, 6, 2, 3
RULES: dict[str, Any] = {"epsilon": ("epsilon",), "gamma": ("gamma", 0.3)}


def net(order: str, bias: bool) -> tuple[Any, Any, Any]:
    """x [T, 6] → three parts of [T, 18] → the last of them → logits; parts lie behind each other, or by heads."""
    n = small_nets.Net(TOKENS, WIDTH)
    w, b = n.rng.normal(size=(WIDTH, 3 * WIDTH)), n.rng.normal(size=3 * WIDTH) * bias
    y = n.op("MatMul", "x", w)
    y = n.op("Add", y, b) if bias else y
    shape, perm = ([3, HEADS, EACH], [0, 2, 3, 1, 4]) if order == "parts" else ([HEADS, 3, EACH], [0, 3, 2, 1, 4])
    y = n.op("Transpose", n.op("Reshape", y, np.array([0, TOKENS, *shape])), perm=perm)
    y = n.op("Squeeze", n.op("Slice", y, np.array([2]), np.array([3]), np.array([1])), np.array([1]))
    y = n.op("Reshape", n.op("Transpose", y, perm=[0, 2, 1, 3]), np.array([0, TOKENS * WIDTH]))
    return small_nets.load(n.model(n.op("MatMul", y, n.rng.normal(size=(TOKENS * WIDTH, 3))), 3)), w, b


def oracle(rule: str, w: Any, b: Any, x: Any, r: Any) -> Any:
    """Relevance of x [T, 6] from that of all columns [T, 18], by the definition of the rule."""
    found = np.zeros_like(x)
    for t in range(len(x)):
        for k in np.flatnonzero(r[t]):
            z = x[t] * w[:, k]
            y = z.sum() + b[k]
            if rule == "gamma":
                same = np.sign(y)
                weigh = 1 + 0.3 * (np.sign(z) == same)
                total = (z * weigh).sum() + b[k] * (1 + 0.3 * (np.sign(b[k]) == same))
                found[t] += z * weigh * r[t, k] / total
            else:
                found[t] += z * r[t, k] / y
    return found


@pytest.mark.few(12)
@each_engine
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("order", ["parts", "heads"])
@pytest.mark.parametrize("rule", RULES)
def test_relevance_is_that_of_all_columns(rule: str, order: str, bias: bool, name: str) -> None:
    graph, w, b = net(order, bias)
    layer = next(y.name for y in graph.layers if y.op == "MatMul")
    composite = Composite(((layer, make(*RULES[rule])), ("routing", make("route")), ("*", make("epsilon"))))
    x = np.random.default_rng(1).normal(size=(2, TOKENS, WIDTH)).astype(np.float32)
    found = small_nets.explained(graph, composite, {"x": x, SEED: np.array([1, 2])}, name, mode="index")
    weights = graph.constants[next(y.inputs[1] for y in reversed(graph.layers) if y.op in ("MatMul", "Gemm"))]
    for i, target in enumerate((1, 2)):
        values = (x[i] @ w + b).reshape(TOKENS, *((3, 6) if order == "parts" else (HEADS, 3, EACH)))
        last = values[:, 2] if order == "parts" else values[:, :, 2].reshape(TOKENS, 6)
        own = last * weights[:, target].reshape(TOKENS, 6)
        r = np.zeros((TOKENS, 18))
        if order == "parts":
            r[:, 12:] = own
        else:
            r.reshape(TOKENS, HEADS, 3, EACH)[:, :, 2] = own.reshape(TOKENS, HEADS, EACH)
        small_nets.agree(found["relevance"][i], oracle(rule, w, b, x[i].astype(float), r), 1e-3)


@pytest.mark.parametrize(("order", "width"), [("parts", 6), ("heads", 18)])
@pytest.mark.parametrize("rule", RULES)
def test_products_are_as_wide_as_the_columns(rule: str, order: str, width: int) -> None:
    """Where they lie behind each other; with gaps between them the layer stays whole."""
    graph, _, _ = net(order, True)
    layer = next(y.name for y in graph.layers if y.op == "MatMul")
    composite = Composite(((layer, make(*RULES[rule])), ("routing", make("route")), ("*", make("epsilon"))))
    program = compile(graph, composite)
    widths = {
        step.what.target[-1]
        for step in program.instructions
        if isinstance(step.what, Matmul) and step.origin.startswith(layer)
    }
    assert widths == {width}
