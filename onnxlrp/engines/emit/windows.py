"""Windows as attributes of ONNX's convolutions and poolings."""

from __future__ import annotations

from ...program.linear import Window


def pads(window: Window) -> list[int]:
    """Return the padding attribute: where windows leave out the input's tail it is 0, not negative."""
    return [*window.before, *(max(0, a) for a in window.after)]


def attributes(window: Window) -> dict[str, list[int]]:
    """Return the attributes of an operator with this window."""
    return {
        "kernel_shape": list(window.kernel),
        "strides": list(window.strides),
        "dilations": list(window.dilations),
        "pads": pads(window),
    }


def overhangs(window: Window) -> bool:
    """Return whether ceil_mode needs more padding after the input than pooling operators let a model declare."""
    return any(a >= k for a, k in zip(window.after, window.kernel, strict=True))
