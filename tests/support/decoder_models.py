"""A decoder that takes a past, as exporters of language models write it, and the same in numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from .arrays import Array
from .numpy_nets import softmax

WIDTH, HEADS, EACH, ROWS, PLACES = 6, 2, 3, 9, 16
PAST = "past_key_values.0.key", "past_key_values.0.value"


class Decoder:
    """Logits [T, words] of one causal layer: ids, a mask over past and ids, positions, keys and values of a past.

    Args:
        names: The file's names of the lengths of ids, past and mask.
    """

    def __init__(self, names: tuple[str, str, str] = ("length", "past", "past + length")) -> None:
        rng = np.random.default_rng(3)
        shapes = {"table": (ROWS, WIDTH), "places": (PLACES, WIDTH), "head": (WIDTH, ROWS)}
        shapes |= dict.fromkeys(("q", "k", "v"), (WIDTH, HEADS * EACH)) | {"o": (HEADS * EACH, WIDTH)}
        self.weights = {name: rng.normal(size=s).astype(np.float32).astype(float) for name, s in shapes.items()}
        self.names = names

    def embedded(self, ids: Array) -> Array:
        """Embeddings [N, T, width] of ids, which relevance is of."""
        return np.asarray(self.weights["table"][ids])

    def heads(self, h: Array, which: str) -> Array:
        """Queries, keys or values [N, heads, T, each]."""
        return np.asarray((h @ self.weights[which]).reshape(*h.shape[:2], HEADS, EACH).transpose(0, 2, 1, 3))

    def behind(self, ids: Array, start: int = 0) -> dict[str, Array]:
        """The past that ids from a position on leave behind."""
        h = self.embedded(ids) + self.weights["places"][start + np.arange(ids.shape[1])]
        return {name: self.heads(h, which).astype(np.float32) for name, which in zip(PAST, "kv", strict=True)}

    def logits(self, x: Array, past: dict[str, Array] | None = None) -> Array:
        """Logits [N, T, words] of embeddings [N, T, width] behind a past, all of it seen."""
        before = past[PAST[0]].shape[2] if past else 0
        h = x + self.weights["places"][before + np.arange(x.shape[1])]
        q, k, v = (self.heads(h, which) for which in "qkv")
        if past:
            k, v = np.concatenate([past[PAST[0]], k], 2), np.concatenate([past[PAST[1]], v], 2)
        scores = q @ k.transpose(0, 1, 3, 2)
        seen = np.arange(k.shape[2]) <= before + np.arange(x.shape[1])[:, None]
        mixed = softmax(np.where(seen, scores, -1e9)) @ v
        h = h + mixed.transpose(0, 2, 1, 3).reshape(h.shape) @ self.weights["o"]
        return np.asarray(h @ self.weights["head"])

    @property
    def file(self) -> bytes:
        """The model as ONNX."""
        length, past, total = self.names
        made: list[onnx.NodeProto] = []
        constants: dict[str, Array] = {n: w.astype(np.float32) for n, w in self.weights.items()}

        def add(op: str, inputs: str, output: str, **attributes: Any) -> None:
            made.append(helper.make_node(op, inputs.split(), [output], name=f"{op}_{output}", **attributes))

        numbers: dict[str, Any] = {"zero": 0, "one": 1, "rows": [1], "pair": [1, 2]}
        numbers |= {"split": [0, 0, HEADS, EACH], "join": [0, 0, HEADS * EACH]}
        constants |= {name: np.array(value, np.int64) for name, value in numbers.items()}
        constants["low"] = np.array(-1e9, np.float32)
        add("Gather", "table input_ids", "words")
        add("Gather", "places position_ids", "where")
        add("Add", "words where", "h")
        for which in "qkv":
            add("MatMul", f"h {which}", f"{which}_flat")
            add("Reshape", f"{which}_flat split", f"{which}_split")
            add("Transpose", f"{which}_split", f"{which}_heads", perm=[0, 2, 1, 3])
        add("Concat", f"{PAST[0]} k_heads", "present.0.key", axis=2)
        add("Concat", f"{PAST[1]} v_heads", "present.0.value", axis=2)
        add("Transpose", "present.0.key", "turned", perm=[0, 1, 3, 2])
        add("MatMul", "q_heads turned", "scores")
        for name, tensor in (("short", "input_ids"), ("long", "attention_mask")):
            add("Shape", tensor, f"{name}_shape")
            add("Gather", f"{name}_shape one", name, axis=0)
        add("Sub", "long short", "before")
        add("Range", "before long one", "own")
        add("Range", "zero long one", "others")
        add("Unsqueeze", "own rows", "own_column")
        add("LessOrEqual", "others own_column", "causal")
        add("Cast", "attention_mask", "mask_bool", to=TensorProto.BOOL)
        add("Unsqueeze", "mask_bool pair", "mask_wide")
        add("And", "causal mask_wide", "seen")
        add("Where", "seen scores low", "masked")
        add("Softmax", "masked", "weights", axis=-1)
        add("MatMul", "weights present.0.value", "mixed")
        add("Transpose", "mixed", "mixed_turned", perm=[0, 2, 1, 3])
        add("Reshape", "mixed_turned join", "mixed_flat")
        add("MatMul", "mixed_flat o", "out")
        add("Add", "h out", "last")
        add("MatMul", "last head", "logits")
        value, whole, real = helper.make_tensor_value_info, TensorProto.INT64, TensorProto.FLOAT
        inputs = [
            value("input_ids", whole, ["N", length]),
            value("attention_mask", whole, ["N", total]),
            value("position_ids", whole, ["N", length]),
            *(value(name, real, ["N", HEADS, past, EACH]) for name in PAST),
        ]
        outputs = [value("logits", real, ["N", length, ROWS])]
        outputs += [value(n.replace("past_key_values", "present"), real, ["N", HEADS, "t", EACH]) for n in PAST]
        stored = [numpy_helper.from_array(v, n) for n, v in constants.items()]
        made_graph = helper.make_graph(made, "decoder", inputs, outputs, stored)
        made_model = helper.make_model(made_graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
        return bytes(made_model.SerializeToString())

    @property
    def merged(self) -> bytes:
        """Two models in one file, as optimum writes it: an If on `use_cache_branch`, without and with a past.

        Large weights are those of both branches; the small constants of each lie in it.
        """
        behind, alone = onnx.load_from_string(self.file), onnx.load_from_string(self.file)
        for node in alone.graph.node:
            if node.op_type == "Concat":
                node.CopyFrom(helper.make_node("Identity", [node.input[1]], list(node.output), name=node.name))
        small = [t for t in behind.graph.initializer if not t.dims or (len(t.dims) == 1 and t.data_type in (6, 7))]
        branches = {
            f"{name}_branch": helper.make_graph(model.graph.node, name, [], model.graph.output, small)
            for name, model in (("then", behind), ("else", alone))
        }
        choice = helper.make_tensor_value_info("use_cache_branch", TensorProto.BOOL, [1])
        names = [output.name for output in alone.graph.output]
        node = helper.make_node("If", [choice.name], names, name="optimum::if", **branches)
        large = [tensor for tensor in behind.graph.initializer if tensor not in small]
        inputs = [*behind.graph.input, choice]
        graph = helper.make_graph([node], "merged", inputs, alone.graph.output, large)
        made = helper.make_model(graph, opset_imports=behind.opset_import, ir_version=9)
        return bytes(made.SerializeToString())
