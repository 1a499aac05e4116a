"""Class activation maps, against their definitions."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from onnxlrp.errors import UsageError
from onnxlrp.methods.cam import last_map
from onnxlrp.model import Model
from support.problems import explain, model, problem
from support.small_nets import Net


def pooled() -> Any:
    """A global pooling and a dense layer behind the last maps: Grad-CAM is CAM there (Selvaraju et al. 2017)."""

    def build(n: Net) -> Any:
        y = n.relu(n.conv("x", 3, 5, strides=[2, 2]))
        y = n.relu(n.conv(y, 5, 6))
        return n.dense(n.op("Flatten", n.op("GlobalAveragePool", y)), 6, 4)

    return model(build, 3, 8, 8)


def maps_of(p: Any, layer: Any) -> Any:
    from onnxlrp.methods.registry import make_composite

    return p.propagate(make_composite("gradient"), p.x, np.arange(len(p.x)), record=(layer,), activations=(layer,))


def test_grad_cam_behind_a_global_pooling_is_the_class_weights_times_the_maps() -> None:
    p = problem(pooled())
    layer = last_map(p.model.graph, p.kind)
    weights = next(v for v in p.model.graph.constants.values() if v.ndim == 2)
    weights = weights if weights.shape[0] == 4 else weights.T
    maps = maps_of(p, layer)[f"activation/{layer}"]
    expected = np.maximum((weights[p.ids][:, :, None, None] * maps).sum(axis=1), 0) / 16
    found = explain("grad_cam", p)
    assert found.notes["layer"] == layer
    assert found.relevance.shape == p.x.shape
    heat = found.relevance.sum(axis=1)
    # Twice the size, linearly: each block of 2 x 2 has the mean of its neighbourhood; its peak stays.
    assert np.allclose(heat.max(axis=(1, 2)), expected.max(axis=(1, 2)), rtol=0.5)
    assert np.allclose(heat.mean(axis=(1, 2)), expected.mean(axis=(1, 2)), rtol=1e-5)


def test_layer_cam_weighs_each_place() -> None:
    p = problem(pooled())
    layer = p.model.graph.layers[0].label  # at another layer than the last
    outputs = maps_of(p, layer)
    expected = np.maximum(outputs[f"record/{layer}"], 0) * outputs[f"activation/{layer}"]
    heat = explain("layer_cam", p, layer=layer).relevance.sum(axis=1)
    np.testing.assert_allclose(heat.mean(axis=(1, 2)), np.maximum(expected.sum(axis=1), 0).mean(axis=(1, 2)), rtol=1e-4)


@pytest.mark.parametrize("pooling", ["head", "head.pool"])
def test_a_path_that_the_pooling_shares_is_not_taken_for_the_maps(pooling: str) -> None:
    """A path names its last layer's result: of one place, every heatmap would be flat."""
    asked = pooled()
    own, graph = problem(asked), asked.graph
    paths = {
        last_map(graph, own.kind): "head",
        next(y.name for y in graph.layers if y.op == "GlobalAveragePool"): pooling,
    }
    layers = tuple(dataclasses.replace(y, path=paths.get(y.name, "")) for y in graph.layers)
    shared = problem(Model(dataclasses.replace(graph, layers=layers), asked.engine))
    found = explain("grad_cam", shared)
    assert found.notes["layer"] == last_map(graph, own.kind)
    np.testing.assert_array_equal(found.relevance, explain("grad_cam", own).relevance)


def test_a_layer_without_maps_is_refused() -> None:
    p = problem(pooled())
    with pytest.raises(UsageError, match="not feature maps"):
        explain("grad_cam", p, layer=p.model.graph.layers[-1].label)
    flat = model(lambda n: n.dense(n.relu(n.dense("x", 5, 6)), 6, 3), 5)
    with pytest.raises(UsageError, match="picture"):
        explain("grad_cam", problem(flat))
