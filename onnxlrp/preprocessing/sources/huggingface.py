"""Hugging Face: `preprocessor_config.json` as its image processors read it, and `id2label` of `config.json`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..fields import PRESETS
from .statement import SourceContext, Statement, foreign, json_beside

_RESAMPLE = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")  # by Pillow's codes
_NOT_DONE = ("do_pad", "do_thumbnail", "do_align_long_axis", "do_color_quantize", "do_crop_margin", "do_pan_and_scan")

_IMAGENET = {"image_mean": PRESETS["imagenet"]["mean"], "image_std": PRESETS["imagenet"]["std"]}
_HALF = {"image_mean": (0.5,) * 3, "image_std": (0.5,) * 3}
_CLIP = {"image_mean": PRESETS["clip"]["mean"], "image_std": PRESETS["clip"]["std"]}
_COMMON = {"do_resize": True, "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True}
_SHORTER = {"do_center_crop": True, "crop_size": 224, "default_to_square": False, "resample": 3}
# Defaults of each class for fields that a file leaves out; old files leave out many.
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "Beit": {"size": 224, "crop_size": 224, "resample": 3, **_HALF},
    "Bit": {"size": 224, **_SHORTER, **_CLIP},
    "Blip": {"size": 384, "resample": 3, **_CLIP},
    "CLIP": {"size": 224, **_SHORTER, **_CLIP},
    "ConvNext": {"size": 384, "crop_pct": 224 / 256, "default_to_square": False, "resample": 3, **_HALF},
    "DPT": {"size": 384, "resample": 3, **_HALF},
    "DeiT": {"size": 256, "do_center_crop": True, "crop_size": 224, "resample": 3, **_HALF},
    "EfficientNet": {"size": 346, "crop_size": 289, "include_top": True, "resample": 3, **_HALF},
    "Levit": {"size": 224, **_SHORTER, **_IMAGENET},
    "MobileNetV1": {"size": 256, **_SHORTER, "resample": 2, **_HALF},
    "MobileNetV2": {"size": 256, **_SHORTER, "resample": 2, **_HALF},
    "MobileViT": {"size": 224, **_SHORTER, "crop_size": 256, "do_flip_channel_order": True},
    "PoolFormer": {"size": 224, "crop_pct": 0.9, **_SHORTER, **_IMAGENET},
    "Pvt": {"size": 224, "resample": 3, **_IMAGENET},
    "Segformer": {"size": 512, "resample": 2, **_IMAGENET},
    "Siglip": {"size": 224, "resample": 3, **_HALF},
    "ViT": {"size": 224, "resample": 2, **_HALF},
}


def processor(context: SourceContext) -> Iterator[Statement]:
    """Read the resize, crop and formula of the image processor, then the class names."""
    found = json_beside(context, "preprocessor_config.json")
    if found is None and (whole := json_beside(context, "processor_config.json")) is not None:
        part = whole[1].get("image_processor")  # a processor of pictures and text
        found = (whole[0], dict(part) if isinstance(part, Mapping) else {}, whole[2])
    if found is not None:
        name, config, notes = found
        raw, more = _fields(config) if config else ({}, [])
        if context.channels == 1 and raw.get("color") == "RGB":
            del raw["color"]  # processors leave grey pictures as they are
        yield foreign(name, raw, (*notes, *more))
    if (found := json_beside(context, "config.json")) is not None:
        name, config, notes = found
        names = config.get("id2label")
        if isinstance(names, Mapping) and names and not all(re.fullmatch(r"LABEL_\d+", str(n)) for n in names.values()):
            yield foreign(name, {"labels": dict(names)}, notes)
        elif notes:
            yield foreign(name, {}, notes)


def _fields(stated: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Translate the fields of a processor; the notes name steps that are not done here."""
    word = str(stated.get("image_processor_type") or stated.get("feature_extractor_type") or "")[:60]
    name = re.sub(r"(ImageProcessor|FeatureExtractor)(Fast|Pil)?$", "", word)
    notes = [f"{key} is not done here" for key in _NOT_DONE if stated.get(key)]
    if name not in DEFAULTS:
        notes.append(f"{word or 'no image_processor_type'}: not known here: only its fields are read")
    config = {**_COMMON, **DEFAULTS.get(name, {}), **{key: v for key, v in stated.items() if v is not None}}
    try:
        raw = {**_resized(name, config, notes), **_formula(name, config, notes)}
    except (TypeError, ValueError, KeyError, ArithmeticError):
        return {}, [*notes, "a field has a value that image processors do not take: not used"]
    code = config.get("resample")
    if isinstance(code, int) and 0 <= code < len(_RESAMPLE):
        raw["interpolation"] = _RESAMPLE[code]
    elif code is not None:
        notes.append(f"resample {str(code)[:40]} is not known: not used")
    return {**raw, "offset": "floor"}, notes


