"""No foreign exception reaches the user: every public entry point, fed with what does not fit, raises an OnnxLrpError.

The generator damages small sound models and files in one place each. What may happen: a result of finite numbers, or an
OnnxLrpError with a message and a fix. Python's warnings are errors here.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

import onnxlrp
from onnxlrp.errors import InputError, OnnxLrpError, UnsupportedError

F = np.float32
RNG = np.random.default_rng(0)
IMAGE = (2, 6, 6)
WEIGHT = RNG.normal(size=(4, 2, 3, 3)).astype(F)


def net(
    op: str, inputs: list[str], constants: dict[str, Any], shape: Any = IMAGE, **attributes: Any
) -> onnx.ModelProto:
    """One operator, flattened to scores."""
    nodes = [helper.make_node(op, inputs, ["c"], **attributes), helper.make_node("Flatten", ["c"], ["y"])]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", 1, ["N", *shape])],
        [helper.make_tensor_value_info("y", 1, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def outcome(model: onnx.ModelProto, x: Any, **options: Any) -> OnnxLrpError | None:
    """What explaining ends in, by both engines: None for finite relevance."""
    found: OnnxLrpError | None = None
    for engine in ("ort", "reference"):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                made = onnxlrp.load(model, engine=engine).explain(x, target=0, **options)
                assert np.isfinite(made.relevance).all()
            except OnnxLrpError as error:
                found = error
    assert found is None or (found.message and found.fix)
    return found


SMALL = st.integers(-2, 9)
PAIR = st.lists(SMALL, min_size=1, max_size=3)


@st.composite
def damaged_windows(draw: st.DrawFn) -> onnx.ModelProto:
    """Convolutions and poolings whose attributes fit only by chance."""
    op = draw(st.sampled_from(["Conv", "ConvTranspose", "MaxPool", "AveragePool", "LpPool"]))
    convolution = op.startswith("Conv")
    names = ["kernel_shape", "strides", "dilations", "group"] if convolution else ["kernel_shape", "strides"]
    attributes: dict[str, Any] = {} if convolution else {"kernel_shape": [2, 2]}
    for name in draw(st.lists(st.sampled_from(names), max_size=2, unique=True)):
        attributes[name] = draw(SMALL if name == "group" else PAIR)
    if draw(st.booleans()):
        attributes["pads"] = draw(st.lists(SMALL, min_size=3, max_size=5))
    size = draw(st.sampled_from([1, 3, 9]))
    weight = np.ones((4, 2, size, size), F) if op == "Conv" else np.ones((2, 4, size, size), F)
    return net(op, ["x", "w"] if convolution else ["x"], {"w": weight} if convolution else {}, **attributes)


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(damaged_windows(), st.sampled_from(["gradient", "epsilon_plus", "occlusion"]))
def test_windows_and_groups(model: onnx.ModelProto, method: str) -> None:
    outcome(model, RNG.normal(size=(2, *IMAGE)).astype(F), method=method)


@st.composite
def damaged_indices(draw: st.DrawFn) -> onnx.ModelProto:
    """Rearrangements by constants that fit only by chance."""
    many = np.array(draw(st.lists(st.integers(-9, 99), min_size=1, max_size=4)), np.int64)
    axis = draw(st.integers(-3, 6))
    makers = {
        "Gather": lambda: net("Gather", ["x", "i"], {"i": many}, axis=axis),
        "Reshape": lambda: net("Reshape", ["x", "i"], {"i": many}),
        "Transpose": lambda: net("Transpose", ["x"], {}, perm=many.tolist()),
        "Softmax": lambda: net("Softmax", ["x"], {}, axis=axis),
        "ReduceSum": lambda: net("ReduceSum", ["x", "i"], {"i": many}),
        "Split": lambda: net("Split", ["x", "i"], {"i": many}, axis=axis),
        "Slice": lambda: net("Slice", ["x", "i", "j"], {"i": many, "j": many + 3}),
        "Pad": lambda: net("Pad", ["x", "i"], {"i": np.resize(many, 8)}),
        "Expand": lambda: net("Expand", ["x", "i"], {"i": many}),
        "Tile": lambda: net("Tile", ["x", "i"], {"i": np.resize(many % 5, 4)}),
        "Concat": lambda: net("Concat", ["x", "x"], {}, axis=axis),
        "DepthToSpace": lambda: net("DepthToSpace", ["x"], {}, blocksize=axis),
        "LRN": lambda: net("LRN", ["x"], {}, size=axis),
    }
    return makers[draw(st.sampled_from(sorted(makers)))]()


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(damaged_indices(), st.sampled_from(["gradient", "occlusion"]))
def test_indices_and_axes(model: onnx.ModelProto, method: str) -> None:
    outcome(model, RNG.normal(size=(2, *IMAGE)).astype(F), method=method)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_weights_and_inputs_that_are_no_numbers_are_refused_by_name(bad: float) -> None:
    weight = WEIGHT.copy()
    weight[1, 0, 2, 1] = bad  # MaxPool and ReLU behind it would hide a NaN
    error = outcome(net("Conv", ["x", "filters"], {"filters": weight}), np.ones((1, *IMAGE), F))
    assert isinstance(error, InputError)
    assert '"filters"' in error.message
    x = np.ones((1, *IMAGE), F)
    x[0, 1, 2, 3] = bad
    assert isinstance(outcome(net("Conv", ["x", "w"], {"w": WEIGHT}), x), InputError)
    assert isinstance(outcome(net("Conv", ["x", "w"], {"w": WEIGHT}), np.full(IMAGE, 1e300)), InputError)


def test_infinity_in_a_mask_is_none_of_that() -> None:
    """A mask of −inf that is added to scores, and a Clip without a bound, mean what they say."""
    mask = np.array([0, 0, -np.inf], F)
    graph = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]> g (float[N, 3] x) => (float[N, 3] y) { m = Add(x, mask) y = Clip(m) }'
    )
    graph.graph.initializer.append(numpy_helper.from_array(mask, "mask"))
    assert outcome(graph, np.ones((1, 3), F), method="gradient") is None


@pytest.mark.parametrize(
    ("op", "inputs", "constants", "x"),
    [("Log", ["x"], {}, 0), ("Exp", ["x"], {}, 1000), ("Div", ["x", "zero"], {"zero": np.zeros(6, F)}, 1)],
)
def test_a_layer_that_overflows_is_named(op: str, inputs: Any, constants: Any, x: float) -> None:
    error = outcome(net(op, inputs, constants), np.full((1, *IMAGE), x, F))
    assert isinstance(error, UnsupportedError)
    assert op in error.message


@pytest.mark.parametrize("axes", [33, 41, 70])
def test_tensors_of_many_axes(axes: int) -> None:
    shape = np.array([0, 72, *[1] * axes], np.int64)
    error = outcome(net("Reshape", ["x", "s"], {"s": shape}), np.ones((1, *IMAGE), F), method="gradient")
    assert error is None or isinstance(error, UnsupportedError | InputError)


@pytest.mark.parametrize("rank", [3, 4, 5])
def test_global_max_pool_of_every_rank(rank: int) -> None:
    """The largest value of each channel, by numpy."""
    shape = (3, *range(2, rank))
    x = RNG.normal(size=(2, *shape)).astype(F)
    for engine in ("ort", "reference"):
        model = onnxlrp.load(net("GlobalMaxPool", ["x"], {}, shape), engine=engine)
        made = model.explain(x, target=1, method="gradient")
        np.testing.assert_allclose(made.output, x.reshape(2, 3, -1).max(axis=2))
        want = np.zeros_like(x).reshape(2, 3, -1)
        want[[0, 1], 1, x.reshape(2, 3, -1).argmax(axis=2)[:, 1]] = 1
        np.testing.assert_array_equal(made.relevance, want.reshape(x.shape))


# -- files


DEEP = "[" * 100_000


def damaged(data: bytes) -> Iterator[bytes]:
    """Damage of the same kinds for every file: cut, bits flipped, text, nothing much."""
    yield data[: len(data) // 2]
    yield b"PK\x03\x04" + b"\0" * 40
    for place in range(30, len(data), max(1, len(data) // 60)):
        yield data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]


def npz(**arrays: Any) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def readers() -> dict[str, Any]:
    from onnxlrp import patterns, report
    from onnxlrp.checks import baseline, regression
    from onnxlrp.comparison import verdict
    from onnxlrp.evaluation import results
    from onnxlrp.preprocessing import images, labels

    about = np.array(json.dumps({"format": patterns.FORMAT, "sha256": "", "layers": ["a"]}))
    arrays = npz(about=about, pattern0=np.ones((2, 3), F), relevance=np.ones((1, 2)), target=np.zeros(1, int))
    return {
        "patterns.npz": (patterns.load, arrays),
        "stored.npz": (regression.read, arrays),
        "baseline.npz": (lambda path: baseline.read(path.parent), arrays),
        "comparison.json": (verdict.read, DEEP.encode()),
        "evaluation.json": (results.read, DEEP.encode()),
        "report.json": (lambda path: report.write([path], path.with_name("r.html")), DEEP.encode()),
        "labels.json": (labels.read, DEEP.encode()),
        "array.npy": (images.read_array, arrays),
        "picture.png": (images.read_image, arrays),
        "model.onnx": (onnxlrp.load, net("Conv", ["x", "w"], {"w": WEIGHT}).SerializeToString()),
    }


@pytest.mark.parametrize("name", sorted(readers()))
def test_damaged_files(name: str, tmp_path: Path) -> None:
    read, data = readers()[name]
    for text in (*damaged(data), DEEP.encode(), b"\xff\xfe{}", b"{}", b"[1]", b'{"schema": []}'):
        path = tmp_path / name
        path.write_bytes(text)
        try:
            read(path)
        except OnnxLrpError:
            continue


# -- arguments of the public functions


ODD: tuple[Any, ...] = (
    None,
    "",
    "nothing",
    -1,
    10**30,
    float("nan"),
    float("inf"),
    [],
    {},
    object(),
    b"\0",
    np.nan,
    ("a", 1),
    1j,
    True,
)


@pytest.mark.parametrize("n", range(len(ODD)))
def test_arguments_of_other_types(n: int, tmp_path: Path) -> None:
    odd: Any = ODD[n]
    x = np.ones((1, *IMAGE), F)
    proto = net("Conv", ["x", "w"], {"w": WEIGHT})
    model = onnxlrp.load(proto)
    calls: tuple[Callable[[], Any], ...] = (
        lambda: onnxlrp.load(odd),
        lambda: onnxlrp.explain(odd, x),
        lambda: onnxlrp.export(odd, tmp_path / "e.onnx"),
        lambda: onnxlrp.rule(odd),
        lambda: onnxlrp.load(proto, engine=odd),
        lambda: onnxlrp.load(proto, kind=odd),
        lambda: onnxlrp.load(proto, size=odd),
        lambda: onnxlrp.load(proto, max_memory=odd),
        lambda: model.explain(odd),
        lambda: model.explain(x, target=odd),
        lambda: model.explain(x, method=odd),
        lambda: model.explain(x, targets=odd),
        lambda: model.explain(x, output=odd),
        lambda: model.explain(x, input=odd),
        lambda: model.explain(x, given=odd),
        lambda: model.explain(x, rules=odd),
        lambda: model.explain(x, on_unsupported=odd),
        lambda: model.explain(x, record=odd),
        lambda: model.explain(x, batch_size=odd),
        lambda: model.explain(x, method="occlusion", patch=odd),
        lambda: model.explain(x, method="lime", samples=odd),
        lambda: model.explain(x, method="gamma", gamma=odd),
        lambda: model.export(tmp_path / "e.onnx", target=odd),
        lambda: model.export(tmp_path / "e.onnx", method=odd),
    )
    foreign = []
    for place, call in enumerate(calls):
        try:
            call()
        except OnnxLrpError:
            pass
        except Exception as error:
            foreign.append(f"call {place} of {odd!r}: {type(error).__name__}: {error}")
    assert not foreign, "\n".join(foreign)


@pytest.mark.few(1)
@pytest.mark.skipif(os.name != "posix", reason="streams are closed by a POSIX shell")
@pytest.mark.parametrize(("to", "code"), [(">&-", 0), (">/dev/full", 3), (">&- 2>&-", 0)])
def test_standard_output_that_is_closed_or_full(to: str, code: int) -> None:
    if "full" in to and not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    run = subprocess.run(f'"{sys.executable}" -m onnxlrp methods {to}', shell=True, capture_output=True, text=True)
    assert run.returncode == code, run.stderr
    assert "bug" not in run.stderr
