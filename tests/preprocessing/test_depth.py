"""Grey pictures of 16 bits keep their depth, in the units that the scale is meant for."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import onnxlrp
from onnxlrp.preprocessing import images
from onnxlrp.preprocessing.transform import Preprocessing
from support.input_models import convolution

VALUES = np.arange(4096, dtype=np.uint16).reshape(64, 64)  # 12 bits in 16


@pytest.fixture
def xray(tmp_path: Path) -> Path:
    Image.fromarray(VALUES).save(tmp_path / "xray.png")
    return tmp_path / "xray.png"


@pytest.mark.parametrize(("scale", "unit"), [(1 / 65535, 1), (1 / 4095, 1), (1 / 255, 1 / 257), (1.0, 1 / 257)])
@pytest.mark.parametrize(("color", "channels"), [("grey", 1), ("RGB", 3)])
def test_every_level_is_kept(xray: Path, scale: float, unit: float, color: str, channels: int) -> None:
    prep = Preprocessing((64, 64), color, scale=scale, mean=(0.1,) * channels, std=(2.0,) * channels)
    found = prep.apply(images.open_image(xray))
    expected = (VALUES * unit * scale - 0.1) / 2
    np.testing.assert_allclose(found[0], np.broadcast_to(expected, found[0].shape), rtol=1e-5, atol=1e-6)


def test_bounds_are_of_the_same_units() -> None:
    for scale, high in ((1 / 255, 1.0), (1 / 65535, 1.0), (1 / 4095, 65535 / 4095)):
        prep = Preprocessing((4, 4), "grey", scale=scale, mean=(0.0,), std=(1.0,))
        assert prep.bounds()[1].ravel() == pytest.approx([high])


def test_resize_and_bars(xray: Path) -> None:
    """The mean of 2 x 2 pixels, by a box filter; the bars of a letterbox are the same grey as of 8 bits."""
    prep = Preprocessing((32, 32), "grey", scale=1 / 65535, mean=(0.0,), std=(1.0,), interpolation="box")
    means = VALUES.reshape(32, 2, 32, 2).mean(axis=(1, 3)) / 65535
    np.testing.assert_allclose(prep.apply(images.open_image(xray))[0, 0], means, rtol=1e-5)
    wide = Image.fromarray(VALUES[:32])
    bars = Preprocessing((64, 64), "grey", scale=1 / 65535, mean=(0.0,), std=(1.0,), resize="letterbox").apply(wide)
    assert bars[0, 0, 0, 0] == pytest.approx(114 / 255, rel=1e-5)


def test_more_than_16_bits_is_refused() -> None:
    with pytest.raises(onnxlrp.OnnxLrpError, match="more than 16 bits"):
        Preprocessing((2, 2), "grey", mean=(0.0,), std=(1.0,)).apply(Image.fromarray(np.full((2, 2), 70000, np.int32)))


def test_the_model_reads_it(xray: Path) -> None:
    file = convolution((1, 64, 64), (3, 3))
    model = onnxlrp.load(file, prep={"scale": 1 / 4095, "mean": (0.0,), "std": (1.0,)})
    samples = model.read(str(xray))
    np.testing.assert_allclose(samples.values[0, 0], VALUES / 4095, rtol=1e-5)
    original: Any = samples.originals[0]
    assert original.mode == "RGB"


def test_what_is_said(xray: Path, tmp_path: Path) -> None:
    assert images.depth_note(xray) == "grey of 16 bits, read in full depth"
    Image.new("L", (4, 4)).save(tmp_path / "grey.png")
    assert images.depth_note(tmp_path / "grey.png") == ""
    rows = b"".join(b"\0" + bytes(6 * 4) for _ in range(4))  # a PNG of 4 x 4 pixels of 3 x 16 bits

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0))
    path = tmp_path / "colour.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
    assert "upper 8" in images.depth_note(path)
