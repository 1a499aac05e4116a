"""LSTM, GRU and RNN of one sample, step by step in float64, and their relevance as Arras et al. (2017, 2019) write it.

Written from the standard of ONNX and from the papers: gates are products, every other layer is linear with the epsilon
rule, activation functions hand relevance on. Biases and ε take their share, which is lost.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


FUNCTIONS: dict[str, Callable[..., Array]] = {
    "Sigmoid": sigmoid,
    "Tanh": np.tanh,
    "Relu": lambda x: np.maximum(x, 0),
    "Softsign": lambda x: x / (1 + abs(x)),
    "Softplus": lambda x: np.log1p(np.exp(x)),
    "LeakyRelu": lambda x, a=0.01: np.where(x > 0, x, a * x),
    "ThresholdedRelu": lambda x, a: np.where(x > a, x, 0),
    "Elu": lambda x, a=1.0: np.where(x > 0, x, a * (np.exp(x) - 1)),
    "Affine": lambda x, a, b: a * x + b,
    "ScaledTanh": lambda x, a, b: a * np.tanh(b * x),
    "HardSigmoid": lambda x, a=0.2, b=0.5: np.maximum(0, np.minimum(1, a * x + b)),
}


def away_from_zero(z: Array, epsilon: float) -> Array:
    return z + epsilon * np.where(z >= 0, 1, -1)


@dataclass
class Cell:
    """One direction of a layer; weights as ONNX stores them for that direction."""

    op: str
    w: Array
    r: Array
    b: Array
    p: Array | None = None
    functions: tuple[Any, ...] = ()
    clip: float = 0.0
    input_forget: bool = False
    linear_before_reset: bool = False
    reverse: bool = False
    epsilon: float = 1e-3
    product: str = "all"
    tape: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        usual = {"LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}[self.op]
        self.f = []
        for stated in self.functions or usual:
            name, *numbers = (stated,) if isinstance(stated, str) else stated
            self.f.append(lambda x, name=name, numbers=numbers: FUNCTIONS[name](x, *numbers))
        self.width = self.r.shape[1]
        self.bounded = (lambda z: np.clip(z, -self.clip, self.clip)) if self.clip else (lambda z: z)
        p = np.zeros(3 * self.width) if self.p is None else self.p
        self.peephole = dict(zip("iof", np.split(p, 3), strict=True))

    def rows(self, array: Array, gate: int) -> Array:
        return array[gate * self.width : (gate + 1) * self.width]

    # -- forward

    def run(self, x: Array, length: int, h: Array, c: Array) -> tuple[Array, Array, Array]:
        """All states [T, H] and the last ones of a sample [T, I] of which `length` steps count."""
        self.tape, states = [], np.zeros((len(x), self.width))
        for t in self.order(length):
            h, c = getattr(self, f"_{self.op.lower()}")(x[t], h, c)
            states[t] = h
        zero = np.zeros(self.width)
        return states, (h if length else zero), (c if length else zero)

    def order(self, length: int) -> list[int]:
        return list(range(length))[::-1] if self.reverse else list(range(length))

    def _z(self, gate: int, x: Array, h: Array, extra: Any = 0.0) -> Array:
        w, r = self.rows(self.w, gate), self.rows(self.r, gate)
        gates = len(self.w) // self.width
        return np.asarray(w @ x + r @ h + self.rows(self.b, gate) + self.rows(self.b, gates + gate) + extra)

    def _lstm(self, x: Array, h: Array, c: Array) -> tuple[Array, Array]:
        zi, zf = self._z(0, x, h, self.peephole["i"] * c), self._z(2, x, h, self.peephole["f"] * c)
        i = self.f[0](self.bounded(zi))
        f = 1 - i if self.input_forget else self.f[0](self.bounded(zf))
        zg = self._z(3, x, h)
        g = self.f[1](self.bounded(zg))
        new = f * c + i * g
        zo = self._z(1, x, h, self.peephole["o"] * new)
        o = self.f[0](self.bounded(zo))
        self.tape.append((x, h, c, (zi, zo, zf, zg), (i, o, f, g), new))
        return o * self.f[2](new), new

    def _gru(self, x: Array, h: Array, c: Array) -> tuple[Array, Array]:
        z, r = (self.f[0](self.bounded(self._z(gate, x, h))) for gate in (0, 1))
        inner = self.rows(self.r, 2) @ h + self.rows(self.b, 5)
        if self.linear_before_reset:
            zn = self.rows(self.w, 2) @ x + self.rows(self.b, 2) + r * inner
        else:
            zn = self._z(2, x, r * h)
        n = self.f[1](self.bounded(zn))
        new = (1 - z) * n + z * h
        self.tape.append((x, h, r, z, n, zn, inner, new))
        return new, c

    def _rnn(self, x: Array, h: Array, c: Array) -> tuple[Array, Array]:
        z = self._z(0, x, h)
        self.tape.append((x, h, z))
        return self.f[0](self.bounded(z)), c

    # -- relevance

    def relevance(self, states: Array, last: Array, cell: Array, length: int) -> tuple[Array, Array, Array]:
        """That of the input [T, I] and of the initial states, from that of all states, the last one and the cell's."""
        found = np.zeros((len(states), self.w.shape[1]))
        r_h, r_c = (last, cell) if length else (0 * last, 0 * cell)
        for t, step in zip(self.order(length)[::-1], reversed(self.tape), strict=True):
            r_h = r_h + states[t]
            found[t], r_h, r_c = getattr(self, f"_{self.op.lower()}_back")(step, r_h, r_c)
        return found, r_h, r_c

    def linear(self, z: Array, relevance: Array, *terms: tuple[Array, Array]) -> list[Array]:
        """R_j = Σ_k x_j w_kj R_k / (z_k + ε sgn z_k) for each (w, x)."""
        s = relevance / away_from_zero(z, self.epsilon)
        return [x * (w.T @ s) for w, x in terms]

    def split(self, relevance: Array, gate: Array, signal: Array) -> tuple[Array, Array]:
        if self.product == "half":
            return relevance / 2, relevance / 2
        if self.product == "all":
            return 0 * relevance, relevance
        if self.product == "abs":
            gate, signal = abs(gate), abs(signal)
        s = relevance / away_from_zero(gate + signal, self.epsilon)
        return gate * s, signal * s

    def _lstm_back(self, step: Any, r_h: Array, r_c: Array) -> tuple[Array, Array, Array]:
        x, h, c, z, (i, o, f, g), new = step
        r_o, r_squashed = self.split(r_h, o, self.f[2](new))
        r_c = r_c + r_squashed
        s = r_c / away_from_zero(new, self.epsilon)
        r_f, r_kept = self.split(f * c * s, f, c)
        r_i, r_g = self.split(i * g * s, i, g)
        r_x, r_before = np.zeros_like(x), np.zeros_like(h)
        for gate, r in enumerate((r_i, r_o, r_f, r_g)):
            a, b = self.linear(z[gate], r, (self.rows(self.w, gate), x), (self.rows(self.r, gate), h))
            r_x, r_before = r_x + a, r_before + b
        return r_x, r_before, r_kept

    def _gru_back(self, step: Any, r_h: Array, r_c: Array) -> tuple[Array, Array, Array]:
        x, h, r, z, n, zn, inner, new = step
        s = r_h / away_from_zero(new, self.epsilon)
        _, r_n = self.split((1 - z) * n * s, 1 - z, n)
        _, r_before = self.split(z * h * s, z, h)
        if self.linear_before_reset:
            one = np.eye(self.width)
            r_x, r_gated = self.linear(zn, r_n, (self.rows(self.w, 2), x), (one, r * inner))
            (more,) = self.linear(inner, self.split(r_gated, r, inner)[1], (self.rows(self.r, 2), h))
        else:
            r_x, r_gated = self.linear(zn, r_n, (self.rows(self.w, 2), x), (self.rows(self.r, 2), r * h))
            _, more = self.split(r_gated, r, h)
        return r_x, r_before + more, r_c

    def _rnn_back(self, step: Any, r_h: Array, r_c: Array) -> tuple[Array, Array, Array]:
        x, h, z = step
        r_x, r_before = self.linear(z, r_h, (self.w, x), (self.r, h))
        return r_x, r_before, r_c
