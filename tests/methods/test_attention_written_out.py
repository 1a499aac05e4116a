"""The presets of attention on a vision transformer, against their equations written out in numpy, token by token.

Ali et al. 2022 (attention weights are factors), Achtibat et al. 2024 (softmax by Taylor, products by halves), γ in
dense layers by its two branches (Andéol et al. 2021), a normalisation with its deviation held fast, residuals by
shares.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import transformer_cost
from onnx import numpy_helper

import onnxlrp
from support.arrays import Array

WIDTH, HEADS, DEPTH, SIDE = 12, 3, 2, 2
ERF = np.vectorize(math.erf)
EACH, COUNT, TARGET = WIDTH // HEADS, 1 + SIDE * SIDE, 3


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A transformer whose normalisations scale and shift."""
    path = transformer_cost.base(tmp_path_factory.mktemp("vit") / "v.onnx", WIDTH, HEADS, DEPTH, SIDE)
    proto, rng = onnx.load(path), np.random.default_rng(5)
    for tensor in proto.graph.initializer:
        value = numpy_helper.to_array(tensor)
        if "norm" in tensor.name:
            drawn = (tensor.name.endswith(".s") + 0.3 * rng.normal(size=value.shape)).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(drawn, tensor.name))
    onnx.save(proto, path)
    return path


def stable(z: Array) -> Array:
    return z + np.where(z < 0, -1e-6, 1e-6)


def gamma(x: Array, w: Array, b: Array, r: Array, g: float) -> Array:
    """The γ rule of y = x w + b for one token: contributions of the sign of y weigh 1 + γ."""
    y = x @ w + b
    terms = x[:, np.newaxis] * w
    ofsign = np.where(terms * y > 0, 1 + g, 1.0) * terms
    shift = np.where(b * y > 0, 1 + g, 1.0) * b
    return np.asarray((ofsign / stable(ofsign.sum(axis=0) + shift) * r).sum(axis=1))


def normalisation(h: Array, scale: Array, shift: Array) -> tuple[Array, Array]:
    """The result for one token, and the matrix of (x − mean) · scale / deviation, the deviation held fast."""
    centring = np.eye(WIDTH) - 1 / WIDTH
    matrix = centring * (scale / np.sqrt(h.var() + 1e-5))
    return h @ matrix + shift, matrix


def through(h: Array, matrix: Array, y: Array, r: Array) -> Array:
    return np.asarray(h * (matrix @ (r / stable(y))))


