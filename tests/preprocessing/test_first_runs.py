"""First runs without flags: the input equals what the model's own library feeds it, to 1e-5."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

import onnxlrp
from onnxlrp.preprocessing.sources.huggingface import DEFAULTS
from support import prep_cases, preprocessing_libraries

GOLDEN = np.load(Path(__file__).with_name("tensors.npz"))
CASES = (*prep_cases.HUGGINGFACE, *prep_cases.TIMM)
PICTURES = prep_cases.pictures()


def of_library(function: Any, *words: Any) -> Any:
    """A tensor of transformers or timm; skips where it is not installed."""
    for module in ("torch", "transformers" if function is preprocessing_libraries.huggingface else "timm"):
        try:
            return function(*words)
        except ImportError:
            pytest.importorskip(module)
    raise AssertionError("both are installed and cannot be imported")


@pytest.mark.parametrize("name", CASES)
def test_the_input_is_that_of_the_library(tmp_path: Path, name: Any) -> None:
    model = onnxlrp.load(prep_cases.first_run(tmp_path, name))
    assert not model.preprocessing.assumed
    assert not model.preprocessing.conflicts
    assert not model.preprocessing.notes
    for n, picture in enumerate(PICTURES):
        expected = GOLDEN[f"{name}/{n}"]
        np.testing.assert_allclose(prep_cases.thinned(model.read(picture).values), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_the_stored_tensors_are_those_of_the_library_installed(name: Any) -> None:
    if name in prep_cases.HUGGINGFACE:
        kind, fields, _ = prep_cases.HUGGINGFACE[name]
        made = [of_library(preprocessing_libraries.huggingface, kind, fields, picture) for picture in PICTURES]
    else:
        made = [of_library(preprocessing_libraries.timm, prep_cases.TIMM[name][0], picture) for picture in PICTURES]
    for n, tensor in enumerate(made):
        np.testing.assert_allclose(prep_cases.thinned(tensor), GOLDEN[f"{name}/{n}"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", sorted(DEFAULTS))
def test_fields_that_a_file_leaves_out_are_the_class_s_own(tmp_path: Path, kind: Any) -> None:
    """Files that name no more than the class: every default of ours against the library's."""
    picture = PICTURES[0].resize((310, 290))
    extra = {"size": {"shortest_edge": 256}} if kind == "MobileViT" else {}  # its default cuts 256 out of 224
    expected = of_library(preprocessing_libraries.huggingface, f"{kind}ImageProcessor", extra, picture)
    config = {"image_processor_type": f"{kind}ImageProcessorFast", **extra}
    path = prep_cases.put(tmp_path, prep_cases.model(expected.shape[2:]), preprocessor_config=config)
    model = onnxlrp.load(path)
    assert not model.preprocessing.notes
    np.testing.assert_allclose(model.read(picture).values, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("size", [(224, 224), (256, 192)])
def test_ultralytics_classify(tmp_path: Path, size: tuple[int, int]) -> None:
    """Its classify_transforms: the shorter side by Pillow (both sides where imgsz is no square), the centre, /255."""
    names = {n: f"kind {n}" for n in range(4)}
    stored = {"task": "classify", "imgsz": str(list(size)), "names": str(names), "stride": "1", "channels": "3"}
    path = prep_cases.put(tmp_path, prep_cases.model(size, metadata=stored.items()))
    model = onnxlrp.load(path)
    assert (model.preprocessing.source, model.labels) == ("Ultralytics metadata", tuple(names.values()))
    assert not model.preprocessing.assumed
    for picture in PICTURES:
        if size[0] == size[1]:
            short = min(picture.size)
            large = picture.resize([int(size[0] * side / short) for side in picture.size], Image.Resampling.BILINEAR)
            left, top = (round((side - size[0]) / 2) for side in large.size)
            large = large.crop((left, top, left + size[1], top + size[0]))
        else:
            large = picture.resize(size[::-1], Image.Resampling.BILINEAR)
        expected = np.asarray(large, np.float32).transpose(2, 0, 1)[None] / 255
        np.testing.assert_allclose(model.read(picture).values, expected, rtol=0, atol=1e-5)


def test_ultralytics_detect_is_a_letterbox(tmp_path: Path) -> None:
    stored = {"task": "detect", "imgsz": "[32, 48]", "names": "{0: 'cat'}", "stride": "32"}
    model = onnxlrp.load(prep_cases.put(tmp_path, prep_cases.model((32, 48), metadata=stored.items())))
    assert model.labels is None
    assert any("1 class names for 4 outputs" in note for note in model.preprocessing.notes)
    for picture in PICTURES:
        factor = min(32 / picture.height, 48 / picture.width)
        inner = picture.resize(
            (round(picture.width * factor), round(picture.height * factor)), Image.Resampling.BILINEAR
        )
        canvas = Image.new("RGB", (48, 32), (114, 114, 114))
        canvas.paste(inner, (round((48 - inner.width) / 2 - 0.1), round((32 - inner.height) / 2 - 0.1)))
        expected = np.asarray(canvas, np.float32).transpose(2, 0, 1)[None] / 255
        np.testing.assert_allclose(model.read(picture).values, expected, rtol=0, atol=1e-5)


WINML = {
    "NominalRange_0_255": lambda x: x,
    "Normalized_0_1": lambda x: x / 255,
    "Normalized_1_1": lambda x: x / 127.5 - 1,
    "NominalRange_16_235": lambda x: 16 + x * 219 / 255,
}


@pytest.mark.parametrize("values", WINML)
@pytest.mark.parametrize("pixels", ["Bgr8", "Rgb8", "Gray8"])
def test_winml(tmp_path: Path, values: str, pixels: str) -> None:
    stored = {"Image.BitmapPixelFormat": pixels, "Image.NominalPixelRange": values, "Image.ColorSpaceGamma": "SRGB"}
    channels = 1 if pixels == "Gray8" else 3
    made = prep_cases.model((20, 20), metadata=stored.items(), channels=channels)
    model = onnxlrp.load(prep_cases.put(tmp_path, made))
    assert (model.preprocessing.source, model.preprocessing.assumed) == ("WinML metadata", ())
    square = PICTURES[0].resize((20, 20))
    x = np.asarray(square.convert("L") if channels == 1 else square, np.float64).reshape(20, 20, channels)
    x = x[:, :, ::-1] if pixels == "Bgr8" else x
    expected = WINML[values](x).transpose(2, 0, 1)[None]
    np.testing.assert_allclose(model.read(square).values, expected, rtol=0, atol=1e-4 if expected.max() > 2 else 1e-5)


FRONTS: dict[str, tuple[list[tuple[str, Any]], int]] = {
    "caffe": ([("Sub", [103.9, 116.8, 123.7])], 255),
    "keras": ([("Mul", 1 / 127.5), ("Sub", 1.0)], 255),
    "torch": ([("Div", 255.0), ("Sub", [0.485, 0.456, 0.406]), ("Div", [0.229, 0.224, 0.225])], 255),
    "divided": ([("Div", 255.0)], 255),
    "normalized": ([("Sub", [0.485, 0.456, 0.406]), ("Div", [0.229, 0.224, 0.225])], 1),
    "centred": ([("Mul", 2.0), ("Add", -1.0)], 1),
}


@pytest.mark.parametrize("last", [False, True], ids=["NCHW", "NHWC"])
@pytest.mark.parametrize("front", FRONTS)
def test_a_scale_in_the_graph(tmp_path: Path, front: str, last: bool) -> None:
    """No metadata: the graph's own arithmetic says whether it takes pixels 0..255 or 0..1."""
    nodes, high = FRONTS[front]
    model = onnxlrp.load(prep_cases.put(tmp_path, prep_cases.model((20, 20), front=nodes, last=last)))
    prep = model.preprocessing
    assert (prep.source, prep.assumed) == ("graph", ("color", "resize", "crop"))
    assert (prep.layout, prep.scale * 255) == ("NHWC" if last else "NCHW", high)
    square = PICTURES[0].resize((20, 20))
    x = np.asarray(square, np.float32)[None] * (high / 255)
    np.testing.assert_allclose(model.read(square).values, x if last else x.transpose(0, 3, 1, 2), rtol=1e-6)


@pytest.mark.parametrize("front", [[], [("Mul", 2.0)], [("Add", [0.01, -0.02, 0.0])], [("Sub", 0.0), ("Div", 1.0)]])
def test_arithmetic_that_says_nothing_of_pixels(tmp_path: Path, front: list[Any]) -> None:
    model = onnxlrp.load(prep_cases.put(tmp_path, prep_cases.model((20, 20), front=front)))
    assert model.preprocessing.source == "assumed"
    assert model.preprocessing.assumed == ("color", "scale", "mean", "std", "resize", "crop")


def test_an_input_of_bytes_takes_pixels_as_they_are(tmp_path: Path) -> None:
    made = prep_cases.model((20, 20), dtype=onnx.TensorProto.UINT8, last=True)
    model = onnxlrp.load(prep_cases.put(tmp_path, made))
    square = PICTURES[0].resize((20, 20))
    np.testing.assert_array_equal(model.read(square).values[0], np.asarray(square))
    assert model.preprocessing.assumed == ("color", "resize", "crop")


def test_an_open_size_is_the_library_s(tmp_path: Path) -> None:
    config = {"image_processor_type": "ViTImageProcessor", "size": {"height": 40, "width": 32}}
    model = onnxlrp.load(prep_cases.put(tmp_path, prep_cases.model((0, 0), open_size=True), preprocessor_config=config))
    assert model.preprocessing.size == (40, 32)
    assert model.graph.inputs[0].shape == (3, 40, 32)
    assert "onnxlrp.note" not in model.graph.metadata


def test_files_one_level_up_and_class_names(tmp_path: Path) -> None:
    kind, fields, size = prep_cases.HUGGINGFACE["vit"]
    names = {"0": "cat", "1": "dog", "2": "fox", "3": "owl"}
    (tmp_path / "config.json").write_text(json.dumps({"id2label": names}))
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"image_processor_type": kind, **fields}))
    model = onnxlrp.load(prep_cases.put(tmp_path / "onnx", prep_cases.model(size)))
    assert model.preprocessing.source == "../preprocessor_config.json"
    assert model.labels == ("cat", "dog", "fox", "owl")
    assert not model.preprocessing.labels_assumed


