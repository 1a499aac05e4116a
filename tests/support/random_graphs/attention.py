"""Attention as torch, keras and transformers write it, with and without a mask, and as the operator of opset 23."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .graph import Graph


def attention(g: Graph) -> None:
    """softmax(Q Kᵀ / √d + mask) V in heads, projected, with or without the residual."""
    size = math.prod(g.shape)
    length = g.shape[0] if len(g.shape) == 2 else int(g.pick([n for n in range(1, 9) if size % n == 0]))
    if size // length > 48 or length > 12:
        return
    if g.shape != (length, size // length):
        g.reshape(length, size // length)
    before, width = g.last, g.shape[1]
    heads, each = g.number(1, 2), g.number(2, 3)
    if g.opset >= 23 and g.chance(0.6):
        _one_operator(g, heads, each)
    else:
        _written_out(g, heads, each)
    if g.chance(0.6):
        g.op("MatMul", g.last, g.random(heads * each, width), shape=(length, width))
        g.op("Add", *(before, g.last)[:: g.pick([1, -1])])


def _projections(g: Graph, wide: int) -> list[str]:
    """Queries, keys and values: three products, or one that is split."""
    x, width = g.last, g.shape[1]
    if g.chance(0.4):
        joined = g.put("Add", g.put("MatMul", x, g.random(width, 3 * wide)), g.random(3 * wide))
        if g.opset >= 13:
            return list(g.put("Split", joined, g.whole(wide, wide, wide), outputs=3, axis=2))
        return list(g.put("Split", joined, outputs=3, axis=2, split=[wide] * 3))
    made = []
    for _ in range(3):
        one = g.put("MatMul", x, g.random(width, wide))
        made.append(g.put("Add", one, g.random(wide)) if g.chance(0.5) else one)
    return made


def _one_operator(g: Graph, heads: int, each: int) -> None:
    length = g.shape[0]
    operands = _projections(g, heads * each)
    mask: list[str] = []
    causal = g.number(0, 1)
    if g.chance(0.4):
        allowed = np.tril(np.ones((length, length), bool))
        values: Any = allowed if g.chance(0.5) else np.where(allowed, 0, -1e4).astype(np.float32)
        mask = [g.weight(values, values.dtype)]
    more: dict[str, Any] = {"scale": 0.5} if g.chance(0.3) else {}
    if g.chance(0.5):
        g.op("Attention", *operands, *mask, shape=(length, heads * each), is_causal=causal, q_num_heads=heads,
             kv_num_heads=heads, **more)  # fmt: skip
        return
    shape = (length, heads, each)
    split = []
    for name in operands:
        g.shape = (length, heads * each)
        g.reshape(*shape, last=name)
        split.append(g.transpose(1, 0, 2))
    g.op("Attention", *split, *mask, shape=(heads, length, each), is_causal=causal, **more)
    g.transpose(1, 0, 2)
    g.reshape(length, heads * each)


def _written_out(g: Graph, heads: int, each: int) -> None:
    length = g.shape[0]
    operands = _projections(g, heads * each)
    rank = 3 if heads == 1 and g.chance(0.5) else 4
    if rank == 3:
        q, k, v = operands
        k = g.put("Transpose", k, perm=[0, 2, 1])
    else:
        made: list[str] = []
        for order in ((1, 0, 2), (1, 2, 0), (1, 0, 2)):
            g.shape = (length, heads * each)
            g.reshape(length, heads, each, last=operands[len(made)])
            made.append(g.transpose(*order))
        q, k, v = made
    scale = g.weight(math.sqrt(each))
    if g.chance(0.3):
        q = g.put("Div", q, scale)
        scores = g.put("MatMul", q, k)
    else:
        scores = g.put("Div", g.put("MatMul", q, k), scale)
    scores = _masked(g, scores, length, rank)
    weights = _softmax(g, scores, rank)
    if rank == 3:
        g.op("MatMul", weights, v, shape=(length, each))
        return
    g.op("MatMul", weights, v, shape=(heads, length, each))
    g.transpose(1, 0, 2)
    g.reshape(length, heads * each)


def _masked(g: Graph, scores: str, length: int, rank: int) -> str:
    """A mask below the diagonal, or one that is given with each sample and spares the first key."""
    how = g.number(0, 4)
    shape = (1,) * (rank - 2) + (length, length)
    allowed = np.tril(np.ones((length, length), bool)).reshape(shape)
    if how == 0:
        low = g.pick([-np.inf, -1e4, float(np.finfo(np.float32).min)])
        return str(g.put("Add", scores, g.weight(np.where(allowed, 0, low))))
    if how == 1:
        low = g.weight(g.pick([-np.inf, -1e9]))
        if g.chance(0.5):
            return str(g.put("Where", g.weight(allowed, bool), scores, low))
        return str(g.put("Where", g.weight(~allowed, bool), low, scores))
    if how == 2 and len(g.given) < 2:
        name = g.another_input((length,), np.int64)
        g.given[name][:, 0] = 1
        axes = list(range(1, rank - 1))
        kept = g.put("Unsqueeze", name, *g.axes_input(axes, 13), **g.axes_attribute(axes, 13))
        if g.chance(0.5):
            kept = g.put("Cast", kept, to=1)
            return str(g.put("Add", scores, g.put("Mul", g.put("Sub", g.weight(1.0), kept), g.weight(-1e4))))
        return str(g.put("Where", g.put("Cast", kept, to=9), scores, g.weight(-1e9)))
    return scores


def _softmax(g: Graph, scores: str, rank: int) -> str:
    if g.chance(0.75):
        return str(g.put("Softmax", scores, axis=rank - 1 if g.opset < 13 else g.pick([-1, rank - 1])))
    axes = [rank - 1]
    top = g.put("ReduceMax", scores, *g.axes_input(axes, 18), **g.axes_attribute(axes, 18), keepdims=1)
    e = g.put("Exp", g.put("Sub", scores, top))
    return str(
        g.put("Div", e, g.put("ReduceSum", e, *g.axes_input(axes, 13), **g.axes_attribute(axes, 13), keepdims=1))
    )


LAYERS = (attention,)
