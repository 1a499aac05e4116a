"""benchmarks/localisation.py: shares of boxes by hand, through every way a picture is resized, and the whole script."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import localisation
import numpy as np
import onnx
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from onnxlrp.errors import InputError
from onnxlrp.preprocessing import Preprocessing
from support.arrays import Array

STRETCH = Preprocessing(size=(10, 10), resize="stretch")
CROP = Preprocessing(size=(8, 8), resize="shorter-crop", crop=1.0)


def region(height: Any, width: Any, left: Any, top: Any, right: Any, bottom: Any) -> Array:
    found = np.zeros((height, width), dtype=bool)
    found[top:bottom, left:right] = True
    return found


def test_heat_inside_a_box() -> None:
    # 20x40 squeezed to 10x10: the left upper quarter of the picture is the first 5 rows and 5 columns.
    box = region(20, 40, 0, 0, 20, 10)
    inside = np.zeros((10, 10))
    inside[:5, :5] = 1
    found = localisation.share(STRETCH, inside, box)
    assert (found.energy, found.area, found.ratio) == pytest.approx((1, 0.25, 4))
    assert localisation.share(STRETCH, 1 - inside, box).energy == pytest.approx(0)
    half = np.zeros((10, 10))
    half[:5] = 1
    assert localisation.share(STRETCH, half, box).ratio == pytest.approx(2)


def test_what_the_crop_cuts_off_counts_for_neither() -> None:
    # Of 16x32 a square of 16x16 in the middle is seen: a box over the left half has half of that, columns 8 to 16.
    box = region(16, 32, 0, 0, 16, 16)
    left = np.zeros((8, 8))
    left[:, :4] = 3
    found = localisation.share(CROP, left, box)
    assert (found.energy, found.area) == pytest.approx((1, 0.5))
    with pytest.raises(InputError, match="cuts the whole region off"):
        localisation.share(CROP, left, region(16, 32, 0, 0, 8, 16))


@given(
    size=st.tuples(st.integers(3, 12), st.integers(3, 12)),
    original=st.tuples(st.integers(6, 40), st.integers(6, 40)),
    resize=st.sampled_from(["stretch", "shorter-crop"]),
    seed=st.integers(0, 999),
)
def test_even_heat_has_ratio_one_and_parts_add_up(
    size: tuple[int, int], original: tuple[int, int], resize: str, seed: int
) -> None:
    prep = Preprocessing(size=size, resize=resize)
    rng = np.random.default_rng(seed)
    box = np.zeros(original, dtype=bool)
    box[original[0] // 2 :, :] = True
    seen = prep.map_to_original(np.ones(size), original)
    assume(seen[box].any() and seen[~box].any())  # a flat crop of a tall picture may miss one half
    assert localisation.share(prep, np.full(size, 0.3), box).ratio == pytest.approx(1)
    heat = rng.random(size)
    parts = [localisation.share(prep, heat, mask) for mask in (box, ~box)]
    assert sum(part.energy for part in parts) == pytest.approx(1)
    assert sum(part.area for part in parts) == pytest.approx(1)


def test_negative_heat_is_no_energy_and_silence_is_none() -> None:
    heat = np.zeros((10, 10))
    heat[:5, :5], heat[5:] = 1, -9
    box = region(10, 10, 0, 0, 5, 5)
    assert localisation.share(STRETCH, heat, box).ratio == pytest.approx(4)
    silent = localisation.share(STRETCH, -np.abs(heat), box)
    assert silent.energy is None
    assert silent.ratio is None


@pytest.mark.parametrize(("layout", "channels"), [("NCHW", 0), ("NHWC", 2)])
def test_channels_are_summed_before_signs_count_but_not_for_sensitivities(layout: str, channels: int) -> None:
    relevance = np.stack([np.full((2, 3), 2.0), np.full((2, 3), -3.0)], axis=channels)
    np.testing.assert_array_equal(localisation.heatmap(relevance, layout, False), np.full((2, 3), -1.0))
    np.testing.assert_array_equal(localisation.heatmap(relevance, layout, True), np.full((2, 3), 5.0))


# -- the whole script, on a model that sees class k in column k of a 4x4 picture


def column_model(path: Any, classes: int = 1000, operator: str = "Relu") -> None:
    """Class k scores the red of column k of a 4x4 picture, every other class 0."""
    weight = np.zeros((48, classes), np.float32)
    for row in range(4):
        for column in range(4):
            weight[row * 4 + column, column + classes - 1000] = 1
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"]),
        helper.make_node(operator, ["flat"], ["bright"]),
        helper.make_node("MatMul", ["bright", "w"], ["y"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 4, 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, classes])
    graph = helper.make_graph(nodes, "columns", [x], [y], [numpy_helper.from_array(weight, "w")])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)


@pytest.fixture
def data(tmp_path: Path) -> Any:
    """Three objects, models with and without a background class, one that is refused, one of other classes."""
    for folder in ("models", "images"):
        (tmp_path / folder).mkdir()
    column_model(tmp_path / "models" / "plain.onnx")
    column_model(tmp_path / "models" / "background.onnx", 1001)
    column_model(tmp_path / "models" / "odd.onnx", operator="Hardmax")
    pixels = np.zeros((4, 4, 3), np.uint8)
    pixels[:, 1, 0] = 255
    Image.fromarray(pixels).save(tmp_path / "images" / "a.png")
    mask = np.zeros((4, 4), np.uint8)
    mask[:2, 1] = 255
    Image.fromarray(mask).save(tmp_path / "images" / "mask.png")
    common = {"file": "images/a.png", "width": 4, "height": 4}
    entry = {"classes": "ImageNet-1k", "layout": "NCHW", "preprocessing": {"scale": "x/127.5-1"}}
    names = ("plain", "background", "odd")
    manifest = {
        "models": [{**entry, "file": f"models/{name}.onnx"} for name in names]
        + [{**entry, "file": "models/plain.onnx", "classes": "CIFAR-10"}],
        "images": [
            {**common, "imagenet_class": 1, "boxes": [{"imagenet_class": 1, "xyxy": [0, 0, 2, 4]}]},
            {**common, "imagenet_class": 1, "boxes": [], "mask": "images/mask.png"},
            {**common, "imagenet_class": 0, "boxes": [{"imagenet_class": 0, "xyxy": [0, 0, 1, 1]}]},
        ],
    }
    (tmp_path / "MANIFEST.json").write_text(json.dumps(manifest))
    return tmp_path


def test_the_whole_script(data: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out" / "found.json"
    out.parent.mkdir()
    assert localisation.main(["--data", str(data), "--methods", "epsilon,gradient", "-o", str(out)]) == 0
    found = json.loads(out.read_text())
    assert [record["model"] for record in found["records"]] == ["plain", "background"]
    assert list(found["refused"]) == ["odd"]
    assert "Hardmax" in found["refused"]["odd"]
    for record in found["records"]:
        # All relevance is in column 1: a box of half of the picture holds it, a mask of an eighth holds half of it.
        assert [c["region"] for c in record["counted"]] == ["box", "mask"]
        assert [m["class"] for m in record["missed"]] == [0]
        for method in ("epsilon", "gradient"):
            shares = record["methods"][method]
            assert shares["pictures"] == [{"energy": 1.0, "area": 0.5}, {"energy": 0.5, "area": 0.125}]
            assert (shares["count"], shares["ratio"], shares["energy"]) == (2, 3.0, 0.75)
    said = capsys.readouterr().out
    assert "| `epsilon` | 3.00 (75 %) | 3.00 (75 %) |" in said
    assert "missed  plain: a.png, class 0" in said


def test_bad_input_is_said_and_nothing_is_written(
    data: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "found.json"
    assert localisation.main(["--data", str(tmp_path / "nowhere"), "-o", str(out)]) == 3
    assert localisation.main(["--data", str(data), "--methods", "gradiet", "-o", str(out)]) == 2
    (data / "MANIFEST.json").write_text('{"models": [{}], "images": []}')
    assert localisation.main(["--data", str(data), "-o", str(out)]) == 3
    said = capsys.readouterr().err
    assert "no such file" in said
    assert "models without classes, file, layout, preprocessing" in said
    assert 'did you mean "gradient"' in said
    assert not out.exists()


def test_unknown_words_for_preprocessing_refuse_the_model(data: Any, tmp_path: Path) -> None:
    listed = json.loads((data / "MANIFEST.json").read_text())
    listed["models"][0]["preprocessing"]["scale"] = "as usual"
    (data / "MANIFEST.json").write_text(json.dumps(listed))
    found = localisation.run(data, ["plain"], ["gradient"])
    assert found["records"] == []
    assert "unknown words: 'as usual'" in found["refused"]["plain"]


def test_a_mask_of_another_size_refuses(data: Any) -> None:
    Image.fromarray(np.zeros((5, 4), np.uint8)).save(data / "images" / "mask.png")
    found = localisation.run(data, ["plain"], ["gradient"])
    assert "a.png: not of the size of its mask" in found["refused"]["plain"]
