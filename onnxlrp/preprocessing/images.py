"""Read pictures and arrays from files, and refuse those that are not what they claim to be."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt

from ..errors import InputError, NothingToDo
from ..files import AGAIN, check, listed, reason
from ..runtime import ForkLock

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "TIFF", "GIF", "PPM")
SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm", ".pgm", ".pbm", ".pnm", ".npy"}
)

DEEPEST = 65535  # the highest value of 16 bits
_STRIP = 256  # rows at a time
_LOCK = ForkLock()  # warnings are ignored for the whole process

_LAYOUT = "give the array in the model's own layout"
_SAVE = "save it by numpy.save(path, array) with an array of numbers"
_CONVERT = "give a picture (" + ", ".join(FORMATS) + "), an .npy array or a table (.csv, .parquet)"


def read_image(path: str | Path) -> Image:
    """Read a file as an RGB picture of 8 bits, upright by its EXIF orientation; of an animation, the first frame.

    Alpha is composited over white; CMYK and palettes become RGB by Pillow; 16-bit grey v becomes round(v / 257),
    clipped to 0..255 (Pillow reads 16-bit colour by its high byte); floating-point pictures are refused.

    Raises:
        InputError: The file is missing, damaged, too large, or no picture.
    """
    return rgb(open_image(path), str(path))


def open_image(path: str | Path) -> Image:
    """Read a file as `read_image` does, but leave a grey picture of 16 bits as it is. Raises InputError."""
    path = Path(path)
    check(path)
    return decode(path, str(path))


def decode(file: Path | BinaryIO, name: str) -> Image:
    """Decode a picture as `open_image` does.

    Args:
        file: A file, or what is read from one.
        name: Its name in messages.

    Raises:
        InputError: It is damaged, too large, or no picture.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with _LOCK, warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # said as an error below
            header = Image.open(file, formats=FORMATS)
        with header as opened:
            if opened.width * opened.height > (Image.MAX_IMAGE_PIXELS or math.inf):
                raise Image.DecompressionBombError
            opened.seek(0)
            opened.load()
            picture = _upright(opened, ImageOps)
            return picture.copy() if is_deep(picture) else rgb(picture, name)
    except InputError:
        raise
    except Image.DecompressionBombError:
        limit = f"{(Image.MAX_IMAGE_PIXELS or 0) / 1e6:.0f} million"
        raise InputError(f"{name}: claims more than {limit} pixels", "make the picture smaller") from None
    except UnidentifiedImageError:
        fix = _instead(file) if isinstance(file, Path) else _CONVERT
        raise InputError(f"{name}: not a picture of a known format", fix) from None
    except PermissionError:
        raise InputError(f"{name}: no permission to read it", f"chmod +r {name}") from None
    except MemoryError:
        raise InputError(f"{name}: too large for the memory", "make the picture smaller") from None
    except Exception as error:  # Pillow's decoders raise anything from SyntaxError to struct.error on a damaged file
        raise InputError(f"{name}: a damaged or cut picture ({reason(error)})", AGAIN) from None


def frames(path: str | Path) -> int:
    """Count the frames of a picture file; 1 for any other file."""
    if Path(path).suffix.lower() not in (".gif", ".webp", ".tif", ".tiff"):
        return 1
    from PIL import Image

    with contextlib.suppress(Exception), Image.open(path, formats=FORMATS) as file:
        return int(getattr(file, "n_frames", 1))
    return 1


def is_deep(image: Image) -> bool:
    """Return whether a picture is grey with more than 8 bits."""
    return image.mode.startswith("I")


def deep_values(image: Image) -> npt.NDArray[np.float64]:
    """Return the values [H, W] of a grey picture of 16 bits. Raises InputError for values of more bits."""
    values = np.asarray(image).astype(np.float64)
    if values.min() < 0 or values.max() > DEEPEST:
        raise InputError(
            f"the picture: holds {values.min():g} to {values.max():g}, more than 16 bits",
            "save it with 16 bits, or give an .npy file",
        )
    return values


def depth_note(path: str | Path) -> str:
    """Return what is done with a picture file of more than 8 bits a channel; "" for others."""
    if Path(path).suffix.lower() not in (".png", ".tif", ".tiff", ".pgm", ".pnm", ".ppm"):
        return ""
    from PIL import Image

    with contextlib.suppress(Exception), Image.open(path, formats=FORMATS) as file:
        if is_deep(file):
            return "grey of 16 bits, read in full depth"
    with contextlib.suppress(OSError), Path(path).open("rb") as stream:
        head = stream.read(26)
        if head[:8] == b"\x89PNG\r\n\x1a\n" and head[24:25] == b"\x10":
            return "colour of 16 bits, of which the upper 8 are read"
    return ""


