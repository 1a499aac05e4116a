"""Make the pictures of howto/view.md: `python docs/view.py`. It needs Chromium."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS.parent / "tests"))

from support.browser import Browser  # noqa: E402

SIZE = 1280, 860
COLOURS = 192
STAR = "models/samples/marked_star.png"
LAYER = "[...document.querySelectorAll('#layers button')].find(b => /^blocks.3.conv1/.test(b.textContent)).click(); 0"
LOWER = "scrollTo(0, document.querySelector('.heading').offsetTop - 60); 0"
PICTURES = {
    "view.png": (["models/shapes.onnx", "models/samples/scene_star.png", STAR, "models/samples/scene_ring.png"], ()),
    "view_layers.png": (["models/shapes.onnx", "models/samples/scene_star.png"], (LAYER, LOWER)),
    "view_compared.png": (["models/shapes.onnx", "models/clever_hans.onnx", STAR], ()),
}


def make(words: list[str], actions: tuple[str, ...], path: Path) -> None:
    """Serve a page, do something on it, and write what it shows."""
    command = [sys.executable, "-m", "onnxlrp", "view", *words, "--no-open", "--json"]
    with subprocess.Popen(command, cwd=DOCS.parent, stdout=subprocess.PIPE, text=True) as served:
        try:
            assert served.stdout is not None
            url = json.loads(served.stdout.readline())["url"]
            with (
                tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile,
                Browser(Path(profile), *SIZE) as browser,
            ):
                browser.look(*SIZE)
                browser.open(url)
                browser.until("document.body?.dataset.state === 'done'")
                for action in actions:
                    browser.evaluate(action)
                    browser.until("!document.querySelector('[aria-busy]')")
                browser.evaluate("new Promise(done => setTimeout(done, 500))")  # bars move to their places
                browser.screenshot(path, *SIZE)
        finally:
            served.terminate()
    # A palette holds what a page shows, in a third of the bytes.
    Image.open(path).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    for name, (words, actions) in PICTURES.items():
        make(words, actions, DOCS / "pictures" / name)
