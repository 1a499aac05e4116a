"""The tensors that transformers and timm make of a picture."""

from __future__ import annotations

import importlib.util
import sys
import types
from functools import cache
from typing import Any

import numpy as np

from . import prep_cases
from .arrays import Array


def huggingface(kind: Any, fields: Any, picture: Any) -> Array:
    """pixel_values [1, 3, H, W] of an image processor's own code, on Pillow."""
    import transformers

    name = kind.replace("FeatureExtractor", "ImageProcessor") + "Pil"
    processor = getattr(transformers, name)(**fields)
    return np.asarray(processor(picture, return_tensors="np")["pixel_values"])


def timm(config: Any, picture: Any) -> Any:
    """What timm's evaluation transform gives [1, 3, H, W]."""
    resolve_data_config, transforms_imagenet_eval = timm_functions()
    data = resolve_data_config(pretrained_cfg=config)
    size = data.pop("input_size")
    return transforms_imagenet_eval(size[1:], **data)(picture).numpy()[None]


@cache
def timm_functions() -> tuple[Any, Any]:
    """timm's two functions; torchvision's stand-in is there for their import alone."""
    made = {} if importlib.util.find_spec("torchvision") else stand_in()
    sys.modules.update(made)
    try:
        from timm.data import resolve_data_config
        from timm.data.transforms_factory import transforms_imagenet_eval
    finally:
        for name in made:
            sys.modules.pop(name, None)
    return resolve_data_config, transforms_imagenet_eval


def stand_in() -> dict[str, Any]:
    """The torchvision transforms that timm's evaluation takes, from their documentation, where it is not installed."""
    import enum

    import torch
    from PIL import Image

    class InterpolationMode(enum.Enum):
        NEAREST, NEAREST_EXACT, BILINEAR, BICUBIC = "nearest", "nearest-exact", "bilinear", "bicubic"
        BOX, HAMMING, LANCZOS = "box", "hamming", "lanczos"

    class Resize:
        """An int is the shorter side, the longer int(size * long / short)."""

        def __init__(self, size: Any, interpolation: Any = InterpolationMode.BILINEAR) -> None:
            self.size, self.method = size, Image.Resampling[interpolation.name]

        def __call__(self, image: Any) -> Any:
            if not isinstance(self.size, int):
                return image.resize(tuple(self.size[::-1]), self.method)
            width, height = image.size
            short, long = sorted(image.size)
            other = int(self.size * long / short)
            return image.resize((self.size, other) if width <= height else (other, self.size), self.method)

    class CenterCrop:
        """From int(round((side - crop) / 2))."""

        def __init__(self, size: Any) -> None:
            self.size = (size, size) if isinstance(size, int) else tuple(size)

        def __call__(self, image: Any) -> Any:
            (h, w), (width, height) = self.size, image.size
            assert h <= height
            assert w <= width
            top, left = round((height - h) / 2), round((width - w) / 2)
            return image.crop((left, top, left + w, top + h))

    def to_tensor(image: Any) -> Any:
        return torch.from_numpy(np.array(image)).permute(2, 0, 1).float().div(255)

    class ToTensor:
        def __call__(self, image: Any) -> Any:
            return to_tensor(image)

    class Normalize:
        def __init__(self, mean: Any, std: Any) -> None:
            self.mean, self.std = (torch.as_tensor(v).view(-1, 1, 1) for v in (mean, std))

        def __call__(self, x: Any) -> Any:
            return (x - self.mean) / self.std

    class Compose:
        def __init__(self, transforms: Any) -> None:
            self.transforms = transforms

        def __call__(self, x: Any) -> Any:
            for transform in self.transforms:
                x = transform(x)
            return x

    class Anything(types.ModuleType):
        """A module with every name, as classes."""

        def __getattr__(self, name: Any) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            return type(name, (torch.nn.Module,), {})

    names = ["", ".transforms", ".transforms.functional", ".ops", ".ops.misc", ".datasets", ".models", ".utils"]
    modules = {f"torchvision{name}": Anything(f"torchvision{name}") for name in names}
    for name, module in modules.items():
        module.__path__ = []
        parent, _, last = name.rpartition(".")
        if parent:
            setattr(modules[parent], last, module)
    transforms: Any
    functional: Any
    transforms, functional = modules["torchvision.transforms"], modules["torchvision.transforms.functional"]
    for one in (Resize, CenterCrop, ToTensor, Normalize, Compose, InterpolationMode):
        setattr(transforms, one.__name__, one)
    functional.InterpolationMode, functional.to_tensor = InterpolationMode, to_tensor
    return modules


def tensors(name: Any) -> list[Any]:
    """What the library of a case makes of the pictures."""
    if name in prep_cases.HUGGINGFACE:
        kind, fields, _ = prep_cases.HUGGINGFACE[name]
        return [huggingface(kind, fields, picture) for picture in prep_cases.pictures()]
    return [timm(prep_cases.TIMM[name][0], picture) for picture in prep_cases.pictures()]
