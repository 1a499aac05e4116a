"""Merged decoders behind an encoder: one branch reads the encoder's states, the other keys and values of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxlrp
from support.numpy_nets import softmax

WORDS, WIDTH, HEADS = 9, 6, 2
RNG = np.random.default_rng(0)
SHAPES = {"table": (WORDS, WIDTH), "head": (WIDTH, WORDS)} | dict.fromkeys(
    ("q", "k", "v", "cq", "ck", "cv"), (WIDTH, WIDTH)
)
WEIGHTS = {name: RNG.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}
IDS, STATES = np.array([[1, 4, 2]]), RNG.normal(size=(1, 5, WIDTH)).astype(np.float32)
MASK = np.array([[1, 1, 1, 1, 0]])
OWN = [f"past_key_values.0.decoder.{what}" for what in ("key", "value")]
OTHERS = [f"past_key_values.0.encoder.{what}" for what in ("key", "value")]


def branch(past: bool) -> onnx.GraphProto:
    nodes: list[Any] = []

    def op(name: str, *inputs: str, **attributes: Any) -> str:
        out = f"{'past' if past else 'alone'}/{len(nodes)}"
        nodes.append(helper.make_node(name, list(inputs), [out], name=out, **attributes))
        return out

    def heads(t: str, weight: str) -> str:
        return op("Transpose", op("Reshape", op("MatMul", t, weight), "split"), perm=[0, 2, 1, 3])

    def attended(h: str, query: str, k: str, v: str, mask: str = "") -> str:
        scores = op("MatMul", heads(h, query), op("Transpose", k, perm=[0, 1, 3, 2]))
        mixed = op("MatMul", op("Softmax", op("Add", scores, mask) if mask else scores, axis=-1), v)
        return op("Add", h, op("Reshape", op("Transpose", mixed, perm=[0, 2, 1, 3]), "join"))

    h = op("Gather", "table", "input_ids")
    own = [heads(h, weight) for weight in "kv"]
    if past:
        own = [op("Concat", before, t, axis=2) for before, t in zip(OWN, own, strict=True)]
    others = OTHERS if past else [heads("encoder_hidden_states", weight) for weight in ("ck", "cv")]
    h = attended(h, "q", *own)
    hidden = op("Sub", "one", op("Unsqueeze", op("Cast", "encoder_attention_mask", to=1), "axes"))
    h = attended(h, "cq", others[0], others[1], op("Mul", hidden, "low"))
    outputs = [op("Identity", t) for t in (op("MatMul", h, "head"), *own, *others)]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    return helper.make_graph(nodes, "with_past" if past else "no_past", [], values)


@pytest.fixture(scope="module")
def model() -> onnxlrp.Model:
    value, whole, real = helper.make_tensor_value_info, TensorProto.INT64, TensorProto.FLOAT
    inputs = [value("input_ids", whole, ["N", "length"]), value("encoder_attention_mask", whole, ["N", "source"])]
    inputs += [value("encoder_hidden_states", real, ["N", "source", WIDTH])]
    inputs += [value(name, real, ["N", HEADS, "past", WIDTH // HEADS]) for name in OWN]
    inputs += [value(name, real, ["N", HEADS, "source_out", WIDTH // HEADS]) for name in OTHERS]
    inputs += [value("use_cache_branch", TensorProto.BOOL, [1])]
    held: dict[str, Any] = {**WEIGHTS, "one": np.array(1, np.float32), "low": np.array(-1e9, np.float32)}
    held |= {"split": np.array([0, 0, HEADS, -1]), "join": np.array([0, 0, WIDTH]), "axes": np.array([1, 2])}
    names = ["logits", *(name.replace("past_key_values", "present") for name in (*OWN, *OTHERS))]
    choice = helper.make_node(
        "If", ["use_cache_branch"], names, name="if", then_branch=branch(True), else_branch=branch(False)
    )
    stored = [numpy_helper.from_array(array, name) for name, array in held.items()]
    graph = helper.make_graph([choice], "merged", inputs, [value(name, real, None) for name in names], stored)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return onnxlrp.load(made.SerializeToString())


def heads(h: Any, weight: str) -> Any:
    return (h @ WEIGHTS[weight].astype(float)).reshape(*h.shape[:2], HEADS, -1).transpose(0, 2, 1, 3)


def attended(h: Any, query: str, k: Any, v: Any, mask: Any = 0) -> Any:
    mixed = softmax(heads(h, query) @ k.transpose(0, 1, 3, 2) + mask) @ v
    return h + mixed.transpose(0, 2, 1, 3).reshape(h.shape)


def logits(x: Any, own: Any, others: Any) -> Any:
    """Logits of embeddings behind keys and values of earlier tokens, and those of the encoder's states."""
    k, v = (np.concatenate([before, heads(x, w)], 2) for before, w in zip(own, "kv", strict=True))
    h = attended(attended(x, "q", k, v), "cq", others[0], others[1], (1 - MASK[:, None, None]) * -1e9)
    return h @ WEIGHTS["head"]


@pytest.mark.few(1)
@pytest.mark.parametrize("past", [False, True])
def test_each_branch(model: onnxlrp.Model, past: bool) -> None:
    own = [RNG.normal(size=(1, HEADS, 4 if past else 0, WIDTH // HEADS)).astype(np.float32) for _ in OWN]
    others = [heads(STATES, w).astype(np.float32) for w in ("ck", "cv")]
    given: dict[str, Any] = {"encoder_attention_mask": MASK}
    given |= dict(zip((*OWN, *OTHERS), (*own, *others), strict=True)) if past else {"encoder_hidden_states": STATES}
    found = model.explain(IDS, 3, method="gradient_x_input", given=given)
    x, h = WEIGHTS["table"][IDS].astype(float), 1e-5
    np.testing.assert_allclose(found.logit, logits(x, own, others)[:, -1, 3], rtol=1e-4)
    for t in range(IDS.shape[1]):
        step = np.zeros_like(x)
        step[:, t] = h * x[:, t]
        slope = (logits(x + step, own, others) - logits(x - step, own, others))[:, -1, 3] / (2 * h)
        np.testing.assert_allclose(found.relevance[:, t], slope, rtol=1e-3, atol=1e-4)
