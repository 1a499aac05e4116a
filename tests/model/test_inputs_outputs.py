"""Models of several inputs and outputs: what is explained, what the others are given, and where relevance goes."""

from __future__ import annotations

import dataclasses
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import onnxlrp
from onnxlrp.cli import main
from onnxlrp.engines import ENGINES
from onnxlrp.errors import InputError, UsageError
from onnxlrp.explanation import ledger
from onnxlrp.model.interface.io_selection import choose
from support.small_nets import Net

Array = np.ndarray[Any, Any]
RNG = np.random.default_rng(5)
IMAGE = RNG.normal(size=(3, 3, 6, 6)).astype(np.float32)
META = RNG.normal(size=(3, 5)).astype(np.float32)
FLAG = np.array([[1, 0, 1, 1]] * 2 + [[0, 1, 1, 0]], np.int64)


def several(bias: bool = True, batch: int | str = "N") -> onnx.ModelProto:
    """Inputs meta [5], flag [4] (integers that pick channels) and image [3, 6, 6]; outputs seg, a map of the image
    alone; prob, 6 classes of image and meta; aux, 3 classes of the image alone; gated, 2 classes of image and flag."""
    n = Net()
    a = n.relu(n.conv("image", 3, 4, bias=bias))
    g = n.op("Flatten", n.op("GlobalAveragePool", a))
    both = n.op("Add", g, n.relu(n.dense("meta", 5, 4, bias)))
    kept = n.op("Mul", g, n.op("Cast", "flag", to=TensorProto.FLOAT))
    ends = {
        "seg": n.conv(a, 4, 2, kernel=(1, 1)),
        "prob": n.op("Softmax", n.dense(both, 4, 6, bias), axis=1),
        "aux": n.dense(g, 4, 3, bias),
        "gated": n.dense(kept, 4, 2, bias),
    }
    ends = {name: n.op("Identity", tensor) for name, tensor in ends.items()}
    for node in n.nodes:
        for name, tensor in ends.items():
            if node.output[0] == tensor:
                node.output[0] = name
    value = helper.make_tensor_value_info
    inputs = [
        value("meta", TensorProto.FLOAT, [batch, 5]),
        value("flag", TensorProto.INT64, [batch, 4]),
        value("image", TensorProto.FLOAT, [batch, 3, 6, 6]),
    ]
    outputs = [value(name, TensorProto.FLOAT, None) for name in ends]
    graph = helper.make_graph(n.nodes, "several", inputs, outputs, n.weights)
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 20)])


@pytest.fixture(scope="module")
def model() -> onnxlrp.Model:
    return onnxlrp.load(several())


def near(actual: Any, wanted: Any, tolerance: float = 1e-5) -> None:
    wanted = np.asarray(wanted)
    np.testing.assert_allclose(np.asarray(actual), wanted, atol=tolerance * np.abs(wanted).max(), rtol=0)


# -- what is chosen


def test_what_is_explained_unless_it_is_named(model: onnxlrp.Model) -> None:
    """The first output with a score for each of several classes, the input like a picture; and it is said."""
    assert model.choice is not None
    assert (model.choice.output, model.choice.input, model.classes) == ("prob", "image", 6)
    said = " ".join(" ".join(note) for note in model.notes)
    for word in ("prob", "seg", "aux", "--output", "image", "meta", "--input"):
        assert word in said
    assert model.choose(output="aux").notes == ()  # only the image leads there
    e = model.explain(IMAGE, given={"meta": META})
    assert (e.provenance["output"], e.provenance["input"]) == ("prob", "image")
    assert e.provenance["given"] == {"meta": [3, 5]}


def test_names_choose(model: onnxlrp.Model) -> None:
    aux = model.explain(IMAGE, output="aux")
    assert aux.output.shape == (3, 3)
    assert aux.provenance["output"] == "aux"
    assert model.choose(output="aux").classes == 3
    meta = model.explain(META, input="meta", given={"image": IMAGE})
    assert meta.relevance.shape == META.shape
    assert meta.output.shape == (3, 6)
    chosen = model.choose(output="gated").choose(given={"flag": FLAG})
    near(chosen.explain(IMAGE), model.explain(IMAGE, output="gated", given={"flag": FLAG}).relevance)


