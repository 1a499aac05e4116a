"""`onnxlrp atlas`: files, pages, exit codes, resuming, and what is refused."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from support.command_line import DIGITS, SEVEN
from support.paths import MODELS

SAMPLES = MODELS / "samples"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
VOID = {"img", "input", "meta", "link", "br"}
SMALL = ("--layers", "relu[14]", "--top", 3)


class Page(HTMLParser):
    """The tags of a page; it asserts that they are nested as they should be."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.path, self.tags, self.open, self.text = path, [], [], ""
        self.feed(path.read_text(encoding="utf-8"))
        self.close()
        assert not self.open

    def handle_starttag(self, name: str, attributes: Any) -> None:
        self.tags.append((name, dict(attributes)))
        if name not in VOID:
            self.open.append(name)

    def handle_endtag(self, name: str) -> None:
        assert self.open.pop() == name

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.text += data

    def all(self, name: str) -> list[Any]:
        return [attributes for tag, attributes in self.tags if tag == name]

    @property
    def ids(self) -> set[str]:
        return {attributes["id"] for _, attributes in self.tags if "id" in attributes}


def pages(folder: Path) -> dict[Path, Page]:
    return {path.resolve(): Page(path) for path in folder.rglob("*.html")}


def digits() -> Path:
    """A folder of ten digits and one file that is none."""
    folder = Path("digits")
    shutil.copytree(SAMPLES, folder, ignore=lambda _, names: [n for n in names if not re.fullmatch(r"digit_\d.png", n)])
    return folder


@pytest.mark.slow
def test_files_pages_and_links(run: Any) -> None:
    folder = digits()
    out, err = run(0, "atlas", DIGITS, folder, "-o", "out/", "--json", *SMALL)
    stated = json.loads(out)
    assert not err.startswith("error")
    assert (stated["samples"], stated["rejected"], stated["page"]) == (10, 0, "out/index.html")
    assert {"atlas.json", "units.npz", "manifest.json", "samples.jsonl", "index.html"} <= {
        path.name for path in Path("out").iterdir()
    }
    found = pages(Path("out"))
    assert len(found) == stated["pages"]
    reached = {Path("out/index.html").resolve()}
    for path, page in found.items():
        policy = next(a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
        assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
        assert not page.all("script")
        for image in page.all("img"):
            assert image["src"].startswith("data:image/")
            assert image["alt"]
        for link in page.all("a"):
            target, _, anchor = link["href"].partition("#")
            there = (path.parent / target).resolve() if target else path
            assert not anchor or anchor in found[there].ids, (path, link["href"])
            reached.add(there)
    assert reached == set(found)


@pytest.mark.slow
def test_the_page_shows_the_samples_of_the_data(run: Any) -> None:
    run(0, "atlas", DIGITS, digits(), *SMALL)
    data = json.loads(Path("atlas/atlas.json").read_text())
    layer = next(n for n, one in enumerate(data["layers"]) if one["layer"] == "relu1")
    unit = data["layers"][layer]["units"][5]
    assert unit["activation"][0]["value"] > 0
    page = Page(Path(f"atlas/units/{layer:02d}-0.html"))
    alts = [image["alt"] for image in page.all("img")]
    start = alts.index(f"What relu1:5 saw of {unit['activation'][0]['name']}")
    seen = [alt for alt in alts[start:] if alt.startswith("What relu1:5 saw")]
    assert seen == [f"What relu1:5 saw of {hit['name']}" for by in ("activation", "relevance") for hit in unit[by]]
    hit = unit["activation"][0]
    (top, bottom), (left, right) = hit["box"][1:]
    with Image.open(SAMPLES / f"{hit['name']}.png") as file:
        expected = np.asarray(file.convert("RGB"))[top:bottom, left:right]
    source = next(image["src"] for image in page.all("img") if image["alt"] == alts[start])
    with Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))) as shown:
        np.testing.assert_array_equal(np.asarray(shown.convert("RGB")), expected)


@pytest.mark.slow
def test_what_cannot_be_read_is_a_row_and_exit_3(run: Any) -> None:
    folder = digits()
    (folder / "digit_4b.png").write_bytes(b"no picture")
    out, err = run(3, "atlas", DIGITS, folder, "--json", *SMALL)
    assert json.loads(out)["rejected"] == 1
    assert "digit_4b.png: not a picture" in err
    assert "skipped" in err
    assert "digit_4b.png" in Page(Path("atlas/index.html")).text


