"""Token ids are explained at their embeddings: one number a token, by every family of methods."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import onnxlrp
from onnxlrp.errors import InputError, UnsupportedError, UsageError
from support.token_models import CHAINS, LENGTH, ROWS, Bag

IDS = np.array([[1, 4, 0, 6, 2], [3, 3, 5, 0, 0]])
WORDS = '["[PAD]", "the", "film", "was", "good", "bad", "?"]'


def model_of(bag: Bag, **how: Any) -> Any:
    return onnxlrp.load(bag.file, **how)


@pytest.mark.parametrize("chain", CHAINS)
def test_ids_receive_the_sum_over_their_embeddings(chain: str) -> None:
    """Of a linear model that is p_t · e(id_t) w, whatever keeps the ids in their places before the table."""
    bag = Bag(chain)
    model = model_of(bag)
    found = model.explain(IDS.astype(model.graph.inputs[0].dtype), 1, method="epsilon", ledger=True)
    assert model.kind.name == "tokens"
    np.testing.assert_allclose(found.relevance, bag.shares(IDS, 1), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found.total + bag.bias[1], found.logit, rtol=1e-5)
    assert all(row.error < 1e-5 for row in found.ledger)


def test_ids_from_the_end_of_the_table() -> None:
    bag = Bag("from the end")
    found = model_of(bag).explain(IDS - ROWS * (IDS > 3), 0, method="epsilon")
    np.testing.assert_allclose(found.relevance, bag.shares(IDS, 0), rtol=1e-4, atol=1e-5)


def test_an_exported_explainer_takes_ids(tmp_path: Any) -> None:
    import onnxruntime as ort

    bag = Bag("int32")
    path = model_of(bag).export(tmp_path / "e.onnx", "epsilon")
    session = ort.InferenceSession(path)
    feeds = {"ids": IDS.astype(np.int32), "target": np.array([1, 1])}
    named = {o.name: n for n, o in enumerate(session.get_outputs())}
    got = session.run(None, feeds)[named["relevance"]]
    np.testing.assert_allclose(got, bag.shares(IDS, 1), rtol=1e-4, atol=1e-5)


def test_positions_that_are_counted_from_ids_are_no_ids() -> None:
    """RoBERTa counts positions of ids that are no padding, and looks them up in a table of their own."""
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    words, places, w = (rng.normal(size=shape).astype(np.float32) for shape in ((ROWS, 3), (LENGTH + 1, 3), (3, 2)))
    nodes = [
        helper.make_node("Equal", ["ids", "zero"], ["padding"]),
        helper.make_node("Not", ["padding"], ["seen"]),
        helper.make_node("Cast", ["seen"], ["numbers"], to=TensorProto.INT64),
        helper.make_node("CumSum", ["numbers", "axis"], ["counted"]),
        helper.make_node("Mul", ["counted", "numbers"], ["positions"]),
        helper.make_node("Gather", ["words", "ids"], ["e"]),
        helper.make_node("Gather", ["places", "positions"], ["p"]),
        helper.make_node("Add", ["e", "p"], ["x"]),
        helper.make_node("ReduceSum", ["x", "along"], ["pooled"], keepdims=0),
        helper.make_node("MatMul", ["pooled", "w"], ["logits"]),
    ]
    constants = {"zero": np.array(0), "axis": np.array(1), "along": np.array([1])}
    constants |= {"words": words, "places": places, "w": w}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["N", LENGTH])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 2])],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    found = onnxlrp.load(made.SerializeToString()).explain(IDS, 1, method="epsilon")
    np.testing.assert_allclose(found.relevance, words[IDS] @ w[:, 1], rtol=1e-3, atol=1e-4)


def test_segments_that_are_looked_up_at_positions() -> None:
    """RoBERTa gathers its one segment from a buffer, at positions that are counted from ids."""
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    words, segments, w = (rng.normal(size=shape).astype(np.float32) for shape in ((ROWS, 3), (1, 3), (3, 2)))
    nodes = [
        helper.make_node("Shape", ["ids"], ["count"], start=0, end=1),
        helper.make_node("Concat", ["count", "long"], ["shape"], axis=0),
        helper.make_node("Expand", ["buffer", "shape"], ["zeros"]),
        helper.make_node("Equal", ["ids", "zero"], ["padding"]),
        helper.make_node("Not", ["padding"], ["seen"]),
        helper.make_node("Cast", ["seen"], ["numbers"], to=TensorProto.INT64),
        helper.make_node("CumSum", ["numbers", "axis"], ["positions"]),
        helper.make_node("GatherElements", ["zeros", "positions"], ["types"], axis=1),
        helper.make_node("Gather", ["words", "ids"], ["e"]),
        helper.make_node("Gather", ["segments", "types"], ["s"]),
        helper.make_node("Add", ["e", "s"], ["x"]),
        helper.make_node("ReduceSum", ["x", "along"], ["pooled"], keepdims=0),
        helper.make_node("MatMul", ["pooled", "w"], ["logits"]),
    ]
    constants = {"zero": np.array(0), "axis": np.array(1), "along": np.array([1]), "long": np.array([9])}
    constants |= {"buffer": np.zeros((1, 9), np.int64), "words": words, "segments": segments, "w": w}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["N", LENGTH])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 2])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    found = onnxlrp.load(made.SerializeToString()).explain(IDS, 1, method="gradient_x_input")
    np.testing.assert_allclose(found.relevance, words[IDS] @ w[:, 1], rtol=1e-4, atol=1e-5)


def test_gradients_where_a_mask_chooses() -> None:
    """Scaled dot products of torch put zeros where a softmax has no keys: Where behind the embeddings."""
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    words, w = (rng.normal(size=shape).astype(np.float32) for shape in ((ROWS, 3), (3, 2)))
    nodes = [
        helper.make_node("Gather", ["words", "ids"], ["e"]),
        helper.make_node("ReduceSum", ["e", "last"], ["s"], keepdims=1),
        helper.make_node("Less", ["s", "nil"], ["below"]),
        helper.make_node("Where", ["below", "nil", "e"], ["x"]),
        helper.make_node("ReduceSum", ["x", "along"], ["pooled"], keepdims=0),
        helper.make_node("MatMul", ["pooled", "w"], ["logits"]),
    ]
    constants = {"nil": np.zeros(1, np.float32), "along": np.array([1]), "last": np.array([2]), "words": words, "w": w}
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["N", LENGTH])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 2])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    found = onnxlrp.load(made.SerializeToString()).explain(IDS, 1, method="gradient_x_input")
    kept = words * (words.sum(axis=1, keepdims=True) >= 0)
    np.testing.assert_allclose(found.relevance, kept[IDS] @ w[:, 1], rtol=1e-4, atol=1e-5)


def test_gradients_are_those_of_embeddings() -> None:
    bag = Bag(tokens=WORDS)
    model = model_of(bag)
    shares, slopes = bag.shares(IDS, 0), bag.slopes(0)
    absent = bag.shares(np.zeros_like(IDS), 0)
    expected = {
        "gradient_x_input": shares,
        "sensitivity": np.broadcast_to((slopes**2).sum(axis=1), IDS.shape),
        "integrated_gradients": shares - absent,
        "expected_gradients": shares - absent,
    }
    for method, wanted in expected.items():
        found = model.explain(IDS, 0, method=method)
        np.testing.assert_allclose(found.relevance, wanted, rtol=1e-4, atol=1e-5, err_msg=method)
    found = model.explain(IDS, 0, method="integrated_gradients", baseline="?")
    np.testing.assert_allclose(found.relevance, shares - bag.shares(np.full_like(IDS, 6), 0), rtol=1e-4, atol=1e-5)
    assert found.notes["baseline"] == "token 6 (?)"
    found = model.explain(IDS, 0, method="integrated_gradients", baseline="zero")
    np.testing.assert_allclose(found.relevance, shares, rtol=1e-4, atol=1e-5)
    noisy = model.explain(IDS, 0, method="smooth_grad", times_input=True)
    np.testing.assert_allclose(noisy.relevance, shares, rtol=1e-4, atol=1e-5)


def test_targets_of_embeddings() -> None:
    bag = Bag()
    found = model_of(bag).explain(IDS, method="gradient_x_input", targets=[0, 1])
    np.testing.assert_allclose(found.relevance, [bag.shares(IDS, 0), bag.shares(IDS, 1)], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("method", "how"), [("occlusion", {}), ("kernel_shap", {})])
def test_hidden_tokens_become_the_padding(method: str, how: dict[str, Any]) -> None:
    bag = Bag(tokens=WORDS)
    found = model_of(bag).explain(IDS, 0, method=method, score="logit", **how)
    wanted = bag.shares(IDS, 0) - bag.shares(np.zeros_like(IDS), 0)
    np.testing.assert_allclose(found.relevance, wanted, rtol=1e-3, atol=1e-4)
    assert found.notes["baseline"] == "token 0 ([PAD])"


def test_the_baseline_is_a_word_an_id_or_said_to_be_a_guess() -> None:
    bag, named = model_of(Bag()), model_of(Bag(tokens=WORDS))
    assert "no word is known" in bag.explain(IDS, method="occlusion").notes["baseline"]
    assert bag.explain(IDS, method="occlusion", baseline="4").notes["baseline"] == "token 4"
    assert named.explain(IDS, method="occlusion", baseline="bad").notes["baseline"] == "token 5 (bad)"
    with pytest.raises(UsageError, match="no token is called so"):
        named.explain(IDS, method="occlusion", baseline="grey")
    with pytest.raises(UsageError, match="no mean"):
        named.explain(IDS, method="occlusion", baseline=IDS)


@pytest.mark.parametrize("method", ["gradient", "guided_backprop", "smooth_grad", "grad_cam"])
def test_methods_without_a_number_for_a_token_are_refused(method: str) -> None:
    with pytest.raises(UsageError) as caught:
        model_of(Bag()).explain(IDS, method=method)
    assert caught.value.fix


def test_ids_beyond_the_table_are_refused() -> None:
    with pytest.raises(InputError, match=f"token id {ROWS}.* {ROWS} rows"):
        model_of(Bag()).explain(np.full((1, LENGTH), ROWS))
    with pytest.raises(onnxlrp.OnnxLrpError, match="out of data bounds"):
        model_of(Bag("offset")).explain(np.full((1, LENGTH), ROWS))


# -- inputs that follow from ids


def test_a_mask_is_assumed_said_and_overruled() -> None:
    bag = Bag(more=("attention_mask",), tokens=WORDS)
    model = model_of(bag)
    assert model.graph.inputs[0].name == "ids"
    assert any("attention_mask" in text and "assumed" in text for text, _ in model.notes)
    x = np.array([[1, 4, 2, 0, 0]])  # the padding at the end is hidden, whatever its embedding
    shown = np.array([[1, 1, 1, 0, 0]])
    found = model.explain(x, 1, method="epsilon")
    np.testing.assert_allclose(found.relevance, bag.shares(x, 1) * shown, rtol=1e-4, atol=1e-5)
    given = model.explain(x, 1, method="epsilon", given={"attention_mask": 1})
    np.testing.assert_allclose(given.relevance, bag.shares(x, 1), rtol=1e-4, atol=1e-5)
    slopes = model.explain(x, 1, method="gradient_x_input")
    np.testing.assert_allclose(slopes.relevance, bag.shares(x, 1) * shown, rtol=1e-4, atol=1e-5)


def test_without_words_nothing_is_known_to_be_padding() -> None:
    bag = Bag(more=("attention_mask",))
    found = model_of(bag).explain(IDS, 1, method="epsilon")
    np.testing.assert_allclose(found.relevance, bag.shares(IDS, 1), rtol=1e-4, atol=1e-5)


def test_an_input_of_another_name_is_asked_for() -> None:
    with pytest.raises(UsageError, match="weights int64"):
        model_of(Bag(more=("weights",))).explain(IDS)


# -- texts


def test_a_text_is_filled_up_with_the_padding() -> None:
    model = model_of(Bag(tokens=WORDS))
    read = model.read([onnxlrp.Text("The film was good?"), onnxlrp.Text("bad film")])
    assert read.values.tolist() == [[1, 2, 3, 4, 6], [5, 2, 0, 0, 0]]
    with pytest.raises(InputError, match="6 tokens, the model takes 5"):
        model.read(onnxlrp.Text("the film was good good good"))
    with pytest.raises(InputError, match='"fine" is no word'):
        model.read(onnxlrp.Text("the film was fine"))


def test_lines_of_a_file_are_samples(tmp_path: Any) -> None:
    path = tmp_path / "reviews.txt"
    path.write_text("the film was good\n\nthe film was bad\n")
    model = model_of(Bag(tokens=WORDS))
    read = model.read(path)
    assert read.values.tolist() == [[1, 2, 3, 4, 0], [1, 2, 3, 5, 0]]
    assert len(set(read.names)) == 2 or len(read.names) == 2
    (tmp_path / "empty.txt").write_text("\n")
    for name in ("empty.txt", "none.txt"):
        with pytest.raises(InputError):
            model.read(tmp_path / name)


def test_texts_of_an_open_length() -> None:
    bag = Bag(length=None, more=("attention_mask",), tokens=WORDS)
    model = model_of(bag)
    one = model.explain(onnxlrp.Text("good film"), 0, method="epsilon")
    np.testing.assert_allclose(one.relevance, bag.shares(np.array([[4, 2]]), 0), rtol=1e-4, atol=1e-5)
    two = model.explain([onnxlrp.Text("good film"), onnxlrp.Text("the film was bad")], 0, method="epsilon")
    np.testing.assert_allclose(two.relevance[0], [*one.relevance[0], 0, 0], rtol=1e-4, atol=1e-5)
    without = model_of(Bag(length=None, tokens=WORDS))
    with pytest.raises(InputError, match="several sizes"):
        without.read([onnxlrp.Text("good film"), onnxlrp.Text("the film was bad")])


def test_a_text_needs_words_and_ids() -> None:
    with pytest.raises(UnsupportedError, match="nothing says the words"):
        model_of(Bag()).read(onnxlrp.Text("good film"))
    with pytest.raises(UnsupportedError, match="is a text, and the input is image"):
        onnxlrp.load("models/digits.onnx").read(onnxlrp.Text("good film"))


def test_stated_words(tmp_path: Any) -> None:
    path = tmp_path / "words.txt"
    path.write_text("<pad>\na\nb\nc\nd\ne\nf\n")
    model = model_of(Bag(tokens=WORDS), prep={"tokenizer": str(path)})
    assert model.read(onnxlrp.Text("fad")).values.tolist() == [[6, 1, 4, 0, 0]]
    assert model.explain(IDS, method="epsilon").feature_names == ("<pad>", *"abcdef")
    with pytest.raises(InputError, match="no such file of tokens"):
        model_of(Bag(), prep={"tokenizer": "none.json"}).explain(IDS)


def test_a_model_of_tokens_is_pickled() -> None:
    import pickle

    model = pickle.loads(pickle.dumps(model_of(Bag(tokens=WORDS))))
    assert model.vocabulary.padding == 0
