"""Cells along a text: states by numpy, statistics by enumeration, a planted cell, chance, files."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxlrp
from onnxlrp.analysis.cells import properties, tracking
from onnxlrp.analysis.cells.find import Cells
from onnxlrp.analysis.cells.watch import HIGH, LOW, Watch, Window
from onnxlrp.errors import InputError, UnsupportedError, UsageError
from support.paths import MODELS
from support.recurrent_models import Net
from support.recurrent_numpy import Cell

TEXT = 'def f(x):\n    """Say it."""\n    return {"a": [1, (2, 3)], \'b\': x}  # don\'t\n\nprint(f("<script>&"))\n'


@pytest.fixture(scope="module")
def charlm() -> Any:
    return onnxlrp.load(MODELS / "charlm.onnx")


def by_numpy(cell: Cell, x: Any) -> tuple[Any, dict[str, Any]]:
    """The cells of one direction as they are shown [T, H], and its gates by name."""
    zero = np.zeros(cell.width)
    hidden, _, _ = cell.run(x.astype(np.float64), len(x), zero, zero)
    steps = cell.tape[::-1] if cell.reverse else cell.tape
    if cell.op == "LSTM":
        gates = {name: np.array([step[4][n] for step in steps]) for n, name in enumerate(("input", "output", "forget"))}
        return np.tanh([step[5] for step in steps]), gates
    names = {"reset": 2, "update": 3} if cell.op == "GRU" else {}
    return hidden, {name: np.array([step[n] for step in steps]) for name, n in names.items()}


# -- states


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
def test_states_and_gates_are_those_of_numpy(op: str, direction: str) -> None:
    net = Net(op, direction, head="mean", steps=30, scale=2.0)
    x = net.feeds(1)["x"][0]
    runs = Watch(onnxlrp.load(net.proto()))([x])
    assert [run.layer.reverse for run in runs] == [cell.reverse for cell in net.cells()]
    for run, cell in zip(runs, net.cells(), strict=True):
        states, gates = by_numpy(cell, x)
        assert run.layer.op == op
        np.testing.assert_allclose(run.states, states, atol=2e-5)
        shares = run.shares()
        assert set(shares) == set(gates)
        for name, values in gates.items():
            np.testing.assert_allclose(shares[name][0], (values < LOW).mean(axis=0))
            np.testing.assert_allclose(shares[name][1], (values > HIGH).mean(axis=0))


@pytest.mark.parametrize("op", ["LSTM", "GRU", "RNN"])
def test_states_that_are_inputs_are_carried_from_part_to_part(op: str) -> None:
    """A file of 6 steps runs 20: in four parts, the last filled up, as if it had read all at once."""
    net = Net(op, initial=True, steps=6)
    x = np.random.default_rng(3).normal(size=(20, net.inputs)).astype(np.float32)
    watch = Watch(onnxlrp.load(net.proto()))
    (run,) = watch([x, x[:4]])
    states, _ = by_numpy(net.cells()[0], x)
    np.testing.assert_allclose(run.states, np.concatenate([states, states[:4]]), atol=1e-5)
    assert "then carried on" in watch.notes[0][0]


def two_layers() -> tuple[bytes, list[Cell]]:
    """Two LSTMs, whose initial states are rows of two inputs [layers, N, width], as torch exports them."""
    rng, width, inputs = np.random.default_rng(5), 3, 2
    nodes = [helper.make_node("Transpose", ["x"], ["in0"], perm=[1, 0, 2])]
    arrays: dict[str, Any] = {"one": np.array([1])}
    cells = []
    for n, size in enumerate((inputs, width)):
        w, r, b = (rng.normal(size=(1, 4 * width, k)).astype(np.float32) for k in (size, width, 2))
        b = b.reshape(1, -1)
        arrays |= {f"W{n}": w, f"R{n}": r, f"B{n}": b, f"from{n}": np.array([1 - n]), f"to{n}": np.array([2 - n])}
        for state in "hc":  # the second row is that of the first layer
            nodes.append(helper.make_node("Slice", [f"{state}0", f"from{n}", f"to{n}", "zero"], [f"{state}{n}in"]))
        operands = [f"in{n}", f"W{n}", f"R{n}", f"B{n}", "", f"h{n}in", f"c{n}in"]
        nodes.append(helper.make_node("LSTM", operands, [f"Y{n}"], name=f"rnn{n}", hidden_size=width))
        nodes.append(helper.make_node("Squeeze", [f"Y{n}", "one"], [f"in{n + 1}"]))
        cells.append(Cell("LSTM", *(a[0].astype(np.float64) for a in (w, r, b))))
    arrays |= {"zero": np.array([0]), "V": rng.normal(size=(width, 2)).astype(np.float32)}
    nodes += [
        helper.make_node("Transpose", ["in2"], ["rows"], perm=[1, 0, 2]),
        helper.make_node("MatMul", ["rows", "V"], ["y"]),
    ]
    states = [helper.make_tensor_value_info(f"{s}0", TensorProto.FLOAT, [2, "N", width]) for s in "hc"]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", "T", inputs])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", "T", 2])
    stored = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "g", [x, *states], [y], stored)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(made)
    return made.SerializeToString(), cells


def test_each_layer_gets_its_own_rows_of_the_states() -> None:
    file, cells = two_layers()
    x = np.random.default_rng(4).normal(size=(23, 2)).astype(np.float32)
    runs = Watch(onnxlrp.load(file), 7)([x])
    for run, cell in zip(runs, cells, strict=True):
        states, _ = by_numpy(cell, x)
        np.testing.assert_allclose(run.states, states, atol=1e-5)
        zero = np.zeros(cell.width)
        x = cell.run(x.astype(np.float64), len(x), zero, zero)[0]


def test_windows_read_the_text_before_them(charlm: Any) -> None:
    text = TEXT * 6
    whole, parted = charlm.cells(onnxlrp.Text(text)), charlm.cells(onnxlrp.Text(text), window=200)
    assert len(parted.symbols) == len(parted.states) == len(text)
    np.testing.assert_allclose(parted.states[:200], whole.states[:200], atol=1e-5)
    assert np.corrcoef(parted.states.ravel(), whole.states.ravel())[0, 1] > 0.95
    assert not whole.notes
    assert "windows of 200 places, each with 20 before it" in parted.notes[0][0]


@pytest.mark.parametrize("directions", [{False}, {True}, {False, True}])
@pytest.mark.parametrize(("is_open", "size"), [(True, 100), (False, 10), (True, 1), (False, 1)])
def test_windows_cover_each_place_once(directions: set[bool], is_open: bool, size: int) -> None:
    watch = Watch.__new__(Watch)
    watch.length, watch.size, watch.is_open, watch.directions, watch.notes = size, size, is_open, directions, []
    for places in range(size, 4 * size + 3):
        windows = watch._windows(places, carries=False)
        kept = [n for w in windows for n in range(w.kept, w.end)]
        assert kept == list(range(places))
        for w in windows:
            assert 0 <= w.start <= w.kept < w.end <= w.stop <= places
            assert w.stop - w.start == size
    assert watch._windows(3 * size, carries=True)[-1] == Window(2 * size, 3 * size, 2 * size, 3 * size)


def test_a_text_shorter_than_the_file_is_filled_up_behind_it() -> None:
    net = Net("LSTM", steps=9)
    x = net.feeds(1)["x"][0]
    (run,) = Watch(onnxlrp.load(net.proto()))([x[:4]])
    np.testing.assert_allclose(run.states, by_numpy(net.cells()[0], x)[0][:4], atol=1e-5)
    with pytest.raises(InputError, match="in both directions"):
        Watch(onnxlrp.load(Net("LSTM", "bidirectional", steps=9).proto()))([x[:4]])


# -- statistics


def test_auc_is_the_share_of_pairs_in_order() -> None:
    rng = np.random.default_rng(0)
    states = rng.integers(0, 5, size=(30, 4)).astype(np.float32)
    values = (rng.random(30) < 0.4) * 3.0
    high, low = states[values == 3], states[values == 0]
    pairs = [[np.sign(a - b) / 2 + 0.5 for a in high[:, n] for b in low[:, n]] for n in range(4)]
    np.testing.assert_allclose(tracking.auc(states, values), np.mean(pairs, axis=1))


def test_texts_of_several_lengths_are_each_run_at_its_own(charlm: Any) -> None:
    texts = [TEXT, TEXT[:40], TEXT[:60] * 3]
    alone = [charlm.cells(onnxlrp.Text(text)).states for text in texts]
    together = charlm.cells([onnxlrp.Text(text) for text in texts])
    np.testing.assert_allclose(together.states, np.concatenate(alone), atol=1e-6)
    assert together.starts == [0, len(TEXT), len(TEXT) + 40]


@pytest.mark.parametrize("statistic", ["r", "AUC"])
@pytest.mark.parametrize("length", [40, 101])
def test_shifts_are_those_that_roll_gives(statistic: str, length: int) -> None:
    rng = np.random.default_rng(1)
    states = rng.normal(size=(length, 19)).round(1)
    states[:, 3] = 0.5  # a cell that does not vary
    values = (rng.random(length) < 0.3).astype(float) if statistic == "AUC" else rng.normal(size=length)
    near = int(np.ceil(tracking.NEAR * length))
    expected = []
    for shift in range(near, length - near + 1):
        rolled = np.roll(values, shift)
        if statistic == "AUC":
            expected.append(np.abs(tracking.auc(states, rolled) - 0.5).max())
        else:
            expected.append(max(abs(np.corrcoef(s, rolled)[0, 1]) for s in np.delete(states, 3, 1).T))
    np.testing.assert_allclose(np.sort(tracking.shifted(states, values, statistic)), np.sort(expected), atol=1e-12)


def walks(rng: np.random.Generator, places: int, cells: int) -> Any:
    """Cells whose neighbouring places are alike: noise that is averaged over 25 places."""
    noise = rng.normal(size=(places + 24, cells))
    sums = np.cumsum(np.vstack([np.zeros(cells), noise]), axis=0)
    return np.tanh((sums[25:] - sums[:-25]) / 5)


def spells(rng: np.random.Generator, places: int) -> Any:
    """A property of two values that stays for some 20 places."""
    return np.cumsum(rng.random(places) < 0.05) % 2.0


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_planted_cell_is_found(binary: bool, sign: int) -> None:
    rng = np.random.default_rng(2)
    values = spells(rng, 2000) if binary else walks(rng, 2000, 1)[:, 0]
    states = walks(rng, 2000, 40)
    states[:, 17] += sign * 1.5 * values
    found = tracking.track(states, values, "planted")
    assert (found.cell, found.statistic, found.is_outside) == (17, "AUC" if binary else "r", True)
    half = tracking.auc(states[1000:], values[1000:]) if binary else tracking.correlation(states[1000:], values[1000:])
    assert found.value == pytest.approx(half[17])
    assert found.r == pytest.approx(np.corrcoef(states[1000:, 17], values[1000:])[0, 1])
    assert found.strength > found.threshold
    assert found.p < 0.01


def test_chance_stays_chance() -> None:
    """Of 20 random texts at most 3 have a cell beyond chance at a level of 5 %; a plain test finds one in each."""
    outside, plain = 0, 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        states, values = walks(rng, 2000, 30), spells(rng, 2000)
        outside += tracking.track(states, values, "nothing").is_outside
        best = np.abs(tracking.correlation(states, values)).max()
        plain += best > 3 / np.sqrt(2000)  # three standard errors of independent places
    assert outside <= 3
    assert plain == 20


def test_a_property_that_does_not_vary_is_not_tested() -> None:
    states = walks(np.random.default_rng(0), 200, 2)
    for values in (np.zeros(200), np.arange(200) >= 150):
        found = tracking.track(states, values.astype(float), "one value")
        assert (found.cell, found.is_outside, found.p) == (-1, False, 1.0)
        assert "does not vary" in found.why_not
    assert "fewer than" in tracking.track(states[:60], spells(np.random.default_rng(0), 60), "short").why_not


# -- properties


def marked(text: str, values: Any) -> str:
    return "".join(c if v else "." for c, v in zip(text.replace("\n", "/"), values, strict=True))


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("a 'b' \"c\" d", "..'b..\"c..."),
        ("it's 'so', isn't it", ".....'so..........."),
        (r"x = r'\'' + f", r"....." + r"'\'" + "....."),
        ('"""a "b"\n\nc""" d', '"""a "b"//c.....'),
        ("open 'not\nclosed'", "." * 17),
        ('two "lines\nof" one', '....."lines/of.....'[:4] + '"lines/of.....'),
        ('"apart\n\nby a line"', "." * 18),
        ("“typed” so", "“typed...."),
    ],
)
def test_quotes(text: str, inside: str) -> None:
    assert marked(text, properties.quotes(text)) == inside


