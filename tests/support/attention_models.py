"""Small transformers, spelled as exporters and runtimes spell attention, and the same in numpy with weights to move."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from .arrays import Array
from .numpy_nets import softmax

WIDTH, HEADS, EACH, CLASSES, ROWS = 8, 2, 3, 3, 7
SPELLINGS = ("products", "turned", "formula", "operator", "shared heads", "onnxruntime", "einsum", "masked")
READS = ("class", "mean", "last", "pooling", "two")
GRID = (2, 3)


class Transformer:
    """Two attention layers with residuals, behind patches [3, 8, 12] or ids [5].

    Args:
        spelling: How attention is written, of SPELLINGS. "shared heads" have one head of keys and values for two of
            queries; "masked" is causal, by a sum with −∞.
        read: What the head reads, of READS: the first token, the mean, every token (logits [tokens, classes], explained
            at the last), an attention of one learned query, or the first two tokens, concatenated.
        ids: Token ids in the place of patches; no class token is added.
    """

    def __init__(self, spelling: str = "products", read: str = "class", ids: bool = False) -> None:
        rng = np.random.default_rng(7)
        self.spelling, self.read, self.ids = spelling, read, ids
        self.count = 5 if ids else 1 + GRID[0] * GRID[1]
        shared = 1 if spelling == "shared heads" else HEADS
        draw = rng.normal
        self.weights: dict[str, Array] = {
            "patch": draw(size=(WIDTH, 3, 4, 4)) / 4,
            "class": draw(size=(1, 1, WIDTH)),
            "table": draw(size=(ROWS, WIDTH)),
            "places": draw(size=(1, self.count, WIDTH)),
            "query": draw(size=(1, HEADS, 1, EACH)),
            "head": draw(size=((2 if read == "two" else 1) * WIDTH, CLASSES)),
        }
        for n in range(3):
            self.weights |= {
                f"q{n}": draw(size=(WIDTH, HEADS * EACH)) / 2,
                f"k{n}": draw(size=(WIDTH, shared * EACH)) / 2,
                f"v{n}": draw(size=(WIDTH, shared * EACH)) / 2,
                f"o{n}": draw(size=(HEADS * EACH, WIDTH)) / 2,
            }
        self.weights = {name: value.astype(np.float32).astype(float) for name, value in self.weights.items()}
        self.layers = 2 + (read == "pooling")

    # -- numpy

    def embedded(self, x: Array) -> Array:
        """Tokens [N, tokens, width] of a batch of inputs."""
        w = self.weights
        if self.ids:
            return np.asarray(w["table"][x] + w["places"])
        n = len(x)
        cut = x.reshape(n, 3, GRID[0], 4, GRID[1], 4).transpose(0, 2, 4, 1, 3, 5).reshape(n, -1, 48)
        tokens = np.concatenate([np.broadcast_to(w["class"], (n, 1, WIDTH)), cut @ w["patch"].reshape(WIDTH, 48).T], 1)
        return np.asarray(tokens + w["places"])

    def forward(self, x: Array, moved: Mapping[int, Array] | None = None) -> tuple[Array, list[Array]]:
        """Logits [N, classes] and attention weights [N, heads, queries, tokens] of every layer.

        Args:
            x: Inputs.
            moved: What is added to the weights of layers.
        """
        w, t, maps = self.weights, self.embedded(x), []
        for n in range(self.layers):
            q, k, v = (_heads(t @ w[f"{name}{n}"]) for name in "qkv")
            k, v = (np.repeat(a, HEADS // a.shape[1], axis=1) for a in (k, v))
            if n == 2:
                q = np.broadcast_to(w["query"], (len(t), HEADS, 1, EACH))
            scores = q @ k.transpose(0, 1, 3, 2) / np.sqrt(EACH)
            if self.spelling == "masked" and n < 2:
                scores = scores + np.where(np.tri(self.count, dtype=bool), 0, -np.inf)
            maps.append(softmax(scores) + (moved or {}).get(n, 0.0))
            made = (maps[-1] @ v).transpose(0, 2, 1, 3).reshape(len(t), -1, HEADS * EACH) @ w[f"o{n}"]
            t = made if n == 2 else t + made
        pooled = {"class": t[:, 0], "mean": t.mean(axis=1), "last": t[:, -1], "pooling": t[:, 0],
                  "two": t[:, :2].reshape(len(t), -1)}[self.read]  # fmt: skip
        return pooled @ w["head"], maps

    def slopes(self, x: Array, target: int, step: float = 1e-6) -> list[Array]:
        """The gradient of a logit by every attention weight, by central differences."""
        found = []
        for n, weights in enumerate(self.forward(x)[1]):
            slope = np.zeros_like(weights)
            for at in np.ndindex(*weights.shape[1:]):
                delta = np.zeros(weights.shape[1:])
                delta[at] = step
                up, down = (self.forward(x, {n: s * delta})[0][:, target] for s in (1, -1))
                slope[(slice(None), *at)] = (up - down) / (2 * step)
            found.append(slope)
        return found

    def read_rows(self) -> Array:
        """The share of each token in what the head reads."""
        rows = np.zeros(self.count)
        rows[{"class": [0], "mean": range(self.count), "last": [-1], "two": [0, 1]}[self.read]] = 1
        return rows / rows.sum()

    # -- ONNX

    def proto(self) -> onnx.ModelProto:
        """The model."""
        self._nodes: list[onnx.NodeProto] = []
        self._held: dict[str, Array] = {}
        t = self._tokens()
        for n in range(self.layers):
            made = self._op("MatMul", self._attention(t, n), f"o{n}")
            t = made if n == 2 else self._op("Add", t, made)
        if self.read in ("class", "pooling"):
            t = self._op("Gather", t, np.array(0), axis=1)
        elif self.read == "mean":
            t = self._op("ReduceMean", t, np.array([1]), keepdims=0)
        elif self.read == "two":
            first, second = (self._op("Gather", t, np.array(i), axis=1) for i in (0, 1))
            t = self._op("Concat", first, second, axis=1)
        self._nodes.append(helper.make_node("MatMul", [t, "head"], ["y"], name="y"))
        kind, shape = (TensorProto.INT64, [5]) if self.ids else (TensorProto.FLOAT, [3, 8, 12])
        x = helper.make_tensor_value_info("x", kind, ["N", *shape])
        y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
        held = [numpy_helper.from_array(v.astype(np.float32), name) for name, v in self.weights.items()]
        held += [numpy_helper.from_array(v, name) for name, v in self._held.items()]
        graph = helper.make_graph(self._nodes, "g", [x], [y], held)
        opsets = [helper.make_opsetid("", 23), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10)

    def _tokens(self) -> str:
        if self.ids:
            return self._op("Add", self._op("Gather", "table", "x"), "places")
        patches = self._op("Conv", "x", "patch", strides=[4, 4])
        rows = self._op("Transpose", self._reshape(patches, 0, WIDTH, -1), perm=[0, 2, 1])
        batch = self._op("Shape", rows, start=0, end=1)
        shape = self._op("Concat", batch, np.array([1, WIDTH]), axis=0)
        return self._op("Add", self._op("Concat", self._op("Expand", "class", shape), rows, axis=1), "places")

    def _attention(self, t: str, n: int) -> str:
        q, k, v = (self._op("MatMul", t, f"{name}{n}") for name in "qkv")
        shared = 1 if self.spelling == "shared heads" else HEADS
        if self.spelling in ("operator", "shared heads") and n < 2:
            return self._op("Attention", q, k, v, q_num_heads=HEADS, kv_num_heads=shared)
        if self.spelling == "onnxruntime" and n < 2:
            return self._op("MultiHeadAttention", q, k, v, domain="com.microsoft", num_heads=HEADS)
        q, k, v = (self._op("Transpose", self._reshape(a, 0, 0, -1, EACH), perm=[0, 2, 1, 3]) for a in (q, k, v))
        if n == 2:
            q = "query"
        scale = np.array(np.sqrt(EACH), np.float32)
        if self.spelling == "turned":
            # (A V)ᵀ = Vᵀ Aᵀ, the softmax along the axis of keys, which comes first
            scores = self._op("Div", self._op("MatMul", k, self._op("Transpose", q, perm=[0, 1, 3, 2])), scale)
            weights = self._op("Softmax", scores, axis=2)
            made = self._op("MatMul", self._op("Transpose", v, perm=[0, 1, 3, 2]), weights)
            return self._reshape(self._op("Transpose", made, perm=[0, 3, 1, 2]), 0, -1, HEADS * EACH)
        if self.spelling == "einsum" and n < 2:
            scores = self._op("Einsum", q, k, equation="bhqd,bhkd->bhqk")
        else:
            scores = self._op("MatMul", q, self._op("Transpose", k, perm=[0, 1, 3, 2]))
        scores = self._op("Div", scores, scale)
        if self.spelling == "masked" and n < 2:
            scores = self._op("Add", scores, np.where(np.tri(self.count), 0, -np.inf).astype(np.float32))
        if self.spelling == "formula":
            shifted = self._op("Sub", scores, self._op("ReduceMax", scores, np.array([-1]), keepdims=1))
            powers = self._op("Exp", shifted)
            weights = self._op("Div", powers, self._op("ReduceSum", powers, np.array([-1]), keepdims=1))
        else:
            weights = self._op("Softmax", scores, axis=-1)
        if self.spelling == "einsum" and n < 2:
            made = self._op("Einsum", weights, v, equation="bhqk,bhkd->bqhd")
        else:
            made = self._op("Transpose", self._op("MatMul", weights, v), perm=[0, 2, 1, 3])
        return self._reshape(made, 0, -1, HEADS * EACH)

    def _reshape(self, name: str, *shape: int) -> str:
        return self._op("Reshape", name, np.array(shape))

    def _op(self, op: str, *inputs: Any, domain: str = "", **attributes: Any) -> str:
        name = f"{op.lower()}{len(self._nodes)}"
        names = []
        for i, value in enumerate(inputs):
            if not isinstance(value, str):
                self._held[f"{name}c{i}"] = value
            names.append(value if isinstance(value, str) else f"{name}c{i}")
        self._nodes.append(helper.make_node(op, names, [name], name=name, domain=domain, **attributes))
        return name


def _heads(t: Array) -> Array:
    return np.asarray(t.reshape(len(t), t.shape[1], -1, EACH).transpose(0, 2, 1, 3))


def past_of(width: int) -> tuple[list[onnx.NodeProto], dict[str, Array]]:
    """Nodes and constants of keys "pk" and values "pv" of earlier steps [N, 2, 3, width], from "x" [N, 3, 8]."""
    nodes = [
        helper.make_node("MatMul", ["x", "past/w"], ["past/kv"]),
        helper.make_node("Split", ["past/kv", "past/half"], ["past/k", "past/v"], axis=2),
    ]
    for source, target in (("past/k", "pk"), ("past/v", "pv")):
        nodes += [
            helper.make_node("Reshape", [source, "past/heads"], [f"{source}/heads"]),
            helper.make_node("Transpose", [f"{source}/heads"], [target], perm=[0, 2, 1, 3]),
        ]
    weights = np.random.default_rng(5).normal(size=(8, 4 * width)).astype(np.float32)
    half = np.array([2 * width, 2 * width])
    return nodes, {"past/w": weights, "past/half": half, "past/heads": np.array([0, 0, 2, width])}