@pytest.mark.slow
def test_resume(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = digits()
    run(0, "atlas", DIGITS, folder, "-o", "whole", *SMALL)
    _, err = run(0, "atlas", DIGITS, folder, "-o", "new", "--resume", *SMALL)
    assert "begins anew" in err
    _, err = run(0, "atlas", DIGITS, folder, "-o", "whole", "--resume", *SMALL)
    for path in Path("whole").rglob("*.*"):
        assert path.read_bytes() == (Path("new") / path.relative_to("whole")).read_bytes(), path
    _, err = run(2, "atlas", DIGITS, folder, "-o", "whole", "--resume", *SMALL[:3], 4)
    assert "another top" in err
    _, err = run(2, "atlas", MODELS / "shapes.onnx", folder, "-o", "whole", "--resume")
    assert "another model" in err


def test_folders_of_classes(run: Any) -> None:
    for name in ("3", "7"):
        Path("classes", name).mkdir(parents=True)
        shutil.copy(SAMPLES / f"digit_{name}.png", Path("classes", name))
    run(0, "atlas", DIGITS, "classes", "--folders", *SMALL)
    found = json.loads(Path("atlas/atlas.json").read_text())["classes"]
    assert [(one["label"], one["samples"]) for one in found] == [("3", 1), ("7", 1)]
    Path("classes", "seven").mkdir()
    shutil.copy(SEVEN, Path("classes", "seven"))
    _, err = run(2, "atlas", DIGITS, "classes", "--folders", *SMALL)
    assert 'the folder "seven" names no class' in err


def test_concepts_of_units(run: Any) -> None:
    folder = digits()
    units = [{"layer": "relu1", "unit": 5, "concept": "a <b>stroke</b>", "auc": 0.93, "p": 0.0, "significant": True}]
    made = {
        "layers": [{"layer": "relu1", "units": units}],
        "provenance": {"sha256": hashlib.sha256(Path(DIGITS).read_bytes()).hexdigest()},
    }
    Path("concepts.json").write_text(json.dumps(made))
    run(0, "atlas", DIGITS, folder, "--concepts", "concepts.json", "--heatmaps", 0, *SMALL)
    assert "Detects a <b>stroke</b> (AUC 0.93)" in Page(Path("atlas/units/00-0.html")).text
    Path("concepts.json").write_text(json.dumps({**made, "provenance": {"sha256": "0"}}))
    _, err = run(2, "atlas", DIGITS, folder, "--concepts", "concepts.json", *SMALL)
    assert "another model" in err
    Path("concepts.json").write_text("[]")
    _, err = run(3, "atlas", DIGITS, folder, "--concepts", "concepts.json", *SMALL)
    assert "not the JSON of concepts find" in err


@pytest.mark.slow
def test_prototypes_of_units(run: Any) -> None:
    run(0, "atlas", DIGITS, digits(), "--prototypes", 1, "--heatmaps", 0, "--layers", "relu4", "--top", 1)
    alts = [image["alt"] for page in pages(Path("atlas")).values() for image in page.all("img")]
    assert len([alt for alt in alts if alt.startswith("Prototype of relu4:")]) == 1


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("--layers", "relu9"), 2, "no layer fits"),
        (("--by", "size"), 2, 'no order "size"'),
        (("--format", "html"), 2, 'no format "html"'),
        (("--top", "0"), 2, "top=0"),
        (("--value", "mean"), 2, "mean"),
        (("-t", "11"), 2, "no such class"),
        (("-t", "top2"), 2, "one class at a time"),
        (("-m", "rise"), 2, "composite"),
        (("--rule", "nowhere=zplus"), 2, "matches no layer"),
        (("-o", "digits/digit_1.png"), 2, "a file, not a folder"),
        (("--concepts", "nowhere.json"), 3, "nowhere.json"),
        (("--prototypes", "-1"), 2, "prototypes"),
    ],
)
def test_what_is_refused(refused: Any, words: Any, code: int, text: str) -> None:
    message = " ".join(refused(code, "atlas", DIGITS, digits(), *words))
    assert text in message
    assert not Path("atlas").exists()


def test_signals_and_vectors(run: Any) -> None:
    """Other kinds have data and names; a signal's windows are curves."""
    from onnx import TensorProto, helper, numpy_helper

    weight = np.random.default_rng(0).normal(size=(4, 2, 5)).astype(np.float32)
    last = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], name="conv"),
        helper.make_node("Relu", ["a"], ["r"], name="relu"),
        helper.make_node("ReduceMax", ["r"], ["m"], axes=[2], keepdims=0),
        helper.make_node("Gemm", ["m", "v"], ["y"], name="head"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2, 40])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(last, "v")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    Path("signal.onnx").write_bytes(made.SerializeToString())
    np.save("waves.npy", np.random.default_rng(2).normal(size=(12, 2, 40)).astype(np.float32))
    run(0, "atlas", "signal.onnx", "waves.npy", "--top", 2)
    hit = json.loads(Path("atlas/atlas.json").read_text())["layers"][0]["units"][0]["activation"][0]
    assert hit["name"].startswith("waves.")
    (start, stop) = hit["box"][1]
    assert stop - start == 5
    assert len(Page(Path("atlas/units/00-0.html")).all("img")) == 4 * 2 * 2


@pytest.mark.few(1)
@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
@pytest.mark.parametrize("width", [400, 1280])
def test_in_a_browser(run: Any, width: int, tmp_path: Path) -> None:
    """Nothing is blocked or wider than the window, and pictures load."""
    run(0, "atlas", DIGITS, digits(), *SMALL)
    for name in ("index.html", "units/00-0.html", "classes/0-0.html"):
        path = Path("atlas", name)
        wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
        broken = "[...document.images].filter(i => i.complete && !i.naturalWidth).length"
        probe = f"document.title = JSON.stringify([{wide}, {broken}])"
        digest = base64.b64encode(hashlib.sha256(probe.encode()).digest()).decode()
        text = path.read_text(encoding="utf-8").replace("style-src ", f"script-src 'sha256-{digest}'; style-src ")
        path.write_text(text.replace("</body>", f"<script>{probe}</script></body>"), encoding="utf-8")
        command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
        command += [f"--window-size={width},900", "--dump-dom", path.resolve().as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        assert re.search(r"<title>(.*?)</title>", done.stdout)[1] == "[false,0]", name
        assert "Refused" not in done.stderr
