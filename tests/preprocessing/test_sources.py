"""Sources that contradict each other, do not fit the model, or are damaged: said, and never silently used."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import onnxlrp
from onnxlrp.errors import UsageError
from onnxlrp.preprocessing.find import find
from onnxlrp.preprocessing.sources.huggingface import DEFAULTS
from support import prep_cases

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PICTURE = prep_cases.pictures()[0]


def beside(folder: Any, **files: Any) -> Any:
    """The path of a model with JSON files beside it; the model itself is not needed."""
    for name, value in files.items():
        (folder / f"{name}.json").write_text(value if isinstance(value, str) else json.dumps(value))
    return folder / "model.onnx"


def vit(**fields: Any) -> dict[str, Any]:
    return {"image_processor_type": "ViTImageProcessor", "size": 24, **fields}


def test_a_conflict_names_both_values_and_who_states_them(tmp_path: Path) -> None:
    path = beside(tmp_path, preprocessor_config=vit(image_mean=[0.5] * 3, image_std=[0.5] * 3))
    (tmp_path / "model.prep.toml").write_text("mean = [0.485, 0.456, 0.406]\nscale = '1/255'\n")
    prep = find({}, path, {}, (3, 24, 24))
    (conflict,) = prep.conflicts
    assert (conflict.field, conflict.source, conflict.other_source) == (
        "mean",
        "model.prep.toml",
        "preprocessor_config.json",
    )
    assert (conflict.used, conflict.other) == ("0.485,0.456,0.406", "0.5")
    for word in ("mean", "0.485,0.456,0.406", "model.prep.toml", "0.5", "preprocessor_config.json"):
        assert word in str(conflict)
    assert (prep.mean, prep.std) == (IMAGENET[0], (0.5,) * 3)


def test_the_same_said_in_other_words_is_no_conflict(tmp_path: Path) -> None:
    path = beside(tmp_path, preprocessor_config=vit(), config={"pretrained_cfg": {"input_size": [3, 24, 24]}})
    (tmp_path / "model.prep.toml").write_text(
        'size = 24\nscale = 1\nmean = 127.5\nstd = 127.5\nresize = "stretch"\noffset = "floor"\n'
    )
    prep = find({}, path, {}, (3, 24, 24))
    assert {c.other_source for c in prep.conflicts} == {"config.json (timm)"}  # ImageNet's, and cut
    path.with_name("config.json").unlink()
    assert find({}, path, {}, (3, 24, 24)).conflicts == ()


def test_every_source_in_its_turn(tmp_path: Path) -> None:
    """Take away the first source, and the next one speaks."""
    timm = {"pretrained_cfg": {"input_size": [3, 24, 24], "mean": [0.4] * 3}}
    path = beside(tmp_path, preprocessor_config=vit(image_mean=[0.3] * 3), config=timm)
    sidecar = tmp_path / "model.prep.toml"
    sidecar.write_text("mean = 0.1\n")
    ultralytics = {"task": "classify", "imgsz": "[24, 24]", "stride": "1"}
    metadata = {
        "onnxlrp.prep": '{"mean": 0.2}',
        **ultralytics,
        "Image.NominalPixelRange": "Normalized_1_1",
    }

    def first(flags: Any) -> tuple[Any, Any]:
        prep = find(flags, path, metadata, (3, 24, 24), high=255.0)
        return prep.mean[0], prep.source.split(" + ")[0]

    assert first({"mean": "0.7"}) == (0.7, "flags")
    assert first({}) == (0.1, "model.prep.toml")
    sidecar.unlink()
    assert first({}) == (0.2, "model metadata")
    del metadata["onnxlrp.prep"]
    assert first({}) == (0.0, "Ultralytics metadata")
    for key in ultralytics:
        del metadata[key]
    assert first({}) == (0.3, "preprocessor_config.json")
    (tmp_path / "preprocessor_config.json").unlink()
    assert first({}) == (0.4, "config.json (timm)")
    (tmp_path / "config.json").unlink()
    assert first({}) == (0.5, "WinML metadata")
    del metadata["Image.NominalPixelRange"]
    assert first({}) == (0.0, "graph")


def test_what_the_graph_does_itself_and_a_file_states_too(tmp_path: Path) -> None:
    path = beside(tmp_path, preprocessor_config=vit())
    prep = find({}, path, {}, (3, 24, 24), high=255.0)
    assert {(c.field, c.source, c.other_source) for c in prep.conflicts} == {
        (piece, "preprocessor_config.json", "graph") for piece in ("scale", "mean", "std")
    }


def test_class_names_of_another_number_are_not_used(tmp_path: Path) -> None:
    path = beside(tmp_path, config={"id2label": {"0": "cat", "1": "dog"}})
    prep = find({}, path, {}, (3, 24, 24), n_outputs=1000)
    assert prep.labels_assumed
    assert "config.json: 2 class names for 1000 outputs: not used" in prep.notes
    assert find({}, path, {}, (3, 24, 24), n_outputs=2).labels == ("cat", "dog")
    with pytest.raises(UsageError):
        find({"labels": ["cat", "dog"]}, path, {}, (3, 24, 24), n_outputs=3)


def test_placeholders_are_no_class_names(tmp_path: Path) -> None:
    path = beside(tmp_path, config={"id2label": {"0": "LABEL_0", "1": "LABEL_1"}})
    assert find({}, path, {}, (3, 24, 24), n_outputs=2).labels is None


def test_another_size_than_the_model_s_is_a_conflict_and_keeps_the_share(tmp_path: Path) -> None:
    fields = {"size": {"shortest_edge": 32}, "crop_size": 28, "do_center_crop": True}
    path = beside(tmp_path, preprocessor_config={"image_processor_type": "BitImageProcessor", **fields})
    prep = find({}, path, {}, (3, 56, 56))
    assert (prep.size, prep.crop, prep.resize_to) == ((56, 56), 0.875, ())
    (conflict,) = prep.conflicts
    assert (conflict.used, conflict.source, conflict.other) == ("56x56", "the graph", "28x28")
    assert find({}, path, {}, (3, 28, 28)).resize_to == (32,)


def test_three_channels_for_an_input_of_one(tmp_path: Path) -> None:
    path = beside(tmp_path, preprocessor_config=vit(image_mean=list(IMAGENET[0])))
    prep = find({}, path, {}, (1, 24, 24))
    assert prep.assumed == ("scale", "mean", "std")
    assert any("3 channels" in note for note in prep.notes)
    path = beside(tmp_path, preprocessor_config=vit(image_mean=[0.5], image_std=[0.5]))
    grey = find({}, path, {}, (1, 24, 24))
    assert (grey.assumed, grey.mean, grey.notes) == ((), (0.5,), ())


def test_a_formula_for_an_input_of_bytes(tmp_path: Path) -> None:
    prep = find({}, beside(tmp_path, preprocessor_config=vit()), {}, (3, 24, 24), "uint8")
    assert (prep.scale, prep.mean, prep.assumed) == (1.0, (0.0,) * 3, ())
    assert any("takes pixels as uint8" in note for note in prep.notes)


NOT_DONE = [
    ({"do_pad": True}, "do_pad"),
    ({"do_resize": False}, "do_resize"),
    ({"size": {"longest_edge": 40}}, "size"),
    ({"size": {"shortest_edge": 24}}, "shortest_edge without a crop"),
    ({"size": 24, "do_center_crop": True, "crop_size": 30}, "black bars"),
    ({"resample": 9}, "resample"),
    ({"image_processor_type": "FancyImageProcessor"}, "FancyImageProcessor"),
    ({"image_processor_type": "DPTImageProcessor", "keep_aspect_ratio": True}, "keep_aspect_ratio"),
]


@pytest.mark.parametrize(("fields", "word"), NOT_DONE, ids=lambda value: str(value)[:40])
def test_a_field_that_is_not_done_here_is_said(tmp_path: Path, fields: dict[str, Any], word: str) -> None:
    prep = find({}, beside(tmp_path, preprocessor_config=vit(**fields)), {}, (3, 24, 24))
    assert any(word in note and note.startswith("preprocessor_config.json: ") for note in prep.notes)
    assert prep.apply(PICTURE).shape == (1, 3, 24, 24)


def test_timm_s_border_and_winml_s_linear_pixels_are_not_done(tmp_path: Path) -> None:
    stated = {"pretrained_cfg": {"input_size": [3, 24, 24], "crop_mode": "border"}}
    assert any("border" in note for note in find({}, beside(tmp_path, config=stated), {}, (3, 24, 24)).notes)
    linear = {"Image.ColorSpaceGamma": "Linear", "Image.BitmapPixelFormat": "Odd8", "Image.NominalPixelRange": "?"}
    assert len(find({}, None, linear, (3, 24, 24)).notes) == 3


@pytest.mark.parametrize("text", ["{", "[]", "[" * 100_000, "\0", "3", '{"id2label": 3, "pretrained_cfg": 4}'])
@pytest.mark.parametrize("name", ["preprocessor_config", "config"])
def test_a_damaged_file_is_said_and_nothing_of_it_used(tmp_path: Path, name: str, text: Any) -> None:
    prep = find({}, beside(tmp_path, **{name: text}), {}, (3, 24, 24))
    assert prep.assumed == ("color", "scale", "mean", "std", "resize", "crop") or name == "preprocessor_config"
    assert prep.notes or text.startswith('{"id2label')


def test_symbolic_links_are_not_followed_to_the_files_beside(tmp_path: Path) -> None:
    """As in a download cache, where a snapshot holds links to blobs."""
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshot"
    prep_cases.put(blobs, prep_cases.model((24, 24))).rename(blobs / "0a1b")
    snapshot.mkdir()
    (snapshot / "model.onnx").symlink_to(blobs / "0a1b")
    beside(snapshot, preprocessor_config=vit())
    assert onnxlrp.load(snapshot / "model.onnx").preprocessing.source == "preprocessor_config.json"


WORDS = [
    "image_processor_type", "size", "crop_size", "crop_pct", "do_resize", "do_center_crop", "do_rescale", "resample",
    "rescale_factor", "do_normalize", "image_mean", "image_std", "do_flip_channel_order", "rescale_offset",
    "include_top", "ensure_multiple_of", "keep_aspect_ratio", "default_to_square", "do_pad",
    "input_size", "test_input_size", "mean", "std", "interpolation", "crop_mode", "label_names", "label_descriptions",
]  # fmt: skip
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-3, 40)
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=True)
    | st.text(max_size=4)
    | st.sampled_from([f"{kind}ImageProcessor" for kind in DEFAULTS])
)
SIDES = st.sampled_from(["height", "width", "shortest_edge", "longest_edge"])
VALUES = SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(SIDES, SCALARS, max_size=3)
CONFIGS = st.dictionaries(st.sampled_from(WORDS), VALUES, max_size=8)


@pytest.mark.slow
@settings(max_examples=200)
@given(CONFIGS, CONFIGS, st.sampled_from([(3, 24, 24), (24, 20, 3), (1, 24, 24), (24, 24)]))
def test_no_file_of_others_can_break_a_run(
    tmp_path_factory: pytest.TempPathFactory, one: Any, other: Any, shape: tuple[int, ...]
) -> None:
    """Whatever the files hold: a preprocessing that works, with what is wrong in its notes."""
    folder = tmp_path_factory.mktemp("any")
    path = beside(folder, preprocessor_config=one, config={"pretrained_cfg": other})
    prep = find({}, path, {}, shape, n_outputs=4)
    with np.errstate(over="ignore"):
        made = prep.apply(PICTURE)
    assert made.shape == (1, *shape)
    assert np.isfinite(made).all() or max(map(abs, (prep.scale, *prep.mean, *(1 / s for s in prep.std)))) > 1e20


@settings(max_examples=200)
@given(
    st.fixed_dictionaries(
        {"task": st.text(max_size=9) | st.just("classify"), "imgsz": VALUES.map(repr), "stride": st.text(max_size=3)},
        optional={
            "names": VALUES.map(repr) | st.text(max_size=20),
            "channels": SCALARS.map(repr),
            "Image.BitmapPixelFormat": st.sampled_from(["Rgb8", "Bgra8", "Gray8", "?"]),
            "Image.NominalPixelRange": st.text(max_size=5),
        },
    )
)
def test_no_metadata_of_others_can_break_a_run(metadata: Any) -> None:
    assert find({}, None, metadata, (3, 24, 24), n_outputs=4).apply(PICTURE).shape == (1, 3, 24, 24)