def test_places_in_lines_and_brackets() -> None:
    text = "a(b[0],\n  ')')\n\n\tc]"
    assert properties.column(text).tolist() == [*range(8), *range(7), 0, 0, 1, 2]
    assert properties.indentation(text).tolist() == [0] * 8 + [1] + [2] * 6 + [0] + [8] * 3
    assert properties.brackets(text).tolist() == [0, 1, 1, 2, 2, 1, 1, 1] + [1] * 5 + [0] * 6


def test_columns_of_a_table(tmp_path: Path, charlm: Any) -> None:
    text = TEXT * 3
    file = tmp_path / "own.csv"
    rows = [f"{int(c == 'e')},{n % 7}" for n, c in enumerate(text)]
    file.write_text("\n".join(["is_e,seventh", *rows]) + "\n")
    found = charlm.cells(onnxlrp.Text(text), [str(file), "column"])
    assert [one.name for one in found.tracked] == ["column", "is_e", "seventh"]
    assert found.tracked[1].statistic == "AUC"
    with pytest.raises(UsageError, match="two properties are called"):
        charlm.cells(onnxlrp.Text(text), [str(file), str(file)])
    with pytest.raises(InputError, match="rows for"):
        charlm.cells(onnxlrp.Text(text + "x"), [str(file)])


