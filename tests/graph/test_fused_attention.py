"""Attention as one operator, of opset 23 and of onnxruntime, against onnxruntime's own."""

import numpy as np
import pytest
from onnx import helper

from onnxlrp.errors import UnsupportedError
from onnxlrp.graph.load import load
from onnxlrp.graph.verify import verify
from support.tiny_models import model, node, values

I64 = np.int64
HEADS = ("N", 2, 3, 4)
TOKENS = ("N", 3, 8)
MASK = np.array([[True, False, True], [True, True, True], [False, True, True]])


def attention(*inputs, domain="", op="Attention", outputs=("y",), **attributes):
    return node(op, list(inputs), list(outputs), name="attend", domain=domain, **attributes)


def keys(source, target, width=8, seed=0):
    """Another operand of the same length."""
    return [node("MatMul", [source, f"w{target}"], [target])], {f"w{target}": values(8, width, seed=seed)}


def of(nodes, constants=None, **options):
    source = model(nodes, constants or {}, opset=23, **options)
    source.ir_version = 11
    source.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return source


def projected(*parts, widths=(8, 8)):
    nodes, constants = [], {}
    for i, (name, width) in enumerate(zip("kv", widths, strict=True)):
        more, own = keys("x", name, width, seed=i)
        nodes, constants = [*nodes, *more], {**constants, **own}
    return [*nodes, *parts], constants


def cases():
    def tokens(*inputs, widths=(8, 8), extra=None, **attributes):
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
    packed = attention("x", "w", "b", domain="com.microsoft", num_heads=2)
    yield "of onnxruntime, projected", ([packed], {"w": values(8, 24), "b": values(24, seed=1)}, TOKENS)


CASES = dict(cases())


@pytest.mark.parametrize("case", CASES)
def test_what_stands_for_it(case):
    nodes, constants, shape = CASES[case]
    source = of(nodes, constants, shape=shape)
    graph = load(source)
    assert graph.batch is None
    assert not {"Attention"} & {layer.op.rpartition("::")[2] for layer in graph.layers}
    assert set(graph.opsets) == {""}
    assert verify(graph, source, batches=(1, 3)) < 1e-5


def test_what_is_not_known_is_refused_by_name():
    with pytest.raises(UnsupportedError, match='Attention node "attend" has a soft cap'):
        load(of([attention("x", "x", "x", softcap=2.0)], shape=HEADS))
