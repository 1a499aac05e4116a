"""Minimum cuts: as cheap as the best of all cuts."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from onnxlrp.engines.cut import Network

Edge = tuple[object, object, float]


def cost(side: set[object], edges: list[Edge]) -> float:
    return sum(capacity for a, b, capacity in edges if a in side and b not in side)


@pytest.mark.parametrize("seed", range(8))
def test_no_cut_is_cheaper(seed: int) -> None:
    rng = np.random.default_rng(seed)
    network, edges = Network(), []
    ends = [network.source, network.sink, *range(6)]
    for a, b in itertools.permutations(ends, 2):
        if rng.random() < 0.4 and (a, b) != (network.source, network.sink):
            edges.append((a, b, float(rng.integers(1, 9))))
            network.edge(*edges[-1])
    sides = [{network.source, *inner} for k in range(7) for inner in itertools.combinations(range(6), k)]
    found = network.source_side()
    assert network.sink not in found
    best = min(cost(side, edges) for side in sides)
    assert cost(found, edges) == best
    assert len(found) == min(len(side) for side in sides if cost(side, edges) == best)


def test_what_has_no_finite_cut_is_refused() -> None:
    network = Network()
    network.edge(network.source, 0)
    network.edge(0, network.sink)
    with pytest.raises(ValueError, match="no cut"):
        network.source_side()
