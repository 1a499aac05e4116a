"""Planning of matrix products: one matrix for all samples, or one for each."""

from __future__ import annotations

import math

import numpy as np

from ....program.linear import Matmul
from ..kernels.cublas import BatchedMatmul, matmul_launch
from ..kernels.launch import grid_size
from .linear import GRID, LinearPlanner

SKINNY = 16  # rows up to which reading the weight bounds the time of a product


def matmul(planner: LinearPlanner, m: Matmul) -> None:
    """Plan x W or s Wᵀ: by cuBLAS, or by our kernels for few rows and where there is no planner of tensor cores."""
    forward = planner.step.kind == "linear"
    transposed = m.transposed == forward
    source, target = (m.source, m.target) if forward else (m.target, m.source)
    inner, outer, above = source[-1], target[-1], source[:-1]
    w, x = planner.operand(1), planner.input()
    matrices, rows, repeat, weights = 1, planner.result_samples * math.prod(above), 1, 1
    weight = planner.stored_operand(1)
    if not w.constant or math.prod(w.shape[:-2]) > 1:
        # Several matrices: one for each sample, or for each index of the leading axes, or both.
        above, rows = above[:-1], math.prod(above[-1:])
        own = math.prod(w.shape[:-2])
        if own > 1 and own != math.prod(above):
            full = (*above, *w.shape[-2:])
            weight = planner.scratch(planner.samples(w) * math.prod(full))
            planner.gather(planner.step.inputs[1], weight, full, planner.samples(w))
            own = math.prod(above)
        matrices, weights = planner.result_samples * math.prod(above), planner.samples(w) * own
        repeat = 1 if own > 1 else math.prod(above)
    if planner.conv_planner is not None and rows * repeat > SKINNY:
        # Consecutive matrices with the same weight are one matrix.
        deep, own = rows * repeat, inner * outer
        steps, around = (deep * inner, own, deep * outer), matrices // (repeat * weights)
        strides = (weights * deep * inner, 0, weights * deep * outer)
        p = BatchedMatmul(deep, inner, outer, (False, transposed), weights, steps, around, strides)
        planner.launches.append(matmul_launch(x, weight, planner.result, p, planner.conv_planner.precision))
        return
    numbers = map(np.int32, (rows, inner, outer, matrices, repeat, weights))
    arguments = (x, weight, planner.fused_bias(outer) if forward else None, planner.result, *numbers)
    deep = min(matrices, GRID)
    if rows > SKINNY:
        tiles = (-(-outer // 64), min(-(-rows // 64), GRID), deep)
        planner.launch("dense_tiled", tiles, 256, *arguments, np.int32(transposed))
    elif transposed:
        block = min(256, 32 * outer)
        planner.launch("dense_rows", (grid_size(outer, block // 32), -(-rows // 4), deep), block, *arguments)
    else:
        planner.launch("dense_columns", (grid_size(outer, 32), -(-rows // 4), deep), 512, *arguments)
