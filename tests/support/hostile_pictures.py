"""Hostile pictures and arrays, continued: damage of every format, sizes that are claimed, arrays of other types."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np

from .hostile_corpus import REJECTED, UNANSWERABLE, case, chunk, png, saved

CLEAR = (0, REJECTED, UNANSWERABLE)
FORMATS = {"png": "PNG", "jpg": "JPEG", "gif": "GIF", "webp": "WEBP", "bmp": "BMP", "tiff": "TIFF"}


def _damaged(kind: str, seed: int) -> Callable[[Any], bytes]:
    def make(path: Any) -> bytes:
        rng, data = np.random.default_rng(seed), bytearray(saved(kind))
        if seed % 4 == 3:
            return bytes(data[: int(rng.integers(20, len(data)))])
        for _ in range(1 + 3 * (seed % 3)):
            # Most in the head, where lengths and types are.
            data[int(rng.integers(min(len(data), 120 if seed % 2 else len(data))))] ^= 1 << int(rng.integers(8))
        return bytes(data)

    return make


for _end, _kind in FORMATS.items():
    for _seed in range(10):
        case(f"damaged_{_seed}.{_end}", *CLEAR, folder="pictures")(_damaged(_kind, _seed))

_WIDE = (1 << 31) - 1
CLAIMS: dict[str, bytes] = {
    "tall.png": png(1, _WIDE), "wide.png": png(_WIDE, 1), "largest.png": png(_WIDE, _WIDE),
    "deep.png": png(28, 28, depth=77), "coloured.png": png(28, 28, color=9),
    "negative.bmp": b"BM" + bytes(8) + b"\x36\0\0\0\x28\0\0\0" + (-5).to_bytes(4, "little", signed=True) * 2
    + b"\x01\0\x18\0" + bytes(24),
    "wide.gif": b"GIF89a\xff\xff\x01\0\x80\0\0" + bytes(6) + b",\0\0\0\0\xff\xff\x01\0\0\x02\0;",
    "empty_frame.gif": b"GIF89a\0\0\0\0\0\0\0,\0\0\0\0\0\0\0\0\0\x02\0;",
    "claims.jpg": b"\xff\xd8\xff\xc0\0\x11\x08\xff\xff\xff\xff\x03\x01\x11\0\x02\x11\x01\x03\x11\x01\xff\xd9",
    "claims.ppm": b"P6 999999999999 999999999999 255\n", "minus.pgm": b"P5 -3 -3 255\n" + bytes(9),
    "sixteen.pgm": b"P5 28 28 65535\n" + bytes(28 * 28), "float.pfm": b"Pf\n28 28\n-1.0\n" + bytes(28 * 28 * 4),
    "many_texts.png": png(28, 28, *[chunk(b"tEXt", b"k\0" + b"x" * 1000)] * 3000),
    "ten_thousand_chunks.png": png(28, 28, *[chunk(b"abCd", b"")] * 10_000),
}  # fmt: skip
for _name, _data in CLAIMS.items():
    case(_name, *CLEAR, folder="pictures")(lambda path, data=_data: data)

_ARRAYS: dict[str, Callable[[], Any]] = {
    "nan.npy": lambda: np.full((1, 28, 28), np.nan, np.float32),
    "infinite.npy": lambda: np.full((1, 28, 28), np.inf, np.float32),
    "double_infinity.npy": lambda: np.full((1, 28, 28), 1e300),
    "complex.npy": lambda: np.ones((1, 28, 28), np.complex64),
    "dates.npy": lambda: np.zeros((1, 28, 28), "datetime64[s]"),
    "texts.npy": lambda: np.full((1, 28, 28), "a"),
    "bytes.npy": lambda: np.full((1, 28, 28), b"a"),
    "records.npy": lambda: np.zeros((1, 28, 28), [("a", "f4"), ("b", "i8")]),
    "scalar.npy": lambda: np.float32(3),
    "nothing.npy": lambda: np.zeros((0, 1, 28, 28), np.float32),
    "no_width.npy": lambda: np.zeros((1, 28, 0), np.float32),
    "one_axis.npy": lambda: np.zeros(784, np.float32),
    "nine_axes.npy": lambda: np.zeros((1,) * 7 + (28, 28), np.float32),
    "other_size.npy": lambda: np.zeros((1, 27, 29), np.float32),
    "bools.npy": lambda: np.ones((1, 28, 28), bool),
    "largest_integers.npy": lambda: np.full((1, 28, 28), np.iinfo(np.uint64).max, np.uint64),
    "half.npy": lambda: np.full((1, 28, 28), 1, np.float16),
    "big_endian.npy": lambda: np.ones((1, 28, 28), ">f4"),
    "fortran.npy": lambda: np.asfortranarray(np.ones((1, 28, 28), np.float32)),
}


def _npy(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


for _name, _make in _ARRAYS.items():
    case(_name, *CLEAR, folder="pictures")(lambda path, make=_make: _npy(make()))

_HEAD = b"\x93NUMPY\x01\0v\0"
HEADS = {
    "no_header.npy": b"\x93NUMPY", "version_9.npy": b"\x93NUMPY\x09\0v\0" + b" " * 118,
    "code.npy": _HEAD + b"__import__('os').system('true')".ljust(117) + b"\n",
    "deep_header.npy": _HEAD + (b"(" * 117) + b"\n",
    "negative.npy": _HEAD + b"{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 28, 28), }".ljust(117) + b"\n",
    "overflowing.npy": _HEAD
    + b"{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296), }".ljust(117) + b"\n",
    "unknown_type.npy": _HEAD + b"{'descr': '<q99', 'fortran_order': False, 'shape': (1,), }".ljust(117) + b"\n",
    "short.npy": _npy(np.ones((1, 28, 28), np.float32))[:500],
    "not_an_array.npy": b"hello",
}  # fmt: skip
for _name, _data in HEADS.items():
    case(_name, REJECTED, folder="pictures")(lambda path, data=_data: data)


def _npz(damage: int) -> Callable[[Any], bytes]:
    def make(path: Any) -> bytes:
        stream = io.BytesIO()
        np.savez_compressed(stream, x=np.random.default_rng(0).normal(size=(1, 28, 28)).astype(np.float32))
        data = bytearray(stream.getvalue())
        rng = np.random.default_rng(damage)
        for _ in range(damage):
            data[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
        return bytes(data)

    return make


for _damage in range(8):
    case(f"member_{_damage}.npz", *CLEAR, folder="pictures")(_npz(_damage))


@case("bomb.npz", *CLEAR, folder="pictures")
def _bomb(path: Any) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        head = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1, 28, 28), }".ljust(117) + b"\n"
        archive.writestr("x.npy", _HEAD + head + bytes(300 << 20))


TABLES = {
    "empty.csv": b"", "header.csv": b"a,b,c\n", "ragged.csv": b"a,b\n1,2\n3\n4,5,6\n", "texts.csv": b"a,b\nx,y\n",
    "zeros.csv": b"\0" * 1000, "one_line.csv": b"1," * 200_000, "quotes.csv": b'a,b\n"1,2\n3,4\n',
    "numbers.csv": b"a,b\n1e999,nan\n", "not_text.csv": b"\xff\xfe\x00\x01",
    "not_parquet.parquet": b"PAR1" + bytes(100) + b"PAR1",
}  # fmt: skip
for _name, _data in TABLES.items():
    case(_name, *CLEAR, folder="pictures")(lambda path, data=_data: data)
