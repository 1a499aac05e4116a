"""A page that explains in the browser: its files, and its heatmap beside that of Python."""

from __future__ import annotations

import functools
import http.server
import json
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image

import onnxlrp
from onnxlrp.cli import main
from onnxlrp.web.site import PAGE, RUNTIME
from support.browser import CHROMIUM, Browser
from support.paths import MODELS

SHAPES, STAR = MODELS / "shapes.onnx", MODELS / "samples" / "scene_star.png"
DIGITS, SEVEN = MODELS / "digits.onnx", MODELS / "samples" / "digit_7.png"
PACKAGE = Path(os.environ.get("ONNXRUNTIME_WEB", "node_modules/onnxruntime-web"))


@pytest.fixture
def runtime(tmp_path: Path) -> Path:
    """Files with the names of onnxruntime-web's."""
    (tmp_path / "package" / "dist").mkdir(parents=True)
    for name in RUNTIME:
        (tmp_path / "package" / "dist" / name).write_text(f"// {name}")
    return tmp_path / "package"


def written(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_the_files_of_a_site(tmp_path: Path, runtime: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site = tmp_path / "site"
    words = ["export", str(SHAPES), "--web", str(site), "--runtime-files", str(runtime)]
    assert main([*words, "-m", "epsilon_plus_flat,gradient"]) == 0
    assert "http.server" in capsys.readouterr().out
    models = {"epsilon_plus_flat.onnx", "gradient.onnx"}
    assert written(site) == {*PAGE, *models, "site.json", *(f"ort/{name}" for name in RUNTIME)}
    about = json.loads((site / "site.json").read_text())
    assert [method["file"] for method in about["methods"]] == ["epsilon_plus_flat.onnx", "gradient.onnx"]
    assert about["labels"][3] == "star"
    assert about["size"] == [64, 64]
    kept = json.loads(re.search(r"const FILES = (\[.*?\]);", (site / "sw.js").read_text())[1])  # type: ignore[index]
    assert {*kept} == written(site) - {"sw.js"} | {"./"}
    assert main(words) == 0  # written again, over itself
    methods = json.loads((site / "site.json").read_text())["methods"]
    assert [(one["name"], one["file"]) for one in methods] == [("epsilon_plus_flat", "epsilon_plus_flat.onnx")]


def test_the_explainers_of_a_site_give_their_ledger(tmp_path: Path, runtime: Path) -> None:
    site = tmp_path / "site"
    words = ["export", str(DIGITS), "--web", str(site), "--runtime-files", str(runtime), "-q"]
    assert main([*words, "-m", "epsilon_plus_flat,gradient"]) == 0
    rules, slopes = json.loads((site / "site.json").read_text())["methods"]
    assert slopes["layers"] is None  # slopes are no shares of the score
    session = onnxruntime.InferenceSession(site / rules["file"])
    picture = np.asarray(Image.open(SEVEN).convert("RGB"))
    names = [output.name for output in session.get_outputs()]
    found = dict(zip(names, session.run(None, {"picture": picture, "target": np.array([7])}), strict=True))
    ledger = onnxlrp.load(DIGITS).explain(SEVEN, 7, ledger=True).ledger
    nodes = list(
        dict.fromkeys(name.split("/", 1)[1].rpartition("/")[0] for name in names if name.startswith("ledger/"))
    )
    assert [rules["layers"][node]["layer"] for node in nodes] == [row.layer for row in ledger]
    assert [rules["layers"][node]["conserves"] for node in nodes] == [row.conserves for row in ledger]
    for node, row in zip(nodes, ledger, strict=True):
        for column, wanted in (("out", row.arrived), ("in", row.passed), ("bias", row.bias)):
            values = found.get(f"ledger/{node}/{column}", np.zeros(1))
            np.testing.assert_allclose(values, wanted, rtol=1e-4, atol=1e-5)
    session = onnxruntime.InferenceSession(site / slopes["file"])
    assert not [output.name for output in session.get_outputs() if output.name.startswith("ledger/")]


def test_the_page_loads_nothing_from_elsewhere() -> None:
    text = "".join((Path(onnxlrp.__file__).parent / "web" / name).read_text() for name in PAGE)
    assert not re.findall(r"https?://", text)
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1]  # type: ignore[index]
    assert policy.startswith("default-src 'none'")
    assert "unsafe-inline" not in policy
    assert "'unsafe-eval'" not in policy
    assert not re.findall(r"\son\w+=|<style|style=", text)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["-o", "e.onnx"], 2, "beside --web"),
        (["-t", "top1"], 2, "chosen on the page"),
        (["-m", "rise"], 2, "rise"),
        (["--runtime-files", "nowhere"], 2, "npm install onnxruntime-web"),
        (["--interpolation", "nearest"], 4, "interpolation nearest"),
    ],
)
def test_bad_sites_write_nothing(
    tmp_path: Path, runtime: Path, words: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    more = [] if "--runtime-files" in words else ["--runtime-files", str(runtime)]
    assert main(["export", str(SHAPES), "--web", str(tmp_path / "site"), *more, *words]) == code
    assert said in capsys.readouterr().err
    assert not (tmp_path / "site").exists()


def test_other_files_are_not_written_over(tmp_path: Path, runtime: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "index.html").write_text("mine")
    assert main(["export", str(SHAPES), "--web", str(tmp_path / "own"), "--runtime-files", str(runtime)]) == 3
    assert (tmp_path / "own" / "index.html").read_text() == "mine"


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A server that prints nothing."""

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    site = tmp_path / "site"
    assert main(["export", str(SHAPES), "--web", str(site), "--runtime-files", str(PACKAGE), "-q"]) == 0
    (site / "scene.png").write_bytes(STAR.read_bytes())
    handler = functools.partial(Quiet, directory=site)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/"
    server.shutdown()


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
@pytest.mark.skipif(not PACKAGE.is_dir(), reason="onnxruntime-web is not installed: ONNXRUNTIME_WEB names its folder")
@pytest.mark.parametrize("width", [380, 1000])
def test_the_heatmap_in_a_browser_is_that_of_python(served: str, tmp_path: Path, width: int) -> None:
    with Browser(tmp_path / "profile", width) as browser:
        browser.open(f"{served}?picture=scene.png")
        browser.until("document.body?.dataset.state === 'done'")
        assert browser.evaluate("document.querySelector('#scores button[aria-pressed=true]').textContent") == "star"
        assert not browser.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
        rows = browser.evaluate(
            "[...document.querySelectorAll('#layers tr')].map(r => r.cells[0].firstChild.textContent.trim())"
        )
        model = onnxlrp.load(SHAPES)
        assert rows == [row.layer for row in model.explain(STAR, ledger=True).ledger]
        share = browser.evaluate("document.querySelector('#sums td:nth-child(2)').textContent")
        assert share == "1.72, 45 %"
        listen = "document.addEventListener('explained', e => done([e.detail.target, ...e.detail.heat]), {once: true})"
        for target in (3, 1):
            change = f"const t = document.getElementById('target'); t.value = '{target}'; "
            change += "t.dispatchEvent(new Event('change'))"
            found = browser.evaluate(f"new Promise(done => {{ {listen}; {change} }})")
            wanted = model.explain(STAR, target).relevance.sum(axis=1).ravel()
            assert found[0] == target
            np.testing.assert_allclose(found[1:], wanted, atol=1e-4 * np.abs(wanted).max())
        assert not [line for line in browser.said if "Refused" in line or "exception" in line.lower()]
