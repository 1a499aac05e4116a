"""The files of an explanation: figures, arrays, JSON."""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from . import names
from .figures import figure
from .record import origin, to_json
from .result import Result, assumed, class_id, label, target_count

if TYPE_CHECKING:
    from PIL.Image import Image


def jobs(result: Result, pattern: str, kind: str, **look: Any) -> list[tuple[int, int | None, Callable[[], bytes]]]:
    """Return the sample, the target (None for all) and the writer of every file."""
    if kind == "png":
        return [
            (n, t, partial(_png, result, n, t, **look)) for n in range(len(result)) for t in range(target_count(result))
        ]
    write = (
        partial(_html, cmap=look.get("cmap", "RdBu_r"), clip=look.get("clip", 99.5)) if kind == "html" else _WHOLE[kind]
    )
    if len(result) > 1 and not names.distinguishes(pattern):
        return [(0, None, partial(write, result))]
    return [(n, None, partial(write, result[n])) for n in range(len(result))]


def _png(result: Result, sample: int, target: int, **look: Any) -> bytes:
    words = {"Software": "onnxlrp", "Title": f"{label(result, sample, target)} {result.method}".strip()}
    here = {"target": class_id(result, sample, target), "label": label(result, sample, target)}
    words["onnxlrp.provenance"] = json.dumps({**origin(result), **here}, allow_nan=False)
    if assumed(result):
        words["ASSUMED"] = ", ".join(assumed(result))
    return encode_png(figure(result, sample, target, **look), words)


def _npz(result: Result) -> bytes:
    arrays = _arrays(result)
    arrays["provenance"] = np.array(json.dumps(origin(result), allow_nan=False))
    if assumed(result):
        arrays["ASSUMED"] = np.array(", ".join(assumed(result)))
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def _safetensors(result: Result) -> bytes:
    from safetensors.numpy import save

    about: dict[str, Any] = origin(result)
    if assumed(result):
        about["ASSUMED"] = ", ".join(assumed(result))
    arrays = {name: np.ascontiguousarray(array) for name, array in _arrays(result).items()}
    # One entry: the library writes several in an order that differs from run to run.
    return bytes(save(arrays, metadata={"provenance": json.dumps(about, allow_nan=False)}))


def _arrays(result: Result) -> dict[str, Any]:
    """The arrays of a result by their names in files."""
    arrays: dict[str, Any] = {
        "relevance": result.relevance, "output": result.output, "target": result.target, "logit": result.logit
    }  # fmt: skip
    arrays |= {f"layers/{path}": values for path, values in result.layers.items()}
    seen = [image for image in result.images or () if image is not None]
    if len(seen) == len(result) and len({image.size for image in seen}) == 1:
        arrays["images"] = np.stack([np.asarray(image.convert("RGB")) for image in seen])
    return arrays


def _html(result: Result, cmap: str, clip: float) -> bytes:
    from .tokens import page

    return page(result, cmap, clip).encode()


def _json(result: Result) -> bytes:
    return to_json(result).encode()


# Of repeats it looks for those of one byte alone, of which PNG's filters leave most: two thirds of the time of zlib's
# level 4, and a third of that of its default 6, for 4 % of the size of a picture with a photograph below.
_EFFORT = {"compress_level": 4, "compress_type": zlib.Z_RLE}

_WHOLE: Mapping[str, Callable[[Result], bytes]] = {"npz": _npz, "json": _json, "safetensors": _safetensors}


def encode_png(picture: Image, words: Mapping[str, str]) -> bytes:
    """Encode a picture as PNG, with text in its metadata."""
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    for key, text in words.items():
        info.add_text(key, text) if text.isascii() else info.add_itxt(key, text)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", pnginfo=info, **_EFFORT)
    return buffer.getvalue()
