"""Explainers that take pictures: what they see is what Pillow makes, and what they draw is what `explain` draws."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper
from PIL import Image

import onnxlrp
from onnxlrp.cli import main
from onnxlrp.errors import UnsupportedError
from onnxlrp.inputs import decide
from onnxlrp.model.exporting.picture_graph import with_preprocessing
from onnxlrp.pictures import heatmap
from onnxlrp.preprocessing import Preprocessing
from support.paths import MODELS

DIGITS = MODELS / "digits.onnx"
SIZES = [(61, 83), (20, 19), (333, 41), (12, 300), (32, 27)]


@pytest.fixture(autouse=True)
def columns_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow 13 resizes rows first where that is less work, earlier versions never, and no graph."""
    resize = Image.Image.resize

    def by_axis(image: Image.Image, size: tuple[int, int], *how: Any, **more: Any) -> Image.Image:
        return resize(resize(image, (size[0], image.height), *how, **more), size, *how, **more)

    monkeypatch.setattr(Image.Image, "resize", by_axis)


def plain(shape: tuple[int, ...], dtype: int = TensorProto.FLOAT) -> Any:
    """A graph that gives its input back."""
    return helper.make_model(
        helper.make_graph(
            [helper.make_node("Identity", ["x"], ["scores"]), helper.make_node("Cast", ["x"], ["relevance"], to=1)],
            "plain",
            [helper.make_tensor_value_info("x", dtype, ["N", *shape])],
            [
                helper.make_tensor_value_info("scores", dtype, ["N", *shape]),
                helper.make_tensor_value_info("relevance", TensorProto.FLOAT, ["N", *shape]),
            ],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )


def run(model: Any, **feeds: Any) -> list[Any]:
    onnx.checker.check_model(model, full_check=True)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, feeds))


GEOMETRIES: list[dict[str, Any]] = [
    {"resize": "shorter-crop", "crop": 0.875},
    {"resize": "shorter-crop", "resize_to": (37,), "offset": "floor"},
    {"resize": "shorter-crop", "resize_to": (30,)},  # smaller than the input: it covers it
    {"resize": "stretch"},
    {"resize": "stretch", "resize_to": (40, 35)},
    {"resize": "letterbox"},
]


@pytest.mark.few(6)
@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "lanczos"])
def test_the_graph_sees_what_pillow_makes(geometry: dict[str, Any], interpolation: str) -> None:
    rng = np.random.default_rng(0)
    prep = Preprocessing((32, 27), interpolation=interpolation, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7), **geometry)
    shape = (3, 32, 27)
    made = with_preprocessing(plain(shape), prep, decide(shape, "float32"))
    for size in SIZES:
        picture = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        scores, heat, seen = run(made, picture=picture)
        np.testing.assert_array_equal(seen, np.asarray(prep.view(picture)))
        np.testing.assert_allclose(scores, prep.apply(picture), atol=1e-6, err_msg=str(size))
        np.testing.assert_allclose(heat, prep.apply(picture).sum(axis=1), atol=1e-5)


@pytest.mark.parametrize(
    ("color", "layout", "shape", "dtype"),
    [
        ("grey", "NCHW", (1, 32, 27), "float32"),
        ("BGR", "NHWC", (32, 27, 3), "float32"),
        ("RGB", "NCHW", (3, 32, 27), "uint8"),
        ("RGB", "NHWC", (32, 27, 3), "float16"),
    ],
)
def test_colours_layouts_and_types(color: str, layout: str, shape: tuple[int, ...], dtype: str) -> None:
    picture = np.random.default_rng(1).integers(0, 256, (61, 83, 3), dtype=np.uint8)
    whole = dtype == "uint8"
    n = 1 if color == "grey" else 3
    numbers: dict[str, Any] = {"scale": 1.0} if whole else {"mean": (0.4,) * n, "std": (0.2,) * n}
    if n == 1 and whole is False:
        numbers["mean"], numbers["std"] = (0.4,), (0.2,)
    prep = Preprocessing((32, 27), color=color, layout=layout, dtype=dtype, **numbers)
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    made = with_preprocessing(plain(shape, kind), prep, decide(shape, dtype))
    np.testing.assert_array_equal(run(made, picture=picture)[0], prep.apply(picture))


