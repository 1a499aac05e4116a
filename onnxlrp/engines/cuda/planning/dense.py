"""Products with a matrix: one for all samples, or one for each."""

from __future__ import annotations

import math

import numpy as np

from ....program.linear import Matmul
from ..kernels.cublas import Product, product
from ..kernels.elementwise import blocks
from .linear import GRID, LinearPlanner

SKINNY = 16  # rows up to which a dense map is bound by reading its weight


def matmul(work: LinearPlanner, m: Matmul) -> None:
    """x W or s Wᵀ: few rows read the weight once; many go to the library, or without a tier by tiles."""
    forward = work.step.kind == "linear"
    transposed = m.transposed == forward
    source, target = (m.source, m.target) if forward else (m.target, m.source)
    inner, outer, above = source[-1], target[-1], source[:-1]
    w, x = work.operand(1), work.x()
    matrices, rows, repeat, weights = 1, work.lead * math.prod(above), 1, 1
    weight = work.whole(1)
    if not w.constant or math.prod(w.shape[:-2]) > 1:
        # Several matrices: one for each sample, or for each place of the leading axes, or both.
        above, rows = above[:-1], math.prod(above[-1:])
        own = math.prod(w.shape[:-2])
        if own > 1 and own != math.prod(above):
            full = (*above, *w.shape[-2:])
            weight = work.scratch(work.samples(w) * math.prod(full))
            work.gather(work.step.inputs[1], weight, full, work.samples(w))
            own = math.prod(above)
        matrices, weights = work.lead * math.prod(above), work.samples(w) * own
        repeat = 1 if own > 1 else math.prod(above)
    if work.tier is not None and rows * repeat > SKINNY:
        # Matrices that meet one weight in a row are one matrix.
        deep, own = rows * repeat, inner * outer
        steps, around = (deep * inner, own, deep * outer), matrices // (repeat * weights)
        strides = (weights * deep * inner, 0, weights * deep * outer)
        p = Product(deep, inner, outer, (False, transposed), weights, steps, around, strides)
        work.launches.append(product(x, weight, work.result, p, work.tier.precision))
        return
    numbers = map(np.int32, (rows, inner, outer, matrices, repeat, weights))
    arguments = (x, weight, work.bias(outer) if forward else None, work.result, *numbers)
    deep = min(matrices, GRID)
    if rows > SKINNY:
        tiles = (-(-outer // 64), min(-(-rows // 64), GRID), deep)
        work.launch("dense_tiled", tiles, 256, *arguments, np.int32(transposed))
    elif transposed:
        block = min(256, 32 * outer)
        work.launch("dense_rows", (blocks(outer, block // 32), -(-rows // 4), deep), block, *arguments)
    else:
        work.launch("dense_columns", (blocks(outer, 32), -(-rows // 4), deep), 512, *arguments)
