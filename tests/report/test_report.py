"""The report: what it holds, that nothing of a model becomes markup, and that a browser shows it."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from onnxlrp import report
from onnxlrp.checks import Finding, Findings
from onnxlrp.cli import main
from onnxlrp.comparison import verdict, worst_samples
from onnxlrp.comparison.worst_samples import WorstSample
from onnxlrp.errors import InputError, NothingToDo, UsageError
from onnxlrp.evaluation.results import Cell, Evaluation, Line
from onnxlrp.explanation import Explanation
from onnxlrp.explanation.ledger import LedgerRow
from onnxlrp.pages.markup import escaped, tag
from onnxlrp.report.page import html
from onnxlrp.report.read import read

HOSTILE = (
    "</title><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' autofocus onfocus=alert(1) x='",
    "</style></script><svg onload=alert(1)>",
    "&lt;b&gt;",
    "\u202egnp.exe\u200b\x00\x1b[31m",
)
VOID = {"img", "input", "meta", "link"}
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def rows(count: Any, n: int = 1, layer: str = "layer{}") -> Any:
    made = []
    for i in range(count):
        column = {c: np.full(n, 0.5 - i) for c in ("arrived", "passed", "bias", "epsilon", "gate", "scale")}
        made.append(LedgerRow(layer.format(i), "Conv", "zplus", True, **column))
    return made


def explanation(size: int = 24, n: int = 1, method: str = "epsilon_plus", seed: int = 0, **more: Any) -> Any:
    rng = np.random.default_rng(seed)
    images = [Image.fromarray(rng.integers(0, 256, (size, size, 3), dtype=np.uint8)) for _ in range(n)]
    about = {"model": "nets/net.onnx", "sha256": "ab" * 32, "method": method, "options": {"epsilon": 1e-6}}
    given = {
        "relevance": rng.normal(size=(n, 3, size, size)).astype("f"),
        "output": rng.normal(size=(n, 5)).astype("f"),
        "target": np.full(n, 2),
        "provenance": about,
        "labels": ["a", "b", "zebra", "d", "e"],
        "images": images,
        "names": [f"cat{i}" for i in range(n)],
        "ledger": rows(4, n),
    }
    return Explanation(**{**given, **more})


def saved(folder: Any, *explanations: Any, kinds: Any = ("json", "npz")) -> Any:
    folder.mkdir(parents=True, exist_ok=True)
    for n, one in enumerate(explanations):
        for kind in kinds:
            one.save(folder / f"run{n}", kind)
    return folder


class Page(HTMLParser):
    """Every tag with its attributes, the text, and whether elements are nested as they should be."""

    def __init__(self, text: Any) -> None:
        super().__init__(convert_charrefs=True)
        self.tags, self.open, self.words = [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, name: Any, attributes: Any) -> None:
        self.tags.append((name, dict(attributes)))
        if name not in VOID:
            self.open.append(name)

    def handle_endtag(self, name: Any) -> None:
        assert self.open.pop() == name

    def handle_data(self, data: Any) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data)

    def all(self, name: Any) -> list[Any]:
        return [attributes for tag, attributes in self.tags if tag == name]

    @property
    def text(self) -> str:
        return " ".join(self.words)


def written(*paths: Any, out: Any) -> Page:
    report.write(paths, out)
    return Page(out.read_text(encoding="utf-8"))


FINDINGS = Findings(
    [
        Finding("finite", "passed", "all values are finite", subject="cat0", value=0, limit=0),
        Finding("drift", "failed", "the map moved", subject="cat0", value=0.5, limit=0.95, fix="look at both"),
        Finding("memory", "skipped", "no limit is given"),
    ],
    {"model": "nets/net.onnx", "sha256": "ab" * 32},
)


def test_one_picture_by_several_methods(tmp_path: Path) -> None:
    folder = saved(tmp_path / "run", explanation(), explanation(method="gradient", seed=1, images=explanation().images))
    (folder / "check.json").write_text(json.dumps(FINDINGS.to_dict()))
    page = written(folder, out=tmp_path / "report.html")
    alts = [img["alt"] for img in page.all("img")]
    assert alts.count("cat0 as the model sees it") == 1
    heatmaps = [f"Heatmap of cat0 for zebra by {method}" for method in ("epsilon_plus", "gradient")]
    assert [alt for alt in alts if alt.startswith("Heatmap")] == heatmaps
    assert len([i for i in page.all("input") if i["type"] == "range"]) == 1
    for word in ("net.onnx", "ab" * 32, "1 check failed", "look at both", "layer3", "zplus", "zebra", "(class 2)"):
        assert word in page.text
    assert len(page.all("rect")) == 1 + 2 * 4  # the legend, and a bar for each layer
    statuses = [a["class"] for a in page.all("td") if "status" in a.get("class", "")]
    assert statuses == ["status failed", "status passed", "status skipped"]


def test_the_heatmap_in_the_page_is_that_of_the_numbers(tmp_path: Path) -> None:
    relevance = np.zeros((1, 3, 20, 30), "f")
    relevance[0, 0, 2, 3], relevance[0, 1, 10, 20] = 2, -2
    pixels = [Image.fromarray(np.full((20, 30, 3), 90, np.uint8))]
    page = written(saved(tmp_path / "run", explanation(relevance=relevance, images=pixels)), out=tmp_path / "r.html")
    original, below, heat = (picture(a["src"]) for a in page.all("img"))
    assert original.size == below.size == heat.size == (30, 20)
    np.testing.assert_array_equal(np.asarray(original.convert("RGB")), 90)
    colors = np.asarray(heat.convert("RGBA")).astype(int)
    red, blue, none = colors[2, 3], colors[10, 20], colors[0, 0]
    assert red[0] > red[2] + 50
    assert blue[2] > blue[0] + 50
    assert none[3] == 0
    assert min(red[3], blue[3]) > 200


def picture(source: Any) -> Any:
    assert source.startswith("data:image/")
    return Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2])))


@pytest.mark.parametrize("several", [True, False])
def test_samples_and_targets_in_one_file(tmp_path: Path, several: bool) -> None:
    n, size = 3, 16
    target = np.array([[0] * n, [2] * n]) if several else np.array([0, 2, 2])
    relevance = np.random.default_rng(0).normal(size=(*target.shape, 3, size, size)).astype("f")
    sums = np.arange(target.size).reshape(target.shape) + 100.25
    ledger = [LedgerRow("top", "Gemm", "epsilon", True, *[sums] * 6)]
    one = explanation(size, n, relevance=relevance, target=target, ledger=ledger)
    page = written(saved(tmp_path / "run", one), out=tmp_path / "r.html")
    assert len([a for a in page.all("img") if a["alt"].startswith("Heatmap")]) == target.size
    for value in sums.ravel():
        assert f"{value:.4g}" in page.text


def test_nothing_of_a_model_becomes_markup(tmp_path: Path) -> None:
    runs = []
    for word in HOSTILE:
        about = {"model": word, "sha256": word, "method": word, "options": {word: word}}
        labels = ["a", "b", word, "d", "e"]
        ledger = rows(2, layer=word + "{}") if "{" not in word else rows(2)
        runs.append(explanation(names=[word], labels=labels, provenance=about, ledger=ledger, notes={word: word}))
    folder = saved(tmp_path / "run", *runs)
    found = [Finding(word, "failed", word, subject=word, fix=word) for word in HOSTILE]
    (folder / "check.json").write_text(json.dumps(Findings(found, {word: word for word in HOSTILE}).to_dict()))
    page = written(folder, out=tmp_path / "report.html")
    assert len(page.all("script")) == 1
    assert len(page.all("style")) == 1
    assert not [key for _, attributes in page.tags for key in attributes if key.startswith("on") or key == "style"]
    assert {a["src"].partition(";")[0] for a in page.all("img")} <= {"data:image/png", "data:image/jpeg"}
    assert all(a["href"].startswith(("#", "data:")) for a in page.all("a") + page.all("link"))
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"[\x00\x1b\u202e\u200b]", text)
    for word in HOSTILE[:4]:
        assert word in page.text


@pytest.mark.parametrize("word", HOSTILE)
def test_escaping(word: str) -> None:
    page = Page(tag("p", word, tag("b", "x"), title=word))
    assert [name for name, _ in page.tags] == ["p", "b"]
    assert page.tags[0][1]["title"] == page.words[0]
    assert escaped(word) == tag("p", word)[3:-4]


def test_the_policy_lets_nothing_in_and_knows_its_own(tmp_path: Path) -> None:
    page = written(saved(tmp_path / "run", explanation()), out=tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    (policy,) = [m["content"] for m in page.all("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    parts = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert parts["default-src"] == parts["base-uri"] == parts["form-action"] == "'none'"
    assert parts["img-src"] == "data:"
    for name in ("style", "script"):
        (own,) = re.findall(f"<{name}>(.*?)</{name}>", text, re.S)
        digest = base64.b64encode(hashlib.sha256(own.encode()).digest()).decode()
        assert parts[f"{name}-src"] == f"'sha256-{digest}'"
    assert "unsafe" not in policy
    assert not re.search(r"(?:src|href)=\"(?:https?:|//|file:)", text)
    # The policy must stand before what it is about.
    assert text.index("Content-Security-Policy") < text.index("<style>") < text.index("<script>")


def test_everything_has_a_name_and_ids_are_unique(tmp_path: Path) -> None:
    page = written(saved(tmp_path / "run", explanation(n=3), explanation(method="b", n=3)), out=tmp_path / "r.html")
    ids = [a["id"] for _, a in page.tags if "id" in a]
    assert len(set(ids)) == len(ids)
    assert all("alt" in a for a in page.all("img"))
    labelled = {a["for"] for a in page.all("label")}
    assert {a["id"] for a in page.all("input")} == labelled
    assert {a["href"][1:] for a in page.all("a")} <= set(ids)
    assert page.all("html") == [{"lang": "en"}]
    regions = [a for _, a in page.tags if a.get("role") == "region"]
    assert regions
    assert all(a["tabindex"] == "0" and a["aria-label"] for a in regions)
    assert all(a.get("scope") in ("row", "col") for a in page.all("th"))


def test_contrast() -> None:
    """WCAG 2.2 AA: 4.5 for text, 3 for what else must be seen."""
    style = files("onnxlrp.report").joinpath("style.css").read_text(encoding="utf-8")
    colors = dict(re.findall(r"--(\w+): #(\w{6})", style))

    def light(name: Any) -> float:
        parts = [int(colors[name][i : i + 2], 16) / 255 for i in (0, 2, 4)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))

    for paper in ("paper", "panel"):
        for ink, least in {
            "ink": 4.5,
            "quiet": 4.5,
            "link": 4.5,
            "bad": 4.5,
            "good": 4.5,
            "plus": 3,
            "minus": 3,
        }.items():
            high, low = sorted((light(paper), light(ink)), reverse=True)
            assert (high + 0.05) / (low + 0.05) >= least, (ink, paper)


@pytest.mark.slow
def test_pictures_shrink_until_the_page_is_below_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert report.LIMIT == 15_000_000
    one = explanation(size=200, n=4, ledger=rows(50, 4))
    folder = saved(tmp_path / "run", one, explanation(size=200, n=4, method="b", seed=1, images=one.images))
    run = read([folder])
    for side in (512, 128, 64):
        limit = len(html(run, side, dict(report._DETAIL)[side]).encode())
        monkeypatch.setattr(report, "LIMIT", limit)
        page = written(folder, out=tmp_path / "r.html")
        assert (tmp_path / "r.html").stat().st_size <= limit
        heatmaps = [a for a in page.all("img") if a["alt"].startswith("Heatmap")]
        assert [picture(a["src"]).width for a in heatmaps] == [min(side, 200)] * 8


def test_ledgers_that_are_left_out_are_said_to_be(tmp_path: Path) -> None:
    folder = saved(tmp_path / "run", explanation(n=5, ledger=rows(3, 5)))
    page = Page(html(read([folder]), 64, 2))
    assert len(page.all("svg")) == 1 + 2
    assert "ledgers of the first 2 heatmaps" in page.text


def test_what_cannot_fit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = saved(tmp_path / "run", explanation())
    monkeypatch.setattr(report, "LIMIT", 1000)
    with pytest.raises(UsageError, match="do not fit"):
        report.write([folder], tmp_path / "r.html")
    assert not (tmp_path / "r.html").exists()


def test_the_png_serves_where_there_are_no_numbers(tmp_path: Path) -> None:
    page = written(saved(tmp_path / "run", explanation(), kinds=("json", "png")), out=tmp_path / "r.html")
    (img,) = page.all("img")
    shown = np.asarray(picture(img["src"]).convert("RGB"))
    with Image.open(tmp_path / "run" / "run0.png") as figure:
        assert shown.shape[1] / shown.shape[0] == pytest.approx(figure.width / figure.height, rel=0.01)
    assert not page.all("input")
    alone = written(saved(tmp_path / "alone", explanation(), kinds=("json",)), out=tmp_path / "r.html")
    assert not alone.all("img")
    assert "--format json,npz" in alone.text


@pytest.mark.parametrize("shape", [(1, 40), (1, 3, 40)])
def test_signals(tmp_path: Path, shape: tuple[int, ...]) -> None:
    relevance = np.random.default_rng(0).normal(size=shape).astype("f")
    one = explanation(relevance=relevance, images=None)
    page = written(saved(tmp_path / "run", one), out=tmp_path / "r.html")
    (img,) = page.all("img")
    assert picture(img["src"]).width > 800


def test_nan_is_said_and_not_drawn(tmp_path: Path) -> None:
    one = explanation()
    bad = explanation(relevance=np.full_like(one.relevance, np.nan))
    page = written(saved(tmp_path / "run", bad), out=tmp_path / "r.html")
    assert "NaN or infinite" in page.text
    assert [a["alt"] for a in page.all("img")] == ["cat0 as the model sees it"]


def test_folders_below_are_reported_too_but_for_hidden_ones(tmp_path: Path) -> None:
    """explain -r writes as many folders as it has read."""
    for name in ("a", "b/x", ".hidden"):
        saved(tmp_path / "run" / name, explanation())
    alone = len(report.write([tmp_path / "run" / "a"], tmp_path / "one.html").maps)
    assert len(report.write([tmp_path / "run"], tmp_path / "all.html").maps) == 2 * alone


def test_foreign_files_are_named_and_damaged_ones_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path / "run", explanation())
    (folder / "package.json").write_text('{"name": "x"}')
    assert report.write([folder], tmp_path / "r.html").foreign == [folder / "package.json"]
    with pytest.raises(InputError, match=r"package\.json: not written"):
        report.write([folder / "package.json"], tmp_path / "r.html")
    good = json.loads((folder / "run0.json").read_text())
    first = (tmp_path / "r.html").read_bytes()
    for change in (
        {"samples": 3},
        {"samples": [{}]},
        {"provenance": []},
        {"ledger": [3]},
        {"relevance_shape": ["x"]},
        {"relevance_shape": [1, 3, 9, 9]},
    ):
        (folder / "run0.json").write_text(json.dumps({**good, **change}))
        with pytest.raises(InputError) as caught:
            report.write([folder], tmp_path / "r.html")
        assert "explain" in caught.value.fix
    for text in ("", "{", "[" * 100_000):
        (folder / "run0.json").write_text(text)
        with pytest.raises(InputError):
            report.write([folder], tmp_path / "r.html")
    (folder / "run0.json").write_text(json.dumps(good))
    npz = folder / "run0.npz"
    for data in (npz.read_bytes()[:-100], b"no archive"):
        npz.write_bytes(data)
        with pytest.raises(InputError, match=r"run0\.npz"):
            report.write([folder], tmp_path / "r.html")
    assert (tmp_path / "r.html").read_bytes() == first


def cell(method: Any, metric: Any, mean: Any, refused: bool = False, name: str = "") -> Any:
    x = [0.0, 0.5, 1.0]
    line = Line(x, [mean, 0.3, 0.1], [mean, 0.2, 0.0], [mean, 0.4, 0.2], "share deleted", "probability")
    shown = {} if refused else {name: line}
    low, high = (None, None) if refused else (mean - 0.1, mean + 0.1)
    note = "no rule for Foo\n--on-unsupported gradient" if refused else ""
    return Cell(
        "k", method, {}, metric, {}, "lower", [mean], None if refused else mean, low, high, shown, note, refused
    )


def judged(model: str = "net.onnx", methods: Any = ("epsilon", "gradient")) -> Any:
    about = {"model": {"file": model, "sha256": "ab" * 32}, "samples": {"names": ["cat", "dog"], "sha256": ""}}
    cells = [cell(methods[0], "deletion", 0.25), cell(methods[1], "deletion", 0.75)]
    return Evaluation(about, [*cells, cell(methods[0], "area", 0.5, name="depth"), cell(methods[1], "area", 0, True)])


def compared(count: int = 3, name: str = "pic{}", layer: str = "conv1") -> dict[str, Any]:
    rows = [
        {"name": name.format(i), "label": "zebra", "target": 2, "top1": [2, 2 if i else 1], "cosine": 1 - i / 8,
         "top1_labels": ["zebra", "zebra" if i else "b"], "logits": 0.1 * i}
        for i in range(count)
    ]  # fmt: skip
    layers = [{"layer": "input", "drift": 0.0}, {"layer": layer, "drift": 0.5}, {"layer": "head", "drift": 0.75}]
    models = {side: {"model": f"nets/{side}.onnx", "sha256": side * 64} for side in "ab"}
    return {
        "schema": 1,
        **models,
        "metrics": ["cosine"],
        "samples": rows,
        "layers": layers,
        "floor": 1e-4,
        "method": "epsilon",
    }


def kept(result: Any, size: int = 24) -> list[Any]:
    rng = np.random.default_rng(0)
    view = Image.fromarray(rng.integers(0, 256, (size, size, 3), dtype=np.uint8))
    return [WorstSample(row, (rng.normal(size=(size, size)), rng.normal(size=(9, 9))), (view, view))
            for row in result["samples"][1:]]  # fmt: skip


def test_what_evaluate_wrote(tmp_path: Path) -> None:
    judged().save(tmp_path / "methods.json")
    page = written(tmp_path, out=tmp_path / "r.html")
    # A curve with its band for each line, a dot for each mean that there is.
    lines = sum(len(c.curves) for c in judged().cells)
    assert len(page.all("polyline")) == len(page.all("polygon")) == lines == 3
    assert len(page.all("circle")) == 3
    for word in ("net.onnx, 2 samples", "0.15 to 0.35", "refused", "no rule for Foo", "area.depth", "share deleted"):
        assert word in page.text
    assert "No checks were run" not in page.text


def test_what_compare_saved(tmp_path: Path) -> None:
    result = compared()
    verdict.save(result, tmp_path / "c.json")
    page = written(tmp_path, out=tmp_path / "r.html")
    assert not page.all("img")  # no maps are beside it
    worst_samples.save(kept(result), result, tmp_path / "c.json")
    page = written(tmp_path, out=tmp_path / "r.html")
    assert [img["alt"] for img in page.all("img") if img["alt"]] == [
        text for i in (1, 2) for text in (f"pic{i} as A sees it", f"Heatmap of pic{i} for zebra by A",
                                          f"Heatmap of pic{i} for zebra by B")]  # fmt: skip
    looks = [rect["class"] for rect in page.all("rect")]
    assert looks == ["drift", "first", "drift"]
    for word in (
        "2 of 3",
        "The first layer that diverges is",
        "conv1",
        "a.onnx",
        "b.onnx",
        "worst 0.75: pic2",
        "b" * 64,
    ):
        assert word in page.text
    assert len({a["id"] for _, a in page.tags if "id" in a}) == len([a for _, a in page.tags if "id" in a])
    again = worst_samples.read(result, tmp_path / "c.json")
    for one, other in zip(again, kept(result), strict=True):
        assert one.row == other.row
        assert all(np.allclose(a, b, rtol=1e-6) for a, b in zip(one.maps, other.maps, strict=True))


def test_nothing_of_a_result_becomes_markup(tmp_path: Path) -> None:
    for n, word in enumerate(HOSTILE):
        judged(word, (word, word + "2")).save(tmp_path / f"m{n}.json")
        verdict.save(compared(name=word + "{}", layer=word), tmp_path / f"c{n}.json")
    page = written(tmp_path, out=tmp_path / "r.html")
    assert len(page.all("script")) == 1
    assert not any(key.startswith("on") for _, attributes in page.tags for key in attributes)
    assert not any("autofocus" in attributes for _, attributes in page.tags)


def test_damaged_results_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    bad = [
        {**judged().to_dict(), "cells": [3]},
        {**judged().to_dict(), "samples": 3},
        {**judged().to_dict(), "model": {}},
    ]
    bad += [{**compared(), "a": 3}, {**compared(), "layers": [3]}, {**compared(), "schema": 9}]
    for data in bad:
        path.write_text(json.dumps(data))
        with pytest.raises(InputError, match=r"x\.json"):
            report.write([path], tmp_path / "r.html")
    result = compared()
    verdict.save(result, path)
    file = worst_samples.save(kept(result), result, path)
    report.write([path], tmp_path / "r.html")
    verdict.save({**result, "a": {"model": "other", "sha256": "f"}}, path)
    with pytest.raises(InputError, match="of other models"):
        report.write([path], tmp_path / "r.html")
    verdict.save(result, path)
    file.write_bytes(file.read_bytes()[:-80])
    with pytest.raises(InputError, match=r"x\.npz"):
        report.write([path], tmp_path / "r.html")


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(NothingToDo) as caught:
        report.write([tmp_path], tmp_path / "r.html")
    assert "explain" in caught.value.fix


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = saved(tmp_path / "run", explanation())
    out = tmp_path / "r.html"
    assert main(["report", str(folder), "-o", str(out), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said == {
        "file": str(out),
        "bytes": out.stat().st_size,
        "heatmaps": 1,
        "checks": 0,
        "comparisons": 0,
        "evaluations": 0,
    }
    assert main(["report", str(tmp_path / "none.json"), "-o", str(out)]) == 3
    assert main(["report", str(folder)]) == 2


_SEEN = """
<script>
addEventListener("load", () => {
  const slider = document.querySelector("input[type=range]");
  const heat = document.querySelector(".below + .heat");
  const said = {blocked: [...document.images].filter(i => !i.naturalWidth).length};
  said.wide = document.documentElement.scrollWidth > innerWidth;
  said.over = heat.getBoundingClientRect().top === heat.previousSibling.getBoundingClientRect().top;
  slider.value = 30;
  slider.dispatchEvent(new Event("input"));
  said.opacity = getComputedStyle(heat).opacity;
  said.shown = document.querySelector("output").textContent;
  slider.focus();
  said.focused = document.activeElement === slider;
  document.title = JSON.stringify(said);
});
</script>
"""


def chromium(folder: Any, *words: Any) -> Any:
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}", *words]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, env={**os.environ, "HOME": str(folder)})
    assert run.returncode == 0, run.stderr
    return run


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
@pytest.mark.parametrize("width", [400, 1280])
def test_in_a_browser(tmp_path: Path, width: int) -> None:
    """Pictures load, the slider fades them, nothing is wider than the window; a probe that the policy is told of."""
    out = tmp_path / "r.html"
    folder = saved(tmp_path / "run", explanation(), explanation(method="b"))
    judged().save(folder / "methods.json")
    result = compared()
    verdict.save(result, folder / "c.json")
    worst_samples.save(kept(result), result, folder / "c.json")
    written(folder, out=out)
    probe = re.search(r"<script>(.*?)</script>", _SEEN, re.S)[1]
    digest = base64.b64encode(hashlib.sha256(probe.encode()).digest()).decode()
    text = out.read_text(encoding="utf-8").replace("script-src ", f"script-src 'sha256-{digest}' ")
    out.write_text(text.replace("</body>", _SEEN + "</body>"), encoding="utf-8")
    dom = chromium(tmp_path, f"--window-size={width},900", "--dump-dom", out.as_uri()).stdout
    said = json.loads(Page("<title>" + re.search(r"<title>(.*?)</title>", dom, re.S)[1] + "</title>").text)
    assert said == {
        "blocked": 0, "wide": False, "over": True, "opacity": "0.3", "shown": "30 %", "focused": True
    }  # fmt: skip


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_a_browser_runs_no_script_that_is_not_ours(tmp_path: Path) -> None:
    out = tmp_path / "r.html"
    written(saved(tmp_path / "run", explanation()), out=out)
    text = out.read_text(encoding="utf-8")
    out.write_text(text.replace("</body>", '<script>document.title = "owned"</script></body>'), encoding="utf-8")
    dom = chromium(tmp_path, "--dump-dom", out.as_uri()).stdout
    assert "<title>onnxlrp report: net.onnx</title>" in dom
    assert 'class="js"' in dom  # ours did run
