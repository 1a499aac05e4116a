"""Graphs that were wrong once, reduced to the operators that it takes, under the judge of the random ones.

The judge asks the untouched file for the scores, and finite differences of the reference engine's forward pass for the
slope; the reference engine's scores are compared with the file's here.
"""

from __future__ import annotations

import math

import numpy as np
import onnx
import pytest

import onnxlrp
from onnxlrp.errors import UnsupportedError
from support import graph_judge
from support.random_graphs.graph import F, Made

RESIZE = "coordinate_transformation_mode"
# A name: opset, the shape of x per sample, and nodes that write t.
CASES: dict[str, tuple[int, tuple[int, ...], str]] = {
    # Scales that change no length: onnxruntime copies, and relevance stays where it is.
    **{
        f"resize, {mode}, {rule}, of a length that stays": (
            19, (1, 3, 3), f'''s = Constant <value_floats = [1.0, 1.0, 1.3, 1.2]> ()
            t = Resize <mode = "{mode}", {RESIZE} = "{rule}"> (x, , s)''',
        )
        for mode in ("nearest", "linear", "cubic")
        for rule in ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric")
    },
    "resize, opset 10, of a length that stays": (
        10, (1, 3, 3), 't = Resize <mode = "linear"> (x, scales)',
    ),
    # pytorch_half_pixel begins at the first element where one is left.
    **{
        f"resize, {mode}, to one element": (
            19, (2, 2, 3), f'''s = Constant <value_floats = [1.0, 1.0, 0.6, 3.0]> ()
            t = Resize <mode = "{mode}", {RESIZE} = "pytorch_half_pixel"> (x, , s)''',
        )
        for mode in ("linear", "cubic")
    },
    "resize to one element by its size": (
        19, (2, 4, 3), f'''s = Constant <value_ints = [1, 2]> ()
        t = Resize <mode = "linear", {RESIZE} = "pytorch_half_pixel", axes = [2, 3]> (x, , , s)''',
    ),
    # VALID rounds up where ceil_mode says so.
    **{
        f"{op} of VALID, rounded up": (
            19, (2, 6), f't = {op} <kernel_shape = [3], strides = [2], auto_pad = "VALID", ceil_mode = 1> (x)',
        )
        for op in ("MaxPool", "AveragePool", "LpPool")
    },
    # R/2 + R/2: onnxruntime loses a product with 1 that a division reads ("not a graph input, initializer, …").
    "a mean of what differs by a constant": (
        18, (3, 4), """c = Constant <value_floats = [0.5]> ()
        a = Atan (x)
        b = Sub (a, c)
        t = Mean (a, b)""",
    ),
    "a transposed convolution with a wide kernel": (
        13, (4, 2, 2), "t = ConvTranspose <kernel_shape = [3, 3], strides = [2, 2]> (x, filters)",
    ),
    # onnx's converter to newer opsets leaves the value of such a Pad as an attribute.
    **{
        f"pad, {mode}, with a value": (
            10, (2, 3, 4), f't = Pad <mode = "{mode}", pads = [0, 0, 0, 1, 0, 0, 0, 1], value = 0.5> (x)',
        )
        for mode in ("reflect", "edge", "constant")
    },
}  # fmt: skip


def made(opset: int, shape: tuple[int, ...], nodes: str, **more: np.ndarray) -> Made:
    """x through the nodes and a dense layer to y [N, 3]."""
    rng = np.random.default_rng(0)
    sides = ", ".join(map(str, shape))
    text = f"""<ir_version: 8, opset_import: ["": {opset}]>
        g (float[N, {sides}] x) => (float[N, 3] y) {{ {nodes}
        f = Flatten (t)
        y = MatMul (f, w) }}"""
    model = onnx.parser.parse_model(text)
    constants = {"scales": np.array([1, 1, 1.3, 1.2], F), "filters": np.ones((4, 2, 3, 3), F)}
    x = rng.normal(size=(3, *shape)).astype(F)
    constants |= more
    size = flattened(model, x[:1], constants)
    constants["w"] = rng.normal(size=(size, 3)).astype(F)
    model.graph.initializer.extend(stored(constants, model))
    return Made(model, x, {}, quantized=False)


def stored(constants: dict[str, np.ndarray], model: onnx.ModelProto) -> list[onnx.TensorProto]:
    read = {name for node in model.graph.node for name in node.input}
    return [onnx.numpy_helper.from_array(value, name) for name, value in constants.items() if name in read]


