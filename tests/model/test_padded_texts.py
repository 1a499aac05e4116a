"""Texts that are filled up are explained at their last token that is no padding, where no position is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import onnxlrp
from support.decoder_models import PAST, Decoder

WORDS = ["[PAD]", "aa", "bb", "cc", "dd", "ee", "ff", "gg", "hh"]
IDS = np.array([[1, 2, 3, 0, 0], [4, 5, 6, 7, 8], [6, 0, 5, 2, 0]])
LAST = np.array([2, 4, 3])
DECODER = Decoder()
CHOSEN = pytest.mark.parametrize("method", ["gradient_x_input", "attention", "occlusion"])


def with_words(**size: Any) -> onnxlrp.Model:
    model = onnx.load_from_string(DECODER.file)
    model.metadata_props.add(key="onnxlrp.tokens", value=json.dumps(WORDS))
    return onnxlrp.load(model.SerializeToString(), **size)


def logits(ids: Any, at: Any, past: Any = None) -> Any:
    """z_3 at a position of each text; the decoder is causal, so that padding behind it is not seen."""
    return DECODER.logits(DECODER.embedded(ids), past)[np.arange(len(ids)), at, 3]


@CHOSEN
def test_a_text_of_a_fixed_length(method: str) -> None:
    found = with_words(size={"length": 5}).explain(onnxlrp.Text("aa bb cc"), 3, method=method)
    np.testing.assert_allclose(found.logit, logits(IDS[:1], 2), rtol=1e-5)
    alone = with_words(size={"length": 3}).explain(onnxlrp.Text("aa bb cc"), 3, method=method)
    np.testing.assert_allclose(found.relevance[:, :3], alone.relevance, rtol=1e-3, atol=1e-4)
    assert (np.abs(found.relevance[:, 3:]) < 1e-9).all()


def test_a_text_beside_a_longer_one() -> None:
    texts = [onnxlrp.Text("aa bb cc"), onnxlrp.Text("dd ee ff gg hh")]
    found = with_words().explain(texts, 3, method="gradient_x_input")
    np.testing.assert_allclose(found.logit, logits(IDS[:2], LAST[:2]), rtol=1e-5)
    one_by_one = [with_words().explain(text, 3, method="gradient_x_input").relevance for text in texts]
    np.testing.assert_allclose(found.relevance[:1, :3], one_by_one[0], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(found.relevance[1:], one_by_one[1], rtol=1e-3, atol=1e-4)


def test_attention_is_read_at_the_last_token() -> None:
    model = with_words()
    found = model.explain(IDS[:2], 3, method="attention_rollout").relevance
    for n in range(2):
        want = model.explain(IDS[n : n + 1], f"3@{LAST[n]}", method="attention_rollout").relevance
        np.testing.assert_allclose(found[n : n + 1], want, rtol=1e-5, atol=1e-8)


def test_the_best_token_is_that_of_each_position() -> None:
    found = with_words().explain(IDS[:2], method="gradient_x_input")
    z = DECODER.logits(DECODER.embedded(IDS[:2]))[np.arange(2), LAST[:2]]
    np.testing.assert_array_equal(found.target, z.argmax(axis=1))


@CHOSEN
def test_a_mask_that_is_given_says_what_is_padding(method: str) -> None:
    mask = np.arange(5) <= LAST[:2, np.newaxis]
    model = onnxlrp.load(DECODER.file)
    found = model.explain(IDS[:2], 3, method=method, given={"attention_mask": mask.astype(np.int64)})
    np.testing.assert_allclose(found.logit, logits(IDS[:2], LAST[:2]), rtol=1e-5)


def test_a_mask_over_a_past() -> None:
    past = DECODER.behind(np.array([[2, 7], [1, 1]]))
    mask = np.concatenate([np.ones((2, 2), bool), np.arange(5) <= LAST[:2, np.newaxis]], axis=1)
    given = {**{name: past[name] for name in PAST}, "attention_mask": mask.astype(np.int64)}
    found = onnxlrp.load(DECODER.file).explain(IDS[:2], 3, method="gradient_x_input", given=given)
    np.testing.assert_allclose(found.logit, logits(IDS[:2], LAST[:2], past), rtol=1e-5)


def test_padding_between_words_is_a_word() -> None:
    found = with_words().explain(IDS, 3, method="gradient_x_input")
    np.testing.assert_allclose(found.logit, logits(IDS, LAST), rtol=1e-5)


def test_a_position_that_is_named_is_that_of_the_array() -> None:
    mask = np.array([[1, 1, 1, 1, 1]])
    found = with_words().explain(IDS[:1], "3@-1", method="gradient_x_input", given={"attention_mask": mask})
    np.testing.assert_allclose(found.logit, logits(IDS[:1], 4), rtol=1e-5)
    assert found.provenance["place"] == "-1"


def test_what_the_position_is_is_said() -> None:
    note = with_words(size={"length": 5}).for_target(3).notes
    assert any("explained is the last token that is no padding, of 5 positions" in text for text, _ in note)
    assert with_words().explain(IDS[:1], 3).provenance["place"] == "last"


def exported(model: onnxlrp.Model, path: Path, feed: dict[str, Any], **options: Any) -> dict[str, Any]:
    """What an exported explainer gives, run by onnxruntime alone."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model.export(path, method="attnlrp", **options))
    feed = {value.name: feed[value.name] for value in session.get_inputs()}
    return dict(zip((value.name for value in session.get_outputs()), session.run(None, feed), strict=True))