@pytest.mark.parametrize(
    ("names", "error", "what", "fix"),
    [
        ({"output": "prop"}, UsageError, "prop", '"prob"'),
        ({"output": "map.png"}, UsageError, "map.png", "-o"),
        ({"input": "img"}, UsageError, "img", "image"),
        ({"output": "aux", "input": "meta"}, UsageError, "does not depend", "--input image"),
        ({"input": "flag"}, UsageError, "does not depend", "--input"),
        ({"given": {"mta": 0}}, UsageError, "mta", '"meta"'),
        ({"given": {"image": 0}}, UsageError, "image", "sample"),
        ({}, UsageError, "meta float32 [N, 5]", "--given meta=meta.npy"),
        ({"output": "gated"}, UsageError, "flag int64 [N, 4]", "--given flag=flag.npy"),
        ({"given": {"meta": META[:2]}}, InputError, "2 samples beside 3", "one for each"),
        ({"given": {"meta": META[:, :4]}}, InputError, "(3, 4)", "layout"),
        ({"given": {"meta": "nothing.npy"}}, InputError, "nothing.npy", "path"),
        ({"output": "gated", "given": {"flag": 0.5}}, InputError, "int64", "int64"),
    ],
)
def test_requests_refused(model: onnxlrp.Model, names: Any, error: Any, what: str, fix: str) -> None:
    with pytest.raises(error) as caught:
        model.explain(IMAGE, **names)
    assert what in caught.value.message
    assert fix in caught.value.fix


def test_prepare_refuses_what_explain_would(model: onnxlrp.Model) -> None:
    with pytest.raises(UsageError, match="meta"):
        model.prepare()
    model.prepare(given={"meta": 0.0})
    with pytest.raises(UsageError, match="place"):
        model.prepare(target="top1@0,0", given={"meta": 0.0})


def test_a_model_of_one_input_and_output_is_left_as_it_is() -> None:
    n = Net(2, 4, 4)
    model = onnxlrp.load(n.model(n.dense(n.op("Flatten", n.conv("x", 2, 2)), 32, 3)))
    assert model.graph is model.whole
    assert model.notes == ()
    assert choose(model.graph).graph is model.graph
    with pytest.raises(UsageError, match="no other input"):
        model.explain(np.zeros((2, 4, 4)), given={"y": 0})


def test_labels_are_those_of_the_chosen_output() -> None:
    names = {"labels": ["a", "b", "c"]}
    model = onnxlrp.load(several(), prep=names)
    assert model.choose(output="aux").labels == ("a", "b", "c")
    with pytest.raises(UsageError, match="6 outputs"):
        model.labels  # noqa: B018
    assert list(model.explain(IMAGE, "b", output="aux").target) == [1, 1, 1]


# -- what the others are given


@pytest.mark.parametrize("engine", ENGINES)
def test_engines_agree(engine: str) -> None:
    exact = onnxlrp.load(several(), engine="reference")
    try:
        model = onnxlrp.load(several(), engine=engine)
    except UsageError as error:
        pytest.skip(error.message)
    for method in ("epsilon_plus_flat", "gradient"):
        for ask in ({"given": {"meta": META}}, {"output": "gated", "given": {"flag": FLAG}}):
            e = model.explain(IMAGE, 1, method, **ask)  # type: ignore[arg-type]
            near(e, exact.explain(IMAGE, 1, method, **ask).relevance, 1e-4)  # type: ignore[arg-type]


def test_the_gradient_is_that_of_a_model_with_the_value_inside(model: onnxlrp.Model) -> None:
    """A given input is a constant: the same model with the value as an initialiser has the same gradient."""
    inside = several()
    inside.graph.initializer.append(onnx.numpy_helper.from_array(META[:1], "meta"))
    del inside.graph.input[0]
    bare = onnxlrp.load(inside)
    for target in (0, 5):
        wanted = bare.explain(IMAGE, target, "gradient", output="prob")
        e = model.explain(IMAGE, target, "gradient", given={"meta": META[0]})
        near(e, wanted.relevance)
        near(e.output, wanted.output)


