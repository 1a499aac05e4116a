"""Where the batch lies in a tensor, and how the tensor is stored once the batch is axis 0."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..graph import Array
from ..rewriting.builder import Shape


@dataclass(frozen=True)
class BatchAxis:
    """The batch is a factor of `axis`, whose length is pre * batch * post.

    (0, 1, 1) is a batch of its own in front. timm's attention has it at axis 1 ([3, N, heads, …]), Swin's windows at
    (0, 1, windows), torch's MultiheadAttention at (1, 1, heads). Stored, such a tensor is [N, lead…, pre, post, tail…]
    with pre and post only where they are more than 1.
    """

    axis: int = 0
    pre: int = 1
    post: int = 1

    @property
    def factors(self) -> Shape:
        return tuple(f for f in (self.pre, self.post) if f > 1)

    def stored_shape(self, shape: Shape) -> Shape:
        """Per sample, no batch."""
        return (*shape[: self.axis], *self.factors, *shape[self.axis + 1 :])

    def stored_axes(self, axis: int) -> Shape:
        """Where an axis is stored; the batch's own axis is stored as its factors."""
        if axis < self.axis:
            return (axis + 1,)
        if axis == self.axis:
            return tuple(range(self.axis + 1, self.axis + 1 + len(self.factors)))
        return (axis + len(self.factors),)

    def stored_constant(self, value: Array, rank: int, batch: int) -> Array | None:
        """A constant operand as it meets the stored tensor by broadcasting; None where it differs between samples."""
        if value.ndim < rank - self.axis:
            return value  # does not reach the batch
        full = value.reshape((1,) * (rank - value.ndim) + value.shape)
        before, length, after = full.shape[: self.axis], full.shape[self.axis], full.shape[self.axis + 1 :]
        inner: Shape = tuple(1 for _ in self.factors)
        if length != 1 or self.pre * batch * self.post == 1:
            if length != self.pre * batch * self.post:
                return None
            full = np.moveaxis(full.reshape(*before, self.pre, batch, self.post, *after), self.axis + 1, 0)
            if full.strides[0] and not (full[1:] == full[:1]).all():
                return None
            full, inner = full[0], self.factors
        return np.ascontiguousarray(full.reshape(1, *before, *inner, *after))


def batch_axis_after_reshape(batch_axis: BatchAxis, source: Shape, target: Shape, batch: int) -> BatchAxis | None:
    """The batch keeps its stride through a Reshape; where it can be read as several axes, as the plainest."""
    if 0 in source or 0 in target:
        return None
    stride = batch_axis.post * math.prod(source[batch_axis.axis + 1 :])
    found: list[tuple[int, int, BatchAxis]] = []
    for axis, length in enumerate(target):
        after = math.prod(target[axis + 1 :])
        if length % batch or not after or stride % after:
            continue
        post = stride // after
        if (length // batch) % post == 0:
            pre = length // batch // post
            found.append((pre * post, axis, BatchAxis(axis, pre, post)))
    return min(found, key=lambda entry: entry[:2])[2] if found else None
