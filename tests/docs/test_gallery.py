"""The pictures of the gallery are what its commands make."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

from support.paths import ROOT

DOCS = ROOT / "docs"


def _gallery() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_gallery", DOCS / "gallery.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


gallery = _gallery()
COMMANDS: list[str] = gallery.commands()
# Superpixels depend on whether scikit-image is installed, so that two methods of this picture may look otherwise.
# The steps of an ascent amplify the rounding of another onnxruntime.
LOOSE = ("-m all", "prototype ", "yosinski")
COMPARED = [command for command in COMMANDS if not any(word in command for word in LOOSE)]


def test_every_picture_of_the_page_has_a_command() -> None:
    assert len(COMMANDS) > 8
    assert len(COMPARED) == len(COMMANDS) - 4


@pytest.mark.few(1)
@pytest.mark.parametrize("command", COMPARED)
def test_the_command_makes_the_pictures_of_the_page(command: str, tmp_path: Path) -> None:
    gallery.make(command, f"{tmp_path}/")
    made = sorted(tmp_path.glob("*.png"))
    assert made
    for path in made:
        with Image.open(path) as new, Image.open(DOCS / "pictures" / path.name) as kept:
            assert new.size == kept.size
            # Another Pillow or onnxruntime may move a pixel's colour a little.
            assert np.abs(np.asarray(new, float) - np.asarray(kept, float)).mean() < 1.0


def test_the_pictures_are_small() -> None:
    assert sum(path.stat().st_size for path in (DOCS / "pictures").rglob("*.*") if path.suffix != ".json") < 2_500_000
