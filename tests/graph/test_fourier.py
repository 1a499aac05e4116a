"""DFT, STFT and the OneHot of an input are read as linear layers and tables; an Einsum of three as two."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest

import onnxlrp
from onnxlrp.errors import OnnxLrpError
from onnxlrp.graph.load import load
from support.arrays import Array

RNG = np.random.default_rng(0)


def graph_of(text: str, opset: int = 17, **constants: Any) -> onnx.ModelProto:
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["": {opset}]> {text}')
    model.graph.initializer.extend(onnx.numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items())
    return model


def told(spectrum: Array) -> Array:
    """A spectrum as the scores that the models give: its parts, flat."""
    return np.stack([spectrum.real, spectrum.imag], -1).reshape(len(spectrum), -1)


def scores(model: onnx.ModelProto, x: Array) -> Array:
    graph = load(model)
    assert graph.batch is None
    assert not {layer.op for layer in graph.layers} & {"DFT", "STFT", "Einsum", "OneHot"}
    return np.asarray(onnxlrp.load(model).explain(x, target=1, method="epsilon").output)


REAL = RNG.normal(size=(2, 7, 3, 1)).astype(np.float32)
COMPLEX = RNG.normal(size=(2, 7, 3, 2)).astype(np.float32)
DFTS: dict[str, tuple[str, Array, Any]] = {
    "real": ("axis=1", REAL, lambda z: np.fft.fft(z, axis=1)),
    "half": ("axis=1, onesided=1", REAL, lambda z: np.fft.rfft(z.real, axis=1)),
    "complex": ("axis=2", COMPLEX, lambda z: np.fft.fft(z, axis=2)),
    "back": ("axis=1, inverse=1", COMPLEX, lambda z: np.fft.ifft(z, axis=1)),
}


@pytest.mark.parametrize("length", [None, 5, 9])
@pytest.mark.parametrize("case", DFTS)
def test_a_dft_is_the_transform_of_numpy(case: str, length: int | None) -> None:
    attributes, x, transform = DFTS[case]
    axis = int(attributes[5])
    constants: dict[str, Any] = {} if length is None else {"n": np.array(length)}
    read = "x" if length is None else "x, n"
    model = graph_of(
        f"g (float[N, 7, 3, {x.shape[-1]}] x) => (float[N, K] y) {{ f = DFT<{attributes}>({read}) y = Flatten(f) }}",
        **constants,
    )
    z = x[..., 0] + 1j * (x[..., 1] if x.shape[-1] == 2 else 0)
    if length is not None:
        kept = z.take(range(min(length, z.shape[axis])), axis)
        pads = [(0, length - kept.shape[axis] if a == axis else 0) for a in range(3)]
        z = np.pad(kept, pads)
    np.testing.assert_allclose(scores(model, x), told(transform(z)), atol=1e-5)


def test_the_axis_of_a_dft_is_an_operand_since_opset_20() -> None:
    text = "g (float[N, 7, 3, 2] x) => (float[N, K] y) { f = DFT(x, , axis) y = Flatten(f) }"
    for axis in (1, -2):
        model = graph_of(text, 20, axis=np.array(axis))
        wanted = told(np.fft.fft(COMPLEX[..., 0] + 1j * COMPLEX[..., 1], axis=1 if axis == 1 else 2))
        np.testing.assert_allclose(scores(model, COMPLEX), wanted, atol=1e-5)


@pytest.mark.parametrize("parts", [0, 1, 2])
@pytest.mark.parametrize("onesided", [0, 1])
@pytest.mark.parametrize("windowed", [True, False])
def test_an_stft_transforms_windowed_frames(parts: int, onesided: int, windowed: bool) -> None:
    if parts == 2 and onesided:
        pytest.skip("half of the spectrum of a complex signal")
    shape = (2, 20, parts) if parts else (2, 20)
    x = RNG.normal(size=shape).astype(np.float32)
    window = np.hanning(8).astype(np.float32) if windowed else np.ones(8, np.float32)
    inputs = "x, step, window" if windowed else "x, step, , size"
    constants: dict[str, Any] = {"window": window} if windowed else {"size": np.array(8)}
    sizes = ", ".join(map(str, shape[1:]))
    model = graph_of(
        f"g (float[N, {sizes}] x) => (float[N, K] y) {{ f = STFT<onesided={onesided}>({inputs}) y = Flatten(f) }}",
        step=np.array(3), **constants,
    )  # fmt: skip
    flat = x.reshape(2, 20, -1)
    z = flat[..., 0] + 1j * (flat[..., 1] if parts == 2 else 0)
    frames = np.stack([z[:, i : i + 8] * window for i in range(0, 13, 3)], 1)
    spectrum = np.fft.fft(frames, axis=2)
    np.testing.assert_allclose(scores(model, x), told(spectrum[..., :5] if onesided else spectrum), atol=1e-5)


@pytest.mark.parametrize("axis", [-1, 1])
def test_the_one_hot_of_an_input_is_rows_of_a_table(axis: int) -> None:
    text = f"""g (int64[N, 3] x) => (float[N, 2] y)
        {{ o = OneHot<axis={axis}>(x, depth, values) f = Flatten(o) y = MatMul(f, w) }}"""
    weight = RNG.normal(size=(12, 2)).astype(np.float32)
    model = graph_of(text, depth=np.array(4), values=np.array([0, 1], np.float32), w=weight)
    x = np.array([[0, 3, 1], [2, 2, 0]])
    hot = np.moveaxis(np.eye(4)[x], -1, axis).reshape(2, 12)
    np.testing.assert_allclose(scores(model, x), hot @ weight, atol=1e-5)
    found = onnxlrp.load(model).explain(x, target=0, method="epsilon").relevance
    own = (hot * weight[:, 0]).reshape((2, 3, 4) if axis == -1 else (2, 4, 3)).sum(axis)
    np.testing.assert_allclose(found, own, atol=1e-4)
    with pytest.raises(OnnxLrpError):
        onnxlrp.load(model).explain(x + 4, target=0, method="epsilon")


def test_an_einsum_of_three_activations_is_two() -> None:
    text = """g (float[N, 4, 3] x) => (float[N, K] y)
        { t = Tanh(x) s = ReduceSum<keepdims=0>(x, last)
          e = Einsum<equation="bnd,bne,bn->bde">(x, t, s) y = Flatten(e) }"""
    x = RNG.normal(size=(2, 4, 3)).astype(np.float32)
    wanted = np.einsum("bnd,bne,bn->bde", x, np.tanh(x), x.sum(-1))
    model = graph_of(text, last=np.array([2]))
    np.testing.assert_allclose(scores(model, x), wanted.reshape(2, -1), atol=1e-5)
