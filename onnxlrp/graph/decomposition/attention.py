"""Attention as one operator, of opset 23 or onnxruntime's, becomes its products and its Softmax (Vaswani 2017)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .replacement import Decomposition, Replacement

# Added to a masked score: its exponential is 0 in float32, and it stays finite.
_MASKED = -1e30


def _attention(build: Replacement) -> None:
    """softmax(scale·Q·Kᵀ + mask)·V for each head; operands are [N, heads, L, D] or [N, L, heads·D]."""
    build.only(0, 1, 2, 3, 4, 5)
    if build.output(3):
        raise build.refuse("the scores as an output")
    heads_joined = build.rank(build.input(0)) == 3
    count = int(build.attribute("q_num_heads", 0))
    groups = int(build.attribute("kv_num_heads", 0)) or count
    operands = [build.input(i) for i in range(3)]
    if heads_joined:
        operands = [heads(build, name, n) for name, n in zip(operands, (count, groups, groups), strict=True)]
    else:
        count, groups = (build.shape(build.input(i))[1] for i in (0, 1))
    rows, columns = (build.shape(build.input(i))[-2] for i in (0, 1))
    past = build.shape(build.input(4))[2] if build.input(4) else 0
    operands[1:] = [
        behind_past(build, name, build.input(3 + i), build.output(i)) for i, name in enumerate(operands[1:], 1)
    ]
    masks = [build.input(3)]
    if build.attribute("is_causal", 0):
        masks.append(build.store(np.tril(np.ones((rows, past + columns), bool), k=past), "causal"))
    width = build.shape(build.input(0))[-1] // (count if heads_joined else 1)
    scale = build.attribute("scale", width**-0.5)
    weighted(
        build, serving(build, operands, groups, count), scale, masks, heads_joined, build.attribute("softcap", 0.0)
    )


def behind_past(build: Replacement, name: str, past: str, present: str) -> str:
    """Return keys or values [N, heads, L, D] behind those of earlier steps, and write them where they are an output.

    Args:
        build: The layers.
        name: The keys or values.
        past: Those of earlier steps, "" where there are none.
        present: The output that has both, "" where there is none.
    """
    to = (present,) if present else ()
    if past:
        return build.compute("Concat", past, name, to=to, axis=2)
    return build.compute("Identity", name, to=to) if present else name


def serving(build: Replacement, operands: list[str], groups: int, count: int) -> list[str]:
    """Return queries, keys and values with as many heads each: a head of the keys serves several of the queries."""
    if groups == count:
        return operands
    served = build.store(np.repeat(np.arange(groups), count // groups), "served")
    return [operands[0], *(build.compute("Gather", name, served, axis=1) for name in operands[1:])]


def _multi_head_attention(build: Replacement) -> None:
    """MultiHeadAttention of onnxruntime: queries, keys, values [N, L, heads·D], a bias for them, one for scores."""
    build.only(0, 1, 2, 3, 5)
    if not build.input(1) or not build.input(2) or any(build.rank(build.input(i)) != 3 for i in range(3)):
        raise build.refuse("queries, keys and values in one operand, or in heads already")
    operands = [build.input(i) for i in range(3)]
    widths = [build.shape(name)[-1] for name in operands]
    if build.input(3):
        bias = build.graph.constant(build.input(3))
        if bias is None:
            raise build.refuse("a bias that is computed at run time")
        ends = np.cumsum(widths)[:-1]
        shifts = (build.store(part, "bias") for part in np.split(bias.reshape(-1), ends))
        operands = [build.compute("Add", name, shift) for name, shift in zip(operands, shifts, strict=True)]
    _without_causal_mask(build, operands, widths[0], build.input(5))


def _projected_attention(build: Replacement) -> None:
    """Attention of onnxruntime: x·W + b gives queries, keys and values, one behind the other."""
    build.only(0, 1, 2, 5)
    weight, bias = (build.graph.constant(build.input(i)) for i in (1, 2))
    if weight is None or (bias is None and build.input(2)) or build.attribute("do_rotary", 0):
        raise build.refuse("weights that are computed at run time, or rotary embeddings")
    widths = build.attribute("qkv_hidden_sizes", ()) or (weight.shape[1] // 3,) * 3
    ends = np.cumsum(widths)[:-1]
    operands = []
    for i, part in enumerate(np.split(weight, ends, axis=1)):
        # The first product keeps the layer's name: rules are given to it.
        y = build.compute("MatMul", build.input(0), build.store(np.ascontiguousarray(part), "weight"), main=i == 0)
        if bias is not None:
            y = build.compute("Add", y, build.store(np.split(bias.reshape(-1), ends)[i], "bias"))
        operands.append(y)
    _without_causal_mask(build, operands, int(widths[0]), build.input(5))


def _without_causal_mask(build: Replacement, operands: list[str], width: int, mask: str) -> None:
    if build.attribute("unidirectional", 0) or any(build.output(i) for i in (1, 2, 3)):
        raise build.refuse("a mask over what comes later, or outputs besides the result")
    count = int(build.attribute("num_heads", 0))
    scale = float(build.attribute("scale", 0.0)) or (width // count) ** -0.5
    weighted(build, [heads(build, name, count) for name in operands], scale, [mask], True)


def heads(build: Replacement, name: str, count: int) -> str:
    """[N, L, heads·D] → [N, heads, L, D]."""
    split = build.compute("Reshape", name, build.store(np.array([0, 0, count, -1], np.int64), "heads"))
    return build.compute("Transpose", split, perm=(0, 2, 1, 3))


def weighted(
    build: Replacement,
    operands: list[str],
    scale: float,
    masks: Sequence[str],
    heads_joined: bool,
    softcap: float = 0.0,
) -> None:
    """softmax(scale·Q·Kᵀ + masks)·V, its heads side by side again where the operands had them so.

    With a soft cap c the scores are c·tanh(scores / c) before the masks. A query whose keys are all hidden by a mask of
    truths that is found at run time gets zeros, as in the operator.
    """
    queries, keys, values = operands
    scores = build.compute("MatMul", queries, build.compute("Transpose", keys, perm=(0, 1, 3, 2)))
    scores = build.compute("Mul", scores, build.store(float(scale), "scale"))
    if softcap:
        cap = build.store(float(softcap), "softcap")
        scores = build.compute("Mul", build.compute("Tanh", build.compute("Div", scores, cap)), cap)
    chosen = []
    for mask in filter(None, masks):
        given = build.graph.constant(mask)
        if given is None and build.graph.dtypes.get(mask) == "bool":
            scores = build.compute("Where", mask, scores, build.store(_MASKED, "never"))
            chosen.append(mask)
            continue
        if given is not None:
            added = np.where(given, 0, _MASKED) if given.dtype == bool else np.maximum(given, _MASKED)
            mask = build.store(added.astype(np.float32), "mask")
        scores = build.compute("Add", scores, mask)
    weights = build.compute("Softmax", scores, axis=-1)
    for mask in chosen:
        weights = build.compute("Where", mask, weights, build.store(0.0, "hidden"))
    result = build.compute("MatMul", weights, values)
    if heads_joined:
        result = build.compute("Transpose", result, perm=(0, 2, 1, 3))
        build.compute("Reshape", result, build.store(np.array([0, 0, -1], np.int64), "joined"))
    build.finish()


ATTENTION: Mapping[str, Decomposition] = {
    "Attention": _attention,
    "com.microsoft::MultiHeadAttention": _multi_head_attention,
    "com.microsoft::Attention": _projected_attention,
}
