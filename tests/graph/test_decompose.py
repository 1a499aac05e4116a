"""Operators that onnxruntime's optimiser fuses, one by one against onnxruntime, and whole models that it optimised."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

import onnxlrp
from onnxlrp.errors import UnsupportedError
from onnxlrp.graph.load import load
from onnxlrp.graph.verify import verify
from support.tiny_models import conv, model, node, values


def fused(op: Any, inputs: Any, outputs: Any = ("y",), domain: str = "com.microsoft", **attributes: Any) -> Any:
    return node(op, list(inputs), list(outputs), name=f"the{op}", domain=domain, **attributes)


def of(*nodes: Any, constants: Any = None, **options: Any) -> Any:
    source = model(list(nodes), constants or {}, **options)
    source.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return source


TOKENS = ("N", 6, 8)
HALF = {"gamma": values(8), "beta": values(8, seed=1), "bias": values(8, seed=2), "skip": values(1, 6, 8, seed=3)}
GEMM = {"w": values(8, 5), "c": values(5, seed=1)}
# Each case: the fused nodes, constants, the input's shape, the operators that stand for them.
CASES = {
    "conv relu": ([fused("FusedConv", "xw", activation="Relu", pads=[1] * 4)], {"w": values(3, 4, 3, 3)},
                  ("N", 4, 8, 8), ["Conv", "Relu"]),
    "conv add relu": ([conv("x", "z", "v", name="skip"), fused("FusedConv", ["x", "w", "b", "z"], activation="Relu")],
                      {"w": values(3, 4, 1, 1), "b": values(3), "v": values(3, 4, 1, 1, seed=1)}, ("N", 4, 8, 8),
                      ["Conv", "Conv", "Add", "Relu"]),
    "conv leaky": ([fused("FusedConv", "xwb", activation="LeakyRelu", activation_params=[0.3], strides=[2, 2])],
                   {"w": values(3, 4, 3, 3), "b": values(3)}, ("N", 4, 8, 8), ["Conv", "LeakyRelu"]),
    "conv clip": ([fused("FusedConv", "xwb", activation="Clip", activation_params=[-0.5, 0.7])],
                  {"w": values(3, 4, 3, 3), "b": values(3)}, ("N", 4, 8, 8), ["Conv", "Clip"]),
    "conv hard sigmoid": ([fused("FusedConv", "xwb", activation="HardSigmoid", activation_params=[0.25, 0.4])],
                          {"w": values(3, 4, 3, 3), "b": values(3)}, ("N", 4, 8, 8), ["Conv", "HardSigmoid"]),
    "gemm": ([fused("FusedGemm", "xwc", activation="LeakyRelu", activation_alpha=0.2, alpha=0.5, beta=2.0)],
             GEMM, ("N", 8), ["Gemm", "LeakyRelu"]),
    "matmul": ([fused("FusedMatMul", "xw", alpha=0.25, transB=1)], {"w": values(5, 8)}, TOKENS, ["MatMul"]),
    "matmul of activations": ([fused("FusedMatMul", "xx", alpha=0.25, transA=1)], {}, TOKENS,
                              ["Transpose", "MatMul", "Mul"]),
    "matmul, batch": ([node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
                       fused("FusedMatMul", "tx", transBatchA=1, transB=1)], {}, TOKENS, None),
    "gelu": ([fused("Gelu", "x")], {}, TOKENS, ["Gelu"]),
    "fast gelu": ([fused("FastGelu", ["x", "bias"])], HALF, TOKENS, ["Add", "Gelu"]),
    "bias gelu": ([fused("BiasGelu", ["x", "bias"])], HALF, TOKENS, ["Add", "Gelu"]),
    "quick gelu": ([fused("QuickGelu", "x", alpha=1.702)], {}, TOKENS, ["Mul", "Sigmoid", "Mul"]),
    "silu": ([fused("QuickGelu", "x", alpha=1.0)], {}, TOKENS, ["Sigmoid", "Mul"]),
    "skip norm": ([fused("SkipLayerNormalization", ["x", "skip", "gamma", "beta"], epsilon=1e-5)], HALF, TOKENS,
                  ["Add", "LayerNormalization"]),
    "skip norm, bias, sum": ([fused("SkipLayerNormalization", ["x", "skip", "gamma", "beta", "bias"],
                                    ["n", "", "", "s"], epsilon=1e-5), node("Mul", ["n", "s"], ["y"])], HALF, TOKENS,
                             ["Add", "Add", "LayerNormalization", "Mul"]),
    "skip norm, no beta": ([fused("SkipLayerNormalization", ["x", "skip", "gamma"], epsilon=1e-3)], HALF, TOKENS,
                           ["Add", "LayerNormalization"]),
    "skip rms norm": ([fused("SkipSimplifiedLayerNormalization", ["x", "skip", "gamma", "bias"], epsilon=1e-5)], HALF,
                      TOKENS, ["Add", "Add", "RMSNormalization"]),
    "rms norm": ([fused("SimplifiedLayerNormalization", ["x", "gamma"], domain="", axis=-1, epsilon=1e-5)], HALF,
                 TOKENS, ["RMSNormalization"]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_a_fused_operator_stands_for(case: str) -> None:
    nodes, constants, shape, operators = CASES[case]
    used = {name for n in nodes for name in n.input}
    source = of(*nodes, constants={k: v for k, v in constants.items() if k in used}, shape=shape)
    graph = load(source)
    assert operators is None or [layer.op for layer in graph.layers] == operators
    assert set(graph.opsets) == {""}
    assert len({layer.name for layer in graph.layers}) == len(graph.layers)
    assert any(layer.name.startswith("the") for layer in graph.layers)
    assert verify(graph, source) < 1e-5


@pytest.mark.parametrize("opset", [11, 13, 17, 21])
def test_layer_normalization_at_any_opset(opset: int) -> None:
    """onnxruntime fuses into ai.onnx operators that this opset does not have."""
    nodes = [
        fused("LayerNormalization", ["x", "gamma", "beta"], ["a"], domain="", axis=-1, epsilon=1e-5),
        fused("SimplifiedLayerNormalization", ["a", "gamma"], ["r"], domain="", axis=-1, epsilon=1e-5),
        fused("BiasGelu", ["r", "bias"]),
    ]
    constants = {k: HALF[k] for k in ("gamma", "beta", "bias")}
    source = of(*nodes, constants=constants, shape=TOKENS, opset=opset)
    graph = load(source)
    assert [layer.op for layer in graph.layers] == ["LayerNormalization", "RMSNormalization", "Add", "Gelu"]
    assert verify(graph, source) < 1e-5


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("zeros", [False, True])
def test_weights_in_blocks_of_integers(bits: int, zeros: bool) -> None:
    rng = np.random.default_rng(bits)
    width, rows, block = 40, 6, 16
    blocks, size = 3, block * bits // 8
    constants = {
        "q": rng.integers(0, 256, (rows, blocks, size)).astype(np.uint8),
        "scales": rng.uniform(0.01, 0.1, rows * blocks).astype(np.float32),
        "zeros": rng.integers(0, 256, rows * -(-blocks * bits // 8)).astype(np.uint8),
    }
    inputs = ["x", "q", "scales", "zeros"][: 4 if zeros else 3]
    product = fused("MatMulNBits", inputs, K=width, N=rows, bits=bits, block_size=block)
    source = of(product, constants={k: constants[k] for k in inputs[1:]}, shape=("N", 5, width))
    graph = load(source)
    assert [layer.op for layer in graph.layers] == ["MatMul"]
    # onnxruntime computes with integer activations where the file allows it; this one does not.
    assert verify(graph, source) < 1e-4


def test_the_main_layer_keeps_name_and_path() -> None:
    source = of(
        node("FusedConv", ["x", "w"], ["y"], name="/features/features.0/Conv", domain="com.microsoft",
             activation="Relu"),
        constants={"w": values(3, 4, 3, 3)},
    )  # fmt: skip
    first, second = load(source).layers
    assert (first.op, first.name, first.path) == ("Conv", "/features/features.0/Conv", "features.0")
    assert (second.op, second.name, second.path) == ("Relu", "/features/features.0/Conv/Relu", "")


def test_an_unknown_variant_is_refused_by_name() -> None:
    constants = {"q": np.zeros((6, 1, 16), np.uint8), "s": values(6), "g": np.zeros(16, np.int32)}
    product = fused("MatMulNBits", ["x", "q", "s", "", "g"], K=16, N=6, bits=8, block_size=16)
    with pytest.raises(UnsupportedError, match="theMatMulNBits") as error:
        load(of(product, constants=constants, shape=("N", 5, 16)))
    assert "optimised from" in error.value.fix


def optimised(source: Any, level: Any) -> Callable[..., Any]:
    """The model that onnxruntime saves at an optimisation level."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_ENABLE_{level}")
    options.log_severity_level = 4

    def run(path: Any) -> Any:
        options.optimized_model_filepath = str(path)
        onnxruntime.InferenceSession(source.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return onnx.load(path)

    return run


def small(opset: int = 17) -> Any:
    """Residual convolutions, a gate, SiLU, Gelu and LayerNormalization as exporters write them out."""
    rng = np.random.default_rng(5)

    def weight(*shape: Any) -> Any:
        return (rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]) / 2)).astype(np.float32)

    constants = {
        "w1": weight(8, 4, 3, 3), "w2": weight(8, 8, 3, 3), "w3": weight(8, 8, 3, 3), "b": weight(8),
        "w4": weight(8, 16), "w5": weight(16, 5), "b4": weight(16), "b5": weight(5), "gamma": weight(8) + 1,
        "sqrt2": np.array(2**0.5, "f"), "one": np.array(1.0, "f"), "half": np.array(0.5, "f"),
        "two": np.array(2.0, "f"), "eps": np.array(1e-5, "f"), "zero": np.array(0.0, "f"), "six": np.array(6.0, "f"),
    }  # fmt: skip
    nodes = [
        conv("x", "a", "w1", "b", name="c1", pads=[1] * 4), node("Clip", ["a", "zero", "six"], ["r1"]),
        conv("r1", "c", "w2", "b", name="c2", pads=[1] * 4), node("Relu", ["c"], ["r2"]),
        conv("r2", "d", "w3", name="c3", pads=[1] * 4), node("Add", ["d", "r1"], ["e"]), node("Relu", ["e"], ["f"]),
        node("Sigmoid", ["f"], ["sg"]), node("Mul", ["f", "sg"], ["silu"]),
        node("GlobalAveragePool", ["silu"], ["g"]), node("Flatten", ["g"], ["h"]),
        node("ReduceMean", ["h"], ["mean"], axes=[-1]), node("Sub", ["h", "mean"], ["centred"]),
        node("Pow", ["centred", "two"], ["square"]), node("ReduceMean", ["square"], ["var"], axes=[-1]),
        node("Add", ["var", "eps"], ["var2"]), node("Sqrt", ["var2"], ["std"]),
        node("Div", ["centred", "std"], ["normal"]), node("Mul", ["normal", "gamma"], ["scaled"]),
        node("Add", ["scaled", "b"], ["norm"]),
        node("MatMul", ["norm", "w4"], ["m"]), node("Add", ["m", "b4"], ["mb"]), node("Div", ["mb", "sqrt2"], ["q"]),
        node("Erf", ["q"], ["erf"]), node("Add", ["erf", "one"], ["erf1"]), node("Mul", ["mb", "erf1"], ["mm"]),
        node("Mul", ["mm", "half"], ["gelu"]), node("Gemm", ["gelu", "w5", "b5"], ["y"]),
    ]  # fmt: skip
    return model(nodes, constants, opset=opset)