def rgb(image: Image, name: str = "the picture") -> Image:
    """Convert a picture of any mode to RGB, by the rules of `read_image`, without turning it. Raises InputError."""
    if image.mode == "F":
        raise InputError(
            f"{name}: a picture of floating-point values, whose range is not known",
            "save it with 8 bits, or give an .npy file",
        )
    if image.mode.startswith("I"):
        return _by_strips(image, _from_16_bits)
    if image.has_transparency_data:
        return _by_strips(image, _over_white)
    return image.convert("RGB")


def _instead(path: Path) -> str:
    """Return the fix for a file that is no picture."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            name = next(iter(stored), "arr_0")
    except Exception:  # no archive: numpy and zipfile raise anything
        return _CONVERT
    given = f"numpy.save('{path.stem}.npy', numpy.load('{path.name}')['{name}'])"
    return f"it is an archive of arrays; save one of them in the model's own layout: {given}"


def _by_strips(image: Image, convert: Callable[[Image], Image]) -> Image:
    """Convert a picture strip by strip: the steps on the whole would need many times its memory."""
    from PIL import Image

    whole = Image.new("RGB", image.size)
    for top in range(0, image.height, _STRIP):
        whole.paste(convert(image.crop((0, top, image.width, min(top + _STRIP, image.height)))), (0, top))
    return whole


def _from_16_bits(image: Image) -> Image:
    from PIL import Image

    values = np.asarray(image).astype(np.float64) / 257.0
    return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8)).convert("RGB")


def _over_white(image: Image) -> Image:
    from PIL import Image

    rgba = image.convert("RGBA")
    white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, rgba).convert("RGB")


def read_array(path: str | Path, missing: bool = False) -> npt.NDArray[Any]:
    """Read the numeric array of an `.npy` file as it is; pickles are refused.

    Args:
        path: The file.
        missing: NaN is a missing value, which whoever takes the array decides about.

    Raises:
        InputError: The file is missing, damaged, or holds anything but finite numbers.
    """
    path = Path(path)
    check(path)
    try:
        with path.open("rb") as file:
            if file.read(6) != b"\x93NUMPY":
                raise InputError(f"{path}: not an .npy file", _SAVE)
        # A memory map checks the claimed shape against the file's length before memory is allocated.
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    except InputError:
        raise
    except Exception as error:  # numpy's reader raises anything from SyntaxError to TokenError on a damaged header
        raise InputError(
            f"{path}: a damaged or cut .npy file, or one of Python objects ({reason(error)})", _SAVE
        ) from None
    return _numbers(mapped, str(path), missing)


def decode_array(file: BinaryIO, name: str, missing: bool = False) -> npt.NDArray[Any]:
    """Decode the numeric array of an `.npy` file as `read_array` does.

    Args:
        file: What is read from the file, whole.
        name: Its name in messages.
        missing: NaN is a missing value, as of `read_array`.

    Raises:
        InputError: It is damaged, or holds anything but finite numbers.
    """
    try:
        if file.read(6) != b"\x93NUMPY":
            raise InputError(f"{name}: not an .npy file", _SAVE)
        file.seek(0)
        stored = np.lib.format.read_array(file, allow_pickle=False)
    except InputError:
        raise
    except Exception as error:  # as above
        raise InputError(f"{name}: a damaged or cut .npy file ({reason(error)})", _SAVE) from None
    return _numbers(stored, name, missing)


def _numbers(stored: npt.NDArray[Any], name: str, missing: bool) -> npt.NDArray[Any]:
    """Return a copy of an array of finite numbers, in this machine's byte order. Raises InputError for others."""
    if stored.dtype.kind not in "biuf":
        raise InputError(f"{name}: holds {stored.dtype}, not numbers", _SAVE)
    array = np.array(stored, dtype=stored.dtype.newbyteorder("="))
    if array.size == 0:
        raise InputError(f"{name}: holds no values (shape {array.shape})", _SAVE)
    if array.dtype.kind == "f" and not (np.isfinite(array) | (missing & np.isnan(array))).all():
        raise InputError(f"{name}: holds NaN or infinity", "clean the array before it is saved")
    return array