MASKS = {"of the texts": np.arange(5) <= LAST[:, None], "of nothing": np.zeros((3, 5), bool)}


@pytest.mark.parametrize("mask", MASKS)
def test_an_exported_explainer_looks_for_it_in_the_mask(mask: str, tmp_path: Path) -> None:
    """Of a text that is nothing but padding the position is the very last, as it is without an export."""
    model = onnxlrp.load(DECODER.file, size={"length": 5})
    seen = MASKS[mask].astype(np.int64)
    feed = {"input_ids": IDS, "attention_mask": seen, "position_ids": np.tile(np.arange(5), (3, 1))}
    got = exported(model, tmp_path / "explainer.onnx", feed, target="top1")
    wanted = model.explain(IDS, method="attnlrp", given={"attention_mask": seen})
    np.testing.assert_allclose(got["relevance"].reshape(IDS.shape), wanted.relevance, rtol=1e-4, atol=1e-5)
    if mask == "of the texts":
        z = DECODER.logits(DECODER.embedded(IDS))[np.arange(3), LAST]
        np.testing.assert_array_equal(wanted.target, z.argmax(axis=1))
        assert (np.abs(got["relevance"].reshape(IDS.shape)[~MASKS[mask]]) < 1e-9).all()


def last_by_definition(mask: Any) -> Any:
    """The last of the positions that are seen: above 0, or not below it where some are; else the very last."""
    rows = [row >= 0 if (row < 0).any() else row > 0 for row in mask]
    return [np.flatnonzero(row)[-1] if row.any() else len(row) - 1 for row in rows]


@pytest.mark.parametrize(
    ("values", "padding"),
    [
        ([[1, 1, 0], [0, 1, 1], [0, 0, 0]], None),
        ([[0, 0, -1e9], [0, 0, 0], [-1e9, 0, -1e9]], None),
        ([[1, 1, 1, 0, 1, 0]], None),  # three before the tokens
        ([[5, 2, 2], [2, 5, 2], [2, 2, 2], [1, 3, 5]], 2),
    ],
)
def test_what_marks_the_last_token_in_a_graph(values: Any, padding: int | None) -> None:
    """The layers themselves, for masks of 1 and 0, masks that are added to scores, masks over a past, and ids."""
    from onnxlrp.graph.graph import Graph, Tensor
    from onnxlrp.graph.outputs.ends import End
    from onnxlrp.graph.outputs.place_output import TokensOf, mark_last

    given = np.array(values, np.float32)
    source = Tensor("tokens", (given.shape[1],), "float32")
    graph = Graph((), (source,), (), {}, {"tokens": source.shape}, {"tokens": "float32"})
    end = End(graph, "tokens", "end")
    mark_last(end, 3, "float32", TokensOf("tokens", padding))
    got = run(end, given)
    mask = given[:, -3:] if padding is None else given != padding
    np.testing.assert_array_equal(got.argmax(axis=1), last_by_definition(mask))
    assert (got.sum(axis=1) == 1).all()


def run(end: Any, given: Any) -> Any:
    """Layers as a model, by the evaluator of onnx."""
    from onnx import TensorProto, helper, numpy_helper
    from onnx.reference import ReferenceEvaluator

    nodes = [helper.make_node(layer.op, layer.inputs, layer.outputs, **layer.attributes) for layer in end.layers]
    stored = [numpy_helper.from_array(value, name) for name, value in end.constants.items()]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes, "end", [value("tokens", TensorProto.FLOAT, ["N", given.shape[1]])],
        [value(end.tensor, TensorProto.BOOL, None)], stored,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)])
    results: Any = ReferenceEvaluator(model).run(None, {"tokens": given})
    return results[0]
