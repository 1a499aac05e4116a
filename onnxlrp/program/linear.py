"""Linear maps: their geometry. Interpreter and engines each have a table of what they compute."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

Shape = tuple[int, ...]


@dataclass(frozen=True)
class LinearMap:
    """A linear map between per-sample arrays; subclasses add the geometry.

    Args:
        source: Shape of the operand, without batch axis.
        target: Shape of the result, without batch axis.
    """

    source: Shape
    target: Shape

    @property
    def name(self) -> str:
        """Name of the map in an engine's table."""
        return type(self).__name__

    @property
    def routes(self) -> bool:
        """True if every output element is a copy of one input element, so that zeros stay zeros both ways."""
        return False


class Window(NamedTuple):
    """A sliding window; every field has one entry for each spatial axis.

    Args:
        kernel: Taps.
        strides: Elements from one window to the next.
        dilations: Elements from one tap to the next.
        before: Padding before the input, in elements.
        explicit: Padding after the input as the model declares it. It counts only in the divisor of an average that
            includes padding; the padding that is read follows from the output size (`after`).
        source: Spatial shape of the input.
        target: Spatial shape of the output.
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
        """Padding after the input so that every window fits; negative where the input's tail is unused."""
        reach = [
            (t - 1) * s + d * (k - 1) + 1 - n - b
            for t, s, d, k, n, b in zip(
                self.target, self.strides, self.dilations, self.kernel, self.source, self.before, strict=True
            )
        ]
        return tuple(reach)

    @property
    def overlaps(self) -> bool:
        """True if two windows can share an input element."""
        return any(d * (k - 1) + 1 > s for d, k, s in zip(self.dilations, self.kernel, self.strides, strict=True))

    @property
    def is_global(self) -> bool:
        """True if the only window is the whole input, as in global pooling."""
        plain = not any(self.before) and all(d == 1 or k == 1 for d, k in zip(self.dilations, self.kernel, strict=True))
        return plain and self.kernel == self.source and math.prod(self.target) == 1

    @property
    def is_pointwise(self) -> bool:
        """True if every window is one element, a stride of 1 apart, as in a 1x1 convolution."""
        return all(k == 1 for k in self.kernel) and all(s == 1 for s in self.strides) and not any(self.before)

    def taps(self) -> Iterator[tuple[Shape, tuple[slice, ...]]]:
        """Yield for each tap, in row-major order, its index in the kernel and its slice of the padded input."""
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
    """Average over windows of the trailing axes; with `count_padding`, declared padding counts in the divisor."""

    window: Window
    count_padding: bool = False


@dataclass(frozen=True)
class Select(LinearMap):
    """For each window, the element at the index where the second operand, the selector, is largest.

    The first index wins on ties. With the operand itself as selector it is max pooling.
    """

    window: Window

    @property
    def routes(self) -> bool:
        """True: outputs are copies."""
        return True


@dataclass(frozen=True)
class Take(LinearMap):
    """Copies of elements: y_j = x_{p(j)}, elements of a sample counted in order, the places p its second operand.

    The places, of the target's shape, are those of one sample each. Its adjoint adds up what each element receives.
    """

    @property
    def routes(self) -> bool:
        """True: outputs are copies."""
        return True


@dataclass(frozen=True)
class Sum(LinearMap):
    """Sum over per-sample axes, which the target keeps as size 1 or drops; its adjoint broadcasts."""

    axes: Shape

    @property
    def kept(self) -> Shape:
        """Shape of the target with the summed axes kept as size 1."""
        return tuple(1 if i in self.axes else n for i, n in enumerate(self.source))


@dataclass(frozen=True)
class Reshape(LinearMap):
    """The same elements in another shape."""

    @property
    def routes(self) -> bool:
        """True: outputs are copies."""
        return True


@dataclass(frozen=True)
class Permute(LinearMap):
    """Transposition: axis i of the target is axis order[i] of the source (per-sample axes)."""

    order: Shape

    @property
    def routes(self) -> bool:
        """True: outputs are copies."""
        return True


@dataclass(frozen=True)
class Slice(LinearMap):
    """A strided slice, one start and step for each per-sample axis; its adjoint pads with zeros."""

    starts: Shape
    steps: Shape

    @property
    def routes(self) -> bool:
        """True: outputs are copies."""
        return True

    def slices(self) -> tuple[slice, ...]:
        """Return the numpy index of the per-sample axes."""
        out = []
        for start, step, n in zip(self.starts, self.steps, self.target, strict=True):
            stop: int | None = start + (n - 1) * step + (1 if step > 0 else -1)
            out.append(slice(start, None if stop is not None and stop < 0 else stop, step))
        return tuple(out)