def test_one_sample_serves_all_and_a_batch_goes_row_by_row(model: onnxlrp.Model, tmp_path: Path) -> None:
    np.save(tmp_path / "meta.npy", META)
    each = [model.explain(IMAGE[i], 2, given={"meta": META[i]}) for i in range(3)]
    for given in (META, tmp_path / "meta.npy", str(tmp_path / "meta.npy")):
        for size in (None, 2, 1):
            whole = model.explain(IMAGE, 2, given={"meta": given}, batch_size=size)
            for i, one in enumerate(each):
                near(whole.relevance[i : i + 1], one.relevance)
    near(model.explain(IMAGE, 2, given={"meta": 0.5}), model.explain(IMAGE, 2, given={"meta": np.full(5, 0.5)}))
    near(model.explain(IMAGE, 2, given={"meta": META[:1]}).relevance[1], model.explain(IMAGE[1], 2, given={
        "meta": META[0]}).relevance[0])  # fmt: skip


def test_a_model_of_one_batch_size(model: onnxlrp.Model) -> None:
    fixed = model.choose(given={"meta": META})
    fixed.graph = dataclasses.replace(fixed.graph, batch=2)
    near(fixed.explain(IMAGE, 3), model.explain(IMAGE, 3, given={"meta": META}).relevance)


# Of many passes, of few, and with a seed: each draws the same for a sample alone and among others.
MANY: dict[str, dict[str, Any]] = {"occlusion": {}, "rise": {"samples": 12},
        "integrated_gradients": {"steps": 3}, "smooth_grad": {"samples": 3},
        "kernel_shap": {"samples": 16}, "contrastive": {}, "grad_cam": {},
        "meaningful_perturbation": {"steps": 2, "score": "probability"}}  # fmt: skip


@pytest.mark.few(8)
@pytest.mark.parametrize("method", MANY)
@pytest.mark.parametrize("size", [2, 3, None])
def test_rows_stay_with_their_samples_in_methods_of_many_passes(
    model: onnxlrp.Model, method: str, size: int | None
) -> None:
    each = [model.explain(IMAGE[i], 2, method, given={"meta": META[i]}, **MANY[method]) for i in range(3)]
    whole = model.explain(IMAGE, 2, method, given={"meta": META}, batch_size=size, **MANY[method])
    near(whole.relevance, np.concatenate([one.relevance for one in each]))


def test_methods_see_the_given_values(model: onnxlrp.Model) -> None:
    found = model.choose(given={"meta": META}).outputs(IMAGE)
    near(found["scores"], model.explain(IMAGE, given={"meta": META}).output)


# -- where relevance goes


def test_what_goes_to_other_inputs_closes_the_sum(model: onnxlrp.Model) -> None:
    for options in ({}, {"target": "top3"}, {"method": "epsilon"}, {"method": "zplus"}):
        e = model.explain(IMAGE, given={"meta": META}, ledger=True, **options)  # type: ignore[arg-type]
        assert e.ledger is not None
        assert all(row.error < 1e-4 for row in e.ledger)  # type: ignore[attr-defined]
        sums = ledger.sums(e.ledger)  # type: ignore[arg-type]
        near(e.total + sum(sums.values()), e.logit, 1e-4)
        assert np.abs(sums["others"]).max() > 0.01
        assert "others" in e[0].ledger[1].to_dict()  # type: ignore[index]
    alone = model.explain(IMAGE, output="aux", ledger=True)
    assert "others" not in ledger.sums(alone.ledger)  # type: ignore[arg-type]


def test_inputs_share_the_logit_between_them() -> None:
    """Without biases epsilon conserves: what one explained input lacks is what the other has."""
    model = onnxlrp.load(several(bias=False), engine="reference")
    image = model.explain(IMAGE, 1, "epsilon", given={"meta": META}, ledger=True, epsilon=1e-12)
    meta = model.explain(META, 1, "epsilon", input="meta", given={"image": IMAGE}, ledger=True, epsilon=1e-12)
    # Norm in the sum and the pooling has a stabiliser of its own.
    near(image.total + meta.total, image.logit, 1e-3)
    near(ledger.sums(image.ledger)["others"], meta.total, 1e-3)  # type: ignore[arg-type]
    near(ledger.sums(meta.ledger)["others"], image.total, 1e-3)  # type: ignore[arg-type]


