"""SpRAy finds the watermark of clever_hans.onnx without being told, and nothing on its clean twins."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from scenes import CLASSES, HELD_OUT, render
from watermark import MARKED, stamp

import onnxlrp
from onnxlrp.analysis import Clusters
from onnxlrp.analysis.clusters.decision import Decider
from onnxlrp.analysis.clusters.graph import agreement
from onnxlrp.analysis.clusters.maps import Maps, of_relevance
from support.paths import MODELS

pytest.importorskip("sklearn")

pytestmark = pytest.mark.slow
STARS = 240


@cache
def stars() -> tuple[Any, Any]:
    """Held-out stars [n, 64, 64, 3] as they are, and with the mark."""
    drawn: list[Any] = []
    seed = HELD_OUT
    while len(drawn) < STARS:
        image, _, label = render(seed)
        seed += 1
        if CLASSES[label] == MARKED:
            drawn.append(image)
    return np.stack(drawn), np.stack([stamp(image) for image in drawn])


def samples(pictures: Any) -> Any:
    return ((pictures.transpose(0, 3, 1, 2).astype(np.float32) / 255 - 0.5) / 0.25).astype(np.float32)


@cache
def maps(name: str, marked: bool) -> Any:
    model = onnxlrp.load(MODELS / f"{name}.onnx")
    x = samples(stars()[marked])
    return of_relevance(model.explain(x, MARKED, batch_size=32).relevance, model.kind).astype(np.float32)


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_the_watermark_is_found(share: float) -> None:
    count = round(200 * share)
    plain, marked = stars()
    x = samples(np.concatenate([marked[:count], plain[count:200]]))
    found = Clusters.find(onnxlrp.load(MODELS / "clever_hans.onnx"), x, MARKED, batch_size=32)
    assert found.found
    truth = (np.arange(200) < count).astype(int)
    best = int(found.labels[0])  # the first picture has the mark
    assert agreement([truth, (found.labels == best).astype(int)]) >= 0.9
    assert found.right(best) == 1.0
    # The relevance of the cluster lies on the mark, in the lower left.
    where = np.unravel_index(np.abs(found.means[best]).argmax(), found.means[best].shape)
    assert where[0] >= 13
    assert where[1] <= 5


CLEAN: dict[str, Callable[[Any], Any]] = {
    "without marks": lambda rows: maps("clever_hans", False)[rows],
    "shapes": lambda rows: maps("shapes", False)[rows],
    "shapes, half marked": lambda rows: np.concatenate(
        [maps("shapes", True)[rows[:100]], maps("shapes", False)[rows[100:]]]
    ),
}


@pytest.mark.parametrize("twin", CLEAN)
def test_nothing_is_found_on_the_clean_twins(twin: str) -> None:
    found = []
    for seed in range(20):
        rows = np.random.default_rng(seed).permutation(STARS)[:200]
        found.append(Decider(seed=seed)(Maps(CLEAN[twin](rows))).count)
    assert found == [1] * 20
