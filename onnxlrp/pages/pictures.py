"""Pictures as data URIs; the heatmap is separate from its picture, so that it can fade."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..pictures import bars, colors
from ..pictures.style import Style
from ..preprocessing import images
from .markup import Markup, tag

if TYPE_CHECKING:
    from PIL.Image import Image

Array = npt.NDArray[Any]

CMAP = "RdBu_r"  # blue to red: distinguishable with every kind of colour blindness


def photo(pixels: Array, side: int) -> Markup:
    """Encode a picture [H, W, 3]; small ones without loss."""
    from PIL import Image as pillow

    picture = _smaller(pillow.fromarray(pixels), side)
    return _encoded(picture, "PNG") if max(picture.size) <= 96 else _encoded(picture, "JPEG", quality=88)


def thumbnail(picture: Image, side: int) -> Markup:
    """Encode a small picture; one of a third of the side or less without loss."""
    picture = _smaller(picture, side)
    if max(picture.size) <= side // 3:
        return _encoded(picture, "PNG")
    return _encoded(picture, "JPEG", quality=80)


def heat(values: Array, v: float, see_through: bool, side: int) -> Markup:
    """Encode a heatmap.

    Args:
        values: Relevance [H, W].
        v: The limit of the colours, which span −v..v.
        see_through: Make small values transparent, so that a picture below stays visible.
        side: The longest side, in pixels.
    """
    from PIL import Image as pillow

    shrunk = np.asarray(_smaller(pillow.fromarray(values.astype(np.float32)), side), dtype=np.float64)
    steps = np.rint((np.clip(shrunk / v if v else shrunk, -1, 1) + 1) * 127).astype(np.uint8)
    picture = pillow.fromarray(steps).convert("L")
    table = colors.colormap(CMAP)[np.rint(np.arange(255) * 256 / 254).astype(int)]
    # An L picture with a palette is a P picture: a byte for each value.
    picture.putpalette(table.tobytes())
    size = np.abs(np.arange(255) - 127) / 127
    opacity = np.rint(255 * 0.92 * size**0.5).astype(np.uint8) if see_through else np.full(255, 255, np.uint8)
    return _encoded(picture, "PNG", transparency=opacity.tobytes())


def signal(values: Array) -> Markup:
    """Draw relevance [L] as bars."""
    return _encoded(bars.strip(values, Style(CMAP)), "PNG")


def figure(path: Path, side: int) -> Markup:
    """Encode the picture of a file again, without its metadata. Raises InputError."""
    from PIL import Image as pillow

    return drawing(pillow.fromarray(np.asarray(images.read_image(path))), side)


def drawing(picture: Image, side: int) -> Markup:
    """Encode a figure with its lettering."""
    return _encoded(_smaller(picture, 2 * side), "PNG")


def stack(values: Array, v: float, below: Markup | None, side: int, alt: str) -> Markup:
    """Lay a heatmap [H, W] over its picture, where it has one."""
    look = grain(values.shape)
    under = [] if below is None else [tag("img", src=below, alt="", class_=f"below {look}")]
    over = tag("img", src=heat(values, v, bool(under), side), alt=alt, class_=f"heat {look}")
    return tag("div", under, over, class_="stack")


def slider(name: str) -> Markup:
    """Make the slider that fades the heatmaps of a section; `name` is part of its id."""
    parts = [
        tag("label", "Opacity of the heatmaps", for_=f"opacity-{name}"),
        tag("input", type="range", id=f"opacity-{name}", min=0, max=100, value=100, step=5),
        tag("output", "100 %", for_=f"opacity-{name}"),
    ]
    return tag("p", parts, class_="slider")


def grain(shape: tuple[int, ...]) -> str:
    """Return the style class of a picture: small ones show their pixels."""
    return "pixels" if max(shape) <= 96 else "smooth"


def _smaller(picture: Image, side: int) -> Image:
    from PIL import Image as pillow

    share = side / max(picture.size)
    if share >= 1:
        return picture
    size = (max(1, round(picture.width * share)), max(1, round(picture.height * share)))
    return picture.resize(size, pillow.Resampling.BOX)


def _encoded(picture: Image, format: str, **options: Any) -> Markup:
    buffer = io.BytesIO()
    picture.save(buffer, format, **options)
    return Markup(f"data:image/{format.lower()};base64,{base64.b64encode(buffer.getvalue()).decode()}")