@pytest.mark.few(3)
@pytest.mark.parametrize("opset", [11, 13, 17])
@pytest.mark.parametrize("level", ["BASIC", "EXTENDED"])
def test_a_model_that_onnxruntime_optimised(tmp_path: Path, opset: int, level: str) -> None:
    """The same heatmap as the model that it was made from."""
    source = small(opset)
    path = tmp_path / "optimised.onnx"
    saved = optimised(source, level)(path)
    kinds = {n.op_type for n in saved.graph.node}
    assert ({"FusedConv", "LayerNormalization"} <= kinds) == (level == "EXTENDED")
    graph = load(path)
    assert verify(graph, path) < 1e-5
    x = values(2, 4, 8, 8)
    for method in ("gradient", "epsilon"):
        own, expected = (onnxlrp.load(m, engine="ort").explain(x, method=method) for m in (path, source))
        np.testing.assert_allclose(own.output, expected.output, atol=1e-5 * np.abs(expected.output).max())
        np.testing.assert_allclose(own.relevance, expected.relevance, atol=1e-4 * np.abs(expected.relevance).max())


def test_a_model_for_one_machine_is_refused_with_the_fix() -> None:
    alone = of(node("Conv", ["x", "w"], ["y"], name="c", domain="com.microsoft.nchwc"),
               constants={"w": values(8, 4, 1, 1)})  # fmt: skip
    alone.opset_import.append(helper.make_opsetid("com.microsoft.nchwc", 1))
    with pytest.raises(UnsupportedError, match=r'"c" is a com\.microsoft\.nchwc::Conv') as error:
        load(alone)
    assert "ORT_ENABLE_EXTENDED" in error.value.fix