# -- export


@pytest.mark.parametrize("ask", [{}, {"output": "aux"}, {"input": "meta"}, {"output": "gated"}])
def test_the_exported_file_takes_the_other_inputs(model: onnxlrp.Model, ask: dict[str, Any], tmp_path: Path) -> None:
    import onnxruntime

    feeds = {"meta": META, "flag": FLAG, "image": IMAGE}
    session = onnxruntime.InferenceSession(
        str(model.export(tmp_path / "e.onnx", target="top1", **ask)),  # type: ignore[arg-type]
        providers=["CPUExecutionProvider"],
    )
    chosen = model.choose(**ask)
    names = [i.name for i in session.get_inputs()]
    assert names == [t.name for t in chosen.graph.inputs]
    scores, relevance = session.run(None, {name: feeds[name] for name in names})
    e = model.explain(feeds[names[0]], **ask, given={name: feeds[name] for name in names[1:]})  # type: ignore[arg-type]
    near(relevance, e.relevance)
    near(scores, e.output)
    made = {p.key: p.value for p in onnx.load(tmp_path / "e.onnx").metadata_props}
    assert json.loads(made["onnxlrp.explainer"])["input"] == names[0]


# -- the command line


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """`run(code, *words)` explains the model in a folder that holds it and arrays; stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    onnx.save(several(), "several.onnx")
    for name, array in {"x": IMAGE, "one": IMAGE[0], "m": META, "m1": META[0], "f": FLAG}.items():
        np.save(f"{name}.npy", array)

    def call(code: int, command: str, *words: object) -> tuple[str, str]:
        capsys.readouterr()
        assert main([command, "several.onnx", *map(str, words)]) == code
        said = capsys.readouterr()
        return said.out, said.err

    return call


def test_the_command_says_what_it_chose_and_asks_for_the_rest(run: Any) -> None:
    _, err = run(2, "explain", "x.npy")
    assert "meta float32 [N, 5]" in err
    assert "--given meta=meta.npy" in err
    out, err = run(0, "explain", "one.npy", "--given", "meta=m1.npy")
    assert "output prob is explained, of 4" in err
    assert "input image is explained, of 2" in err
    assert "% to other inputs" in out
    _, err = run(0, "explain", "one.npy", "--output", "aux")
    assert "is explained" not in err
    out, _ = run(0, "explain", "m1.npy", "--input", "meta", "--given", "image=one.npy", "--json")
    row = json.loads(out)
    assert row["relevance_shape"] == [5]
    (target,) = row["targets"]
    assert target["relevance_sum"] + sum(target["absorbed"].values()) == pytest.approx(target["logit"], rel=1e-4)


@pytest.mark.slow
def test_rows_of_a_given_file_stay_with_their_samples(run: Any) -> None:
    for i in range(3):
        np.save(f"x{i}.npy", IMAGE[i])
        np.save(f"m{i}.npy", META[i])
        run(0, "explain", f"x{i}.npy", "--given", f"meta=m{i}.npy", "-o", f"alone{i}.npz", "-t", 2)
    for sources in (["x.npy"], ["x0.npy", "x1.npy", "x2.npy"]):
        for size in (1, 2, 8):
            run(0, "explain", *sources, "--given", "meta=m.npy", "-o", "{index}.npz", "-t", 2, "--batch-size", size)
            for i in range(3):
                near(np.load(f"{i}.npz")["relevance"], np.load(f"alone{i}.npz")["relevance"])
    _, err = run(2, "explain", "x0.npy", "x1.npy", "--given", "meta=m.npy")
    assert "3 samples beside 2" in err
    Path("bad.npy").write_bytes(b"no array")
    run(3, "explain", "x0.npy", "bad.npy", "x2.npy", "--given", "meta=m.npy", "-o", "{stem}.npz", "-t", 2,
        "--on-error", "skip")  # fmt: skip
    near(np.load("x2.npz")["relevance"], np.load("alone2.npz")["relevance"])


@pytest.mark.slow
def test_compare_and_evaluate_take_the_rows_of_a_given_file(run: Any) -> None:
    """A model differs from itself where one of the two is given other values; in batches as in one piece."""
    asked = ["several.onnx", "x.npy", "--metric", "cosine", "--json"]
    out, _ = run(0, "compare", *asked, "--given", "meta=m.npy", "--batch-size", 2, "--save", "same.json")
    assert {f["subject"] for f in json.loads(out)["findings"] if f["check"] == "divergence"} == {""}
    same = json.loads(Path("same.json").read_text())
    assert same["a"]["given"] == {"meta": [3, 5]}
    assert [row["logits"] for row in same["samples"]] == [0, 0, 0]
    for i in range(3):
        np.save(f"x{i}.npy", IMAGE[i])
    rows = "x0.npy", "x1.npy", "x2.npy"
    run(0, "compare", "several.onnx", *rows, "--given", "meta=m.npy", "--batch-size", 1, "--save", "each.json")
    each = json.loads(Path("each.json").read_text())["samples"]
    assert [row["top1"] for row in each] == [row["top1"] for row in same["samples"]]
    _, err = run(2, "compare", "several.onnx", *rows[:2], "--given", "meta=m.npy")
    assert "3 samples beside 2" in err

    judged = ["--methods", "epsilon,rise", "--samples", "8", "-t", "2"]
    judged += ["--metric", "deletion,max_sensitivity,shattering,conservation", "--set", "max_sensitivity.samples=1"]
    judged += ["--set", "deletion.steps=4", "--set", "shattering.points=8"]
    run(0, "evaluate", "x.npy", "--given", "meta=m.npy", *judged, "-o", "results.json")
    whole = json.loads(Path("results.json").read_text())
    run(0, "evaluate", "x0.npy", "--given", "meta=m1.npy", *judged, "-o", "first.json")
    for cell, alone in zip(whole["cells"], json.loads(Path("first.json").read_text())["cells"], strict=True):
        assert (cell["metric"], cell["method"]) == (alone["metric"], alone["method"])
        assert cell["values"][:1] == pytest.approx(alone["values"], rel=1e-4, abs=1e-6)
    _, err = run(2, "evaluate", "x.npy", "--given", "meta=0", *judged, "-o", "results.json")
    assert "other samples" in err


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--given", "meta"], "NAME=VALUE"),
        (["--given", "meta=zero"], "no number"),
        (["--given", "meta=1", "--given", "meta=2"], "twice"),
        (["--given", "mta=1"], "mta"),
        (["--output", "maps/x.png"], "-o"),
        (["--input", "images"], "images"),
    ],
)
def test_flags_refused(run: Any, words: list[str], what: str) -> None:
    out, err = run(2, "explain", "x.npy", *words)
    assert not out
    assert what in err
    assert len(err.strip().splitlines()) == 2


def test_inspect_and_export_take_the_names(run: Any) -> None:
    out, _ = run(0, "inspect")
    assert "image  float32 [N, 3, 6, 6]  [explained]" in out
    assert "prob  float32 [N, 6]  [explained]" in out
    assert "aux  float32 [N, 3]\n" in out
    report = json.loads(run(0, "inspect", "--output", "aux", "--json")[0])
    assert report["explained"] == {"output": "aux", "input": "image"}
    assert [t["name"] for t in report["outputs"]] == ["seg", "prob", "aux", "gated"]
    out, _ = run(0, "export", "-o", "e.onnx", "--output", "aux")
    assert "output  aux" in out
    assert "meta" not in out


def test_a_pickled_model_keeps_output_input_and_given_values() -> None:
    given = {"image": IMAGE[:1], "flag": 1}
    model = onnxlrp.load(several().SerializeToString()).choose(output="prob", input="meta", given=given)
    again = pickle.loads(pickle.dumps(model))
    assert (again.graph.outputs, again.graph.inputs[0]) == (model.graph.outputs, model.graph.inputs[0])
    near(again.explain(META).relevance, model.explain(META).relevance, 0)
