"""The axis of the batch in a tensor, and the form in which the tensor is stored once the batch is axis 0."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..graph import Array
from ..rewriting.builder import Shape


@dataclass(frozen=True)
class BatchAxis:
    """The batch is a factor of `axis`, whose length is pre * batch * post.

    (0, 1, 1) is an axis 0 of the batch alone. timm's attention has it at axis 1 ([3, N, heads, …]), Swin's windows at
    (0, 1, windows), torch's MultiheadAttention at (1, 1, heads). Stored, such a tensor is [N, lead…, pre, post, tail…]
    with pre and post only where they are more than 1.

    Attributes:
        axis: The axis of the tensor that the batch is a factor of.
        pre: Length of the factor outside the batch on that axis.
        post: Length of the factor inside the batch on that axis.
    """

    axis: int = 0
    pre: int = 1
    post: int = 1

    @property
    def factors(self) -> Shape:
        """The factors beside the batch that are stored as axes."""
        return tuple(f for f in (self.pre, self.post) if f > 1)

    def stored_shape(self, shape: Shape) -> Shape:
        """Return the shape of a sample of the stored tensor, for a tensor of this shape."""
        return (*shape[: self.axis], *self.factors, *shape[self.axis + 1 :])

    def stored_axes(self, axis: int) -> Shape:
        """Return the axes that an axis becomes; the one with the batch becomes its other factors."""
        if axis < self.axis:
            return (axis + 1,)
        if axis == self.axis:
            return tuple(range(self.axis + 1, self.axis + 1 + len(self.factors)))
        return (axis + len(self.factors),)

    def stored_constant(self, value: Array, rank: int, batch: int) -> Array | None:
        """Rearrange a constant operand so that it broadcasts with the stored tensor.

        Args:
            value: The constant.
            rank: Number of axes of the tensor that it broadcasts with.
            batch: Size of the batch in that tensor.

        Returns:
            The constant, or None where it differs between samples.
        """
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
    """Return the axis of the batch behind a Reshape, by its stride, which a Reshape keeps.

    Args:
        batch_axis: The axis of the batch before it.
        source: Shape before it.
        target: Shape behind it.
        batch: Size of the batch.

    Returns:
        The axis whose other factors are the smallest where several fit; None where none does.
    """
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
