"""Models as a new user finds them, and the pictures put in: what the golden script and the tests share."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from .arrays import Array

IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
HALF = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
CLIP = {"image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]}
RESCALE = {"do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True}

# name: (image_processor_type, the rest of preprocessor_config.json, height and width of the input)
HUGGINGFACE = {
    "vit": ("ViTImageProcessor", {"size": {"height": 24, "width": 24}, "resample": 2, **HALF, **RESCALE}, (24, 24)),
    "vit-old": (
        "ViTFeatureExtractor",
        {"size": 20, "resample": 2, "do_resize": True, "do_normalize": True, **HALF},
        (20, 20),
    ),
    "vit-wide": ("ViTImageProcessor", {"size": {"height": 18, "width": 27}, "resample": 3, **IMAGENET}, (18, 27)),
    "convnext": (
        "ConvNextImageProcessor",
        {"size": {"shortest_edge": 23}, "crop_pct": 0.875, "resample": 3, **IMAGENET},
        (23, 23),
    ),
    "convnext-large": ("ConvNextFeatureExtractor", {"size": 384, "crop_pct": 0.95, **IMAGENET}, (384, 384)),
    "clip": (
        "CLIPImageProcessor",
        {"size": {"shortest_edge": 22}, "crop_size": {"height": 22, "width": 22}, "resample": 3, **CLIP},
        (22, 22),
    ),
    "bit": (
        "BitImageProcessor",
        {"size": {"shortest_edge": 29}, "crop_size": 24, "do_center_crop": True, **HALF},
        (24, 24),
    ),
    "mobilenet-v2": ("MobileNetV2ImageProcessor", {"size": {"shortest_edge": 28}, "crop_size": 23, **HALF}, (23, 23)),
    "deit": ("DeiTImageProcessor", {"size": {"height": 27, "width": 29}, "crop_size": 24, **IMAGENET}, (24, 24)),
    "levit": ("LevitImageProcessor", {"size": {"shortest_edge": 21}, "crop_size": 21, **IMAGENET}, (21, 21)),
    "poolformer": (
        "PoolFormerImageProcessor",
        {"size": {"shortest_edge": 22}, "crop_size": 22, "crop_pct": 0.9},
        (22, 22),
    ),
    "mobilevit": (
        "MobileViTImageProcessor",
        {"size": {"shortest_edge": 26}, "crop_size": 23, "do_flip_channel_order": True, "resample": 2},
        (23, 23),
    ),
    "efficientnet": (
        "EfficientNetImageProcessor",
        {"size": 24, "resample": 0, "rescale_offset": True, "include_top": True, **IMAGENET},
        (24, 24),
    ),
    "no-normalize": ("ViTImageProcessor", {"size": 20, "do_normalize": False, **HALF}, (20, 20)),
    "no-rescale": (
        "ViTImageProcessor",
        {"size": 20, "do_rescale": False, "image_mean": [127.5] * 3, "image_std": [127.5] * 3},
        (20, 20),
    ),
}
# name: (pretrained_cfg, height and width)
TIMM = {
    "timm-bicubic": (
        {"input_size": [3, 24, 24], "interpolation": "bicubic", "crop_pct": 0.95, "crop_mode": "center"},
        (24, 24),
    ),
    "timm-bilinear": (
        {
            "input_size": [3, 23, 23],
            "interpolation": "bilinear",
            "crop_pct": 0.875,
            "mean": [0.5] * 3,
            "std": [0.5] * 3,
        },
        (23, 23),
    ),
    "timm-squash": ({"input_size": [3, 24, 24], "crop_pct": 0.9, "crop_mode": "squash"}, (24, 24)),
    "timm-defaults": ({"input_size": [3, 28, 28]}, (28, 28)),
    "timm-whole": ({"input_size": [3, 22, 22], "crop_pct": 1.0, "interpolation": "lanczos"}, (22, 22)),
}


def pictures() -> list[Image.Image]:
    """A wide, a tall and a small picture: waves of every channel's own, and some noise."""
    rng = np.random.default_rng(0)
    made = []
    for height, width in ((47, 61), (70, 45), (15, 19)):
        y, x = np.mgrid[:height, :width]
        waves = [np.sin(x / (3 + c) + y / (5 - c)) + np.cos(y * x / 90 + c) for c in range(3)]
        values = 127 + 55 * np.stack(waves, -1) + rng.normal(0, 6, (height, width, 3))
        made.append(Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8)))
    return made


def model(
    size: tuple[int, ...],
    classes: int = 4,
    metadata: Iterable[tuple[str, str]] = (),
    channels: int = 3,
    front: Iterable[tuple[str, Any]] = (),
    dtype: int = TensorProto.FLOAT,
    last: bool = False,
    open_size: bool = False,
) -> onnx.ModelProto:
    """A classifier of one convolution; `front` are (op, constant) before it, `last` puts the channels last."""
    height, width = ("height", "width") if open_size else size
    shape = ["N", height, width, channels] if last else ["N", channels, height, width]
    nodes, weights, x = [], [], "x"
    if dtype != TensorProto.FLOAT:
        nodes.append(helper.make_node("Cast", [x], ["cast"], to=TensorProto.FLOAT))
        x = "cast"
    for n, (op, value) in enumerate(front):
        value = np.asarray(value, np.float32)
        value = value.reshape((-1,) if last else (-1, 1, 1)) if value.ndim else value
        weights.append(numpy_helper.from_array(value, f"f{n}"))
        nodes.append(helper.make_node(op, [x, f"f{n}"], [f"y{n}"]))
        x = f"y{n}"
    if last:
        nodes.append(helper.make_node("Transpose", [x], ["turned"], perm=[0, 3, 1, 2]))
        x = "turned"
    rng = np.random.default_rng(1)
    weights.append(numpy_helper.from_array(rng.normal(size=(classes, channels, 3, 3)).astype(np.float32), "w"))
    nodes += [
        helper.make_node("Conv", [x, "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["scores"]),
    ]
    value = helper.make_tensor_value_info("x", dtype, shape)
    out = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", classes])
    made = helper.make_model(
        helper.make_graph(nodes, "tiny", [value], [out], weights),
        ir_version=10,
        opset_imports=[helper.make_opsetid("", 20)],
    )
    onnx.helper.set_model_props(made, dict(metadata))
    return made


def put(folder: Path, made: onnx.ModelProto, **files: Any) -> Path:
    """The model in a folder, with JSON files beside it by their stems; its path."""
    folder.mkdir(parents=True, exist_ok=True)
    onnx.save(made, folder / "model.onnx")
    for name, value in files.items():
        (folder / f"{name}.json").write_text(json.dumps(value))
    return folder / "model.onnx"


def first_run(folder: Path, name: str) -> Path:
    """The folder of a named case; the model's path."""
    if name in HUGGINGFACE:
        kind, fields, size = HUGGINGFACE[name]
        key = "feature_extractor_type" if "Extractor" in kind else "image_processor_type"
        return put(folder, model(size), preprocessor_config={key: kind, **fields})
    config, size = TIMM[name]
    return put(folder, model(size), config={"architecture": "resnet50", "num_classes": 4, "pretrained_cfg": config})


def thinned(tensor: Array) -> Array:
    """A tensor of at most 30 rows and columns."""
    step = max(1, tensor.shape[-1] // 24)
    return tensor[..., ::step, ::step]
