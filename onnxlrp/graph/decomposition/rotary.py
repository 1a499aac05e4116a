"""Rotary position embeddings as one operator become slices, products with cosines and sines, and a concatenation."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .attention import heads
from .replacement import Decomposition, Replacement


def _standard(build: Replacement) -> None:
    """RotaryEmbedding of opset 23: caches [places, D/2] with positions, or [N, L, D/2] without."""
    cos, sin, positions = (build.input(i) for i in (1, 2, 3))
    if positions:
        cos, sin = (at_positions(build, cache, positions) for cache in (cos, sin))
    else:
        cos, sin = (_over_heads(build, cache) for cache in (cos, sin))
    _rotary(build, cos, sin, 1.0)


def _of_onnxruntime(build: Replacement) -> None:
    """RotaryEmbedding of onnxruntime: positions [N, L], or the first one [1]."""
    if build.attribute("is_packed_batching", 0):
        raise build.refuse("samples of several lengths in one row")
    positions = build.input(1)
    if build.rank(positions) == 1:
        x = build.shape(build.input(0))
        counted = build.store(np.arange(x[1] if len(x) == 3 else x[2])[None], "counted")
        positions = _sum(build, counted, positions)
    cos, sin = (at_positions(build, build.input(i), positions) for i in (2, 3))
    _rotary(build, cos, sin, float(build.attribute("scale", 1.0)))


def _rotary(build: Replacement, cos: str, sin: str, scale: float) -> None:
    x = build.input(0)
    heads_joined = build.rank(x) == 3
    if heads_joined:
        count = int(build.attribute("num_heads", 0))
        if not count:
            raise build.refuse("heads side by side, and no number of them")
        x = heads(build, x, count)
    y = rotated(build, x, build.shape(build.input(0))[-1] // (count if heads_joined else 1), cos, sin)
    if scale != 1:
        y = build.compute("Mul", y, build.store(scale, "scale"))
    if heads_joined:
        y = build.compute("Transpose", y, perm=(0, 2, 1, 3))
        build.compute("Reshape", y, build.store(np.array([0, 0, -1], np.int64), "joined"))
    build.finish()


def at_positions(build: Replacement, cache: str, positions: str) -> str:
    """Return rows [N or 1, 1, L, D/2] of a table of cosines or sines at positions [N or 1, L]."""
    table, at = build.graph.constant(cache), build.graph.constant(positions)
    if table is not None and at is not None:
        return build.store(table[at][:, None], "rotation")
    return _over_heads(build, build.compute("Gather", cache, positions, axis=0))


def _over_heads(build: Replacement, rotation: str) -> str:
    value = build.graph.constant(rotation)
    if value is not None:
        return build.store(value[:, None], "rotation")
    return build.compute("Unsqueeze", rotation, build.store(np.array([1], np.int64), "heads"))


def _sum(build: Replacement, one: str, other: str) -> str:
    a, b = build.graph.constant(one), build.graph.constant(other)
    assert a is not None
    if b is not None:
        return build.store(a + b, "positions")
    kind = build.graph.dtypes.get(other, "int64")
    return build.compute("Add", build.store(a.astype(kind), "counted"), other)


def rotated(build: Replacement, x: str, width: int, cos: str, sin: str, interleaved: bool | None = None) -> str:
    """Return x [N, heads, L, D] with the pairs (a, b) of its first values as (a cos − b sin, b cos + a sin).

    Args:
        build: The layers.
        x: Queries or keys.
        width: D.
        cos: Cosines [N or 1, 1, L, pairs].
        sin: Sines, in the same shape.
        interleaved: The pairs are neighbours; else the first half is paired with the second. By default as the
            attribute says.

    References:
        Su et al., RoFormer: Enhanced transformer with rotary position embedding, 2021.
    """
    if interleaved is None:
        interleaved = bool(build.attribute("interleaved", 0))
    pairs = int(build.attribute("rotary_embedding_dim", 0)) // 2 or width // 2

    def cut(start: int, end: int, step: int = 1) -> str:
        bounds = (build.store(np.array([n], np.int64), "bounds") for n in (start, end, 3, step))
        return build.compute("Slice", x, *bounds)

    one, other = (cut(i, 2 * pairs, 2) for i in (0, 1)) if interleaved else (cut(0, pairs), cut(pairs, 2 * pairs))
    turned = [
        build.compute("Sub", build.compute("Mul", one, cos), build.compute("Mul", other, sin)),
        build.compute("Add", build.compute("Mul", other, cos), build.compute("Mul", one, sin)),
    ]
    if interleaved:
        last = build.store(np.array([4], np.int64), "last")
        beside = build.compute("Concat", *(build.compute("Unsqueeze", part, last) for part in turned), axis=4)
        turned = [build.compute("Reshape", beside, build.store(np.array([0, 0, 0, -1], np.int64), "pairs"))]
    rest = [cut(2 * pairs, width)] if 2 * pairs < width else []
    parts = [*turned, *rest]
    return build.compute("Concat", *parts, axis=3) if len(parts) > 1 else parts[0]


ROTARY: Mapping[str, Decomposition] = {
    "RotaryEmbedding": _standard,
    "com.microsoft::RotaryEmbedding": _of_onnxruntime,
}
