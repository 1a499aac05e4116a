"""What an input is: by the graph on small models of every kind, by the user's word, by what is stated, by its shape."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxlrp
from onnxlrp.errors import UsageError
from onnxlrp.graph.axes.input_axes import input_axes
from onnxlrp.graph.load import load
from onnxlrp.inputs import InputKind, decide
from support.arrays import Array
from support.paths import ROOT

FLOAT, INT = TensorProto.FLOAT, TensorProto.INT64
SHARED = ROOT.parent / "shared" / "data" / "models"


class Build:
    """A model node by node: operands are names, arrays become initialisers; the last result is the output."""

    def __init__(self, *shape: Any, dtype: Any = FLOAT) -> None:
        self.shape, self.dtype, self.nodes, self.weights = shape, dtype, [], []
        self.rng = np.random.default_rng(0)

    def __call__(self, op: Any, *operands: Any, **attributes: Any) -> str:
        names = []
        for operand in operands:
            if isinstance(operand, np.ndarray):
                array = operand.astype(np.float32) if operand.dtype.kind == "f" else operand
                self.weights.append(numpy_helper.from_array(array, f"w{len(self.weights)}"))
                operand = self.weights[-1].name
            names.append(operand)
        name = f"{op.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, names, [name], name=name, **attributes))
        return name

    def normal(self, *shape: Any) -> Any:
        return self.rng.normal(size=shape)

    def head(self, x: Any, width: Any) -> Any:
        """Flatten and a dense layer of three classes."""
        return self("Gemm", self("Flatten", x), self.normal(width, 3))

    def model(self) -> Any:
        x = helper.make_tensor_value_info("x", self.dtype, ["N", *self.shape])
        y = helper.make_tensor_value_info(self.nodes[-1].output[0], FLOAT, ["N", 3])
        graph = helper.make_graph(self.nodes, "g", [x], [y], self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def shaped(*numbers: Any) -> Array:
    return np.array(numbers, np.int64)


def plain(b: Any, channels: Any, kernel: Any = (3, 3)) -> Any:
    size = np.prod([n - k + 1 for n, k in zip((8, 9, 7), kernel, strict=False)])
    return b.head(b("Relu", b("Conv", "x", b.normal(4, channels, *kernel))), 4 * int(size))


def last(b: Any, channels: Any) -> Any:
    """Channels last: transposed in front of the first convolution."""
    moved = b("Transpose", b("Mul", "x", np.full((1, 1, 1, channels), 0.5)), perm=[0, 3, 1, 2])
    return b.head(b("Conv", moved, b.normal(4, channels, 3, 3)), 4 * 42)


def quantised(b: Any) -> Any:
    moved = b("DequantizeLinear", b("QuantizeLinear", "x", np.array(0.1)), np.array(0.1))
    return b.head(b("Conv", b("Pad", moved, shaped(0, 0, 1, 1, 0, 0, 1, 1)), b.normal(4, 2, 3, 3)), 4 * 72)


def grey(b: Any) -> Any:
    return b.head(b("Conv", b("Unsqueeze", "x", shaped(1)), b.normal(4, 1, 3, 3)), 4 * 42)


def tf_grey(b: Any) -> Any:
    return b.head(b("Conv", b("Reshape", "x", shaped(-1, 1, 8, 9)), b.normal(4, 1, 3, 3)), 4 * 42)


def patches(b: Any) -> Any:
    """A ViT's patches of 4 x 4 by reshaping, instead of by a convolution."""
    x = b("Reshape", "x", shaped(-1, 3, 2, 4, 3, 4))
    x = b("Reshape", b("Transpose", x, perm=[0, 2, 4, 1, 3, 5]), shaped(-1, 6, 48))
    return b.head(b("MatMul", x, b.normal(48, 5)), 30)


def dense_last(b: Any) -> Any:
    """A 1 x 1 convolution as a product over the last axis."""
    return b.head(b("Relu", b("MatMul", "x", b.normal(13, 4))), 4 * 72)


def mean_of_colours(b: Any) -> Any:
    return b.head(
        b("Conv", b("Unsqueeze", b("ReduceMean", "x", axes=[1], keepdims=0), shaped(1)), b.normal(4, 1, 3, 3)), 4 * 42
    )


