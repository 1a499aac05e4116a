"""What the page is answered: the numbers of `Model.explain`, for every kind of input."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import shlex
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

import onnxlrp
from onnxlrp.cli import main
from onnxlrp.view.session import Session
from support.attention_models import Transformer
from support.input_models import dense
from support.paths import MODELS
from support.viewed import Served, served, session

SHAPES, DIGITS, HANS = (MODELS / f"{name}.onnx" for name in ("shapes", "digits", "clever_hans"))
STAR, SEVEN = (MODELS / "samples" / f"{name}.png" for name in ("scene_star", "digit_7"))


@pytest.fixture(scope="module")
def page() -> Iterator[Served]:
    with served(session([DIGITS], [SEVEN, MODELS / "samples" / "digit_4.png"])) as found:
        yield found


@pytest.fixture(scope="module")
def digits() -> Any:
    return onnxlrp.load(DIGITS)


def explained(page: Served, **asked: Any) -> Any:
    status, data = page.post("explain", {"sample": "0", **asked})
    assert status == 200, data
    return data


def numbers(heat: Any) -> np.ndarray:
    return np.frombuffer(base64.b64decode(heat["data"]), "<f4").reshape(heat["size"])


@pytest.mark.parametrize(
    ("asked", "keywords"),
    [
        ({}, {}),
        ({"target": "1"}, {"target": 1}),
        ({"target": "9"}, {"target": "9"}),
        ({"method": "epsilon_gamma_box", "options": {"gamma": "0.5"}}, {"method": "epsilon_gamma_box", "gamma": 0.5}),
        ({"method": "gradient_x_input", "target": "2"}, {"method": "gradient_x_input", "target": 2}),
        ({"method": "gradient"}, {"method": "gradient"}),
        (
            {"rules": [["Conv", "gamma(0.25)"], ["dense2", "zplus"]]},
            {"rules": [("Conv", "gamma(0.25)"), ("dense2", "zplus")]},
        ),
    ],
)  # fmt: skip
def test_a_picture(page: Served, digits: Any, asked: Any, keywords: Any) -> None:
    data = explained(page, **asked)
    found, one = data["results"][0], digits.explain(SEVEN, **{"ledger": False, **keywords})
    np.testing.assert_allclose(numbers(found["heat"]), one.relevance[0].sum(axis=0), rtol=1e-4, atol=1e-6)
    assert found["target"]["id"] == one.target[0]
    assert found["logit"] == pytest.approx(float(one.logit[0]))
    assert found["sum"] == pytest.approx(float(one.total[0]), rel=1e-5)
    assert [(row["id"], row["label"]) for row in found["top"][:3]] == [row[:2] for row in one.top(3)[0]]
    assert [row["value"] for row in found["top"][:3]] == pytest.approx([row[2] for row in one.top(3)[0]])
    assert found["method"] == one.method
    seen = Image.open(io.BytesIO(base64.b64decode(found["picture"].partition(",")[2])))
    np.testing.assert_array_equal(np.asarray(seen), np.asarray(one.images[0]))


def test_the_ledger(page: Served, digits: Any) -> None:
    found = explained(page)["results"][0]
    rows = digits.explain(SEVEN, ledger=True).ledger
    assert [row["layer"] for row in found["ledger"]] == [row.layer for row in rows]
    for column in ("arrived", "passed", "bias", "epsilon", "gate"):
        np.testing.assert_allclose([row[column] for row in found["ledger"]], [getattr(row, column)[0] for row in rows])
    gone = sum(found["absorbed"].values())
    assert found["sum"] + gone == pytest.approx(found["logit"], rel=1e-4)
    assert explained(page, method="gradient")["results"][0]["ledger"] is None
    assert not explained(page, method="gradient")["results"][0]["conserving"]


def test_layers_and_their_rules(page: Served, digits: Any) -> None:
    data = page.post("layers", {"rules": [["conv1", "zplus"]]})[1]["models"][0]
    assert data["method"] == "epsilon_plus_flat"
    rows = {row["label"]: row for row in data["layers"]}
    assert len(rows) == len(digits.layers(digits.composite()))
    assert rows["conv1"]["rule"] == "zplus"
    assert rows["conv2"]["rule"] == "zplus"
    assert rows["dense2"] == {"label": "dense2", "match": "dense2", "record": "dense2", "op": "Gemm", "kind": "dense",
                              "shape": [10], "rule": "epsilon"}  # fmt: skip
    assert page.post("layers", {"method": "rise"})[1]["models"][0]["layers"][0]["rule"] is None


@pytest.mark.parametrize("layer", ["conv2", "dense1", "pool1"])
def test_inside_of_a_layer(page: Served, digits: Any, layer: str) -> None:
    status, found = page.post("inner", {"sample": "0", "layer": layer, "target": "4"})
    assert status == 200, found
    values = digits.explain(SEVEN, "4", record=[layer]).layers[layer][0]
    assert found["sum"] == pytest.approx(float(values.sum()), rel=1e-5)
    sums = values.reshape(len(values), -1).sum(axis=1)
    order = np.argsort(-np.abs(sums), kind="stable")[:12]
    assert [one["channel"] for one in found["strongest"]] == order.tolist()
    if values.ndim == 1:
        assert found["heat"] is None
        return
    np.testing.assert_allclose(numbers(found["heat"]), values.sum(axis=0), atol=1e-6)
    np.testing.assert_allclose(numbers(found["strongest"][0]["heat"]), values[order[0]], atol=1e-7)


@pytest.mark.slow
def test_tokens_of_patches_are_drawn_in_their_places(tmp_path: Path) -> None:
    onnx.save(Transformer().proto(), tmp_path / "vit.onnx")
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(3, 8, 12)).astype(np.float32))
    with served(session([tmp_path / "vit.onnx"], [tmp_path / "x.npy"])) as page:
        layers = page.post("layers", {})[1]["models"][0]["layers"]
        named = [one["record"] for one in layers if len(one["shape"]) == 2 and one["record"]][::6]
        found = [page.post("inner", {"sample": "0", "layer": name})[1] for name in named]
    over = [one for one in found if one.get("over") and one["heat"]]
    assert over  # tokens, not maps
    for one in over:
        maps = numbers(one["heat"])
        assert maps.shape[1] / maps.shape[0] == 12 / 8
        assert maps.sum() + one["elsewhere"] == pytest.approx(one["sum"], rel=1e-4, abs=1e-6)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"target": "seven"}, "known: "),
        ({"target": "77"}, "0 to 9"),
        ({"method": "nothing"}, "known"),
        ({"options": {"gamma": "1"}}, "leave it empty"),
        ({"method": "gamma", "options": {"gamma": "much"}}, "0.25"),
        ({"rules": [["Conv", "gama(1)"]]}, "gamma"),
        ({"rules": [["[", "zplus"]]}, "a pattern"),
        ({"sample": "9"}, "choose another"),
        ({"sample": "x"}, "choose another"),
        ({"row": 3}, "0 to 0"),
    ],
)
def test_what_does_not_exist_is_an_error_with_its_fix(page: Served, asked: Any, said: str) -> None:
    for name in ("explain", "inner"):
        status, found = page.post(name, {"sample": "0", "layer": "dense2", **asked})
        assert status == 400
        assert said in found["error"]["fix"], found


def test_inside_where_there_is_nothing(page: Served) -> None:
    status, found = page.post("inner", {"sample": "0", "layer": "dense2", "method": "rise"})
    assert (status, "with rules" in found["error"]["fix"]) == (400, True)
    status, found = page.post("inner", {"sample": "0", "layer": "dense22"})
    assert (status, 'did you mean "dense2"' in found["error"]["fix"]) == (400, True)
    assert page.post("inner", {"sample": "0", "layer": "dense2", "model": 7})[0] == 400


def test_a_picture_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "cut.png").write_bytes(STAR.read_bytes()[:300])
    with served(session([SHAPES], [tmp_path / "cut.png"])) as page:
        status, found = page.post("explain", {"sample": "0"})
        assert status == 400
        assert "cut.png" in found["error"]["message"]
        assert page.get("api/thumbnail?id=0")[0] == 404
        (tmp_path / "cut.png").write_bytes(STAR.read_bytes())  # written anew: what is shown is what is there
        assert page.post("explain", {"sample": "0"})[0] == 200
        assert page.get("api/thumbnail?id=0")[0] == 200


# -- other inputs


def test_a_table(tmp_path: Path) -> None:
    onnx.save(dense((4,)), tmp_path / "m.onnx")
    (tmp_path / "t.csv").write_text("a,b,c,d\n1,2,3,4\n4,3,2,1\n0,1,0,1\n")
    with served(session([tmp_path / "m.onnx"], [tmp_path / "t.csv"])) as page:
        for row in range(3):
            data = explained(page, row=row)
            one = onnxlrp.load(tmp_path / "m.onnx").explain(tmp_path / "t.csv")
            assert data["rows"] == 3
            found = {bar["name"]: bar["relevance"] for bar in data["results"][0]["bars"]}
            assert list(found.values()) == pytest.approx(sorted(one.relevance[row], key=lambda r: -abs(r)), rel=1e-5)
            assert set(found) == {"a", "b", "c", "d"}
        key = page.drop("more.csv", b"a,b,c,d\n1,2,3,4\n")[1]["id"]
        again = explained(page, sample=key)["results"][0]["bars"]
        assert again == explained(page, row=0)["results"][0]["bars"]


def test_a_text() -> None:
    words = "cup ? the ball is red . now the cup is blue ."
    with served(session([MODELS / "questions.onnx"])) as page:
        about = json.loads(page.get("api/about")[2])
        assert about["models"][0]["texts"]
        key = page.post("text", {"text": words})[1]["id"]
        data = explained(page, sample=key)
        one = onnxlrp.load(MODELS / "questions.onnx").explain(onnxlrp.Text(words))
        found = data["results"][0]["words"]
        assert [token["text"] for token in found][:3] == ["cup", "?", "the"]
        assert [token["relevance"] for token in found] == pytest.approx(one.relevance[0].tolist(), rel=1e-4, abs=1e-6)
        status, refused = page.post("text", {"text": "  "})
        assert (status, refused["error"]["fix"]) == (400, "type some words")


@pytest.mark.parametrize("name", ["detector", "segmenter"])
def test_boxes_and_maps(name: str) -> None:
    with served(session([MODELS / f"{name}.onnx"], [STAR])) as page:
        data = explained(page)["results"][0]
        one = onnxlrp.load(MODELS / f"{name}.onnx").explain(STAR)
        np.testing.assert_allclose(numbers(data["heat"]), one.relevance[0].sum(axis=0), rtol=1e-3, atol=1e-5)
        assert page.post("layers", {})[0] == 200
        if name == "detector":
            assert data["boxes"][0]["chosen"]
            second = explained(page, target=data["boxes"][1]["target"])["results"][0]
            assert second["boxes"][1]["chosen"]
        else:
            assert data["quantity"] == "share"


# -- two models


@pytest.mark.slow
def test_two_models_are_explained_for_the_class_of_the_first() -> None:
    marked = MODELS / "samples" / "marked_star.png"
    with served(session([SHAPES, HANS], [marked])) as page:
        data = explained(page)
        own = data["results"][0]["target"]["id"]
        maps = []
        for n, path in enumerate((SHAPES, HANS)):
            one = onnxlrp.load(path).explain(marked, own)
            maps.append(one.relevance[0].sum(axis=0, dtype=np.float64))
            assert data["results"][n]["target"]["id"] == own
            np.testing.assert_allclose(numbers(data["results"][n]["heat"]), maps[n], rtol=1e-3, atol=1e-5)
        a, b = (one.ravel() / np.linalg.norm(one) for one in maps)
        assert data["alike"]["cosine"] == pytest.approx(float(a @ b), abs=1e-5)
        found = page.post("inner", {"sample": "0", "layer": "head", "model": 1})[1]
        assert found["layer"] == "head"


def test_what_the_command_states_is_what_the_page_begins_with() -> None:
    rules = [("Conv", onnxlrp.rule("gamma(0.123456789)")), ("dense2", onnxlrp.rule("zplus"))]
    options = onnxlrp.ExplainOptions(target="4", method="epsilon", options={"epsilon": 1e-7}, rules=rules)
    with served(session([DIGITS], [SEVEN], options)) as page:
        begun = json.loads(page.get("api/about")[2])["started"]
        assert begun["options"] == {"epsilon": "1e-07"}
        data = explained(page, **{key: begun[key] for key in ("target", "method", "options", "rules")})
        wanted = onnxlrp.load(DIGITS).explain(SEVEN, options).relevance[0].sum(axis=0)
        np.testing.assert_allclose(numbers(data["results"][0]["heat"]), wanted, rtol=1e-6, atol=1e-9)


def test_an_error_of_the_second_model_stands_in_its_place(tmp_path: Path) -> None:
    onnx.save(dense((4,)), tmp_path / "m.onnx")
    with served(session([SHAPES, tmp_path / "m.onnx"], [STAR])) as page:
        data = explained(page)
        assert data["results"][0]["heat"]
        assert data["results"][1]["error"]["fix"]
        assert data["alike"] is None
        found = page.post("layers", {"target": "star"})[1]["models"]
        assert found[0]["layers"]
        assert page.post("layers", {"rules": [["[", "zplus"]]})[0] == 400


# -- code


@pytest.mark.few(2)
@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"target": "9"},
        {"target": "1", "method": "epsilon_gamma_box", "options": {"low": "-2", "high": "3", "gamma": "0.5"}},
        {"method": "smooth_grad", "options": {"samples": "3", "times_input": "true"}},
        {"rules": [["Conv", "gamma(gamma=0.5)"], ["dense2", "zplus"]], "method": "zplus"},
    ],
)
def test_the_code_makes_what_is_shown(
    page: Served, asked: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = explained(page, **asked)
    wanted = numbers(data["results"][0]["heat"])
    monkeypatch.chdir(tmp_path)
    command, *words = shlex.split(data["code"]["shell"])
    assert command == "onnxlrp"
    assert main([*words, "-o", "made.npz", "-q"]) == 0
    made = np.load("made.npz")["relevance"][0].sum(axis=0)
    np.testing.assert_allclose(made, wanted, rtol=1e-4, atol=1e-6)
    names: dict[str, Any] = {}
    exec(data["code"]["python"], names)
    np.testing.assert_allclose(names["e"].relevance[0].sum(axis=0), wanted, rtol=1e-4, atol=1e-6)
    assert Path("heatmap.png").exists()


def test_the_code_of_a_layer(page: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = page.post("inner", {"sample": "0", "layer": "relu2"})[1]
    names: dict[str, Any] = {}
    exec(data["code"]["python"], names)
    assert float(names["e"].layers["relu2"].sum()) == pytest.approx(data["sum"], rel=1e-5)


@pytest.mark.slow
def test_the_code_of_a_text_and_of_two_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with served(session([MODELS / "questions.onnx"])) as page:
        key = page.post("text", {"text": "cup ? it's red ."})[1]["id"]
        found = page.post("explain", {"sample": key, "target": "red"})[1]
        if "error" not in found:
            assert "printf '%s\\n' 'cup ? it'\"'\"'s red .' > text.txt && onnxlrp" in found["code"]["shell"]
    with served(session([SHAPES, HANS], [STAR])) as page:
        code = explained(page)["code"]
        assert code["shell"].startswith(f"onnxlrp compare {SHAPES} {HANS} {STAR} ")
        exec(code["python"], {})


# -- the queue


def test_a_later_request_takes_the_place_of_one_that_runs() -> None:
    made = session([DIGITS], [SEVEN])
    begun = threading.Event()
    told = made._go_on

    def noted(*words: Any) -> None:
        if words[1:] and words[1] > 0:
            begun.set()
        told(*words)

    vars(made)["_go_on"] = noted
    with served(made) as page:
        answers: list[Any] = []

        def slow() -> None:
            asked = {"sample": "0", "method": "rise", "options": {"samples": "200000"}, "lane": "a", "turn": 1}
            answers.append(page.post("explain", asked))

        thread = threading.Thread(target=slow)
        thread.start()
        assert begun.wait(30)
        assert json.loads(page.get("api/progress?lane=a")[2])["of"] > 0
        assert page.post("explain", {"sample": "0", "lane": "a", "turn": 2})[0] == 200
        thread.join(30)
        assert answers[0][0] == 409
        assert page.post("explain", {"sample": "0", "lane": "a", "turn": 1})[0] == 409  # late
        assert json.loads(page.get("api/progress?lane=nobody")[2]) == {"done": 0, "of": 0}


def test_what_runs_can_be_stopped() -> None:
    made = session([DIGITS], [SEVEN])
    with served(made) as page:
        answers: list[Any] = []

        def slow() -> None:
            asked = {"sample": "0", "method": "rise", "options": {"samples": "200000"}, "lane": "a", "turn": 1}
            answers.append(page.post("explain", asked))

        thread = threading.Thread(target=slow)
        thread.start()
        while not json.loads(page.get("api/progress?lane=a")[2])["of"]:
            pass
        assert page.post("stop", {"lane": "a", "turn": 2})[0] == 200
        thread.join(30)
        assert answers[0][0] == 409


def test_lanes_are_bounded() -> None:
    made: Session = session([DIGITS], [SEVEN])
    from onnxlrp.view.asked import Asked
    from onnxlrp.view.session import _LANES

    for n in range(2 * _LANES):
        with contextlib.suppress(Exception):
            made._register(Asked(lane=str(n)))
    assert len(made._lanes) == _LANES


@pytest.mark.slow
def test_rows_of_the_ledger_stand_in_the_order_of_the_layers(tmp_path: Path) -> None:
    """Layers of one path and operator, as those of attention, are told apart by it; their names are unique."""
    onnx.save(Transformer().proto(), tmp_path / "vit.onnx")
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(3, 8, 12)).astype(np.float32))
    with served(session([tmp_path / "vit.onnx"], [tmp_path / "x.npy"])) as page:
        layers = page.post("layers", {})[1]["models"][0]["layers"]
        ledger = explained(page)["results"][0]["ledger"]
    left = iter([(one["label"], one["op"]) for one in reversed(layers)])
    assert all((row["layer"], row["op"]) in left for row in ledger)  # in this order, some left out
    assert len({one["match"] for one in layers}) == len(layers)


def test_a_dropped_text_is_read_as_the_model_reads_texts() -> None:
    with served(session([MODELS / "charlm.onnx"])) as found:
        key = found.drop("code.txt", b"def f(x):\n    return x\n")[1]["id"]
        status, data = found.post("explain", {"sample": key})
    assert status == 200, data
    assert data["rows"] == 1
    assert {word["id"] for word in data["results"][0]["words"]} > {70}