def test_the_image_processor_within_a_processor(tmp_path: Path) -> None:
    kind, fields, size = prep_cases.HUGGINGFACE["clip"]
    inner = {"image_processor": {"image_processor_type": kind, **fields}, "processor_class": "CLIPProcessor"}
    model = onnxlrp.load(prep_cases.put(tmp_path, prep_cases.model(size), processor_config=inner))
    assert model.preprocessing.source == "processor_config.json"
    np.testing.assert_allclose(model.read(PICTURES[0]).values, GOLDEN["clip/0"], rtol=0, atol=1e-5)


def test_timm_names_its_classes(tmp_path: Path) -> None:
    config, size = prep_cases.TIMM["timm-bicubic"]
    stated = {"pretrained_cfg": config, "label_names": ["n1", "n2", "n3", "n4"], "label_descriptions": {"n2": "owl"}}
    model = onnxlrp.load(prep_cases.put(tmp_path, prep_cases.model(size), config=stated))
    assert model.labels == ("n1", "owl", "n3", "n4")
    assert model.preprocessing.source == "config.json (timm)"


def test_timm_s_test_size_is_cut_by_its_test_share(tmp_path: Path) -> None:
    config = {"input_size": [3, 24, 24], "test_input_size": [3, 32, 32], "crop_pct": 0.875, "test_crop_pct": 1.0}
    model = onnxlrp.load(prep_cases.put(tmp_path, prep_cases.model((32, 32)), config={"pretrained_cfg": config}))
    assert (model.preprocessing.size, model.preprocessing.crop) == ((32, 32), 1.0)
    assert not model.preprocessing.conflicts
