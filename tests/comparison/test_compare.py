"""Two models side by side: planted differences are found where they were planted, and nowhere else."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from PIL import Image
from scenes import render

import onnxlrp
from onnxlrp.cli import main
from onnxlrp.comparison import compare, side_by_side, verdict, worst_samples
from onnxlrp.comparison.divergence import INPUT, Divergence, DivergenceMeter, LayerDivergence, pairs
from onnxlrp.comparison.worst_samples import WorstSample, WorstSamples
from onnxlrp.errors import InputError, UnsupportedError, UsageError
from onnxlrp.layers import LAYERS
from support import small_nets
from support.paths import MODELS

Array = np.ndarray[Any, Any]
SHAPES = MODELS / "shapes.onnx"
HELD_OUT = 1_002_000
SABOTAGED = ("s17", "s31")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fifty scenes; two of them are fine stripes in black and white, which drive activations out of the range that the
    int8 twin was calibrated for."""
    folder = tmp_path_factory.mktemp("pictures")
    stripes = np.repeat(((np.indices((64, 64))[1] // 2) % 2 * 255).astype(np.uint8)[..., None], 3, axis=2)
    for n in range(50):
        name = f"s{n:02}"
        image = render(HELD_OUT + n)[0] if name not in SABOTAGED else stripes
        Image.fromarray(image).save(folder / f"{name}.png")
    return folder


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """shapes.onnx in int8, by onnxruntime's own quantisation, calibrated on scenes."""
    quantization = pytest.importorskip("onnxruntime.quantization")
    model = onnxlrp.load(SHAPES)
    path = tmp_path_factory.mktemp("twin") / "shapes_int8.onnx"

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            inputs = (model.preprocessing.apply(render(n)[0]) for n in range(48))
            self.feeds = iter([{"image": x} for x in inputs])

        def get_next(self) -> Any:
            return next(self.feeds, None)

    kinds = quantization.QuantFormat.QDQ
    quantization.quantize_static(str(SHAPES), str(path), Reader(), quant_format=kinds, per_channel=True)
    return path


def named(folder: Path, count: int | None = None) -> list[tuple[str, Any]]:
    return [(path.stem, path) for path in sorted(folder.iterdir())][:count]


# -- what was planted


@pytest.mark.slow
def test_exactly_the_sabotaged_images_of_an_int8_twin_are_flagged(
    pictures: Path, twin: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved, sheet, report = (tmp_path / name for name in ("r.json", "worst.png", "report.json"))
    words = [str(SHAPES), str(twin), str(pictures), "--min", "cosine=0.9", "--save", str(saved)]
    assert main(["compare", *words, "--worst", "3", "-o", str(sheet), "-o", str(report)]) == 1
    findings = json.loads(report.read_text())["findings"]
    assert {f["subject"] for f in findings if f["status"] == "failed"} == set(SABOTAGED)
    assert {f["check"] for f in findings if f["status"] == "failed"} == {"cosine"}
    assert len([f for f in findings if f["check"] == "cosine"]) == 50
    parts = next(f for f in findings if f["check"] == "divergence")
    assert parts["subject"] == "stem.0"  # nothing was rounded before it but the input
    assert "0 in the layer before (input)" in parts["message"]
    with Image.open(sheet) as picture:
        width, height = picture.size
        assert picture.info["Software"] == "onnxlrp"
    assert width > 1500  # two pictures with a map each, side by side
    assert height > 3 * 400
    # Judged again without models: other limits, another verdict.
    capsys.readouterr()
    assert main(["compare", "--from", str(saved), "--min", "cosine=-0.9", "--json"]) == 0
    assert main(["compare", "--from", str(saved), "--min", "top1=1", "-q"]) == 1
    capsys.readouterr()
    assert main(["compare", "--from", str(saved), "--metric", "spearman", "--floor", "0.9", "--json"]) == 0
    # The worst pictures from the maps beside what was saved.
    drawn = sheet.read_bytes()
    sheet.unlink()
    again = {f["check"]: f for f in json.loads(capsys.readouterr().out)["findings"]}
    assert main(["compare", "--from", str(saved), "-o", str(sheet), "-q"]) == 0
    assert np.abs(np.asarray(Image.open(sheet), float) - np.asarray(Image.open(io.BytesIO(drawn)), float)).mean() < 0.1
    assert set(again) == {"top1", "logits", "spearman", "divergence"}
    assert again["divergence"]["subject"] != "stem.0"


@pytest.mark.slow
def test_a_model_is_like_itself(pictures: Path) -> None:
    model = onnxlrp.load(SHAPES)
    found = compare.compare(model, onnxlrp.load(SHAPES), named(pictures, 11), compare.CompareOptions(batch_size=4))
    for row in found.result["samples"]:
        assert row["cosine"] == pytest.approx(1, abs=1e-12)
        assert row["top1"][0] == row["top1"][1]
        assert row["logits"] == row["mass_shift"] == 0
    limits = verdict.limits(["top1=1", "cosine=0.999999", "topk_iou=1"], ["logits=0", "mass_shift=0"])
    findings = verdict.judge(found.result, limits)
    assert not findings.fails
    divergence = verdict.divergence(found.result)
    assert divergence.first is None
    assert {row.drift for row in divergence.rows} == {0.0}
    assert [row.layer for row in divergence.rows][:3] == [INPUT, "stem.0", "stem.2"]


@pytest.mark.few(1)
@pytest.mark.parametrize(("layer", "before"), [("blocks.2.conv1", "blocks.1.relu2"), ("blocks.0.shortcut.0", None)])
def test_the_layer_whose_weights_were_changed_is_where_they_part(
    pictures: Path, layer: str, before: str | None
) -> None:
    changed = onnx.load(SHAPES)
    tensor = next(t for t in changed.graph.initializer if t.name == f"{layer}.weight")
    weight = numpy_helper.to_array(tensor)
    noise = np.random.default_rng(0).normal(size=weight.shape) * weight.std() / 20
    tensor.CopyFrom(numpy_helper.from_array((weight + noise).astype(np.float32), tensor.name))
    a, b = onnxlrp.load(SHAPES), onnxlrp.load(changed)
    found = compare.compare(a, b, named(pictures, 3), compare.CompareOptions(metrics=["cosine"]))
    divergence = verdict.divergence(found.result)
    assert divergence.first is not None
    assert divergence.first.layer == layer
    assert 0.01 < divergence.first.drift < 0.2
    assert divergence.before is not None
    assert divergence.before.drift == 0
    assert before is None or divergence.before.layer == before


def test_preprocessing_is_each_model_s_own_and_a_difference_in_it_shows_at_the_input(pictures: Path) -> None:
    a, b = onnxlrp.load(SHAPES), onnxlrp.load(SHAPES, prep={"color": "BGR"})
    found = compare.compare(a, b, named(pictures, 3))
    divergence = verdict.divergence(found.result)
    assert divergence.first is not None
    assert divergence.first.layer == INPUT
    assert divergence.before is None


def test_maps_of_two_sizes_are_compared_on_the_picture_s_grid(tmp_path: Path) -> None:
    """One network whose input is 8 or 16 pixels wide: the coarse one pools what the fine one would see."""

    def at(size: int) -> onnxlrp.Model:
        n = small_nets.Net(3, size, size, seed=1)
        x = "x" if size == 8 else n.op("AveragePool", "x", kernel_shape=[2, 2], strides=[2, 2])
        a = n.op("GlobalAveragePool", n.relu(n.conv(x, 3, 4)))
        model = n.model(n.dense(n.op("Flatten", a), 4, 3))
        return onnxlrp.load(model, prep={"prep": "0-1", "resize": "stretch"})

    coarse = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(coarse.repeat(4, axis=0).repeat(4, axis=1)).save(tmp_path / "blocks.png")
    # Nearest neighbours: both see the same blocks, so that the two maps are one.
    how = compare.CompareOptions(method="gradient", batch_size=1)
    models = at(8), at(16)
    for model in models:
        model.flags["interpolation"] = "nearest"
    found = compare.compare(*models, [("blocks", tmp_path / "blocks.png")], how)
    (row,) = found.result["samples"]
    assert row["logits"] < 1e-5
    assert row["cosine"] == pytest.approx(1, abs=1e-6)
    assert side_by_side.sheet(found).width > 800


def of_kind(kind: str, tmp_path: Path) -> tuple[list[onnxlrp.Model], str, Any]:
    """Two models of this kind of input, a file of one sample, and the sample."""
    rng = np.random.default_rng(1)
    models = []
    for scale in (1.0, -1.0):
        shape = {"vector": (5,), "signal": (2, 30), "volume": (1, 4, 5, 6)}[kind]
        n = small_nets.Net(*shape)
        flat = n.op("Flatten", "x")
        weight = np.random.default_rng(2).normal(size=(int(np.prod(shape)), 3)) * scale
        models.append(onnxlrp.load(n.model(n.op("MatMul", flat, weight)), kind=kind))
    x = rng.normal(size=shape).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    return models, str(tmp_path / "x.npy"), x


@pytest.mark.parametrize("kind", ["vector", "signal", "volume"])
def test_what_is_no_image_is_drawn_in_the_figure_of_its_kind(kind: str, tmp_path: Path) -> None:
    """The figure of each side is that of its explanation but for the title."""
    models, path, x = of_kind(kind, tmp_path)
    a, b = models
    found = compare.compare(a, b, [("x", path)], compare.CompareOptions(method="gradient_x_input", target=1))
    sheet = np.asarray(side_by_side.sheet(found).convert("RGB"), int)
    singles = [np.asarray(m.explain(x, 1, "gradient_x_input").figure().convert("RGB"), int) for m in (a, b)]
    assert sheet.shape[0] >= max(one.shape[0] for one in singles)
    # Red is for, blue against: the second model is the first with the opposite sign.
    half = sheet.shape[1] // 2
    counts = [
        [int((part[..., 0] - part[..., 2] > 60).sum()), int((part[..., 2] - part[..., 0] > 60).sum())]
        for part in (*singles, sheet[:, :half], sheet[:, half:])
    ]
    np.testing.assert_allclose(counts[2:], counts[:2], rtol=0.05, atol=40)
    worst_samples.save(found.worst, found.result, tmp_path / "r.json")
    again = worst_samples.read(found.result, tmp_path / "r.json")
    replaced = compare.Comparison(found.result, again)
    np.testing.assert_array_equal(np.asarray(side_by_side.sheet(replaced).convert("RGB"), int), sheet)


# -- which layers belong together


def test_layers_without_common_names_are_matched_by_operator_and_shape() -> None:
    a, b = small_nets.plain(), small_nets.plain()
    for node in b.graph.node:
        node.name = f"other/{node.name}/of_b"
    left, right = (small_nets.load(model) for model in (a, b))
    found = pairs(left, right)
    ops = [{layer.name: layer.op for layer in graph.layers} for graph in (left, right)]
    assert len(found) == len(left.layers)
    assert all(ops[0][p.a] == ops[1][p.b] for p in found)
    x = small_nets.batch(left)["x"]
    meter = DivergenceMeter(onnxlrp.load(a), onnxlrp.load(b))
    meter.add(x, x)
    assert meter.result().first is None


@pytest.mark.slow
def test_a_folded_normalisation_is_matched_with_one_that_is_not(twin: Path) -> None:
    a, b = onnxlrp.load(SHAPES).graph, onnxlrp.load(twin).graph
    found = {pair.path: pair.b for pair in pairs(a, b)}
    assert len(found) == len([layer for layer in a.layers if layer.op != "Identity"])
    assert next(layer.op for layer in b.layers if layer.name == found["blocks.1.conv1"]) == "BatchNormalization"


def test_first_before_and_steepest() -> None:
    rows = [
        LayerDivergence("a", 0.0),
        LayerDivergence("b", 2e-4),
        LayerDivergence("c", 3e-4),
        LayerDivergence("d", 0.5),
        LayerDivergence("e", 0.4),
    ]
    divergence = Divergence(rows, 1e-4)
    assert (divergence.first, divergence.before) == (rows[1], rows[0])
    assert divergence.steepest == (rows[3], 3e-4)
    assert Divergence(rows, 0.45).first == rows[3]
    assert Divergence(rows[:1], 1e-4).first is None
    assert Divergence([LayerDivergence("a", float("nan"))], 1e-4).first is not None  # no number is no agreement


# -- results and limits


@pytest.fixture(scope="module")
def result(pictures: Path) -> dict[str, Any]:
    model = onnxlrp.load(SHAPES)
    return compare.compare(model, model, named(pictures, 2)).result


def test_results_come_back_as_they_were_saved(result: dict[str, Any], tmp_path: Path) -> None:
    path = verdict.save(result, tmp_path / "r.json")
    assert verdict.read(path) == result


def damaged(result: dict[str, Any]) -> dict[str, str]:
    def without(key: str) -> str:
        return json.dumps({k: v for k, v in result.items() if k != key})

    row = {**result["samples"][0], "cosine": "high"}
    return {
        "another version": json.dumps({**result, "schema": 99}),
        "no JSON": "{",
        "a list": "[]",
        "no samples": without("samples"),
        "empty samples": json.dumps({**result, "samples": []}),
        "no layers": without("layers"),
        "a word for a number": json.dumps({**result, "samples": [row]}),
        "unknown metric": json.dumps({**result, "metrics": ["taste"]}),
    }


def test_damaged_results_are_refused(result: dict[str, Any], tmp_path: Path) -> None:
    for what, text in damaged(result).items():
        path = tmp_path / "r.json"
        path.write_text(text)
        with pytest.raises(InputError) as caught:
            verdict.read(path)
        assert "--save" in caught.value.fix, what


@pytest.mark.parametrize(
    ("least", "most", "said"),
    [
        (["mass_shift=0.1"], [], "--max mass_shift=0.1"),
        ([], ["cosine=0.9"], "--min cosine=0.9"),
        (["cosin=0.9"], [], "cosine"),
        (["cosine"], [], "cosine=0.9"),
        (["cosine=nan"], [], "cosine=0.9"),
        (["cosine=0.9", "cosine=0.8"], [], "once"),
    ],
)
def test_limits_that_mean_nothing_are_refused(least: list[str], most: list[str], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        verdict.limits(least, most)
    assert said in caught.value.fix


def test_a_number_that_is_none_fails_its_limit(result: dict[str, Any]) -> None:
    broken = {**result, "samples": [{**result["samples"][0], "cosine": None}]}
    findings = verdict.judge(broken, {"cosine": 0.0})
    assert [f.check for f in findings.findings if f.fails] == ["cosine"]
    assert not verdict.judge(broken, {}).fails


def test_a_limit_on_what_was_not_measured_is_refused(result: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="spearman"):
        verdict.judge({**result, "metrics": ["cosine"]}, {"spearman": 0.5})


def test_models_of_other_classes_are_refused(tmp_path: Path) -> None:
    a, b = (small_nets.Net(4), small_nets.Net(4))
    three, five = (onnxlrp.load(n.model(n.dense("x", 4, classes))) for n, classes in ((a, 3), (b, 5)))
    with pytest.raises(UsageError, match="3 classes"):
        compare.compare(three, five, [("x", np.zeros((1, 4), np.float32))])


def test_the_model_that_cannot_be_explained_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_nets.unregister(monkeypatch, LAYERS, "Tanh")
    for name, ops in (("plain", []), ("odd", ["Tanh"])):
        n = small_nets.Net(4)
        x = n.op(ops[0], "x") if ops else "x"
        onnx.save(n.model(n.dense(x, 4, 3)), tmp_path / f"{name}.onnx")
    plain, odd = (onnxlrp.load(tmp_path / f"{name}.onnx") for name in ("plain", "odd"))
    with pytest.raises(UnsupportedError, match=r"odd\.onnx: .*Tanh"):
        compare.compare(plain, odd, [("x", np.zeros((1, 4), np.float32))])


def test_rows_of_a_table_are_compared(tmp_path: Path) -> None:
    """The second model is the first with the opposite sign, and so are its maps."""
    for name, scale in (("a", 1.0), ("b", -1.0)):
        n = small_nets.Net(5)
        weight = np.random.default_rng(2).normal(size=(5, 3)) * scale
        onnx.save(n.model(n.op("MatMul", "x", weight)), tmp_path / f"{name}.onnx")
    rows = np.random.default_rng(1).normal(size=(3, 5))
    np.savetxt(tmp_path / "rows.csv", rows, delimiter=",", header="p,q,r,s,t", comments="")
    files = [str(tmp_path / name) for name in ("a.onnx", "b.onnx", "rows.csv")]
    assert main(["compare", *files, "-t", "1", "-m", "gradient_x_input", "--save", str(tmp_path / "r.json")]) == 0
    found = json.loads((tmp_path / "r.json").read_text())
    assert [row["name"] for row in found["samples"]] == ["rows.0", "rows.1", "rows.2"]
    np.testing.assert_allclose([row["cosine"] for row in found["samples"]], -1, atol=1e-6)


def test_the_worst_are_kept_in_order_and_the_first_of_equals() -> None:
    def shown(name: str, value: float | None) -> WorstSample:
        return WorstSample(
            {"name": name, "cosine": value, "mass_shift": value}, (np.zeros(1), np.zeros(1)), (None, None)
        )

    samples = [shown(*pair) for pair in (("a", 0.9), ("b", 0.2), ("c", 0.5), ("d", None), ("e", 0.2))]
    for measure, order in (("cosine", "dbec"), ("mass_shift", "dacb")):
        worst = WorstSamples(measure, 4)
        worst.add(samples[:2])
        worst.add(samples[2:])
        assert "".join(one.row["name"] for one in worst.kept()) == order


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([str(SHAPES)], "two models"),
        ([str(SHAPES), "pictures", "x.png"], "pictures"),
        ([str(SHAPES), str(SHAPES), "x.png", "--metric", "taste"], "taste"),
        ([str(SHAPES), str(SHAPES), "x.png", "-o", "report.what"], "report.what"),
        ([str(SHAPES), str(SHAPES), "x.png", "-t", "top3"], "top3"),
        ([str(SHAPES), str(SHAPES), "x.png", "--floor", "nan"], "--floor"),
        (["--from", "r.json", "--save", "s.json"], "--save"),
        (["--from", "r.json", "-m", "gradient"], "method"),
        ([str(SHAPES), str(SHAPES), "x.png", "--from", "r.json"], "--from"),
    ],
)
def test_requests_that_cannot_be_meant(
    words: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (64, 64), (200, 30, 60)).save("x.png")
    assert main(["compare", *words]) == 2
    assert said in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"x.png"}
