"""Preprocessing: the formula, the order of sources, and what is refused; pictures and arrays from files."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from onnxlrp.errors import InputError, NothingToDo, OnnxLrpError, UnsupportedError, UsageError
from onnxlrp.preprocessing import Preprocessing, fields, images, labels
from onnxlrp.preprocessing.find import find, find_labels
from support.paths import ROOT

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def noise(height: int, width: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


# The formula -----------------------------------------------------------------------------------------------------


def test_apply_is_the_formula_channel_by_channel() -> None:
    picture = noise(5, 7)
    prep = Preprocessing((5, 7), "RGB", "NCHW", 1 / 255, IMAGENET_MEAN, IMAGENET_STD, "stretch")
    y = prep.apply(picture)
    assert y.shape == (1, 3, 5, 7)
    assert y.dtype == np.float32
    x = np.asarray(picture)
    for c in range(3):
        np.testing.assert_allclose(
            y[0, c], (x[:, :, c] / 255 - IMAGENET_MEAN[c]) / IMAGENET_STD[c], rtol=1e-6, atol=1e-6
        )


def test_layouts_and_colours() -> None:
    picture = noise(4, 6)
    x = np.asarray(picture).astype(np.float32)
    plain: dict[str, Any] = {"scale": 1.0, "resize": "stretch"}
    np.testing.assert_array_equal(Preprocessing((4, 6), layout="NHWC", **plain).apply(picture)[0], x)
    np.testing.assert_array_equal(Preprocessing((4, 6), "BGR", "NHWC", **plain).apply(picture)[0], x[:, :, ::-1])
    grey = Preprocessing((4, 6), "grey", "NHW", mean=(0.0,), std=(1.0,), **plain).apply(picture)[0]
    luma = x @ np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(grey, luma, atol=0.51)  # ITU-R 601, rounded
    assert Preprocessing((4, 6), "grey", "NCHW", mean=(0.0,), std=(1.0,)).apply(picture).shape == (1, 1, 4, 6)


def test_mean_of_bgr_follows_the_order_of_the_model() -> None:
    prep = find({"prep": "caffe-bgr", "size": "2x2"}, None, {}, (3, 2, 2))
    red = np.zeros((2, 2, 3), np.uint8)
    red[:, :, 0] = 255
    np.testing.assert_allclose(prep.apply(red)[0, :, 0, 0], [-103.939, -116.779, 255 - 123.68], rtol=1e-6)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos", "box"])
@pytest.mark.parametrize("shape", [(60, 90), (91, 47), (32, 32), (300, 20)])
def test_shorter_crop_equals_resize_then_centre_crop(shape: tuple[int, int], interpolation: str) -> None:
    picture = noise(*shape)
    prep = Preprocessing((28, 28), crop=0.875, interpolation=interpolation)
    height, width = shape
    short = min(shape)
    wide, tall = int(width * 32 / short + 1e-6), int(height * 32 / short + 1e-6)
    large = picture.resize((wide, tall), Image.Resampling[interpolation.upper()])
    left, top = round((wide - 28) / 2), round((tall - 28) / 2)
    twice = large.crop((left, top, left + 28, top + 28))
    np.testing.assert_array_equal(np.asarray(prep.view(picture)), np.asarray(twice))
    alone = picture.resize((28, 28), Image.Resampling.BILINEAR, box=prep.box(shape))
    if interpolation == "bilinear":
        np.testing.assert_allclose(np.asarray(alone).astype(int), np.asarray(twice).astype(int), atol=1)


def test_a_thin_picture_does_not_fill_the_memory() -> None:
    thin = Image.new("RGB", (60_000, 1), (10, 20, 30))
    assert Preprocessing((224, 224), crop=0.875).apply(thin).shape == (1, 3, 224, 224)


def test_view_is_what_apply_saw() -> None:
    prep = find({"prep": "0-255"}, None, {}, (16, 16, 3))
    picture = noise(40, 31)
    np.testing.assert_array_equal(np.asarray(prep.view(picture)), prep.apply(picture)[0])


FRAMES = [
    Preprocessing((28, 28), crop=0.875),
    Preprocessing((28, 20), resize="stretch"),
    Preprocessing((23, 23), resize_to=(26,), offset="floor"),
    Preprocessing((24, 24), resize="stretch", resize_to=(27, 29)),
]


@pytest.mark.parametrize("prep", FRAMES)
@pytest.mark.parametrize("shape", [(60, 90), (15, 11), (28, 28)])
def test_map_to_original_keeps_the_sum_and_stays_inside_the_box(prep: Any, shape: tuple[int, int]) -> None:
    heat = np.random.default_rng(1).normal(size=prep.size)
    mapped = prep.map_to_original(heat, shape)
    assert mapped.shape == shape
    assert mapped.sum() == pytest.approx(heat.sum(), abs=1e-9)
    left, top, right, bottom = prep.box(shape)
    assert not mapped[: int(top)].any()
    assert not mapped[:, : int(left)].any()
    assert not mapped[int(np.ceil(bottom - 1e-9)) :].any()
    assert not mapped[:, int(np.ceil(right - 1e-9)) :].any()


@pytest.mark.parametrize("shape", [(60, 90), (91, 40), (15, 11), (28, 20)])
def test_a_letterbox_shows_the_whole_picture(shape: tuple[int, int]) -> None:
    """Every pixel of the picture is seen, the bars are grey, and what falls on them is not mapped back."""
    prep = Preprocessing((28, 20), resize="letterbox", scale=1.0)
    left, top, right, bottom = prep.box(shape)
    assert min(-left, -top) >= -1e-9
    assert right >= shape[1] - 1e-9
    assert bottom >= shape[0] - 1e-9
    white = prep.apply(np.full((*shape, 3), 255, np.uint8))[0, 0]
    assert set(np.unique(white)) <= {114.0, 255.0}
    seen = prep.map_to_original(white == 255, shape)
    assert seen.sum() == pytest.approx((white == 255).sum(), rel=1e-9)
    assert (seen > 0).all()
    assert np.abs(prep.map_to_original(white == 114, shape)).max() == pytest.approx(0, abs=1e-9)
    assert prep.describe() == "letterbox 28x20 → RGB"


def test_map_to_original_finds_the_place() -> None:
    prep = Preprocessing((10, 10), crop=1.0)  # of 20x40 it sees the middle 20x20
    heat = np.zeros((10, 10))
    heat[2, 3] = 4.0
    mapped = prep.map_to_original(heat, (20, 40))
    np.testing.assert_allclose(mapped[4:6, 16:18], 1.0)
    with pytest.raises(InputError):
        prep.map_to_original(heat[:5], (20, 40))


@pytest.mark.parametrize(("layout", "shape"), [("NCHW", (3, 4, 4)), ("NHWC", (4, 4, 3))])
def test_bounds_hold_every_input_and_broadcast(layout: str, shape: tuple[int, int, int]) -> None:
    prep = find({"prep": "imagenet", "layout": layout}, None, {}, shape)
    low, high = prep.bounds()
    for value in (0, 255):
        y = prep.apply(np.full((4, 4, 3), value, np.uint8))[0]
        np.testing.assert_allclose(y, np.broadcast_to(low if value == 0 else high, shape), rtol=1e-6)
    assert low.ravel()[0] == pytest.approx(-0.485 / 0.229)


def test_bounds_of_raw_inputs() -> None:
    low, high = find({}, None, {}, (8, 8, 3), "uint8").bounds()
    assert (low.ravel() == 0).all()
    assert (high.ravel() == 255).all()


def test_describe() -> None:
    digits = {"onnxlrp.prep": json.dumps({"scale": 1 / 255, "color": "grey", "resize": "stretch"})}
    assert find({}, None, digits, (1, 28, 28)).describe() == "resize 28x28 → grey → /255"
    photo = find({"prep": "imagenet"}, None, {}, (3, 224, 224)).describe()
    assert photo == "resize 256 → crop 224x224 → RGB → /255 → imagenet"
    assert (
        find({"prep": "-1-1"}, None, {}, (64, 64, 1)).describe() == "resize 64 → crop 64x64 → grey → /255 → −0.5 ÷0.5"
    )
    assert find({"prep": "0-255"}, None, {}, (3, 32, 32)).describe() == "resize 32 → crop 32x32 → RGB"


# The order of sources -------------------------------------------------------------------------------------------


def test_nothing_stated_is_assumed_and_said() -> None:
    prep = find({}, None, {}, (3, 224, 224))
    assert (prep.layout, prep.size, prep.mean, prep.std) == ("NCHW", (224, 224), IMAGENET_MEAN, IMAGENET_STD)
    assert prep.source == "assumed"
    assert prep.assumed == ("color", "scale", "mean", "std", "resize", "crop")
    grey = find({}, None, {}, (28, 28, 1))
    assert (grey.layout, grey.color, grey.mean, grey.std, grey.scale) == ("NHWC", "grey", (0.0,), (1.0,), 1 / 255)
    assert grey.assumed == ("scale", "mean", "std", "resize", "crop")


def test_uint8_takes_raw_values() -> None:
    prep = find({"color": "RGB"}, None, {}, (128, 128, 3), "uint8")
    assert prep.assumed == ("resize", "crop")
    picture = noise(128, 128)
    raw = find({"color": "RGB", "resize": "stretch"}, None, {}, (128, 128, 3), "uint8").apply(picture)
    assert raw.dtype == np.uint8
    np.testing.assert_array_equal(raw[0], np.asarray(picture))
    with pytest.raises(UsageError, match="few levels"):
        find({"prep": "imagenet"}, None, {}, (128, 128, 3), "uint8")


def test_each_source_wins_over_the_next_field_by_field(tmp_path: Path) -> None:
    model = tmp_path / "net.onnx"
    metadata = {"onnxlrp.prep": json.dumps({"scale": 1.0, "mean": [1.0], "std": [2.0], "resize": "stretch"})}
    assert find({}, model, metadata, (3, 8, 8)).source == "model metadata"
    (tmp_path / "net.prep.toml").write_text('mean = [3, 3, 4]\ncolor = "BGR"\n')
    prep = find({}, model, metadata, (3, 8, 8))
    assert prep.source == "net.prep.toml + model metadata"
    assert (prep.mean, prep.std, prep.resize, prep.color) == ((3.0, 3.0, 4.0), (2.0,) * 3, "stretch", "BGR")
    prep = find({"mean": "5", "scale": "1/255"}, model, metadata, (3, 8, 8))
    assert prep.source == "flags + net.prep.toml + model metadata"
    assert (prep.mean, prep.scale, prep.color) == ((5.0,) * 3, 1 / 255, "BGR")
    assert prep.assumed == ()


def test_prep_flag_takes_presets_and_files(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('preset = "-1-1"\nresize_to = 40\nlabels = "names.txt"\n')
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    prep = find({"prep": str(path), "std": "0.25"}, None, {}, (3, 32, 32), n_outputs=2)
    assert (prep.mean, prep.std, prep.crop, prep.labels) == ((0.5,) * 3, (0.25,) * 3, 0.8, ("cat", "dog"))
    for preset in fields.PRESETS:
        assert find({"prep": preset}, None, {}, (3, 32, 32)).assumed == ("resize", "crop")
    reversed_ = find({"prep": "imagenet", "color": "BGR"}, None, {}, (3, 32, 32))
    assert reversed_.mean == IMAGENET_MEAN[::-1]


def test_metadata_round_trip() -> None:
    prep = find(
        {"prep": "imagenet", "crop": 0.9, "interpolation": "bicubic", "labels": ["a", "b"]}, None, {}, (3, 9, 9)
    )
    again = find({}, None, {"onnxlrp.prep": prep.to_metadata()}, (3, 9, 9), n_outputs=2)
    assert again.to_dict() == prep.to_dict()
    assert again.labels == ("a", "b")
    assert (again.source, again.assumed) == ("model metadata", ())


def test_half_a_formula() -> None:
    prep = find({"mean": "0.5", "std": "0.5"}, None, {}, (3, 32, 32))
    assert (prep.scale, prep.assumed) == (1 / 255, ("scale", "resize", "crop"))
    assert find({"mean": "127.5", "std": "127.5"}, None, {}, (3, 32, 32)).scale == 1.0
    assert find({"scale": "1/255", "resize": "stretch"}, None, {}, (3, 32, 32)).assumed == ()
    assert find({"color": "BGR"}, None, {}, (3, 32, 32)).mean == IMAGENET_MEAN[::-1]


def test_free_and_fixed_sizes() -> None:
    assert find({"prep": "0-1", "size": "40x30"}, None, {}, (3, 0, 0)).size == (40, 30)
    free = find({"prep": "0-1"}, None, {}, (3, -1, -1))
    assert (free.size, free.assumed) == ((224, 224), ("size", "resize", "crop"))
    with pytest.raises(UsageError, match="32x32"):
        find({"size": "40"}, None, {}, (3, 32, 32))


def test_ambiguous_layout_is_assumed() -> None:
    prep = find({"prep": "0-1"}, None, {}, (3, 5, 3))
    assert (prep.layout, prep.assumed) == ("NCHW", ("layout", "resize", "crop"))
    assert find({"prep": "0-1", "layout": "nhwc"}, None, {}, (3, 5, 3)).size == (3, 5)


@pytest.mark.parametrize(
    ("stated", "assumed"),
    [
        ({}, ("resize", "crop")),
        ({"resize": "shorter-crop"}, ("crop",)),
        ({"resize": "stretch"}, ()),
        ({"resize": "letterbox"}, ()),
        ({"crop": 0.9}, ()),
        ({"resize_to": 256}, ()),
    ],
)
def test_geometry_is_assumed_unless_it_is_stated(stated: Any, assumed: tuple[str, ...]) -> None:
    prep = find({"prep": "imagenet", **stated}, None, {}, (3, 224, 224))
    assert prep.assumed == assumed
    assert not prep.values_assumed
    if assumed:
        with pytest.raises(UnsupportedError, match="crop"):
            find({"prep": "imagenet", **stated}, None, {}, (3, 224, 224), strict=True)


@pytest.mark.parametrize("shape", [(3, 224, 224), (28, 28, 1), (1, 28, 28), (3, 0, 0)])
def test_strict_names_flags_that_then_pass(shape: tuple[int, int, int]) -> None:
    with pytest.raises(UnsupportedError) as caught:
        find({}, "dir/net.onnx", {}, shape, strict=True)
    assert caught.value.code == 4
    assert "net.onnx" in caught.value.message
    words = caught.value.fix.split("add ")[1].split()
    flags = {key[2:]: value for key, value in zip(words[::2], words[1::2], strict=True)}
    strict = find(flags, None, {}, shape, strict=True)
    assumed = find({}, None, {}, shape)
    assert strict.assumed == ()
    np.testing.assert_array_equal(strict.apply(noise(9, 9)), assumed.apply(noise(9, 9)))


@pytest.mark.parametrize("shape", [(5, 32, 32), (784,), (3, 8, 8, 8), ()])
def test_an_input_that_is_no_picture(shape: tuple[int, ...]) -> None:
    with pytest.raises(UnsupportedError) as caught:
        find({}, None, {}, shape)
    assert ".npy" in caught.value.fix


def test_an_input_of_text_is_no_picture() -> None:
    with pytest.raises(UnsupportedError):
        find({}, None, {}, (1, 4, 4), "string")


BAD_PIECES = [
    {"mean": [0.1, 0.2]},
    {"mean": [0.1, 0.2, float("nan")]},
    {"mean": ["x"]},
    {"mean": [True]},
    {"mean": [10**400]},
    {"std": [0.0]},
    {"std": [1, -1, 1]},
    {"scale": 0},
    {"scale": "1/0"},
    {"scale": None},
    {"size": [32]},
    {"size": [8, 8, 8]},
    {"size": [0, 8]},
    {"size": [8.5, 8]},
    {"size": [10**9, 8]},
    {"color": "CMYK"},
    {"color": "grey"},
    {"layout": "NHWC"},
    {"layout": "CHWN"},
    {"resize": "zoom"},
    {"crop": 1.5},
    {"crop": 0},
    {"resize_to": 4},
    {"resize_to": 10, "crop": 0.9},
    {"interpolation": "magic"},
    {"preset": "imagnet"},
    {"men": [0.5]},
    {"labels": ["a"]},
    {"labels": "/etc/passwd"},
    {"labels": ["a", 3]},
    {"labels": ["a", ""]},
    {"labels": []},
]


@pytest.mark.parametrize("bad", BAD_PIECES, ids=str)
def test_metadata_is_not_trusted(bad: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        find({}, None, {"onnxlrp.prep": json.dumps(bad)}, (3, 8, 8), n_outputs=2)
    assert "model metadata" in caught.value.message
    assert caught.value.fix


@pytest.mark.parametrize("text", ["", "{", "[]", "3", "[" * 100_000, '{"mean": [1e999]}', '{"mean": [NaN]}'])
def test_metadata_that_is_no_json_object(text: Any) -> None:
    with pytest.raises(InputError):
        find({}, None, {"onnxlrp.prep": text}, (3, 8, 8))


def test_flags_are_usage_errors() -> None:
    for flags in (
        {"mean": "a,b,c"},
        {"std": "0"},
        {"size": "8x8x8"},
        {"color": "pink"},
        {"prep": "imagnet"},
        {"men": 1},
    ):
        with pytest.raises(UsageError) as caught:
            find(flags, None, {}, (3, 8, 8))
        assert caught.value.code == 2
    with pytest.raises(UsageError, match="1 channel"):
        find({"prep": "imagenet"}, None, {}, (1, 8, 8))
    with pytest.raises(UsageError, match="no such preset") as caught:
        find({"prep": "imagnet"}, None, {}, (3, 8, 8))
    assert "imagenet" in caught.value.fix


def test_bad_sidecars(tmp_path: Path) -> None:
    sidecar = tmp_path / "net.prep.toml"
    for text in ("mean = [", "men = 1", 'labels = "../x.txt"', 'labels = "gone.txt"', "\udcff"):
        sidecar.write_bytes(text.encode("utf-8", "surrogateescape"))
        with pytest.raises(InputError) as caught:
            find({}, tmp_path / "net.onnx", {}, (3, 8, 8))
        assert caught.value.fix
    with pytest.raises(InputError, match="no such file"):
        find({"prep": str(tmp_path / "gone.toml")}, None, {}, (3, 8, 8))


# Class names -----------------------------------------------------------------------------------------------------


def test_imagenet_names_are_assumed_for_their_numbers_of_outputs() -> None:
    prep = find({}, None, {}, (3, 8, 8), n_outputs=1000)
    assert prep.labels_assumed
    assert labels.name(prep.labels, 281) == "tabby"
    assert labels.name(prep.labels, 0) == "tench"
    background = find({}, None, {}, (3, 8, 8), n_outputs=1001).labels
    assert background is not None
    assert (background[0], labels.short(background[282])) == ("background", "tabby")
    assert find({}, None, {}, (3, 8, 8), n_outputs=10).labels is None
    assert find_labels({}, None, {}, 1000)[1]


def test_labels_files(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("n01440764 tench, Tinca tinca\ndog\x1b[31m\n\n")
    assert labels.read(path) == ("tench, Tinca tinca", "dog [31m")
    for value in (["a", "b"], {"0": "a", "1": "b"}, {"a": 0, "b": 1}, {"id2label": {"0": "a", "1": "b"}}):
        other = tmp_path / "names.json"
        other.write_text(json.dumps(value))
        assert labels.read(other) == ("a", "b")
    other.write_text(json.dumps({"0": ["n01440764", "tench"]}))
    assert labels.read(other) == ("tench",)
    prep = find({"labels": str(path)}, None, {}, (3, 8, 8), n_outputs=2)
    assert (prep.labels, prep.labels_assumed, prep.source) == (labels.read(path), False, "assumed")
    with pytest.raises(UsageError, match="2 class names for 3 outputs"):
        find({"labels": str(path)}, None, {}, (3, 8, 8), n_outputs=3)


@pytest.mark.parametrize("text", ['{"0": "a", "2": "b"}', '{"x": "a"}', "3", "{", "[" * 100_000, '["a", null]'])
def test_bad_labels_files(tmp_path: Path, text: Any) -> None:
    path = tmp_path / "names.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"names\.json"):
        labels.read(path)


def test_labels_file_missing_empty_or_binary(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    with pytest.raises(InputError, match="no such file"):
        labels.read(path)
    for data in (b"", b"a\n\nb\n", b"\xff\xfe\x00"):
        path.write_bytes(data)
        with pytest.raises(InputError):
            labels.read(path)


# Pictures --------------------------------------------------------------------------------------------------------


def test_orientation_is_applied(tmp_path: Path) -> None:
    picture = Image.new("RGB", (2, 3), (255, 0, 0))
    picture.putpixel((0, 0), (0, 0, 255))
    exif = picture.getexif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise
    path = tmp_path / "a.png"
    picture.save(path, exif=exif)
    read = images.read_image(path)
    assert read.size == (3, 2)
    assert read.getpixel((2, 0)) == (0, 0, 255)


def test_alpha_is_composited_over_white(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("RGBA", (2, 2), (255, 0, 0, 51)).save(path)
    assert images.read_image(path).getpixel((0, 0)) == (255, 204, 204)
    palette = Image.new("P", (2, 2), 0)
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putpixel((1, 1), 1)
    palette.save(path, transparency=1)
    read = images.read_image(path)
    assert (read.getpixel((0, 0)), read.getpixel((1, 1))) == ((10, 20, 30), (255, 255, 255))


def test_sixteen_bits_are_divided_by_257(tmp_path: Path) -> None:
    values = np.array([[0, 257, 65535], [128, 129, 32768]], dtype=np.uint16)
    for name in ("a.png", "a.tiff"):
        Image.fromarray(values).save(tmp_path / name)
        grey = np.asarray(images.read_image(tmp_path / name).convert("L"))
        np.testing.assert_array_equal(grey, [[0, 1, 255], [0, 1, 128]])
    Image.fromarray(np.array([[-5, 70000]], dtype=np.int32)).save(tmp_path / "b.tiff")
    np.testing.assert_array_equal(np.asarray(images.read_image(tmp_path / "b.tiff").convert("L")), [[0, 255]])


def test_other_modes_become_rgb(tmp_path: Path) -> None:
    for mode, suffix in (("L", "png"), ("1", "png"), ("LA", "png"), ("CMYK", "jpg"), ("P", "gif")):
        path = tmp_path / f"{mode}.{suffix}"
        Image.new(mode, (4, 4)).save(path)
        assert images.read_image(path).mode == "RGB"
    Image.new("CMYK", (4, 4), (0, 255, 255, 0)).save(tmp_path / "a.tiff")
    assert images.read_image(tmp_path / "a.tiff").getpixel((0, 0)) == (255, 0, 0)


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    path = tmp_path / "a.gif"
    frames = [Image.new("RGB", (4, 4), c) for c in ((255, 0, 0), (0, 0, 255))]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert images.read_image(path).getpixel((0, 0)) == (255, 0, 0)


def bad_pictures() -> dict[str, bytes]:
    good = io.BytesIO()
    noise(32, 32).save(good, "PNG")
    jpeg = io.BytesIO()
    noise(32, 32).save(jpeg, "JPEG")
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    return {
        "empty": b"",
        "text": b"hello there, this is no picture",
        "lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        "cut": good.getvalue()[:400],
        "cut jpeg": jpeg.getvalue()[:500],
        "damaged": good.getvalue()[:60] + b"\0" * 60 + good.getvalue()[120:],
        "bomb": b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b""),
        "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    }


@pytest.mark.parametrize("kind", bad_pictures())
def test_bad_pictures_are_refused_with_a_fix(tmp_path: Path, kind: Any) -> None:
    path = tmp_path / "bad.png"
    path.write_bytes(bad_pictures()[kind])
    with pytest.raises(InputError) as caught:
        images.read_image(path)
    assert "bad.png" in caught.value.message
    assert caught.value.fix
    assert "\n" not in caught.value.message


def test_missing_folder_and_float_pictures(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        images.read_image(tmp_path / "gone.png")
    with pytest.raises(InputError, match="folder"):
        images.read_image(tmp_path)
    Image.new("F", (3, 3)).save(tmp_path / "f.tiff")
    with pytest.raises(InputError, match="floating-point"):
        images.read_image(tmp_path / "f.tiff")


def test_arrays_that_are_no_picture() -> None:
    prep = Preprocessing((4, 4))
    for array in (np.zeros((4, 4, 3)), np.zeros((3, 4, 5), np.uint8), np.zeros((0, 4, 3), np.uint8)):
        with pytest.raises(InputError):
            prep.apply(array)


def test_arrays_from_files(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    values = np.arange(12, dtype=">f4").reshape(3, 4)
    np.save(path, values)
    read = images.read_array(path)
    np.testing.assert_array_equal(read, values)
    assert read.dtype == np.float32
    whole = path.read_bytes()
    huge = whole.replace(b"(3, 4)", b"(99999999999, 4)".ljust(6))
    for data in (whole[:-4], whole[:20], b"", b"PK\x03\x04", whole[:6] + b"\xff" * 40, huge):
        path.write_bytes(data)
        with pytest.raises(InputError, match=r"a\.npy"):
            images.read_array(path)
    for array in (np.array([{}], object), np.array(["a"]), np.array([1j]), np.array([np.nan]), np.zeros((0, 3))):
        np.save(path, array, allow_pickle=True)
        with pytest.raises(InputError, match=r"a\.npy"):
            images.read_array(path)


def test_batched_takes_a_sample_or_a_batch() -> None:
    assert images.batched(np.zeros((3, 4, 5)), (3, 4, 5), "float32").shape == (1, 3, 4, 5)
    assert images.batched(np.zeros((2, 3, 4, 5), np.int64), (3, 0, 5), "float32").dtype == np.float32
    for shape in ((4, 5), (3, 4, 6), (0, 3, 4, 5), (1, 2, 3, 4, 5)):
        with pytest.raises(InputError):
            images.batched(np.zeros(shape), (3, 4, 5), "float32")


def test_listing(tmp_path: Path) -> None:
    with pytest.raises(NothingToDo):
        images.listing(tmp_path)
    for name in ("b.png", "a.JPG", ".hidden.png", "c.npy", "notes.txt"):
        (tmp_path / name).touch()
    assert [p.name for p in images.listing(tmp_path)] == ["a.JPG", "b.png", "c.npy"]
    with pytest.raises(InputError):
        images.listing(tmp_path / "gone")


def test_errors_are_two_lines() -> None:
    with pytest.raises(OnnxLrpError) as caught:
        images.read_image("gone.png")
    assert len(str(caught.value).splitlines()) == 2


def test_the_modules_import_no_heavy_package() -> None:
    code = (
        "import sys, onnxlrp.preprocessing, onnxlrp.pictures.heatmap, onnxlrp.explanation.targets;"
        "print([m for m in ('PIL', 'onnx', 'onnxruntime', 'matplotlib', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
