"""Rotary embeddings and attention in groups as one operator, against onnxruntime's own; tables stored in blocks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxlrp
from onnxlrp.errors import UnsupportedError
from onnxlrp.graph.load import load
from onnxlrp.graph.verify import verify
from support.attention_models import past_of
from support.tiny_models import model, node, values

I32 = np.int32
TOKENS, HEADS = ("N", 3, 8), ("N", 2, 3, 4)


def caches(pairs: int) -> dict[str, Any]:
    """Cosines and sines of nine places."""
    angles = np.arange(9)[:, None] * 0.5 ** np.arange(pairs)
    return {"cos": np.cos(angles).astype(np.float32), "sin": np.sin(angles).astype(np.float32)}


MICROSOFT = "com.microsoft"


def of(nodes: Any, constants: Any, shape: Any, **options: Any) -> Any:
    source = model(nodes, constants, opset=23, shape=shape, **options)
    source.ir_version = 11
    source.opset_import.append(helper.make_opsetid(MICROSOFT, 1))
    return source


def grouped(*inputs: str, past: bool = False, lengths: str = "counted", **attributes: Any) -> Any:
    """Four heads of queries over two of keys.

    `lengths` are "stated", or "counted" at run time; "short": a place of the past is empty where a sample's mean is
    above 0.
    """
    length = 6 if past else 3
    nodes, constants = past_of(16)
    nodes += [node("MatMul", ["x", "w"], ["qkv"]), node("Split", ["qkv", "sizes"], ["q", "k", "v"], axis=2)]
    if lengths == "stated":
        nodes += [node("Shape", ["x"], ["count"], start=0, end=1), node("Expand", ["last", "count"], ["lengths"])]
    else:
        nodes += [
            node("ReduceMean", ["x", "axes"], ["mean"], keepdims=0),
            node("Less", ["zero" if lengths == "short" else "never", "mean"], ["shorter"]),
            node("Cast", ["shorter"], ["less"], to=TensorProto.INT32),
            node("Sub", ["last", "less"], ["lengths"]),
        ]
    out = ["y", "nk", "nv"] if past else ["y"]
    own = {"name": "attend", "domain": MICROSOFT, "num_heads": 4, "kv_num_heads": 2, **attributes}
    nodes.append(node("GroupQueryAttention", list(inputs), out, **own))
    constants |= {"w": values(8, 128, seed=7), "sizes": np.array([64, 32, 32]), "axes": np.array([1, 2]), **caches(8)}
    constants |= {"zero": np.zeros((), np.float32), "never": np.full((), 99, np.float32)}
    return nodes, {**constants, "last": np.array(length - 1, I32), "total": np.array(length, I32)}, TOKENS


def rotation(*inputs: str, domain: str = "", shape: Any = HEADS, pairs: int = 2, **attributes: Any) -> Any:
    nodes = [
        node("Shape", ["x"], ["count"], start=0, end=1),
        node("Concat", ["count", "three"], ["by"], axis=0),
        node("Expand", ["at", "by"], ["places"]),
        node("RotaryEmbedding", list(inputs), ["y"], domain=domain, **attributes),
    ]
    constants = {"three": np.array([3]), "at": np.array([[0, 4, 2]]), "five": np.array([5]), **caches(pairs)}
    return nodes, constants, shape


QKV, LENGTHS, TABLES = ("q", "k", "v"), ("lengths", "total"), ("cos", "sin")
CASES = {
    "in groups": grouped(*QKV, "", "", *LENGTHS),
    "side by side": grouped("qkv", "", "", "", "", *LENGTHS),
    "rotated": grouped(*QKV, "", "", *LENGTHS, *TABLES, do_rotary=1),
    "rotated by neighbours": grouped("qkv", "", "", "", "", *LENGTHS, *TABLES, do_rotary=1, rotary_interleaved=1),
    "a window and a scale": grouped(*QKV, "", "", *LENGTHS, local_window_size=2, scale=0.3),
    "a soft cap": grouped(*QKV, "", "", *LENGTHS, softcap=0.5),
    "a rotation": rotation("x", *TABLES, "places"),
    "a rotation of neighbours": rotation("x", *TABLES, "places", interleaved=1),
    "a rotation of tokens": rotation("x", *TABLES, "places", shape=TOKENS, num_heads=2),
    "a rotation of a part": rotation("x", *TABLES, "places", pairs=1, rotary_embedding_dim=2),
    "a rotation of onnxruntime": rotation("x", "places", *TABLES, domain=MICROSOFT),
    "a rotation of onnxruntime from a place on": rotation(
        "x", "five", *TABLES, domain=MICROSOFT, shape=TOKENS, num_heads=2
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_stands_for_it(case: Any) -> None:
    nodes, constants, shape = CASES[case]
    source = of(nodes, constants, shape)
    graph = load(source)
    assert graph.batch is None
    assert set(graph.opsets) == {""}
    assert verify(graph, source, batches=(1, 3)) < 1e-5


@pytest.mark.parametrize("lengths", ["stated", "counted", "short"])
@pytest.mark.parametrize("more", [{}, {"do_rotary": 1}, {"local_window_size": 4}])
def test_behind_a_past(lengths: str, more: dict[str, Any]) -> None:
    """A place that is not filled yet is hidden, and positions are counted without it."""
    tables = TABLES if "do_rotary" in more else ()
    source = of(*grouped(*QKV, "pk", "pv", *LENGTHS, *tables, past=True, lengths=lengths, **more))
    if "local_window_size" in more and lengths != "stated":
        with pytest.raises(UnsupportedError, match="a window over a buffer that is filled in part"):
            load(source)
        return
    graph = load(source)
    assert verify(graph, source, batches=(1,)) < 1e-5  # onnxruntime takes one sample here


def test_what_is_not_known_is_refused_by_name() -> None:
    for attributes, what in (({"smooth_softmax": 1}, "smooth softmax"), ({"k_quant_type": "PER_TENSOR"}, "quantised")):
        with pytest.raises(UnsupportedError, match=f'GroupQueryAttention node "attend" has .*{what}'):
            load(of(*grouped(*QKV, "", "", *LENGTHS, **attributes)))
    with pytest.raises(UnsupportedError, match="no number of them"):
        load(of(*rotation("x", "five", *TABLES, domain=MICROSOFT, shape=TOKENS)))


# -- tables of embeddings in blocks of integers


def gathered(data: Any, scales: Any, zeros: Any = None, **attributes: Any) -> Any:
    inputs = ["data", "x", "scales", *([] if zeros is None else ["zeros"])]
    held = [numpy_helper.from_array(scales, "scales")]
    for name, array in (("data", data), ("zeros", zeros)):
        if array is not None and array.dtype == np.uint8:
            held.append(numpy_helper.from_array(array, name))
        elif array is not None:
            held.append(helper.make_tensor(name, TensorProto.INT4, array.shape, array.ravel()))
    source = of(
        [node("GatherBlockQuantized", inputs, ["e"], domain=MICROSOFT, block_size=16, **attributes),
         node("ReduceSum", ["e", "along"], ["y"], keepdims=0)],
        {"along": np.array([1])}, ("N", 3), kind=TensorProto.INT64,
    )  # fmt: skip
    source.graph.initializer.extend(held)
    source.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT
    return source


RNG = np.random.default_rng(0)
SCALES = RNG.uniform(0.1, 1, (7, 2)).astype(np.float32)
STORED = {
    "4 bits in bytes": gathered(RNG.integers(0, 256, (7, 16)).astype(np.uint8), SCALES, bits=4, quantize_axis=1),
    "4 bits in bytes from a zero point on": gathered(
        RNG.integers(0, 256, (7, 16)).astype(np.uint8), SCALES, RNG.integers(0, 256, (7, 1)).astype(np.uint8), bits=4
    ),
    "8 bits": gathered(RNG.integers(0, 256, (7, 32)).astype(np.uint8), SCALES, bits=8),
    "int4": gathered(RNG.integers(-8, 8, (7, 32)), SCALES),
    "int4 from a zero point on": gathered(RNG.integers(-8, 8, (7, 32)), SCALES, RNG.integers(-8, 8, (7, 2))),
}


@pytest.mark.parametrize("case", STORED)
def test_rows_of_a_table_in_blocks(case: str) -> None:
    import onnxruntime as ort

    source = STORED[case]
    ids = np.array([[0, 4, 6], [1, 1, 5]])
    wanted = ort.InferenceSession(source.SerializeToString()).run(None, {"x": ids})[0]
    found = onnxlrp.load(source.SerializeToString()).explain(ids, 3, method="epsilon")
    np.testing.assert_allclose(found.output, wanted, rtol=1e-5)
    np.testing.assert_allclose(found.relevance.sum(axis=1), wanted[:, 3], rtol=1e-4)
