"""BatchNormalization is folded into its neighbour whatever its rank, its epsilon, and the order of the weights.

Reported of chr5tphr/zennit (issue 63: one-dimensional convolutions and modules in another order; pull request 171: the
epsilon), albermax/innvestigate (issues 2, 118: NaN, sums that do not fit), kaifishr/PyTorchRelevancePropagation
(issue 3) and jacobgil/keras-grad-cam (issue 19: NaN).
"""

from __future__ import annotations

import numpy as np
import pytest

import onnxlrp
from support.numpy_nets import check, conv, model, near, node, relu

EPSILON = 0.02


@pytest.mark.few(8)
@pytest.mark.parametrize("method", ["epsilon", "zplus", "gamma", "epsilon_alpha2_beta1", "gradient"])
@pytest.mark.parametrize("rank", [0, 1, 2, 3])
def test_folded_by_hand(rank: int, method: str) -> None:
    """The same relevance as the network whose convolution has scale · w and scale (b − mean) + shift."""
    rng = np.random.default_rng(rank)
    w, b = rng.normal(size=(3, 2, *[2] * rank)), rng.normal(size=3)
    scale, shift, mean, variance = rng.normal(size=3), rng.normal(size=3), rng.normal(size=3), rng.random(3)
    factor = scale / np.sqrt(variance + EPSILON)
    v = rng.normal(size=(3 * 3**rank, 2))
    first = "Conv" if rank else "Gemm"
    more = {} if rank else {"transB": 1}
    tail = [node("Relu", "n", "r"), node("Flatten", "r", "f"), node("MatMul", "f v", "y")]
    norm = {"s": scale, "t": shift, "m": mean, "q": variance}
    apart = model(
        [node(first, "x w b", "a", **more), node("BatchNormalization", "a s t m q", "n", epsilon=EPSILON), *tail],
        (2, *[4] * rank), {"w": w, "b": b, "v": v, **norm},
    )  # fmt: skip
    folded = model(
        [node(first, "x w b", "n", **more), *tail], (2, *[4] * rank),
        {"w": w * factor.reshape(-1, *[1] * (rank + 1)), "b": factor * (b - mean) + shift, "v": v},
    )  # fmt: skip
    x = rng.normal(size=(2, 2, *[4] * rank))
    one, other = (
        onnxlrp.load(proto, engine="reference").explain(x, target=1, method=method) for proto in (apart, folded)
    )
    near(one.relevance, other.relevance, 1e-5)


def test_before_a_padded_convolution() -> None:
    """The shift of the normalisation is not in the padding."""
    rng = np.random.default_rng(7)
    w, v = rng.normal(size=(3, 2, 3, 3)), rng.normal(size=(48, 2))
    s, t, m, q = rng.normal(size=2), rng.normal(size=2), rng.normal(size=2), rng.random(2)
    nodes = [
        node("BatchNormalization", "x s t m q", "n", epsilon=EPSILON), node("Conv", "n w", "a", pads=[1] * 4),
        node("Relu", "a", "r"), node("Flatten", "r", "f"), node("MatMul", "f v", "y"),
    ]  # fmt: skip

    def f(x: np.ndarray) -> np.ndarray:
        of = (np.reshape(p, (2, 1, 1)) for p in (s / np.sqrt(q + EPSILON), m, t))
        factor, mean, shift = of
        return relu(conv((x - mean) * factor + shift, w, pad=1)).reshape(-1) @ v

    constants = {"w": w, "v": v, "s": s, "t": t, "m": m, "q": q}
    check(model(nodes, (2, 4, 4), constants), f, rng.normal(size=(2, 2, 4, 4)), target=0, linear=False)