def flattened(model: onnx.ModelProto, x: np.ndarray, constants: dict[str, np.ndarray]) -> int:
    """The number of values before the dense layer, by onnxruntime."""
    start = onnx.ModelProto()
    start.CopyFrom(model)
    del start.graph.node[-1], start.graph.output[:]
    start.graph.output.append(onnx.helper.make_tensor_value_info("f", 1, None))
    start.graph.initializer.extend(stored(constants, start))
    return math.prod(graph_judge.session(start).run(None, {"x": x})[0].shape)


@pytest.mark.few(10)
@pytest.mark.parametrize("name", CASES)
def test_a_graph_that_was_wrong(name: str) -> None:
    case = made(*CASES[name])
    assert graph_judge.judge(case) == "explained"
    reference = onnxlrp.load(case.model, engine="reference").explain(case.x, target=1, method="gradient")
    np.testing.assert_allclose(reference.output, graph_judge.untouched(case), rtol=1e-4, atol=1e-4)


def test_a_dilated_pooling_that_pads_by_itself_is_refused() -> None:
    """onnxruntime reckons the pads without the dilations, so that the result is shorter than the standard's."""
    nodes = """p = MaxPool <kernel_shape = [3], dilations = [2], auto_pad = "SAME_UPPER"> (x)
        t = GlobalAveragePool (p)"""
    case = made(13, (1, 6), nodes)
    assert graph_judge.judge(case).startswith("refused: ")
    with pytest.raises(UnsupportedError, match="auto_pad SAME_UPPER"):
        onnxlrp.load(case.model).explain(case.x, 0, "gradient")
    hidden = onnxlrp.load(case.model).explain(case.x, 0, "occlusion")
    np.testing.assert_allclose(hidden.output, graph_judge.untouched(case), rtol=1e-5)


def test_scores_of_a_model_that_cannot_be_read_are_not_rounded() -> None:
    """Weights of int8 behind DequantizeLinear: onnxruntime's own optimiser rounds the activations beside them."""
    rng = np.random.default_rng(0)
    constants: dict[str, np.ndarray] = {
        "stored": rng.integers(-127, 128, (8, 16)).astype(np.int8), "scale": np.linspace(1e-4, 1e-3, 16).astype(F),
        "zero": np.zeros(16, np.int8), "lw": rng.normal(size=(1, 8, 16)).astype(F) / 4,
        "lr": rng.normal(size=(1, 8, 2)).astype(F) / 4, "first": np.array([0]),
    }  # fmt: skip
    nodes = """d = DequantizeLinear <axis = 1> (stored, scale, zero)
        m = MatMul (x, d)
        b = Transpose <perm = [1, 0, 2]> (m)
        s, h = LSTM <hidden_size = 2, activations = ["Sigmoid", "Tanh", "ThresholdedRelu"]> (b, lw, lr)
        t = Squeeze (h, first)"""
    case = made(21, (3, 8), nodes, **constants)
    assert graph_judge.judge(case).startswith("refused: ")


@pytest.mark.parametrize("op", ["AveragePool", "LpPool"])
def test_a_pooling_that_skips_at_both_ends_is_refused(op: str) -> None:
    """Kernel 1, stride 3, length 6, SAME: the elements 0 and 3 by the standard, 1 and 4 by onnxruntime."""
    case = made(19, (1, 6), f't = {op} <kernel_shape = [1], strides = [3], auto_pad = "SAME_UPPER"> (x)')
    assert graph_judge.judge(case).startswith("refused: ")


def test_a_dilated_window_that_is_longer_than_its_input_is_refused() -> None:
    """onnxruntime makes one result of it, where the standard has none."""
    nodes = "t = MaxPool <kernel_shape = [1, 3], dilations = [2, 2], strides = [2, 2]> (x)"
    case = made(13, (4, 4, 4), nodes)
    assert "larger than its input of 4 x 4" in graph_judge.judge(case)


def test_indices_of_one_sample_are_those_of_all() -> None:
    """Indices that are expanded to the batch and repeat: relevance follows the updates that the forward pass kept."""
    nodes = """s = Shape (x)
        i = Expand (index, s)
        u = Sigmoid (x)
        t = ScatterElements <axis = 2> (x, i, u)"""
    index = np.random.default_rng(0).integers(0, 4, (1, 3, 4))
    assert graph_judge.judge(made(18, (3, 4), nodes, index=index)) == "explained"