def written_out(w: dict[str, Array], x: Array, g: float, first: float | None, taylor: bool) -> Array:
    """Relevance [3, H, W] of one picture; `first` is γ of the first layer, None for flat."""
    parts = x.reshape(3, SIDE, 16, SIDE, 16).transpose(1, 3, 0, 2, 4).reshape(COUNT - 1, -1)
    patch = w["patch"].reshape(WIDTH, -1).T
    before = np.concatenate([w["token"][0], parts @ patch])
    h = before + w["places"][0]
    kept: list[Any] = [h]
    zero = np.zeros(WIDTH)

    def dense(name: str, t: Array) -> Array:
        return t @ w[f"{name}.w"] + w[f"{name}.b"]

    def normal(name: str, t: Array) -> tuple[Array, list[Array]]:
        both = [normalisation(one, w[f"{name}.s"], w[f"{name}.b"]) for one in t]
        return np.stack([y for y, _ in both]), [matrix for _, matrix in both]

    for n in range(DEPTH):
        y1, m1 = normal(f"{n}.norm1", h)
        q, k, v = dense(f"{n}.qkv", y1).reshape(COUNT, 3, HEADS, EACH).transpose(1, 2, 0, 3)
        s = q @ k.transpose(0, 2, 1) * EACH**-0.5
        e = np.exp(s - s.max(axis=2, keepdims=True))
        a = e / e.sum(axis=2, keepdims=True)
        o = a @ v
        joined = o.transpose(1, 0, 2).reshape(COUNT, WIDTH)
        p = dense(f"{n}.proj", joined)
        h1 = h + p
        y2, m2 = normal(f"{n}.norm2", h1)
        u = dense(f"{n}.up", y2)
        active = u / 2 * (1 + ERF(u / np.sqrt(2)))
        d = dense(f"{n}.down", active)
        kept.append((h, y1, m1, q, k, v, s, a, o, joined, p, h1, y2, m2, active, d))
        h = h1 + d
    yn, mn = normal("norm", h)
    logits = yn[0] @ w["head"]
    r = np.zeros((COUNT, WIDTH))
    seed = np.where(np.arange(len(logits)) == TARGET, logits, 0)
    r[0] = through(h[0], mn[0], yn[0], gamma(yn[0], w["head"], np.zeros_like(logits), seed, g))
    for n in reversed(range(DEPTH)):
        h0, y1, m1, q, k, v, s, a, o, joined, p, h1, y2, m2, active, d = kept[n + 1]
        share = r / stable(h1 + d)
        branch = np.stack([gamma(*t, w[f"{n}.down.b"], i, g) for t, i in _with(active, w[f"{n}.down.w"], d * share)])
        branch = np.stack([gamma(*t, w[f"{n}.up.b"], i, g) for t, i in _with(y2, w[f"{n}.up.w"], branch)])
        r = h1 * share + np.stack([through(*one) for one in zip(h1, m2, y2, branch, strict=True)])
        share = r / stable(h0 + p)
        branch = np.stack([gamma(*t, w[f"{n}.proj.b"], i, g) for t, i in _with(joined, w[f"{n}.proj.w"], p * share)])
        r_o = branch.reshape(COUNT, HEADS, EACH).transpose(1, 0, 2)
        r_q, r_k = np.zeros_like(q), np.zeros_like(k)
        if taylor:
            half = r_o / stable(2 * o)
            r_v = v * (a.transpose(0, 2, 1) @ half)
            r_a = a * (half @ v.transpose(0, 2, 1))
            r_s = s * (r_a - a * r_a.sum(axis=2, keepdims=True))
            half = r_s / stable(2 * q @ k.transpose(0, 2, 1))
            r_q, r_k = q * (half @ k), k * (half.transpose(0, 2, 1) @ q)
        else:
            r_v = v * (a.transpose(0, 2, 1) @ (r_o / stable(o)))
        arriving = np.stack([r_q, r_k, r_v]).transpose(2, 0, 1, 3).reshape(COUNT, 3 * WIDTH)
        branch = np.stack([gamma(*t, w[f"{n}.qkv.b"], i, g) for t, i in _with(y1, w[f"{n}.qkv.w"], arriving)])
        r = h0 * share + np.stack([through(*one) for one in zip(h0, m1, y1, branch, strict=True)])
    r = (before * r / stable(kept[0]))[1:]
    if first is None:
        pixels = np.repeat(r.sum(axis=1, keepdims=True) / len(patch), len(patch), axis=1)
    else:
        pixels = np.stack([gamma(one, patch, zero, i, first) for one, i in zip(parts, r, strict=True)])
    return pixels.reshape(SIDE, SIDE, 3, 16, 16).transpose(2, 0, 3, 1, 4).reshape(x.shape)


def _with(t: Array, weight: Array, r: Array) -> list[tuple[tuple[Array, Array], Array]]:
    return [((one, weight), arriving) for one, arriving in zip(t, r, strict=True)]


@pytest.mark.parametrize(
    ("method", "options", "taylor"),
    [
        ("attention", {"gamma": 0.05, "first_gamma": 1.0}, False),
        ("attention_flat", {"gamma": 0.05}, False),
        ("attention", {"gamma": 0.25, "first_gamma": 0.25}, False),
        ("attnlrp", {"gamma": 0.25, "first_gamma": 1.0}, True),
        ("attnlrp", {"gamma": 0.0, "first_gamma": 0.0}, True),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_vision_transformer(path: Path, method: str, options: dict[str, Any], taylor: bool) -> None:
    model = onnxlrp.load(path, engine="reference", kind="image")
    x = np.random.default_rng(1).normal(size=(1, 3, 16 * SIDE, 16 * SIDE)).astype(np.float32)
    weights = {t.name: numpy_helper.to_array(t).astype(float) for t in onnx.load(path).graph.initializer}
    first = None if method == "attention_flat" else options["first_gamma"]
    expected = written_out(weights, x[0].astype(float), options["gamma"], first, taylor)
    found = model.explain(x, TARGET, method=method, **options).relevance[0]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())
