"""Figures of tables, signals, volumes and tokens show what is strongest where it is."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

import onnxlrp
from onnxlrp.cli import main
from onnxlrp.errors import InputError, OnnxLrpError, UsageError
from onnxlrp.inputs import InputKind
from onnxlrp.pictures import features, slices, traces, words
from onnxlrp.preprocessing import feature_names, tables
from support.tiny_models import model, node, values

W = values(4, 2)


def redness(figure: Image.Image) -> np.ndarray:
    """Where a figure is red (above 0) and blue (below 0)."""
    pixels = np.asarray(figure.convert("RGB")).astype(int)
    return pixels[..., 0] - pixels[..., 2]


def test_bars_are_as_long_as_relevance_strongest_first() -> None:
    r = np.array([0.5, -2.0, 1.0])
    red = redness(features.features(r, [1, 2, 3], ["a", "b", "c"]))[20:]
    lengths = [int(np.count_nonzero(np.abs(red[28 * row + 14]) > 30)) for row in range(3)]
    assert lengths[0] == pytest.approx(2 * lengths[1], abs=4)
    assert lengths[1] == pytest.approx(2 * lengths[2], abs=4)
    assert (red[14].min() < -30, red[42].max() > 30) == (True, True)


def test_weak_features_are_summed() -> None:
    few, many = (features.features(np.ones(n)) for n in (20, 500))
    assert few.height == many.height
    shown = redness(many)[20:]
    others = np.count_nonzero(shown[28 * 19 + 14] > 30)
    assert others > 20 * np.count_nonzero(shown[14] > 30)  # 481 of 500 against 1


@pytest.mark.parametrize("length", [40, 1000, 5000])
def test_the_background_of_a_trace_is_red_where_relevance_is(length: int) -> None:
    r = np.zeros((3, length))
    r[1, length // 4 : length // 2] = 1
    r[2, length // 2 : 3 * length // 4] = -1
    red = redness(traces.traces(r, values(3, length), ["I", "II", "III"]))
    area = red[20:-20, 20:-70]
    third, left = area.shape[0] // 3, area.shape[1] - 896
    at = np.argwhere(area > 60)
    assert third - 5 <= at[:, 0].min() <= at[:, 0].max() <= 2 * third + 5
    assert abs((at[:, 1].mean() - left) / 896 - 3 / 8) < 0.02
    assert abs((np.argwhere(area < -60)[:, 1].mean() - left) / 896 - 5 / 8) < 0.02


def test_the_strongest_slice_is_always_shown() -> None:
    for depth in (1, 5, 40):
        for strongest in range(depth):
            shown = slices.chosen(depth, strongest)
            assert strongest in shown
            assert len(shown) <= 9
    r = np.zeros((30, 8, 8))
    r[17, 2:5, 2:5] = 1
    assert (redness(slices.slices(r, values(30, 8, 8)))[:, :-80] > 60).any()


def test_words_are_coloured_by_their_own_relevance() -> None:
    red = redness(words.words([0, 1, 0, -1], ["a", "good", "or", "bad"]))[20:60, 20:800]
    assert np.argwhere(red > 60)[:, 1].max() < np.argwhere(red < -60)[:, 1].min()
    assert words.words(np.ones(3000), ["wörd"] * 3000).height < 20_000


def table(names: str = "") -> onnx.ModelProto:
    made = model([node("MatMul", ["x", "w"], ["y"])], {"w": W}, shape=("N", 4))
    if names:
        made.metadata_props.add(key="feature_names", value=names)
    return made


def test_tables_are_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    x = values(3, 4, seed=4)
    onnx.save(table(), "m.onnx")
    lines = [",".join([name, *map(str, row)]) for name, row in zip("abc", x.tolist(), strict=True)]
    Path("t.csv").write_text("\n".join(["id,height,age,mass,sex", *lines]) + "\n")
    options = ["-t", "0", "-m", "gradient_x_input", "--format", "png,npz"]
    assert main(["explain", "m.onnx", "t.csv", *options]) == 3
    assert "--name-column" in capsys.readouterr().err
    assert main(["explain", "m.onnx", "t.csv", "--name-column", "id", *options]) == 0
    for name, row in zip("abc", x, strict=True):
        np.testing.assert_allclose(np.load(f"t.{name}.0.npz")["relevance"][0], row * W[:, 0], rtol=1e-5)
        assert Path(f"t.{name}.0.png").is_file()
    assert main(["explain", "m.onnx", "t.csv", "--name-column", "id", "--names", "a,b", *options]) == 2
    np.testing.assert_array_equal(tables.read("t.csv", "id").values.astype(np.float32), x)
    assert tables.read("t.csv", "id").columns == ("height", "age", "mass", "sex")


NAMES = ("height", "age", "mass", "sex")


@pytest.mark.parametrize("header", [NAMES, NAMES[::-1], ("Age", " sex", "height", "MASS")])
def test_columns_are_found_by_the_names_of_the_model(
    header: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    x = values(3, 4, seed=4)
    onnx.save(table(json.dumps(NAMES)), "m.onnx")
    places = [NAMES.index(name.strip().lower()) for name in header]
    np.savetxt("t.csv", x[:, places], "%.9g", ",", header=",".join(header), comments="")
    e = onnxlrp.load("m.onnx").explain("t.csv", target=0, method="gradient_x_input")
    np.testing.assert_allclose(e.relevance, x * W[:, 0], rtol=1e-5)
    assert e.feature_names is not None
    assert [name.strip().lower() for name in e.feature_names] == list(NAMES)
    assert main(["explain", "m.onnx", "t.csv", "-t", "0"]) == 0
    said = "".join(capsys.readouterr())
    assert ("matched by name" in said) == (header != NAMES)


@pytest.mark.parametrize(
    "header", [("height", "age", "mass", "weight"), ("height", "age", "mass", "mass"), ("p", "age", "mass", "height")]
)
def test_a_feature_without_a_column_is_refused(header: tuple[str, ...], tmp_path: Path) -> None:
    np.savetxt(tmp_path / "t.csv", values(3, 4), "%.9g", ",", header=",".join(header), comments="")
    with pytest.raises(InputError, match="sex"):
        onnxlrp.load(table(",".join(NAMES))).explain(tmp_path / "t.csv", target=0)


def test_columns_are_found_by_the_identifiers_that_exporters_make_of_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """What is called as the feature goes first; a column is taken as an identifier where there is but one, and said."""
    monkeypatch.chdir(tmp_path)
    x = values(3, 4, seed=4)
    onnx.save(table("hours_per_week,_2nd_age,sex,A_B"), "m.onnx")
    given: tuple[tuple[tuple[str, ...], tuple[int, ...]], ...] = (
        (("hours-per-week", "2nd age", "sex", "a.b"), (0, 1, 2, 3)),
        (("a_b", "sex", " Hours per week", "2nd/age"), (2, 3, 1, 0)),
        (("a-b", "hours_per_week", "hours-per-week", "sex", "2nd-age", "a_b"), (1, 4, 3, 5)),
    )
    for header, places in given:
        cells = np.zeros((3, len(header)))
        cells[:, places] = x
        np.savetxt("t.csv", cells, "%.9g", ",", header=",".join(header), comments="")
        e = onnxlrp.load("m.onnx").explain("t.csv", target=0, method="gradient_x_input")
        np.testing.assert_allclose(e.relevance, x * W[:, 0], rtol=1e-5)
        assert main(["explain", "m.onnx", "t.csv", "-t", "0", "-o", "{stem}.npz"]) == 0
        said = capsys.readouterr().err
        assert f'"{header[places[1]]}" for _2nd_age' in said
        assert ("for hours_per_week" in said) == (header[places[0]] != "hours_per_week")
    for lacking in ("hours-per-week,hours per week,2nd age,sex,a_b", "hours-per,2nd age,sex,ab"):
        header = tuple(lacking.split(","))
        np.savetxt("t.csv", np.zeros((3, len(header))), "%.9g", ",", header=",".join(header), comments="")
        with pytest.raises(InputError, match="no column for hours_per_week"):
            onnxlrp.load("m.onnx").explain("t.csv", target=0)


@pytest.mark.parametrize("names", ["f0,f1,f2,f3", "0,1,2,3", "p,p,q,r", "p,q"])
def test_names_that_tell_no_order_leave_the_columns_in_theirs(names: str, tmp_path: Path) -> None:
    x = values(3, 4)
    np.savetxt(tmp_path / "t.csv", x, "%.9g", ",", header=",".join(NAMES), comments="")
    e = onnxlrp.load(table(names)).explain(tmp_path / "t.csv", target=0, method="gradient_x_input")
    np.testing.assert_allclose(e.relevance, x * W[:, 0], rtol=1e-5)
    assert e.feature_names == NAMES


@pytest.mark.parametrize("text", ["", "a,b\n1\n", "1,2\n1,inf\n", "a;b\n1;x\n", "a,b\n"])
def test_tables_that_are_none(text: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(InputError):
        _ = tables.read(tmp_path / "t.csv").values


def test_delimiters_and_headers(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    for text, columns in (
        ("1;2\n3;4\n", None),
        ("a\tb\n1\t2\n3\t4\n", ("a", "b")),
        ("\ufeffa,b\n1,2\n3,4", ("a", "b")),
    ):
        path.write_text(text, encoding="utf-8")
        read = tables.read(path)
        np.testing.assert_array_equal(read.values, [[1, 2], [3, 4]] if not columns else read.values)
        assert read.columns == columns
    with pytest.raises(UsageError, match="no column"):
        tables.read(path, "c")


def test_parquet_needs_pyarrow_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    path.write_bytes(b"PAR1")
    with pytest.raises(OnnxLrpError) as error:
        tables.read(path)
    wanted = "write it again" if importlib.util.find_spec("pyarrow") else "pip install pyarrow"
    assert error.value.fix == wanted


def test_names_by_the_user_the_table_and_the_metadata(tmp_path: Path) -> None:
    vector = InputKind("vector", (4,), None, (), "--kind")
    vocabulary = tmp_path / "vocab.txt"
    vocabulary.write_text("[PAD]\nfilm\ngood\n")
    tokens = InputKind("tokens", (8,), None, (0,), "--kind")
    assert feature_names.find("a,b,c,d", ["w"] * 4, {}, vector) == ("a", "b", "c", "d")
    assert feature_names.find(None, ["w"] * 4, {"feature_names": "p,q,r,s"}, vector) == ("w",) * 4
    assert feature_names.find(None, None, {"feature_names": '["p", "q", "r", "s"]'}, vector) == tuple("pqrs")
    assert feature_names.find(str(vocabulary), None, {}, tokens) == ("[PAD]", "film", "good")
    explained = onnxlrp.load(table("p,q,r,s")).explain(values(4), target=0)
    assert explained.feature_names == tuple("pqrs")
    assert explained.figure().width > 500