def _formula(name: str, config: Mapping[str, Any], notes: list[str]) -> dict[str, Any]:
    """Translate the formula y = (x * rescale_factor - 1 where there is a rescale_offset - image_mean) / image_std.

    EfficientNet divides by image_std once more for its classifier (`include_top`).
    """
    raw: dict[str, Any] = {"scale": config["rescale_factor"] if config["do_rescale"] else 1.0}
    flipped = bool(config.get("do_flip_channel_order"))
    raw["color"] = "BGR" if flipped else "RGB"
    normalized = config["do_normalize"] and name != "MobileViT"
    if normalized and "image_mean" not in config:
        notes.append("image_mean is missing")
        return {"color": raw["color"]}
    mean = _numbers(config["image_mean"]) if normalized else [0.0]
    std = _numbers(config["image_std"]) if normalized else [1.0]
    if config.get("rescale_offset") and config["do_rescale"]:
        mean = [m + 1.0 for m in mean]
    if name == "EfficientNet" and config["include_top"]:
        once_more = _numbers(config["image_std"])
        mean = mean if len(mean) > 1 else mean * len(once_more)
        std = [s * again for s, again in zip(std if len(std) > 1 else std * len(once_more), once_more, strict=True)]
    step = -1 if flipped else 1
    return {**raw, "mean": mean[::step], "std": std[::step]}


def _numbers(value: Any) -> list[float]:
    return [float(v) for v in value] if isinstance(value, (list, tuple)) else [float(value)]


def _resized(name: str, config: Mapping[str, Any], notes: list[str]) -> dict[str, Any]:
    """Translate the resize and the crop of a processor."""
    crop = _sides(config.get("crop_size"), True) if config.get("do_center_crop") else ()
    if not config["do_resize"]:
        notes.append("do_resize is false: pictures of other sizes are stretched to the model's here")
        return {"resize": "stretch", **({"size": crop} if len(crop) == 2 else {})}
    sides = _sides(config.get("size"), config.get("default_to_square", True))
    if not sides:
        notes.append(f"size {str(config.get('size'))[:60]} is not done here")
        return {"size": crop} if len(crop) == 2 else {}
    if name == "ConvNext":
        if sides[0] >= 384:
            return {"size": (sides[0], sides[0]), "resize": "stretch"}
        crop, sides = (sides[0], sides[0]), (int(sides[0] / config["crop_pct"]),)
    elif name == "PoolFormer":
        scaled = tuple(int(side / config["crop_pct"]) for side in sides)
        sides = scaled if len(set(scaled)) == 2 else scaled[:1]
    elif name == "Levit" and len(sides) == 1:
        sides = (int(256 / 224 * sides[0]),)
    elif name == "DPT":
        if config.get("keep_aspect_ratio"):
            notes.append("keep_aspect_ratio is not done here: each side is resized on its own")
        multiple = int(config.get("ensure_multiple_of", 1))
        sides = tuple(round(side / multiple) * multiple for side in sides)
    if len(sides) == 1 and len(crop) != 2:
        notes.append("shortest_edge without a crop keeps the picture's shape: here its centre is cut out")
        crop = (sides[0], sides[0])
    raw = {"size": crop or sides, "resize": "stretch" if len(sides) == 2 else "shorter-crop"}
    if crop and any(side < part for side, part in zip(sides * (3 - len(sides)), crop, strict=True)):
        notes.append(f"crop_size above size adds black bars, which is not done here: {crop[0]}x{crop[1]} are filled")
        return raw
    return {**raw, "resize_to": sides} if crop else raw


def _sides(size: Any, square: bool) -> tuple[int, ...]:
    """Parse (height, width) or (shorter side,), () for anything else."""
    if isinstance(size, int):
        return (size, size) if square else (size,)
    if isinstance(size, (list, tuple)) and len(size) == 2:
        return int(size[0]), int(size[1])
    if isinstance(size, Mapping):
        if size.get("height") and size.get("width"):
            return int(size["height"]), int(size["width"])
        if size.get("shortest_edge") and not size.get("longest_edge"):
            return (int(size["shortest_edge"]),)
    return ()
