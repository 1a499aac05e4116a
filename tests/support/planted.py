"""Models that read only a part of their input: what speaks for a class is known, and lies nowhere else."""

from __future__ import annotations

from typing import Any

import numpy as np

from onnxlrp.methods.problem import Problem
from onnxlrp.model import Model

from .arrays import Array
from .problems import model, problem
from .small_nets import Net

TOP, LEFT, SIDE, LENGTH = 4, 8, 4, 16  # the square that is read, and the side of the picture


def inside() -> Array:
    """Bool [LENGTH, LENGTH]: what the planted models read."""
    mask = np.zeros((LENGTH, LENGTH), bool)
    mask[TOP : TOP + SIDE, LEFT : LEFT + SIDE] = True
    return mask


def reader() -> Model:
    """[N, 2, 16, 16] → [N, 2]: 20 times the mean of a square in channel 0 minus 10, and its negative."""

    def build(n: Net) -> str:
        weight = np.zeros((2, 2, LENGTH, LENGTH))
        weight[:, 0] = np.array([1, -1])[:, None, None] * inside() * 20 / SIDE**2
        return n.op("Gemm", n.op("Flatten", "x"), weight.reshape(2, -1), np.array([-10.0, 10.0]), transB=1)

    return model(build, 2, LENGTH, LENGTH)


def planted(samples: int = 1, **options: Any) -> Problem:
    """Bright noise for class 0 of the reader; black and zero are the same to it."""
    p = problem(reader(), samples, **options)
    p.x[:] = np.random.default_rng(1).uniform(0.5, 1, p.x.shape)
    p.x[:, 1, 0, 0] = 0  # black
    p.ids[:] = 0
    return p


def unruled() -> Model:
    """[N, 1, 16, 16] → [N, 2] with a Shrink, which no rule passes, of the mean of the planted square."""

    def build(n: Net) -> str:
        weight = np.zeros((2, LENGTH, LENGTH))
        weight[:] = np.array([1, -1])[:, None, None] * inside() / SIDE**2
        y = n.op("Gemm", n.op("Flatten", "x"), weight.reshape(2, -1), np.zeros(2), transB=1)
        return n.op("Mul", n.op("Shrink", y), np.array(5.0))

    return model(build, 1, LENGTH, LENGTH)
