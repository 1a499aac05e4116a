"""Names of classes that a model's metadata list: as JSON, as Python prints them, or a name on each line."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest

import onnxlrp
from support import small_nets


def classifier(key: str, text: str, classes: int = 3) -> onnx.ModelProto:
    """A dense layer on four values, with one entry of metadata."""
    net = small_nets.Net(4)
    proto = net.model(net.dense("x", 4, classes), classes)
    onnx.helper.set_model_props(proto, {key: text})
    return proto


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("id2label", json.dumps({"0": "cat", "1": "dog", "2": "owl"})),
        ("labels", json.dumps(["cat", "dog", "owl"])),
        ("class_names", "['cat', 'dog', 'owl']"),
        ("classes", "cat\ndog\nowl\n"),
        ("labels", "cat\r\ndog\r\nowl"),
    ],
)
def test_lists_of_names_are_labels(key: str, text: str) -> None:
    model = onnxlrp.load(classifier(key, text))
    assert model.labels == ("cat", "dog", "owl")
    x = np.ones((1, 4), np.float32)
    assert model.explain(x, target="owl").target[0] == 2


def test_characters_of_a_recogniser_leave_out_blank_and_space() -> None:
    assert onnxlrp.load(classifier("character", "a\nb\n", 3)).labels == ("(blank)", "a", "b")
    assert onnxlrp.load(classifier("character", "a\nb\n", 4)).labels == ("(blank)", "a", "b", "(space)")


def test_a_list_of_another_length_names_nothing() -> None:
    assert onnxlrp.load(classifier("labels", json.dumps(["cat"] * 7))).labels is None
