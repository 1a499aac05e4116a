"""Windows as the attributes of convolutions and poolings."""

from __future__ import annotations

from ...program.linear import Window


def pads(window: Window) -> list[int]:
    """The padding that operators are told: what a window does not reach is no negative padding."""
    return [*window.before, *(max(0, a) for a in window.after)]


def attributes(window: Window) -> dict[str, list[int]]:
    """The attributes of an operator that moves this window."""
    return {
        "kernel_shape": list(window.kernel),
        "strides": list(window.strides),
        "dilations": list(window.dilations),
        "pads": pads(window),
    }


def overhangs(window: Window) -> bool:
    """Whether ceil_mode puts a dilated window over more padding than pooling operators let one declare."""
    return any(a >= k for a, k in zip(window.after, window.kernel, strict=True))