# -- results


def test_files(tmp_path: Path, charlm: Any) -> None:
    text = TEXT * 3
    found = charlm.cells(onnxlrp.Text(text), shown=["lstm.cell:7"], start=10, excerpt=300)
    written = found.save(tmp_path / "cells.html", ["html", "json", "npz", "png"])
    assert [path.name for path in written] == ["cells.html", "cells.json", "cells.npz", "cells.png"]
    page = written[0].read_text()
    assert "default-src 'none'" in page
    assert "<script" not in page.lower()
    assert not re.search(r"(src|href)=\"(?!#|data:)", page)
    shown = re.findall(r'<pre tabindex="0" role="region" aria-label="lstm.cell:7">(.*?)</pre>', page, re.DOTALL)
    assert html.unescape(re.sub("<[^>]*>", "", shown[0])).replace("↵\n", "\n") == text[10:310]
    assert page.count("<pre ") == charlm.graph.shapes[found.runs[0].layer.states.tensor][-1] == 128
    record = json.loads(written[1].read_text())
    assert record["places"] == len(text)
    assert {one["property"] for one in record["properties"]} == set(properties.PROPERTIES)
    arrays = np.load(written[2])
    np.testing.assert_array_equal(arrays["lstm.cell"], found.states)
    assert "".join(arrays["symbols"]) == text
    assert found.save(tmp_path / "one.png")[0].read_bytes()[:4] == b"\x89PNG"


