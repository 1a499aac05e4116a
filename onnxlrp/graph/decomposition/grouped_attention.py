"""GroupQueryAttention of onnxruntime becomes its rotation, its products and its Softmax (Ainslie et al. 2023)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .attention import behind_past, heads, serving, weighted
from .replacement import Decomposition, Replacement
from .rotary import at_positions, rotated


def _grouped(build: Replacement) -> None:
    """Causal attention of queries over keys and values of fewer heads, behind those of earlier steps."""
    build.only(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
    count, groups = (int(build.attribute(key, 0)) for key in ("num_heads", "kv_num_heads"))
    # softmax with a further share that no value gets, caches of integers, and a cache that forgets
    quantised = any(build.attribute(key, "NONE") not in ("", "NONE") for key in ("k_quant_type", "v_quant_type"))
    if int(build.attribute("smooth_softmax", 0)) > 0 or build.attribute("sliding_window_cache", 0) or quantised:
        raise build.refuse("a smooth softmax, or a cache that is quantised or drops its past")
    if build.output(3):
        raise build.refuse("the scores as an output")
    queries, keys, values = _operands(build, count, groups)
    length = build.shape(build.input(0))[1]
    width = build.shape(build.input(0))[2] // (count if build.input(1) else count + 2 * groups)
    total = build.graph.constant(build.input(6))
    past = build.shape(build.input(3))[2] if build.input(3) else 0
    if past and total is None:
        raise build.refuse("a total length that is computed at run time")
    if past and int(np.asarray(total).reshape(-1)[0]) == length:
        past = 0  # a buffer that nothing lies in yet
    filled = _filled(build, past, length)
    if build.attribute("do_rotary", 0):
        positions = build.input(9) or _positions(build, length, filled)
        cos, sin = (at_positions(build, build.input(i), positions) for i in (7, 8))
        interleaved = bool(build.attribute("rotary_interleaved", 0))
        queries, keys = (rotated(build, name, width, cos, sin, interleaved) for name in (queries, keys))
    presents = [build.output(1), build.output(2)]
    if isinstance(filled, str) or bool(build.input(3)) != bool(past):
        # Where the new ones come to lie in the buffer is not known here.
        build.graph.outputs = [name for name in build.graph.outputs if name not in presents]
        presents = ["", ""]
    pasts = [build.input(i) if past else "" for i in (3, 4)]
    keys, values = (behind_past(build, *parts) for parts in zip((keys, values), pasts, presents, strict=True))
    masks = [build.input(10), *_masks(build, length, past, filled)]
    scale = float(build.attribute("scale", 0.0)) or width**-0.5
    operands = serving(build, [queries, keys, values], groups, count)
    weighted(build, operands, scale, masks, True, float(build.attribute("softcap", 0.0)))


def _operands(build: Replacement, count: int, groups: int) -> list[str]:
    """Queries, keys and values [N, heads, L, D], of an operand each or of one that has them side by side."""
    operands = [build.input(i) for i in range(3)]
    if not operands[1]:
        width = build.shape(operands[0])[2] // (count + 2 * groups)
        sizes = build.store(np.array([count, groups, groups], np.int64) * width, "sizes")
        parts = tuple(f"{build.out}/{part}" for part in ("queries", "keys", "values"))
        build.compute("Split", operands[0], sizes, to=parts, axis=2)
        operands = list(parts)
    elif build.rank(operands[1]) != 3:
        raise build.refuse("keys in heads already")
    return [heads(build, name, n) for name, n in zip(operands, (count, groups, groups), strict=True)]


def _filled(build: Replacement, past: int, length: int) -> int | str:
    """How much of the buffer earlier steps fill: a number, or the tensor [N, 1] that has it for each sample."""
    if not past:
        return 0
    last = build.graph.constant(build.input(5))
    if last is None:
        kind = build.graph.dtypes.get(build.input(5), "int32")
        less = build.store(np.array(1 - length, kind), "less")
        column = build.store(np.array([-1, 1], np.int64), "column")
        filled = build.compute("Reshape", build.compute("Add", build.input(5), less), column)
        build.graph.dtypes[filled] = kind
        return filled
    ends = np.unique(last) + 1 - length
    if ends.size > 1 or not 0 <= ends[0] <= past:
        raise build.refuse("lengths that differ between samples, or exceed the past")
    return int(ends[0]) if ends[0] == past else build.store(np.array([[ends[0]]], np.int64), "filled")


def _positions(build: Replacement, length: int, filled: int | str) -> str:
    counted = np.arange(length)[None]
    if isinstance(filled, int):
        return build.store(counted + filled, "positions")
    kind = build.graph.dtypes.get(filled, "int64")
    return build.compute("Add", build.store(counted.astype(kind), "counted"), filled)


def _masks(build: Replacement, length: int, past: int, filled: int | str) -> list[str]:
    """What hides later keys, those beyond a window, and places of the buffer that nothing lies in."""
    masks = []
    window = int(build.attribute("local_window_size", -1))
    seen = np.ones((length, past + length), bool)
    if build.attribute("causal", 1):
        seen = np.tril(seen, k=past)
    if window > 0:
        if isinstance(filled, str):
            raise build.refuse("a window over a buffer that is filled in part")
        seen &= ~np.tril(np.ones_like(seen), k=past - window)
    if not seen.all():
        masks.append(build.store(seen, "causal"))
    if isinstance(filled, str):
        kind = build.graph.dtypes.get(filled, "int64")
        places = np.concatenate([np.arange(past), np.full(length, -1)]).astype(kind)
        ends = build.compute("Reshape", filled, build.store(np.array([-1, 1, 1, 1], np.int64), "ends"))
        inside = build.compute("Less", build.store(places.reshape(1, 1, 1, -1), "places"), ends)
        build.graph.dtypes[inside] = "bool"
        masks.append(inside)
    return masks


GROUPED: Mapping[str, Decomposition] = {"com.microsoft::GroupQueryAttention": _grouped}
