"""What each channel of an operand contributes to a layer's result, and values of results back to the channels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .affine import Affine
from .linear import Conv, Sum
from .value import Value, one, stabilize, total


def even_in_channels(layer: Affine, x: Value, s: Value) -> Value:
    """Return Σ_k z_kc s_k / n_kc at every value of channel c that k reads, in x's shape.

    z_kc = Σ_t w_kct x_ct is what channel c contributes to result k, n_kc how many of its values k reads.

    Args:
        layer: W; its bias is left out.
        x: The operand, its channels along axis 0 [C, …].
        s: Factors of the result's shape.
    """
    weight = None if layer.weight is None else x.trace.leaf(layer.weight)
    if isinstance(layer.linear, Conv) and layer.linear.group == 1 and weight is not None:
        return _of_convolution(layer.linear, weight, x, s)
    linear = layer.unbiased()
    even, count = linear.reweighted(one), x.shape[0]
    shares = []
    for mask in np.eye(count).reshape(count, count, *[1] * (len(x.shape) - 1)):
        alone = x.trace.constant(mask)
        n = stabilize(even(one(x) * alone), _NEVER_ZERO)
        shares.append(even.T(linear(x * alone) * s / n) * alone)
    return total(shares)


_NEVER_ZERO = 1e-9  # a result that reads no value of a channel takes none of it either


def _of_convolution(conv: Conv, weight: np.ndarray, x: Value, s: Value) -> Value:
    """The same by one convolution with a group for each channel, as large as the layer's own."""
    trace, channels, (width, *places) = x.trace, conv.source[0], conv.target
    apart = replace(conv, target=(channels * width, *places), group=channels)
    by_channel = np.swapaxes(weight, 0, 1).reshape(channels * width, 1, *weight.shape[2:])
    z = trace.reshape(Affine(apart, trace.constant(by_channel))(x), (channels, width, *places))
    given = z * trace.reshape(s, (1, width, *places))
    summed = trace.linear(Sum(given.shape, (channels, 1, *places), (1,)), given)
    narrow = replace(conv, target=(channels, *places), group=channels)
    even = Affine(narrow, trace.constant(np.ones((channels, 1, *weight.shape[2:]))))
    n = stabilize(even(one(x)), _NEVER_ZERO)
    return even.T(trace.reshape(summed, (channels, *places)) / n)
