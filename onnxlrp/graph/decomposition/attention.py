"""Attention as one operator, of opset 23 or onnxruntime's, becomes its products and its Softmax (Vaswani 2017)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .replacement import Replacement

# What a masked score gets: exp of it is 0 in float32, and it stays finite.
_NEVER = -1e30


def _attention(parts: Replacement) -> None:
    """softmax(scale·Q·Kᵀ + mask)·V for each head; operands are [N, heads, L, D] or [N, L, heads·D]."""
    parts.only(0, 1, 2, 3)
    if float(parts.attribute("softcap", 0.0)) or any(parts.output(i) for i in (1, 2, 3)):
        raise parts.refuse("a soft cap, or outputs besides the result")
    whole = parts.rank(parts.input(0)) == 3
    count = int(parts.attribute("q_num_heads", 0))
    groups = int(parts.attribute("kv_num_heads", 0)) or count
    operands = [parts.input(i) for i in range(3)]
    if whole:
        operands = [_heads(parts, name, n) for name, n in zip(operands, (count, groups, groups), strict=True)]
    else:
        count, groups = (parts.shape(parts.input(i))[1] for i in (0, 1))
    if groups != count:
        # Each head of the keys serves several of the queries.
        served = parts.store(np.repeat(np.arange(groups), count // groups), "served")
        operands[1:] = [parts.compute("Gather", name, served, axis=1) for name in operands[1:]]
    masks = [parts.input(3)]
    if parts.attribute("is_causal", 0):
        rows, columns = (parts.shape(parts.input(i))[-2] for i in (0, 1))
        masks.append(parts.store(np.tril(np.ones((rows, columns), bool)), "causal"))
    width = parts.shape(parts.input(0))[-1] // (count if whole else 1)
    _weighted(parts, operands, parts.attribute("scale", width**-0.5), masks, whole)


def _multi_head_attention(parts: Replacement) -> None:
    """onnxruntime's: queries, keys and values [N, L, heads·D] with a bias over all three, and a bias of the scores."""
    parts.only(0, 1, 2, 3, 5)
    if not parts.input(1) or not parts.input(2) or any(parts.rank(parts.input(i)) != 3 for i in range(3)):
        raise parts.refuse("queries, keys and values in one operand, or in heads already")
    operands = [parts.input(i) for i in range(3)]
    widths = [parts.shape(name)[-1] for name in operands]
    if parts.input(3):
        bias = parts.graph.constant(parts.input(3))
        if bias is None:
            raise parts.refuse("a bias that is computed at run time")
        ends = np.cumsum(widths)[:-1]
        shifts = (parts.store(part, "bias") for part in np.split(bias.reshape(-1), ends))
        operands = [parts.compute("Add", name, shift) for name, shift in zip(operands, shifts, strict=True)]
    _of_onnxruntime(parts, operands, widths[0], parts.input(5))


def _projected_attention(parts: Replacement) -> None:
    """onnxruntime's Attention: x·W + b gives queries, keys and values, one behind the other."""
    parts.only(0, 1, 2, 5)
    weight, bias = (parts.graph.constant(parts.input(i)) for i in (1, 2))
    if weight is None or (bias is None and parts.input(2)) or parts.attribute("do_rotary", 0):
        raise parts.refuse("weights that are computed at run time, or rotary embeddings")
    widths = parts.attribute("qkv_hidden_sizes", ()) or (weight.shape[1] // 3,) * 3
    ends = np.cumsum(widths)[:-1]
    operands = []
    for i, part in enumerate(np.split(weight, ends, axis=1)):
        # The first product keeps the layer's name: rules are given to it.
        y = parts.compute("MatMul", parts.input(0), parts.store(np.ascontiguousarray(part), "weight"), main=i == 0)
        if bias is not None:
            y = parts.compute("Add", y, parts.store(np.split(bias.reshape(-1), ends)[i], "bias"))
        operands.append(y)
    _of_onnxruntime(parts, operands, int(widths[0]), parts.input(5))


def _of_onnxruntime(parts: Replacement, operands: list[str], width: int, mask: str) -> None:
    if parts.attribute("unidirectional", 0) or any(parts.output(i) for i in (1, 2, 3)):
        raise parts.refuse("a mask over what comes later, or outputs besides the result")
    count = int(parts.attribute("num_heads", 0))
    scale = float(parts.attribute("scale", 0.0)) or (width // count) ** -0.5
    _weighted(parts, [_heads(parts, name, count) for name in operands], scale, [mask], True)


def _heads(parts: Replacement, name: str, count: int) -> str:
    """[N, L, heads·D] → [N, heads, L, D]."""
    split = parts.compute("Reshape", name, parts.store(np.array([0, 0, count, -1], np.int64), "heads"))
    return parts.compute("Transpose", split, perm=(0, 2, 1, 3))


def _weighted(parts: Replacement, operands: list[str], scale: float, masks: list[str], whole: bool) -> None:
    """softmax(scale·Q·Kᵀ + masks)·V, its heads side by side again where the operands had them so (`whole`)."""
    queries, keys, values = operands
    scores = parts.compute("MatMul", queries, parts.compute("Transpose", keys, perm=(0, 1, 3, 2)))
    scores = parts.compute("Mul", scores, parts.store(float(scale), "scale"))
    for mask in filter(None, masks):
        given = parts.graph.constant(mask)
        if given is None and parts.graph.dtypes.get(mask) == "bool":
            scores = parts.compute("Where", mask, scores, parts.store(_NEVER, "never"))
            continue
        if given is not None:
            numbers = np.where(given, 0, _NEVER) if given.dtype == bool else np.maximum(given, _NEVER)
            mask = parts.store(numbers.astype(np.float32), "mask")
        scores = parts.compute("Add", scores, mask)
    result = parts.compute("MatMul", parts.compute("Softmax", scores, axis=-1), values)
    if whole:
        result = parts.compute("Transpose", result, perm=(0, 2, 1, 3))
        parts.compute("Reshape", result, parts.store(np.array([0, 0, -1], np.int64), "joined"))
    parts.finish()


ATTENTION: dict[str, Callable[[Replacement], None]] = {
    "Attention": _attention,
    "com.microsoft::MultiHeadAttention": _multi_head_attention,
    "com.microsoft::Attention": _projected_attention,
}