@pytest.mark.parametrize("target", ["input", "top1", "top2"])
def test_an_exported_explainer_of_pictures(tmp_path: Path, target: str) -> None:
    model = onnxlrp.load(MODELS / "shapes.onnx")
    path = model.export(tmp_path / "e.onnx", target=target, overlay=True)
    picture = Image.fromarray(np.random.default_rng(2).integers(0, 256, (90, 70, 3), dtype=np.uint8))
    feeds: dict[str, Any] = {"picture": np.asarray(picture)}
    feeds |= {"target": np.array([1])} if target == "input" else {}
    scores, heat, overlay, _ = run(onnx.load(path), **feeds)
    one = model.explain(picture, 1 if target == "input" else target)
    maps = one.relevance.sum(axis=-3)
    np.testing.assert_allclose(heat, maps, atol=1e-4 * np.abs(maps).max())
    np.testing.assert_allclose(scores, one.output, atol=1e-5)
    first = maps[0, 0] if target == "top2" else maps[0]
    drawn = np.asarray(heatmap.panel(first, model.preprocessing.view(picture)))
    assert np.abs(overlay.astype(int) - drawn).max() <= 2


def test_a_target_of_minus_one_is_the_own_best_class(tmp_path: Path) -> None:
    model = onnxlrp.load(MODELS / "shapes.onnx")
    made = onnx.load(model.export(tmp_path / "e.onnx", embed_preprocessing=True))
    picture = np.asarray(Image.open(MODELS / "samples" / "scene_star.png").convert("RGB"))
    best = int(model.explain(MODELS / "samples" / "scene_star.png").target[0])
    own, named, other = (run(made, picture=picture, target=np.array([t]))[1] for t in (-1, best, (best + 1) % 6))
    np.testing.assert_array_equal(own, named)
    assert np.abs(own - other).max() > 1e-3


def test_one_picture_has_one_class_that_exists(tmp_path: Path) -> None:
    model = onnxlrp.load(MODELS / "shapes.onnx")
    made = onnx.load(model.export(tmp_path / "e.onnx", embed_preprocessing=True))
    picture = np.asarray(Image.open(MODELS / "samples" / "scene_star.png").convert("RGB"))
    for wrong in (-2, -3, -model.classes, -model.classes - 1, model.classes, 99):
        with pytest.raises(Exception, match="target/Gather"):
            run(made, picture=picture, target=np.array([wrong]))
    for several in ([], [1, 2], [-1, -1]):
        with pytest.raises(Exception, match="target"):
            run(made, picture=picture, target=np.array(several, np.int64))


def test_the_command_says_what_the_file_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["export", str(DIGITS), "-o", str(tmp_path / "e.onnx"), "--embed-preprocessing", "-t", "top1"]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "picture  uint8 [height, width, 3]" in said
    assert "heatmap  float32 [1, 28, 28]" in said
    assert {p.key for p in onnx.load(tmp_path / "e.onnx").metadata_props} >= {"onnxlrp.explainer"}


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    model = onnxlrp.load(DIGITS, prep={"interpolation": "nearest"})
    with pytest.raises(UnsupportedError, match="interpolation nearest"):
        model.export(tmp_path / "e.onnx", embed_preprocessing=True)
    weights = helper.make_tensor("w", TensorProto.FLOAT, [5, 3], np.arange(15.0))
    vectors = helper.make_model(
        helper.make_graph(
            [helper.make_node("MatMul", ["x", "w"], ["y"])],
            "vectors",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 5])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
            [weights],
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    with pytest.raises(UnsupportedError, match="no picture"):
        onnxlrp.load(vectors).export(tmp_path / "e.onnx", embed_preprocessing=True)
    assert not list(tmp_path.iterdir())
