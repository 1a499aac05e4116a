"""Attention as one operator, of opset 23 and of onnxruntime, against onnxruntime's own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from onnx import helper

from onnxlrp.errors import UnsupportedError
from onnxlrp.graph.load import load
from onnxlrp.graph.verify import verify
from support.attention_models import past_of
from support.tiny_models import model, node, values

I64 = np.int64
HEADS = ("N", 2, 3, 4)
TOKENS = ("N", 3, 8)
MASK = np.array([[True, False, True], [True, True, True], [False, True, True]])


def attention(*inputs: Any, domain: str = "", op: str = "Attention", outputs: Any = ("y",), **attributes: Any) -> Any:
    return node(op, list(inputs), list(outputs), name="attend", domain=domain, **attributes)


def keys(source: Any, target: Any, width: int = 8, seed: int = 0) -> tuple[list[Any], dict[str, Any]]:
    """Another operand of the same length."""
    return [node("MatMul", [source, f"w{target}"], [target])], {f"w{target}": values(8, width, seed=seed)}


def of(nodes: Any, constants: Any = None, **options: Any) -> Any:
    source = model(nodes, constants or {}, opset=23, **options)
    source.ir_version = 11
    source.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return source


def projected(*parts: Any, widths: Any = (8, 8)) -> tuple[list[Any], Any]:
    nodes, constants = [], {}
    for i, (name, width) in enumerate(zip("kv", widths, strict=True)):
        more, own = keys("x", name, width, seed=i)
        nodes, constants = [*nodes, *more], {**constants, **own}
    return [*nodes, *parts], constants


def cases() -> Iterator[tuple[Any, ...]]:
    def tokens(
        *inputs: Any, widths: Any = (8, 8), extra: Any = None, **attributes: Any
    ) -> tuple[Any, dict[str, Any], tuple[str, int, int]]:
        nodes, constants = projected(attention("x", "k", "v", *inputs, **attributes), widths=widths)
        return nodes, {**constants, **(extra or {})}, TOKENS

    yield "heads", ([attention("x", "x", "x")], {}, HEADS)
    yield "a scale", ([attention("x", "x", "x", scale=0.3)], {}, HEADS)
    yield "causal", ([attention("x", "x", "x", is_causal=1)], {}, HEADS)
    yield "a mask of truths", ([attention("x", "x", "x", "m")], {"m": MASK}, HEADS)
    yield "a mask of numbers", ([attention("x", "x", "x", "m")], {"m": values(3, 3)}, HEADS)
    yield "a mask found at run time", (
        [node("Greater", ["x", "low"], ["g"]), node("MatMul", ["x", "w"], ["s"]), node("Greater", ["s", "low"], ["m"]),
         attention("x", "x", "x", "m")], {"low": np.float32(-9), "w": values(4, 3)}, HEADS)  # fmt: skip
    yield "tokens", tokens(q_num_heads=2, kv_num_heads=2)
    yield "heads that share their keys", tokens(q_num_heads=4, kv_num_heads=2, widths=(4, 4))
    own = {"op": "MultiHeadAttention", "domain": "com.microsoft", "num_heads": 2}
    yield "of onnxruntime", tokens(**own)
    yield "of onnxruntime, biased", tokens("b", "", "m", extra={"b": values(24), "m": values(1, 1, 3, 3)}, **own)
    heads = {"q_num_heads": 2, "kv_num_heads": 2}
    yield "a soft cap, then a mask", tokens("m", extra={"m": MASK}, softcap=0.7, **heads)
    earlier = past_of(4)
    for what, causal in (("behind a past", 0), ("causal, behind a past", 1)):
        nodes, constants, shape = tokens("", "pk", "pv", outputs=("y", "nk", "nv"), is_causal=causal, **heads)
        yield what, (earlier[0] + nodes, {**earlier[1], **constants}, shape)
    packed = attention("x", "w", "b", domain="com.microsoft", num_heads=2)
    yield "of onnxruntime, projected", ([packed], {"w": values(8, 24), "b": values(24, seed=1)}, TOKENS)


CASES = dict(cases())


@pytest.mark.parametrize("case", CASES)
def test_what_stands_for_it(case: Any) -> None:
    nodes, constants, shape = CASES[case]
    source = of(nodes, constants, shape=shape)
    graph = load(source)
    assert graph.batch is None
    assert not {"Attention"} & {layer.op.rpartition("::")[2] for layer in graph.layers}
    assert set(graph.opsets) == {""}
    assert verify(graph, source, batches=(1, 3)) < 1e-5


def test_what_is_not_known_is_refused_by_name() -> None:
    scores = attention("x", "x", "x", outputs=("y", "", "", "scores"))
    with pytest.raises(UnsupportedError, match='Attention node "attend" has the scores as an output'):
        load(of([scores], shape=HEADS, outputs=("y", "scores")))
