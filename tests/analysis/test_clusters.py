"""Clusters of heatmaps: the graph against dense linear algebra; planted strategies are found, others are not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnxlrp.analysis import Clusters
from onnxlrp.analysis.clusters import decision
from onnxlrp.analysis.clusters.decision import Decider
from onnxlrp.analysis.clusters.graph import NeighbourGraph, agreement, k_means
from onnxlrp.analysis.clusters.maps import Maps, of_relevance
from onnxlrp.errors import InputError, UsageError
from onnxlrp.explanation.maps import block_sums
from onnxlrp.inputs import decide
from support import planted_strategies as planted

pytest.importorskip("sklearn")


def mixture(seed: int, plain: int, marks: int) -> tuple[Maps, Any]:
    rng = np.random.default_rng(seed)
    values = np.concatenate([planted.wandering(rng, plain), planted.marked(rng, marks)])
    return Maps(values.astype(np.float32)), np.repeat([0, 1], [plain, marks])


def best_score(truth: Any, labels: Any) -> float:
    """The adjusted Rand index of the best cluster against the mark."""
    return max(agreement([truth, (labels == c).astype(int)]) for c in range(labels.max() + 1))


def test_neighbours_are_those_of_all_distances() -> None:
    x = np.random.default_rng(0).normal(size=(50, 7))
    distances = np.linalg.norm(x[:, None] - x[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    near = np.zeros((50, 50), bool)
    near[np.arange(50)[:, None], np.argsort(distances, axis=1)[:, :4]] = True
    assert np.array_equal(NeighbourGraph.of(x, 4).adjacency.toarray() > 0, near | near.T)


@pytest.mark.parametrize("n", [60, 500], ids=["dense", "sparse"])
def test_the_spectrum_is_that_of_the_laplacian(n: int) -> None:
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.normal(size=(n, 3)), 50 + rng.normal(size=(n // 2, 3))])
    graph = NeighbourGraph.of(x, 5)
    assert [len(members) for members in graph.components] == [n, n // 2]
    values, vectors = graph.spectrum(6)
    a = graph.adjacency.toarray()
    root = 1 / np.sqrt(a.sum(axis=1))
    laplacian = np.eye(len(a)) - root[:, None] * a * root[None]
    assert np.allclose(values, np.linalg.eigvalsh(laplacian)[:6], atol=1e-9)
    own = vectors / root[:, None]
    assert np.allclose(laplacian @ own, own * values, atol=1e-7)
    assert np.allclose(own.T @ own, np.eye(6), atol=1e-7)


def test_conductance_by_counting_edges() -> None:
    x = np.random.default_rng(2).normal(size=(40, 2))
    graph, labels = NeighbourGraph.of(x, 3), np.random.default_rng(3).integers(3, size=40)
    a = graph.adjacency.toarray()
    for c, found in enumerate(graph.conductance(labels)):
        inside = labels == c
        ends = a[inside].sum(), a[~inside].sum()
        assert found == pytest.approx(a[inside][:, ~inside].sum() / min(ends))


def test_the_sweep_finds_the_best_prefix() -> None:
    x = np.random.default_rng(4).normal(size=(45, 2))
    graph = NeighbourGraph.of(x, 4)
    _, vectors = graph.spectrum(4)
    best = 1.0
    for vector in vectors[:, 1:].T:
        order = np.argsort(vector, kind="stable")
        for size in range(5, 41):
            labels = np.zeros(45, int)
            labels[order[:size]] = 1
            best = min(best, graph.conductance(labels).min())
    assert graph.sweep(vectors[:, 1:], 5) == pytest.approx(best)


def test_k_means_ranks_by_size_and_admits_too_few() -> None:
    points = np.repeat([[0.0], [5.0], [9.0]], [2, 7, 4], axis=0)
    assert k_means(points, 3, 0).tolist() == [2] * 2 + [0] * 7 + [1] * 4
    assert k_means(points, 4, 0) is None


def test_pooling_sums_and_features_have_unit_size() -> None:
    maps = np.random.default_rng(5).normal(size=(3, 28, 30))
    small = block_sums(maps, 8)
    assert small.shape == (3, 8, 8)
    assert np.allclose(small.sum(axis=(1, 2)), maps.sum(axis=(1, 2)))
    assert small[0, 0, 0] == pytest.approx(maps[0, :3, :3].sum())
    assert np.allclose(np.abs(Maps(maps).features(8)).sum(axis=1), 1)
    relevance = np.random.default_rng(6).normal(size=(2, 3, 64, 64))
    assert of_relevance(relevance, decide((3, 64, 64))).shape == (2, 32, 32)


def test_shuffling_keeps_each_map_s_values() -> None:
    maps, _ = mixture(0, 20, 20)
    moved = maps.shuffled(np.random.default_rng(0))
    assert not np.array_equal(moved.values, maps.values)
    for before, after in zip(maps.values, moved.values, strict=True):
        assert np.array_equal(np.sort(before.ravel()), np.sort(after.ravel()))
    row = Maps(maps.values.reshape(40, 1, -1), shifts=False)
    assert np.array_equal(np.sort(row.shuffled(np.random.default_rng(0)).values), np.sort(row.values))


@pytest.mark.few(2)
@pytest.mark.parametrize(("plain", "marks"), [(100, 100), (180, 20), (80, 120), (60, 30)])
def test_a_planted_strategy_is_found(plain: int, marks: int) -> None:
    maps, truth = mixture(1, plain, marks)
    decided = Decider(seed=1)(maps)
    assert decided.count >= 2
    assert decided.p == pytest.approx(1 / 20)
    _, vectors = NeighbourGraph.of(maps.features(16), decided.neighbours).spectrum(8)
    labels = k_means(vectors[:, : decided.count], decided.count, 0)
    assert best_score(truth, labels) >= 0.9


@pytest.mark.few(2)
@pytest.mark.parametrize("seed", range(8))
def test_nothing_is_found_where_maps_vary_continuously(seed: int) -> None:
    rng = np.random.default_rng(seed)
    assert Decider(seed=seed)(Maps(planted.wandering(rng, 120))).count == 1
    assert Decider(seed=seed)(Maps(rng.normal(size=(60, 32, 32)))).count == 1
    assert Decider(seed=seed)(Maps(planted.marked(rng, 60))).count == 1


def test_of_very_many_maps_some_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decision, "DECIDE_ON", 80)
    maps, _ = mixture(2, 150, 150)
    decided = Decider(null_sets=6)(maps)
    assert (decided.count, decided.maps) == (2, 80)


class Planted:
    """A model in the place of one that is loaded: its heatmaps are given by the samples themselves."""

    graph = None

    def __init__(self) -> None:
        self.kind = decide((1, 32, 32))

    def read(self, x: Any, *_: Any) -> Any:
        from onnxlrp.preprocessing.samples import made, opened

        return made(opened(x), self.kind, "float32", lambda: None)

    def explain(self, x: Any, target: Any = "top1", method: Any = "auto", **_: Any) -> Any:
        from onnxlrp.explanation import Explanation

        values = np.concatenate([one.values for one in x])
        output = np.tile([[0.0, 1.0, 0.5]], (len(values), 1))
        about = {"model": "planted.onnx", "method": "given"}
        return Explanation(values, output, np.full(len(values), 1), provenance=about, kind=self.kind)


def test_samples_to_files(tmp_path: Path) -> None:
    maps, truth = mixture(3, 60, 60)
    values = np.concatenate([maps.values, np.zeros_like(maps.values[:1])])[:, None]
    found = Clusters.find(Planted(), values, "a", null_sets=6, batch_size=50)
    assert found.found
    assert sum(found.sizes) == 120
    assert found.labels[-1] == -1
    assert best_score(truth, found.labels[:-1]) >= 0.9
    assert all(len(row) == 6 for row in found.examples)
    written = found.save(tmp_path / "out", ["json", "npz", "png"])
    assert [path.name for path in written] == ["clusters.json", "clusters.npz", "clusters.png"]
    stated = json.loads(written[0].read_text())
    assert [one["size"] for one in stated["clusters"]] == found.sizes
    assert stated["without_relevance"] == ["sample.120"]
    assert stated["provenance"]["method"] == "given"
    with np.load(written[1]) as arrays:
        assert np.array_equal(arrays["labels"], found.labels)
        assert arrays["means"].shape == (found.decision.count, 16, 16)


def test_bad_input() -> None:
    maps = planted.wandering(np.random.default_rng(0), 30)[:, None].astype(np.float32)
    with pytest.raises(InputError, match="5 heatmaps: clusters need 20"):
        Clusters.find(Planted(), maps[:5])
    with pytest.raises(InputError, match=r"0 heatmaps .30 more have no relevance"):
        Clusters.find(Planted(), 0 * maps)
    for wrong in ({"grid": 1}, {"grid": 64}, {"null_sets": 0}, {"neighbours": -1}, {"seed": -1}):
        with pytest.raises(UsageError):
            Clusters.find(Planted(), maps, **wrong)