def batched(
    array: npt.ArrayLike,
    sample_shape: tuple[int, ...],
    dtype: str,
    name: str = "the input",
    missing: Callable[[npt.NDArray[Any]], npt.NDArray[Any]] | None = None,
) -> npt.NDArray[Any]:
    """Bring an array to the shape [N, …] and the type of the input.

    Args:
        array: One sample, or a batch.
        sample_shape: The shape of one sample; dimensions below 1 are free.
        dtype: The type of the input.
        name: The array's name in messages.
        missing: Decides about a batch [N, …] with missing values, NaN: returns what the model is given, or raises. None
            refuses them.

    Raises:
        InputError: The shape does not fit, or values are not finite, or are none of the type.
    """
    values = np.asarray(array)
    if values.dtype.kind not in "biuf":
        raise InputError(f"{name}: holds {values.dtype}, not numbers", "give an array of numbers")
    if fits(values.shape, sample_shape):
        values = values[np.newaxis]
    elif not fits(values.shape[1:], sample_shape) or values.ndim != len(sample_shape) + 1:
        wanted = ", ".join(str(n) if n > 0 else "*" for n in sample_shape)
        raise InputError(
            f"{name}: shape {values.shape}, the model takes (N, {wanted}) or one sample ({wanted})",
            _order(values.shape, sample_shape) or _LAYOUT + ", or the picture itself" * (len(sample_shape) == 3),
        )
    if values.shape[0] == 0:
        raise InputError(f"{name}: an empty batch", "give at least one sample")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        if missing is None or np.isinf(values).any():
            raise InputError(f"{name}: holds NaN or infinity", "clean the array first")
        values = missing(values)
    return np.ascontiguousarray(_cast(values, np.dtype(dtype), name))


def _cast(values: npt.NDArray[Any], kind: np.dtype[Any], name: str) -> npt.NDArray[Any]:
    """Convert values to the type of an input, which must hold each of them but for the rounding of floats."""
    if values.dtype == kind:
        return values
    with np.errstate(invalid="ignore", over="ignore"):
        cast = values.astype(kind)
    if kind.kind == "f":
        wrong = values[~np.isfinite(cast) & ~np.isnan(values)]
    elif kind.kind == "b":
        wrong = values[(values != 0) & (values != 1)]
    else:
        limits = np.iinfo(kind)
        wrong = values[(values != np.rint(values)) | (values < limits.min) | (values > limits.max)]
    if wrong.size:
        raise InputError(f"{name}: holds {wrong.flat[0]:g}, the model takes {_range(kind)}", _whole(values, kind))
    return cast


def _range(kind: np.dtype[Any]) -> str:
    if kind.kind == "f":
        return f"{kind} up to {np.finfo(kind).max:.3g}"
    if kind.kind == "b":
        return "bool, 0 or 1"
    return f"{kind}, whole numbers from {np.iinfo(kind).min} to {np.iinfo(kind).max}"


def _whole(values: npt.NDArray[Any], kind: np.dtype[Any]) -> str:
    """Return the fix for values that the type of an input does not hold."""
    if kind.kind == "f":
        return f"scale the array to the range of {kind}"
    if kind == np.uint8 and values.min() >= 0 and values.max() <= 1:
        return "give an array of uint8, as it was before it was scaled: numpy.rint(array * 255)"
    return f"give an array of {kind}" + ", as it was before it was scaled" * (kind.itemsize < 4 and kind.kind in "iu")


def listing(folder: str | Path, recursive: bool = False) -> list[Path]:
    """List the pictures and `.npy` files of a folder by name, without hidden files.

    Args:
        folder: The folder.
        recursive: Also list those of all folders below it, but for hidden ones; links to folders are not followed.

    Raises:
        InputError: A folder cannot be listed.
        NothingToDo: There are none.
    """
    folder = Path(folder)
    found = listed(folder, SUFFIXES, recursive)
    if not found:
        inner = any(p.is_dir() and not p.name.startswith(".") for p in folder.iterdir()) and not recursive
        raise NothingToDo(
            f"{folder}: holds neither pictures nor .npy files",
            f"{'name one of its folders' if inner else 'name another folder'}, or put files into it that end in "
            f"{', '.join(sorted(SUFFIXES))}",
        )
    return found


def _order(shape: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    """Suggest the transposition between channels first and last that would make a shape fit, "" where none does."""
    lead = len(shape) - len(wanted)
    if lead not in (0, 1) or len(wanted) != 3:
        return ""
    orders = ((2, 0, 1), (1, 2, 0))
    order = next((o for o in orders if fits(tuple(shape[lead:][i] for i in o), wanted)), None)
    axes = None if order is None else [*range(lead), *(lead + i for i in order)]
    return "" if axes is None else f"its axes are in another order: array.transpose({', '.join(map(str, axes))})"


def fits(shape: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Return whether a shape is the wanted one, in which lengths below 1 are free."""
    return len(shape) == len(wanted) and all(w < 1 or n == w for n, w in zip(shape, wanted, strict=True))


def _upright(image: Image, ops: Any) -> Image:
    # In place: a copy would double the memory.
    with contextlib.suppress(Exception):  # a damaged EXIF block says nothing about the pixels
        ops.exif_transpose(image, in_place=True)
    return image
