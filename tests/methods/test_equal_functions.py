"""Equal functions get equal maps: rewrites of one function, as exporters spell it, against its plain form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.version_converter
import pytest

import onnxlrp
from support.arrays import Array
from support.rewrites import BATCH, REWRITES, SIZE, TOKENS, WIDTH, ChannelsLast, Parts, convolutional, made, transformer

METHODS = ("epsilon_plus_flat", "epsilon", "gamma", "gradient")


def maps_of(model: Any, x: Array) -> dict[str, Array]:
    loaded = onnxlrp.load(model)
    return {method: loaded.explain(x, target=1, method=method).relevance for method in METHODS}


@pytest.fixture(scope="module")
def plain() -> dict[Any, tuple[Array, dict[str, Array]]]:
    rng = np.random.default_rng(0)
    inputs = {
        convolutional: rng.normal(size=(BATCH, 3, SIZE, SIZE)),
        transformer: rng.normal(size=(BATCH, TOKENS, WIDTH)),
    }
    return {f: (x.astype(np.float32), maps_of(made(f, Parts), x.astype(np.float32))) for f, x in inputs.items()}


def apart(a: Array, b: Array) -> float:
    """The largest difference as a share of the largest value, of the worst sample."""
    axes = tuple(range(1, a.ndim))
    return float((np.abs(a - b).max(axis=axes) / np.abs(b).max(axis=axes)).max())


def correlation(a: Array, b: Array) -> float:
    """The correlation of two maps, of the worst sample."""
    return min(float(np.corrcoef(i.ravel(), j.ravel())[0, 1]) for i, j in zip(a, b, strict=True))


@pytest.mark.few(6)
@pytest.mark.parametrize("name", REWRITES)
def test_equal_functions_get_equal_maps(name: str, plain: Any) -> None:
    network, cls = REWRITES[name]
    x, wanted = plain[network]
    x = np.moveaxis(x, 1, -1) if cls is ChannelsLast else x
    got = maps_of(made(network, cls), np.ascontiguousarray(x))
    found = {m: apart(np.moveaxis(r, -1, 1) if cls is ChannelsLast else r, wanted[m]) for m, r in got.items()}
    assert max(found.values()) <= 1e-4, found


# -- quantised


def quantised(model: Any, samples: Array, path: Path, bits: int, per_channel: bool) -> str:
    """The model as `quantize_static` of onnxruntime writes it, its activations calibrated on samples."""
    quantization = pytest.importorskip("onnxruntime.quantization")
    kinds = quantization.QuantType
    activations, weights = (kinds.QUInt16, kinds.QInt16) if bits == 16 else (kinds.QUInt8, kinds.QInt8)

    class Samples(quantization.CalibrationDataReader):  # type: ignore[misc, name-defined]
        batches = iter([{"x": samples}])

        def get_next(self) -> dict[str, Array] | None:
            return next(self.batches, None)

    source, target = path / "float.onnx", path / "quantised.onnx"
    onnx.save(onnx.version_converter.convert_version(model, 21) if bits == 16 else model, source)
    quantization.quantize_static(
        source, target, Samples(), quant_format=quantization.QuantFormat.QDQ, per_channel=per_channel,
        activation_type=activations, weight_type=weights,
    )  # fmt: skip
    return str(target)


ROUND_TRIPS = ("Parts", "NormFolded", "NormAsArithmetic", "IdentityBetween", "ReshapesBetween", "BiasAdded",
               "PointwiseConvAsMatMul", "HeadAsMatMul", "HeadAsConv")  # fmt: skip


@pytest.mark.few(3)
@pytest.mark.parametrize("bits", [16, 8])
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("name", ROUND_TRIPS)
def test_quantised_functions_get_the_map_of_the_float_function(
    name: str, per_channel: bool, bits: int, plain: Any, tmp_path: Path
) -> None:
    x, wanted = plain[convolutional]
    cls = Parts if name == "Parts" else REWRITES[name][1]
    samples = np.random.default_rng(1).normal(size=(32, *x.shape[1:])).astype(np.float32)
    got = maps_of(quantised(made(convolutional, cls), np.concatenate([x, samples]), tmp_path, bits, per_channel), x)
    for method, relevance in got.items():
        # 8 bits are noise of that size: the same where the normalisation is folded before the file is quantised.
        assert correlation(relevance, wanted[method]) >= (0.999 if bits == 16 else 0.9), method
        if bits == 16 and method != "epsilon":  # whose denominators near zero enlarge the last bit
            assert apart(relevance, wanted[method]) <= 1e-2, method


@pytest.mark.few(2)
@pytest.mark.parametrize("name", ["Parts", "LayerNormByPow", "SoftmaxWrittenOut", "GeluByErf"])
def test_quantised_transformers_get_the_map_of_the_float_function(name: str, plain: Any, tmp_path: Path) -> None:
    x, wanted = plain[transformer]
    cls = Parts if name == "Parts" else REWRITES[name][1]
    samples = np.random.default_rng(1).normal(size=(32, *x.shape[1:])).astype(np.float32)
    file = quantised(made(transformer, cls), np.concatenate([x, samples]), tmp_path, 16, per_channel=False)
    for method, relevance in maps_of(file, x).items():
        assert correlation(relevance, wanted[method]) >= 0.999, method
        assert apart(relevance, wanted[method]) <= 5e-2, method


def hardtanh(quantised: bool) -> onnx.ModelProto:
    """Conv, a Clip to [-.5, .5], BatchNormalization, Relu, dense; the Clip as the range of a rounding."""
    rng = np.random.default_rng(0)
    stored: dict[str, Array] = {
        "w": rng.normal(size=(4, 3, 3, 3)), "b": rng.normal(size=4), "dense": rng.normal(size=(4 * 16, 3)),
        **{name: rng.uniform(0.5, 1.5, 4) for name in ("scale", "shift", "mean", "var")},
        "step": np.array(0.5 / 127), "low": np.array(-0.5), "high": np.array(0.5),
    }  # fmt: skip
    clip = "q = QuantizeLinear (c, step, zero) k = DequantizeLinear (q, step, zero)"
    model = onnx.parser.parse_model(f"""<ir_version: 8, opset_import: ["": 17]>
        g (float[N, 3, 4, 4] x) => (float[N, 3] y) {{
            c = Conv <pads = [1, 1, 1, 1]> (x, w, b)
            {clip if quantised else "k = Clip (c, low, high)"}
            n = BatchNormalization (k, scale, shift, mean, var)
            r = Relu (n)
            f = Flatten (r)
            y = MatMul (f, dense) }}""")
    read = {name for node in model.graph.node for name in node.input}
    tensors = [onnx.numpy_helper.from_array(v.astype(np.float32), k) for k, v in stored.items() if k in read]
    zero = [onnx.numpy_helper.from_array(np.array(0, np.int8), "zero")] if quantised else []
    model.graph.initializer.extend(tensors + zero)
    return model


def test_the_gradient_is_zero_where_a_rounding_clips() -> None:
    """A quantiser takes a Hardtanh into the range of its rounding; beyond it nothing changes the result."""
    x = np.random.default_rng(1).normal(size=(2, 3, 4, 4)).astype(np.float32)
    plain, rounded = (onnxlrp.load(hardtanh(q)).explain(x, 1, "gradient") for q in (False, True))
    assert apart(rounded.relevance, plain.relevance) <= 1e-5
    np.testing.assert_allclose(rounded.output, plain.output, atol=0.05)


def test_what_a_quantised_layer_rounds_is_in_its_bias(plain: Any, tmp_path: Path) -> None:
    x, _ = plain[convolutional]
    file = quantised(made(convolutional, Parts), x, tmp_path, 8, per_channel=False)
    found = onnxlrp.load(file).explain(x, target=1, method="epsilon", ledger=True).ledger
    assert max(row.error for row in found) <= 1e-4
    assert all(row.op != "BatchNormalization" for row in found)
