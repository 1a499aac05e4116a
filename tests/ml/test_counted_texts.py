"""Models that count the n-grams of a text: relevance of n-grams, and of the words of the text."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import onnxlrp
from onnxlrp.cli import main
from onnxlrp.errors import InputError, UnsupportedError
from onnxlrp.explanation.tokens import page, tokens
from onnxlrp.inputs.counted import CountedText, find
from onnxlrp.inputs.text import Text

GRAMS = ["bad", "film", "good", "not", "good film", "not good"]
INDEXES = [0, 2, 1, 3, 5, 4]  # the feature of each entry of the pool below
POOL = ["bad", "good", "film", "not", "not", "good", "good", "film"]
W = np.array([-1.0, 0.25, 1.5, -0.5, 0.75, -2.0], np.float32)
BIAS = 0.125
TEXT = "Not GOOD: a good film!"


def reader(text: str = "text", skips: int = 0, name: str = "counts") -> list[onnx.NodeProto]:
    make = helper.make_node
    return [
        make("StringNormalizer", [text], [f"{name}_small"], case_change_action="LOWER"),
        make("Tokenizer", [f"{name}_small"], [f"{name}_tokens"], domain="com.microsoft", mark=0, mincharnum=1,
             pad_value="#", tokenexp="[a-zA-Z0-9_]+"),
        make("Flatten", [f"{name}_tokens"], [f"{name}_flat"]),
        make("TfIdfVectorizer", [f"{name}_flat"], [name], mode="TF", min_gram_length=1, max_gram_length=2,
             max_skip_count=skips, ngram_counts=[0, 4], ngram_indexes=INDEXES, pool_strings=POOL),
    ]  # fmt: skip


def model(
    nodes: list[onnx.NodeProto], inputs: dict[str, int] | None = None, shape: list[int | None] | None = None
) -> onnx.ModelProto:
    given = {"text": TensorProto.STRING} if inputs is None else inputs
    graph = helper.make_graph(
        nodes,
        "texts",
        [helper.make_tensor_value_info(name, kind, shape or [None]) for name, kind in given.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [
            onnx.numpy_helper.from_array(W[:, None], "w"),
            onnx.numpy_helper.from_array(np.array([BIAS], np.float32), "b"),
        ],
    )
    domains = {"": 18, "com.microsoft": 1, "ai.onnx.ml": 3}
    opsets = [helper.make_opsetid(name, version) for name, version in domains.items()]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def linear(binary: bool = False) -> onnx.ModelProto:
    casts = [helper.make_node("Cast", ["counts"], ["any"], to=TensorProto.BOOL),
             helper.make_node("Cast", ["any"], ["ones"], to=TensorProto.FLOAT)]  # fmt: skip
    last = helper.make_node("Gemm", ["ones" if binary else "counts", "w", "b"], ["y"])
    return model([*reader(), *(casts if binary else []), last])


@pytest.mark.parametrize("binary", [False, True])
def test_a_linear_model_gives_each_n_gram_its_weight_times_its_count(binary: bool) -> None:
    opened = onnxlrp.load(linear(binary))
    found = opened.explain([Text(TEXT), Text("bad")])
    counts = np.array([[0, 1, 2 - binary, 1, 1, 1], [1, 0, 0, 0, 0, 0]])
    np.testing.assert_allclose(found.relevance, counts * W, rtol=1e-5)
    np.testing.assert_allclose(found.logit, counts @ W + BIAS, rtol=1e-5)
    assert list(found.feature_names or ()) == GRAMS
    assert found.inputs is not None
    np.testing.assert_array_equal(found.inputs, counts)


def test_relevance_of_n_grams_is_that_of_their_words() -> None:
    found = onnxlrp.load(linear()).explain([Text("bad"), Text(TEXT)])[1]
    bad, film, good, not_, good_film, not_good = W.tolist()
    want = {"not": not_ + not_good / 2, "good": good + not_good / 2, "a": 0.0}
    shown = tokens(found)
    assert [token.text for token in shown] == ["not", "good", "a", "good", "film"]
    np.testing.assert_allclose([token.relevance for token in shown[:3]], [*want.values()], rtol=1e-5)
    np.testing.assert_allclose(shown[4].relevance, film + good_film / 2, rtol=1e-5)
    np.testing.assert_allclose(sum(token.relevance for token in shown), found.total[0], rtol=1e-5)
    assert bad not in [token.relevance for token in shown]
    assert [one["text"] for one in found.to_dict()["samples"][0]["targets"][0]["tokens"]] == [t.text for t in shown]
    assert ">film</span>" in page(found)


@pytest.mark.parametrize("skips", [0, 1, 2])
def test_places_are_those_that_the_operator_counts(skips: int) -> None:
    opened = onnxlrp.load(model([*reader(skips=skips), helper.make_node("Gemm", ["counts", "w", "b"], ["y"])]))
    samples = opened.read([Text("good a film not film good good not a b good")])
    assert samples.texts is not None
    text = samples.texts[0]
    assert text is not None
    times = np.bincount([feature for feature, _ in text.found], minlength=len(GRAMS))
    np.testing.assert_array_equal(times, samples.values[0])


def test_what_is_not_in_the_text_belongs_to_no_word() -> None:
    text = find(["a", "b", "a"], {("a",): 0, ("c",): 1, ("a", "b"): 2}, [1, 2], 0)
    assert text == CountedText(("a", "b", "a"), ((0, (0,)), (0, (2,)), (2, (0, 1))))
    np.testing.assert_allclose(text.spread(np.array([4.0, 100.0, 1.0])), [2.5, 0.5, 2.0])


def test_the_command_reads_a_line_as_a_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx.save(linear(), tmp_path / "m.onnx")
    (tmp_path / "r.txt").write_text(TEXT + "\n")
    run = ["explain", str(tmp_path / "m.onnx"), str(tmp_path / "r.txt"), "-o"]
    assert main([*run, str(tmp_path / "r.json")]) == 0
    said = capsys.readouterr().out
    assert "text, of which the model counts n-grams" in said
    assert "input text" in said
    found = json.loads((tmp_path / "r.json").read_text())["samples"][0]["targets"][0]["tokens"]
    assert [one["text"] for one in found] == ["not", "good", "a", "good", "film"]
    assert main([*run, str(tmp_path / "r.png")]) == 0
    assert main(["inspect", str(tmp_path / "m.onnx")]) == 0
    assert "text: 6 n-grams of 1 to 2 tokens are counted" in capsys.readouterr().out


def test_trees_take_texts_as_background(tmp_path: Path) -> None:
    tree = helper.make_node(
        "TreeEnsembleRegressor", ["counts"], ["y"], domain="ai.onnx.ml", n_targets=1, nodes_treeids=[0] * 3,
        nodes_nodeids=[0, 1, 2], nodes_featureids=[2, 0, 0], nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF"],
        nodes_values=[0.5, 0.0, 0.0], nodes_truenodeids=[1, 0, 0], nodes_falsenodeids=[2, 0, 0],
        target_treeids=[0, 0], target_nodeids=[1, 2], target_ids=[0, 0], target_weights=[1.0, 5.0],
    )  # fmt: skip
    (tmp_path / "train.txt").write_text("a good film\nbad\nno\nnot bad\n")
    opened = onnxlrp.load(model([*reader(), tree]))
    found = opened.explain([Text("good")], method="tree_shap", background=str(tmp_path / "train.txt"))
    np.testing.assert_allclose(found.relevance[0], [0, 0, 3.0, 0, 0, 0], atol=1e-6)  # 5 − (5 + 3 · 1) / 4


def test_a_baseline_is_the_mean_of_texts(tmp_path: Path) -> None:
    (tmp_path / "train.txt").write_text("a good film\nbad bad\n")
    found = onnxlrp.load(linear()).explain([Text("bad")], method="occlusion", baseline=str(tmp_path / "train.txt"))
    mean = np.array([1.0, 0.5, 0.5, 0.0, 0.5, 0.0])
    np.testing.assert_allclose(found.relevance[0], (np.eye(6)[0] - mean) * W, atol=1e-5)


def test_the_front_can_be_kept() -> None:
    front = onnxlrp.load(linear()).graph.text
    assert front is not None
    front.read("good", "it")
    again = pickle.loads(pickle.dumps(front))
    np.testing.assert_array_equal(again.read("good good", "it")[0], [[0, 0, 2, 0, 0, 0]])


@pytest.mark.parametrize("text", ["", "!?"])
def test_a_text_without_words_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="words"):
        onnxlrp.load(linear()).explain([Text(text)])


def test_what_counts_otherwise_is_refused_by_name() -> None:
    two = [*reader(), *reader(name="more"), helper.make_node("Add", ["counts", "more"], ["y"])]
    with pytest.raises(UnsupportedError, match=r"TfIdfVectorizer node .* and 1 more do"):
        onnxlrp.load(model(two))
    beside = [*reader(), helper.make_node("Add", ["counts", "age"], ["y"])]
    with pytest.raises(UnsupportedError, match="other inputs: age"):
        onnxlrp.load(model(beside, {"text": TensorProto.STRING, "age": TensorProto.FLOAT}))
    last = helper.make_node("Gemm", ["counts", "w", "b"], ["y"])
    with pytest.raises(UnsupportedError, match=r"of \['N', 3\] is no column of texts"):
        onnxlrp.load(model([*reader(), last], shape=[None, 3]))


@pytest.mark.parametrize("counts", ["CountVectorizer", "TfidfVectorizer"])
def test_scikit_learn_pipelines_have_their_coefficients(counts: str) -> None:
    pytest.importorskip("skl2onnx")
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import StringTensorType
    from sklearn.feature_extraction import text as readers
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline

    texts = ["a good film", "a bad film", "not good", "not bad at all", "boring film, bad story", "fine story"]
    fitted = make_pipeline(getattr(readers, counts)(ngram_range=(1, 2)), Ridge()).fit(texts, [1, 0, 0, 1, 0, 1])
    opened = onnxlrp.load(to_onnx(fitted, initial_types=[("text", StringTensorType([None, 1]))]))
    found = opened.explain([Text(text) for text in texts])
    want = np.asarray(fitted[0].transform(texts).todense()) * fitted[1].coef_
    np.testing.assert_allclose(found.relevance, want, atol=1e-5)
    np.testing.assert_allclose(found.logit, fitted.predict(texts), atol=1e-5)
    assert list(found.feature_names or ()) == fitted[0].get_feature_names_out().tolist()
