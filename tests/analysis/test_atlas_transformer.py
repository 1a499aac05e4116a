"""The atlas of a transformer: units are channels of tokens, and the pages of a large model end."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

import onnxlrp
from onnxlrp.analysis import Atlas
from onnxlrp.analysis.atlas import crops
from onnxlrp.analysis.atlas.asked import Asked
from onnxlrp.analysis.atlas.build import propagation
from onnxlrp.analysis.atlas.crops import Heated, places
from onnxlrp.analysis.atlas.pages import Pages
from onnxlrp.analysis.atlas.source import pictures
from onnxlrp.compile import compile
from support import unit_models

LAYERS = {
    "conv0": ("conv0", 6),
    "matmul10": ("add11", 18),
    "matmul24": ("add25", 6),
    "gelu30": ("gelu30", 12),
    "matmul31": ("add32", 6),
}


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("samples") / "x.npy"
    np.save(path, np.random.default_rng(0).normal(size=(14, 3, 8, 8)).astype(np.float32))
    return path


@pytest.fixture(scope="module")
def model() -> Any:
    return onnxlrp.load(unit_models.vision_transformer())


@pytest.fixture(scope="module")
def atlas(model: Any, samples: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return Atlas.build(model, samples, tmp_path_factory.mktemp("atlas"), top=4, batch_size=5)


def test_units_are_channels_summed_over_tokens(atlas: Any, model: Any, samples: Path) -> None:
    proto = unit_models.vision_transformer()
    proto.graph.output.extend(
        onnx.helper.make_tensor_value_info(tensor, onnx.TensorProto.FLOAT, None) for tensor, _ in LAYERS.values()
    )
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    x = np.load(samples)
    seen = dict(zip(LAYERS, session.run([tensor for tensor, _ in LAYERS.values()], {"x": x}), strict=True))
    assert {layer.label: layer.unit.channels for layer in atlas.layers} == {name: n for name, (_, n) in LAYERS.items()}
    explained = model.explain(x, method="attention", record=list(LAYERS))
    for layer in atlas.layers:
        axis = 1 if layer.label == "conv0" else 2
        where = tuple(i for i in range(1, seen[layer.label].ndim) if i != axis)
        relevance = explained.layers[layer.label].sum(axis=where)
        shares = relevance / np.abs(relevance).sum(axis=1, keepdims=True)
        for by, values in (("activation", seen[layer.label].sum(axis=where)), ("relevance", shares)):
            top = layer.tops[by]
            np.testing.assert_allclose(top.values, -np.sort(-values.T, axis=1)[:, :4], rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(np.take_along_axis(values.T, top.samples, axis=1), top.values, atol=1e-5)


def test_a_patch_sees_its_square_and_a_token_behind_attention_all(atlas: Any) -> None:
    boxes = {layer.label: {layer.box(n) for n in range(len(layer.fields))} for layer in atlas.layers}
    assert ((0, 3), (4, 8), (0, 4)) in boxes["conv0"]
    assert len(boxes["conv0"]) == 4
    assert boxes["gelu30"] == {((0, 3), (0, 8), (0, 8))}


def test_a_large_model_has_heatmaps_of_the_units_that_matter_most(
    atlas: Any, model: Any, samples: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = 3 * 2 * sum(count for _, count in LAYERS.values())
    assert Heated.of(atlas, None) == Heated(3)
    assert Heated.of(atlas, 1) == Heated(1)
    monkeypatch.setattr(crops, "MOST", 70)
    heated = Heated.of(atlas, None)
    assert heated == Heated(3, 2, whole)
    assert Heated.of(atlas, 3) == Heated(3)  # as it is asked
    shown = places(atlas, heated)
    warm = {(place.layer, place.channel) for here in shown.values() for place, hot in here.items() if hot}
    assert sum(hot for here in shown.values() for hot in here.values()) <= 70
    for n, layer in enumerate(atlas.layers):
        total = atlas.classes.sums[f"relevance/{n}"].sum(axis=0)
        assert {channel for at, channel in warm if at == n} == set(np.argsort(-total)[:2].tolist()), layer.label
    rules, _ = propagation(model, "auto", {})
    pages = Pages(atlas, model, pictures([str(samples)]), rules, Asked(top=4))
    compiled: list[Any] = []
    room = import_module("onnxlrp.compile")
    monkeypatch.setattr(room, "compile", lambda *a, **how: compiled.append(how["starts"]) or compile(*a, **how))
    before = set(model._programs.kept)
    overview, *rest = pages.write()
    assert len(compiled) == len(set(compiled)) == len(atlas.layers)  # each layer's program is compiled once
    assert set(model._programs.kept) == before  # and none is kept
    assert "of the first 3 samples of the 2 units of each layer that matter most" in overview.read_text()
    text = "".join(path.read_text() for path in rest)
    heats = re.findall(r'alt="Relevance of ([^" ]+) within it"', text)
    assert {tuple(name.split(":")) for name in heats} == {(atlas.layers[n].label, str(c)) for n, c in warm}
    assert all(f"What {name}:0 saw" in text for name in LAYERS)