def colour_by_colour(b: Any) -> Any:
    """As torchvision's Inception changes the normalisation of its input."""
    one = [b("Mul", b("Unsqueeze", b("Gather", "x", np.array(n), axis=1), shaped(1)), np.array(0.5)) for n in range(3)]
    return b.head(b("Conv", b("Concat", *one, axis=1), b.normal(4, 3, 3, 3)), 4 * 42)


def video(b: Any) -> Any:
    """A convolution of each frame, and the mean over frames."""
    each = b("Conv", b("Reshape", "x", shaped(-1, 3, 8, 9)), b.normal(4, 3, 3, 3))
    each = b("Relu", b("Reshape", each, shaped(-1, 5, 4 * 42)))
    return b("MatMul", b("ReduceMean", each, axes=[1], keepdims=0), b.normal(4 * 42, 3))


def depth(b: Any) -> Any:
    """YOLO's focus: space to depth in front of the first convolution."""
    return b.head(b("Conv", b("SpaceToDepth", "x", blocksize=2), b.normal(4, 12, 3, 3)), 4 * 4)


def features(b: Any) -> Any:
    return b.head(b("MatMul", b("Add", "x", b.normal(1, 20, 6)), b.normal(6, 4)), 80)


def leads(b: Any) -> Any:
    return b.head(b("MaxPool", "x", kernel_shape=[2], strides=[2]), 2 * 10)


def audio(b: Any) -> Any:
    return b.head(b("Conv", b("Unsqueeze", "x", shaped(1)), b.normal(4, 1, 5)), 4 * 28)


def frames(b: Any) -> Any:
    """A signal cut into windows of 8."""
    return b.head(b("MatMul", b("Reshape", "x", shaped(-1, 4, 8)), b.normal(8, 5)), 20)


def words(b: Any) -> Any:
    return b.head(b("Gather", b.normal(50, 4), "x"), 40)


def table(b: Any) -> Any:
    scaled = b("Div", b("Sub", "x", b.normal(1, 7)), np.full((1, 7), 2.0))
    return b("Gemm", b("Relu", b("Gemm", scaled, b.normal(7, 5))), b.normal(5, 3))


def looked_up(b: Any) -> Any:
    """A curve of brightness, as a table of one value for each level."""
    level = b("Cast", b("Mul", "x", np.array(1.0)), to=INT)
    return b.head(b("Conv", b("Gather", b.normal(256), level), b.normal(4, 2, 3, 3)), 4 * 42)


def flattened(b: Any) -> Any:
    return b.head(b("Conv", b("Reshape", "x", shaped(-1, 1, 8, 9)), b.normal(4, 1, 3, 3)), 4 * 42)


BY_GRAPH = [
    ("image, channels first", (3, 8, 9), lambda b: plain(b, 3), ("image", 0, (1, 2))),
    ("2 bands", (2, 8, 9), lambda b: plain(b, 2), ("image", 0, (1, 2))),
    ("more bands than rows", (13, 8, 9), lambda b: plain(b, 13), ("image", 0, (1, 2))),
    ("channels last", (8, 9, 3), lambda b: last(b, 3), ("image", 2, (0, 1))),
    ("2 bands last", (8, 9, 2), lambda b: last(b, 2), ("image", 2, (0, 1))),
    ("13 bands last", (8, 9, 13), lambda b: last(b, 13), ("image", 2, (0, 1))),
    ("dense layer on the last axis", (8, 9, 13), dense_last, ("image", 2, (0, 1))),
    ("quantised and padded", (2, 8, 9), quantised, ("image", 0, (1, 2))),
    ("a curve of brightness", (2, 8, 9), looked_up, ("image", 0, (1, 2))),
    ("no channels", (8, 9), grey, ("image", None, (0, 1))),
    ("one channel last, reshaped", (8, 9, 1), tf_grey, ("image", 2, (0, 1))),
    ("patches by reshaping", (3, 8, 12), patches, ("image", 0, (1, 2))),
    ("space to depth", (3, 8, 8), depth, ("image", 0, (1, 2))),
    ("grey by a mean over colours", (3, 8, 9), mean_of_colours, ("image", 0, (1, 2))),
    ("colour by colour", (3, 8, 9), colour_by_colour, ("image", 0, (1, 2))),
    ("frames of a video", (5, 3, 8, 9), video, ("volume", 1, (0, 2, 3))),
    ("volume", (2, 8, 9, 7), lambda b: plain(b, 2, (3, 3, 3)), ("volume", 0, (1, 2, 3))),
    ("signal", (12, 8), lambda b: plain(b, 12, (3,)), ("signal", 0, (1,))),
    ("pooled leads", (2, 20), leads, ("signal", 0, (1,))),
    ("features of each step", (20, 6), features, ("signal", 1, (0,))),
    ("samples alone", (32,), audio, ("signal", None, (0,))),
    ("windows of samples", (32,), frames, ("signal", None, (0,))),
    ("table", (7,), table, ("vector", None, ())),
    ("flattened picture", (72,), flattened, ("vector", None, ())),
]


