"""Convolutions, pooling, padding and resizing of maps [C, L], [C, H, W]."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .graph import Graph

_AUTO = ("SAME_UPPER", "SAME_LOWER", "VALID")


def conv(g: Graph) -> None:
    channels, sides = g.shape[0], g.shape[1:]
    d = len(sides)
    kernel = [g.number(1, min(3, n)) for n in sides]
    group = int(g.pick([1, 1, channels, math.gcd(channels, 2)]))
    filters = group * g.number(1, 3 if group < 3 else 2)
    inputs = [g.last, g.random(filters, channels // group, *kernel)]
    inputs += [g.random(filters)] if g.chance(0.7) else []
    more: dict[str, Any] = {"strides": [g.number(1, 2) for _ in sides], "group": group}
    if g.chance(0.25):
        more["auto_pad"] = g.pick(_AUTO)
    else:
        more["pads"] = [g.number(0, 1) for _ in range(2 * d)]
        more["dilations"] = [g.pick([1, 1, 2]) for _ in sides]
    if g.chance(0.7):
        more["kernel_shape"] = kernel
    g.attempt("Conv", *inputs, **more)


def transposed(g: Graph) -> None:
    channels, sides = g.shape[0], g.shape[1:]
    if math.prod(sides) > 60:
        return
    d = len(sides)
    kernel = [g.number(1, 3) for _ in sides]
    group = int(g.pick([1, 1, channels]))
    inputs = [g.last, g.random(channels, g.number(1, 2), *kernel)]
    inputs += [g.random(group * g.weights[inputs[1]].shape[1])] if g.chance(0.6) else []
    strides = [g.number(1, 2) for _ in sides]
    more: dict[str, Any] = {"strides": strides, "group": group, "kernel_shape": kernel}
    if g.chance(0.2):
        more["auto_pad"] = g.pick(_AUTO)
    else:
        more["pads"] = [g.number(0, 1) if min(kernel) > 1 else 0 for _ in range(2 * d)]
        more["output_padding"] = [g.number(0, s - 1) for s in strides]
        more["dilations"] = [g.pick([1, 1, 2]) for _ in sides]
    g.attempt("ConvTranspose", *inputs, **more)


def batch_norm(g: Graph) -> None:
    c = g.shape[0]
    variance = g.weight(g.rng.random(c) + 0.5)
    g.op("BatchNormalization", g.last, g.random(c), g.random(c), g.random(c), variance)


def pool(g: Graph) -> None:
    op = g.pick(["MaxPool", "AveragePool", "LpPool"])
    sides = g.shape[1:]
    kernel = [g.number(1, min(3, n)) for n in sides]
    more: dict[str, Any] = {"kernel_shape": kernel, "strides": [g.number(1, 2) for _ in sides]}
    if g.chance(0.2):
        more["auto_pad"] = g.pick(_AUTO)
    else:
        more["pads"] = [g.number(0, 1) if k > 1 else 0 for k in kernel] * 2
    if g.opset >= 10 and op != "LpPool":
        more["ceil_mode"] = g.number(0, 1)
    if op == "AveragePool":
        more["count_include_pad"] = g.number(0, 1)
    if op == "MaxPool" and g.opset >= 10 and g.chance(0.3):
        more["dilations"] = [g.number(1, 2) for _ in sides]
    if op == "LpPool":
        more["p"] = 2
    g.attempt(op, g.last, **more)


def global_pool(g: Graph) -> None:
    g.op(g.pick(["GlobalAveragePool", "GlobalMaxPool"]), g.last, shape=(g.shape[0], *[1] * (len(g.shape) - 1)))


def pad(g: Graph) -> None:
    """All modes; below zero cuts off."""
    modes = ["constant", "constant", "reflect", "edge", *(["wrap"] if g.opset >= 19 else [])]
    mode = g.pick(modes)
    d = len(g.shape)

    def amounts() -> list[int]:
        return [g.number(-1 if mode == "constant" and n > 2 and g.chance(0.3) else 0, min(1, n - 1)) for n in g.shape]

    before, after = amounts(), amounts()
    if mode in ("reflect", "edge", "wrap"):  # along the last axis or two: onnxruntime takes no others everywhere
        before, after = ([0] * (d - 1) + [one[-1]] for one in (before, after))
    shape = tuple(n + a + b for n, a, b in zip(g.shape, before, after, strict=True))
    if min(shape) < 1:
        return
    if g.opset < 11:
        g.op("Pad", g.last, shape=shape, pads=[0, *before, 0, *after], mode=mode, value=0.5)
        return
    value = [g.weight(0.5)] if mode == "constant" and g.chance(0.5) else []
    if g.opset >= 18 and g.chance(0.4):
        amount, axes = g.whole(before[-1], after[-1]), g.whole(-1)
        shape = (*g.shape[:-1], shape[-1])
        g.op("Pad", g.last, amount, value[0] if value else "", axes, shape=shape, mode=mode)
    else:
        g.op("Pad", g.last, g.whole(0, *before, 0, *after), *value, shape=shape, mode=mode)


_COORDINATES = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
_NEAREST = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")


def resize(g: Graph) -> None:
    """Upsample (9), Resize by scales alone (10), by scales or sizes (11), with axes and antialiasing (18)."""
    sides = g.shape[1:]
    if math.prod(sides) > 60:
        return
    scales = [float(g.pick([2, 2, 1.5, 0.6, 0.5, 3, 1.3])) for _ in sides]
    scales = [s if n * s >= 1 else 2.0 for n, s in zip(sides, scales, strict=True)]
    if g.opset < 11:
        mode = g.pick(["nearest", "linear"])
        more = [1.0 if s < 1 else s for s in scales] if g.opset == 9 else scales
        g.attempt("Upsample" if g.opset == 9 else "Resize", g.last, g.weight([1, 1, *more]), mode=mode)
        return
    mode = g.pick(["nearest", "nearest", "linear", "cubic"])
    how: dict[str, Any] = {"mode": mode, "coordinate_transformation_mode": g.pick(_COORDINATES)}
    if mode == "nearest":
        how["nearest_mode"] = g.pick(_NEAREST)
    if mode == "cubic" and g.chance(0.3):
        how |= {"cubic_coeff_a": -0.5, "exclude_outside": 1}
    if g.opset >= 18 and mode != "nearest" and g.chance(0.3):
        how["antialias"] = 1
    roi = "" if g.opset >= 13 else g.weight(np.zeros(0))
    if g.chance(0.5):
        g.attempt("Resize", g.last, roi, g.weight([1, 1, *scales]), **how)
    elif g.opset >= 18 and g.chance(0.5):
        sizes = [max(1, math.floor(n * s)) for n, s in zip(sides, scales, strict=True)]
        g.attempt("Resize", g.last, "", "", g.whole(*sizes), axes=list(range(2, 2 + len(sides))), **how)
    else:
        sizes = [max(1, math.floor(n * s)) for n, s in zip(sides, scales, strict=True)]
        row = g.put("Slice", g.put("Shape", g.last), g.whole(0), g.whole(2))
        target = g.put("Concat", row, g.whole(*sizes), axis=0)
        g.attempt("Resize", g.last, roi, g.weight(np.zeros(0)) if g.opset < 13 else "", target, **how)


def blocks(g: Graph) -> None:
    """Pixel shuffle and unshuffle."""
    if len(g.shape) != 3:
        return
    c, h, w = g.shape
    if c % 4 == 0:
        more = {"mode": "CRD"} if g.opset >= 11 and g.chance(0.5) else {}
        g.op("DepthToSpace", g.last, shape=(c // 4, 2 * h, 2 * w), blocksize=2, **more)
    elif h % 2 == w % 2 == 0:
        g.op("SpaceToDepth", g.last, shape=(4 * c, h // 2, w // 2), blocksize=2)


def lrn(g: Graph) -> None:
    if len(g.shape) == 3:
        g.op("LRN", g.last, size=3, alpha=0.3, beta=0.75, bias=1.0)


LAYERS = (conv, conv, conv, transposed, batch_norm, batch_norm, pool, pool, global_pool, resize, resize, blocks, lrn)
EVERYWHERE = (pad,)