def test_a_shade_is_that_of_the_value(charlm: Any) -> None:
    found = charlm.cells(onnxlrp.Text(TEXT), shown=["lstm.cell:3"], start=0)
    from onnxlrp.analysis.cells.page import page

    (shown,) = re.findall(r'aria-label="lstm.cell:3">(.*?)</pre>', page(found), re.DOTALL)
    shades = [
        int(shade)
        for shade, run in re.findall(r'<span class="k(\d+)">(.*?)</span>', shown, re.DOTALL)
        for _ in html.unescape(run).replace("↵\n", "\n")
    ]
    np.testing.assert_array_equal(shades, np.rint((found.values(3) + 1) * 10))


def test_numbers_without_a_text_are_shown_by_their_place() -> None:
    net = Net("GRU", steps=90)
    x = net.feeds(1)["x"][0]
    model = onnxlrp.load(net.proto())
    found = model.cells(x)
    assert found.symbols[:3] == ["0", "1", "2"]
    assert not found.tracked
    assert found.unit(2) == "rnn.hidden:2"
    from onnxlrp.analysis.cells.page import page

    assert "rnn.update" in page(found)
    with pytest.raises(UsageError, match="property of characters"):
        model.cells(x, ["quotes"])


@pytest.mark.parametrize(
    ("text", "how", "message"),
    [
        ("", {}, "empty"),
        ("abc", {"start": 3}, "3 places"),
        ("abc", {"shown": ["lstm.cell:128"]}, "no cell"),
        ("abc", {"properties": ["colour"]}, "no property"),
        ("abc", {"window": 0}, "window"),
        ("abc", {"level": 2.0}, "level"),
    ],
)
def test_what_does_not_fit_is_refused(charlm: Any, text: str, how: dict[str, Any], message: str) -> None:
    with pytest.raises((InputError, UsageError), match=message):
        Cells.find(charlm, onnxlrp.Text(text), **how)


def test_models_without_cells_or_words_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="LSTM, GRU and RNN"):
        onnxlrp.load(MODELS / "questions.onnx").cells(onnxlrp.Text("cup ? the ball is red ."))
    with pytest.raises(UnsupportedError, match="is a text, and the input is"):
        onnxlrp.load(Net("RNN").proto()).cells(onnxlrp.Text("abc"))


def test_characters_that_the_model_lacks_are_said(charlm: Any) -> None:
    found = charlm.cells(onnxlrp.Text("naïve <unk> [x]\n"))
    assert found.symbols == list("naïve <unk> [x]\n")
    assert "'ï'" in found.notes[0][0]
