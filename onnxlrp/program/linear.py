"""Linear maps: frozen geometry alone. What they compute is in interpret.py and in each engine's table."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass

Shape = tuple[int, ...]


@dataclass(frozen=True)
class LinearMap:
    """A linear map between per-sample arrays; subclasses add the geometry.

    `source` and `target` are the shapes of its operand and of its result, without batch axis.
    """

    source: Shape
    target: Shape

    @property
    def name(self) -> str:
        """The row of an engine's table."""
        return type(self).__name__

    @property
    def routes(self) -> bool:
        """Whether every output is a copy of one input, so that zeros stay zeros both ways."""
        return False


@dataclass(frozen=True)
class Window:
    """A sliding window: kernel, strides, dilations and the padding before, one entry for each spatial axis.

    The padding after is what the output size asks for; `explicit` is the padding the model declares there,
    which only the divisor of an average that counts padding needs.
    """

    kernel: Shape
    strides: Shape
    dilations: Shape
    before: Shape
    explicit: Shape
    source: Shape
    target: Shape

    @property
    def after(self) -> Shape:
        """Padding after each axis so that every window fits; negative where the input's tail is unused."""
        reach = [
            (t - 1) * s + d * (k - 1) + 1 - n - b
            for t, s, d, k, n, b in zip(
                self.target, self.strides, self.dilations, self.kernel, self.source, self.before, strict=True
            )
        ]
        return tuple(reach)

    @property
    def overlaps(self) -> bool:
        """Whether one input element can be in two windows."""
        return any(d * (k - 1) + 1 > s for d, k, s in zip(self.dilations, self.kernel, self.strides, strict=True))

    @property
    def covers(self) -> bool:
        """Whether there is one window and it is the whole input: a global pooling."""
        plain = not any(self.before) and all(d == 1 or k == 1 for d, k in zip(self.dilations, self.kernel, strict=True))
        return plain and self.kernel == self.source and math.prod(self.target) == 1

    @property
    def trivial(self) -> bool:
        """Whether the windows are single elements that touch each input once: a pointwise convolution."""
        return all(k == 1 for k in self.kernel) and all(s == 1 for s in self.strides) and not any(self.before)

    def taps(self) -> Iterator[tuple[Shape, tuple[slice, ...]]]:
        """For each tap of the kernel, in row-major order, the slice of the padded input that it reads."""
        for tap in itertools.product(*(range(k) for k in self.kernel)):
            yield (
                tap,
                tuple(
                    slice(t * d, t * d + (n - 1) * s + 1, s)
                    for t, d, n, s in zip(tap, self.dilations, self.target, self.strides, strict=True)
                ),
            )


@dataclass(frozen=True)
class Conv(LinearMap):
    """Cross-correlation, 1-d to 3-d; weight [C_out, C_in/group, *kernel]."""

    window: Window
    group: int = 1


@dataclass(frozen=True)
class Matmul(LinearMap):
    """x @ W over the last axis of x; weight [..., in, out], or [..., out, in] if `transposed`."""

    transposed: bool = False


@dataclass(frozen=True)
class Pool(LinearMap):
    """Average over windows of the trailing axes."""

    window: Window
    count_padding: bool = False


@dataclass(frozen=True)
class Select(LinearMap):
    """For each window, the element at the place where the *selector* operand is largest (first index on ties)."""

    window: Window

    @property
    def routes(self) -> bool:
        return True


@dataclass(frozen=True)
class Sum(LinearMap):
    """Sum over per-sample axes, which the target keeps as size 1 or drops; its adjoint spreads copies."""

    axes: Shape

    @property
    def kept(self) -> Shape:
        """The target with the summed axes kept."""
        return tuple(1 if i in self.axes else n for i, n in enumerate(self.source))


@dataclass(frozen=True)
class Reshape(LinearMap):
    """The same elements in another shape."""

    @property
    def routes(self) -> bool:
        return True


@dataclass(frozen=True)
class Permute(LinearMap):
    """Axes in another order (per-sample axes)."""

    order: Shape

    @property
    def routes(self) -> bool:
        return True


@dataclass(frozen=True)
class Slice(LinearMap):
    """A strided box of the input, one (start, step) for each per-sample axis; its adjoint pads with zeros."""

    starts: Shape
    steps: Shape

    @property
    def routes(self) -> bool:
        return True

    def slices(self) -> tuple[slice, ...]:
        """The numpy index, per-sample axes only."""
        out = []
        for start, step, n in zip(self.starts, self.steps, self.target, strict=True):
            stop: int | None = start + (n - 1) * step + (1 if step > 0 else -1)
            out.append(slice(start, None if stop is not None and stop < 0 else stop, step))
        return tuple(out)
