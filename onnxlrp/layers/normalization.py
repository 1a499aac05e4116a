"""BatchNormalization that could not be folded: an affine layer of its own."""

from __future__ import annotations

import numpy as np

from ..program.affine import Affine, Diagonal
from ..program.op import Op, linear_op
from . import Node, layer


@layer("BatchNormalization", kind="batchnorm")
def batch_normalization(node: Node) -> Op:
    x, y, trace = node.operand(0), node.result, node.trace
    gamma, beta, mean, variance = (node.array(i).astype(np.float64) for i in (1, 2, 3, 4))
    scale = gamma / np.sqrt(variance + float(node.attribute("epsilon", 1e-5)))
    shape = (-1, *([1] * (len(x.shape) - 1)))
    factor, shift = trace.constant(scale.reshape(shape)), trace.constant((beta - mean * scale).reshape(shape))
    linear = Diagonal(x.shape, y.shape)
    trace.know(linear, x, factor, shift, y)
    return linear_op("batchnorm", ((Affine(linear, factor, shift), x),), y, node.layer.label)