@pytest.mark.parametrize(
    ("shape", "build", "expected"), [row[1:] for row in BY_GRAPH], ids=[row[0] for row in BY_GRAPH]
)
def test_the_graph_tells(shape: Any, build: Any, expected: Any) -> None:
    b = Build(*shape)
    build(b)
    graph = load(b.model())
    found = input_axes(graph, graph.inputs[0])
    assert found is not None
    assert (found.name, found.channel_axis, found.spatial_axes) == expected
    kind = decide(shape, graph=found)
    assert kind.source.startswith("graph: ")
    assert kind.is_told


def test_whole_numbers_that_are_looked_up_are_tokens() -> None:
    b = Build(10, dtype=INT)
    words(b)
    kind = onnxlrp.load(b.model(), engine="reference").kind
    assert (kind.name, kind.spatial_axes) == ("tokens", (0,))
    assert "gather" in kind.source.lower()


def test_where_all_is_flattened_first_the_shape_is_taken_and_said() -> None:
    b = Build(1, 8, 9)
    b.head("x", 72)
    kind = onnxlrp.load(b.model(), engine="reference").kind
    assert kind == InputKind("image", (1, 8, 9), 0, (1, 2), "assumed from the shape [1, 8, 9]")
    assert not kind.is_told


@pytest.mark.parametrize("shape", [(1, 12, 9), (3, 12, 9)])
@pytest.mark.parametrize("left", [False, True])
def test_a_matrix_that_resizes_a_picture_is_not_taken_for_channels(shape: tuple[int, ...], left: bool) -> None:
    b = Build(*shape)
    resized = b("MatMul", b.normal(6, 12), "x") if left else b("MatMul", "x", b.normal(9, 6))
    b.head(resized, int(np.prod(shape)) // (12 if left else 9) * 6)
    kind = onnxlrp.load(b.model(), engine="reference").kind
    assert (kind.name, kind.channel_axis) == ("image", 0)
    assert not kind.is_told


def test_readers_that_disagree_are_named() -> None:
    """A convolution and a product over the last axis: the convolution's word counts."""
    b = Build(4, 6)
    conv = b("Flatten", b("Conv", "x", b.normal(2, 4, 3)))
    rows = b("Flatten", b("MatMul", "x", b.normal(6, 2)))
    b("Add", b("Gemm", conv, b.normal(8, 3)), b("Gemm", rows, b.normal(8, 3)))
    kind = onnxlrp.load(b.model(), engine="reference").kind
    assert (kind.name, kind.channel_axis) == ("signal", 0)
    assert "matmul" in kind.source.lower()
    assert "otherwise" in kind.source


def test_the_users_word_goes_first() -> None:
    b = Build(1, 8, 9)
    b.head("x", 72)
    model = onnxlrp.load(b.model(), engine="reference", kind="vector")
    assert (model.kind.name, model.kind.grid, model.kind.source) == ("vector", (1, 8, 9), "--kind")
    other = model.choose(kind="image:NHWC")
    assert (other.kind.channel_axis, other.kind.grid) == (2, (1, 8))
    found = model.explain(np.ones((1, 1, 8, 9), np.float32), kind="image")
    assert found.kind == InputKind("image", (1, 8, 9), 0, (1, 2), "--kind")
    with pytest.raises(UsageError, match="axes of space"):
        model.choose(kind="signal")


@pytest.mark.parametrize(("name", "shape"), [("image", (20, 6)), ("vector", (20, 6)), ("tokens", (20, 6))])
def test_the_word_overrules_the_graph(name: str, shape: tuple[int, ...]) -> None:
    b = Build(*shape)
    features(b)
    kind = onnxlrp.load(b.model(), engine="reference", kind=name).kind
    assert (kind.name, kind.source) == (name, "--kind")
    if name == "image":  # as the message for a picture at a signal's input says
        assert (kind.layout, kind.grid) == ("NHW", shape)


def test_the_word_is_of_one_input() -> None:
    """Another input is what the graph takes it for."""
    nodes = [
        helper.make_node("MatMul", ["a", "w"], ["aw"]),
        helper.make_node("MatMul", ["b", "v"], ["bv"]),
        helper.make_node("Add", ["aw", "bv"], ["y"]),
    ]
    held = [numpy_helper.from_array(np.ones(s, np.float32), n) for n, s in (("w", (4, 3)), ("v", (6, 3)))]
    inputs = [helper.make_tensor_value_info(n, FLOAT, ["N", k]) for n, k in (("a", 4), ("b", 6))]
    graph = helper.make_graph(nodes, "g", inputs, [helper.make_tensor_value_info("y", FLOAT, ["N", 3])], held)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    model = onnxlrp.load(proto, engine="reference", kind="signal")
    assert (model.kind.name, model.choose(output="y").kind.name) == ("signal", "signal")
    assert model.choose(input="b").kind.name == "vector"
    assert model.choose(input="b", kind="tokens").kind.name == "tokens"


@pytest.mark.parametrize(
    ("word", "shape", "expected"),
    [
        ("image", (8, 9), ("image", None, (0, 1))),
        ("image:NHWC", (3, 8, 9), ("image", 2, (0, 1))),
        ("image", (8, 9, 20), ("image", 0, (1, 2))),
        ("image", (20, 6), ("image", None, (0, 1))),
        ("signal", (1, 500), ("signal", 0, (1,))),
        ("signal:NLC", (12, 500), ("signal", 1, (0,))),
        ("signal", (500,), ("signal", None, (0,))),
        ("volume:NDHWC", (4, 5, 6, 2), ("volume", 3, (0, 1, 2))),
        ("volume", (4, 5, 6), ("volume", None, (0, 1, 2))),
        ("tokens", (16,), ("tokens", None, (0,))),
        ("vector", (3, 4), ("vector", None, ())),
    ],
)
def test_words(word: str, shape: tuple[int, ...], expected: tuple[Any, ...]) -> None:
    kind = decide(shape, word=word)
    assert (kind.name, kind.channel_axis, kind.spatial_axes) == expected
    assert kind.source == "--kind"


@pytest.mark.parametrize(
    ("word", "shape", "fix"),
    [
        ("imgae", (3, 8, 9), "image"),
        ("image:NHWC", (8, 9), "image:"),
        ("image:CHW", (3, 8, 9), "N and a letter"),
        ("image", (8,), "--kind signal"),
        ("signal", (3, 8, 9), "--kind image"),
    ],
)
def test_words_that_do_not_fit(word: str, shape: tuple[int, ...], fix: str) -> None:
    with pytest.raises(UsageError) as caught:
        decide(shape, word=word)
    assert fix in caught.value.fix


def test_a_fix_that_names_a_layout_is_taken() -> None:
    for word, shape in (("image:NHWC", (8, 9)), ("image:CHW", (3, 8, 9)), ("volume:X", (2, 3, 4, 5))):
        with pytest.raises(UsageError) as caught:
            decide(shape, word=word)
        assert decide(shape, word=caught.value.fix.split("--kind ")[1]).name == word.split(":")[0]


@pytest.mark.parametrize(
    ("shape", "dtype", "expected"),
    [
        ((3, 224, 224), "float32", ("image", 0, (1, 2))),
        ((224, 224, 3), "float32", ("image", 2, (0, 1))),
        ((64, 64, 13), "float32", ("image", 2, (0, 1))),
        ((28, 28), "float32", ("image", None, (0, 1))),
        ((2, 100), "float32", ("signal", 0, (1,))),
        ((100, 2), "float32", ("signal", 1, (0,))),
        ((10,), "float32", ("vector", None, ())),
        ((), "float32", ("vector", None, ())),
        ((128,), "int64", ("tokens", None, (0,))),
        ((1, 16, 32, 32), "float32", ("volume", 0, (1, 2, 3))),
    ],
)
def test_shapes_that_nobody_explains(shape: tuple[int, ...], dtype: str, expected: tuple[Any, ...]) -> None:
    kind = decide(shape, dtype)
    assert (kind.name, kind.channel_axis, kind.spatial_axes) == expected
    assert kind.source.startswith("assumed")


def test_a_series_is_as_long_as_it_is_and_features_are_counted() -> None:
    assert decide((900,), open_length=True).spatial_axes == (0,)
    assert decide((900,), "int64", open_length=True).name == "tokens"
    nodes = "a = Unique <axis = 1> (x)\n m = ReduceMean <axes = [1]> (a)\n y = MatMul (m, w)"
    text = '<ir_version: 8, opset_import: ["" : 17]> g (float[N, T] x) => (float[N, 2] y) <float[1, 2] w = {1, -1}>'
    model = onnxlrp.load(onnx.parser.parse_model(f"{text} {{ {nodes} }}"))
    assert model.kind.name == model.at((900,)).kind.name == "signal"
    assert model.kind.source == "assumed from its open length"


def test_a_stated_preprocessing_makes_a_picture() -> None:
    assert decide((5, 100), stated=("flags", None)).is_image
    kind = decide((3, 5, 3), stated=("net.prep.toml", "NHWC"))
    assert (kind.channel_axis, kind.source) == (2, "preprocessing: net.prep.toml")
    assert decide((7,), stated=("flags", None)).name == "vector"


ARRAYS = [
    InputKind("image", (3, 4, 5), 0, (1, 2), ""),
    InputKind("image", (4, 5, 13), 2, (0, 1), ""),
    InputKind("image", (4, 5), None, (0, 1), ""),
    InputKind("image", (1, 3, 4, 5), 1, (2, 3), ""),
    InputKind("volume", (2, 3, 4, 5), 0, (1, 2, 3), ""),
    InputKind("signal", (2, 9), 0, (1,), ""),
    InputKind("signal", (9, 2), 1, (0,), ""),
    InputKind("vector", (9,), None, (), ""),
]


@pytest.mark.parametrize("kind", ARRAYS, ids=lambda kind: kind.describe())
def test_maps_keep_sums_and_find_back(kind: Any) -> None:
    x = np.random.default_rng(0).normal(size=(2, *kind.shape))
    maps = kind.to_maps(x)
    assert maps.ndim == 3
    np.testing.assert_allclose(maps.sum(axis=(1, 2)), x.reshape(2, -1).sum(axis=1))
    heat = kind.summed(x)
    assert heat.shape == (2, *kind.grid)
    np.testing.assert_allclose(kind.summed(kind.shared(heat)), heat)
    np.testing.assert_array_equal(kind.from_channels_last(kind.channels_last(x)), x)
    assert kind.channels_last(x).shape[:-1] == heat.shape
    assert (kind.expanded(heat) * x).shape == x.shape
    assert InputKind.from_dict(kind.to_dict()) == kind
    drawn = kind.to_drawing(x[0])
    if kind.name == "volume":
        assert drawn is None
    else:
        np.testing.assert_allclose(drawn.sum(), x[0].sum())


def test_maps_of_an_image_are_sums_over_its_channels() -> None:
    x = np.random.default_rng(0).normal(size=(2, 8, 9, 3))
    np.testing.assert_allclose(InputKind("image", (8, 9, 3), 2, (0, 1), "").to_maps(x), x.sum(axis=3))
    x = np.moveaxis(x, 3, 1)
    np.testing.assert_allclose(InputKind("image", (3, 8, 9), 0, (1, 2), "").to_maps(x), x.sum(axis=1))


def test_what_is_stored_and_damaged_is_refused() -> None:
    stored = ARRAYS[0].to_dict()
    for wrong in ({"name": "picture"}, {"channel_axis": 7}, {"spatial_axes": [3, 4]}):
        with pytest.raises(ValueError, match="kind"):
            InputKind.from_dict({**stored, **wrong})


LAST = {"fer2013_mini_xception_tf2onnx", "mlperf_resnet8_cifar10_tf2onnx", "mobilenet_v1_0.25_128_quant_qdq",
        "mobilenet_v1_0.25_224_imagenet_tf2onnx"}  # fmt: skip


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared models are not here")
@pytest.mark.parametrize("path", sorted(SHARED.glob("*.onnx")), ids=lambda path: path.stem)
def test_real_files(path: Any) -> None:
    """All are of pictures; channels last where TensorFlow wrote them."""
    onnx.checker.check_model(str(path))
    kind = onnxlrp.load(path, engine="reference").kind
    assert kind.is_image
    assert kind.is_told
    assert kind.channels in (1, 3)
    assert kind.channel_axis == (2 if path.stem in LAST else 0)
