"""Samples of several sizes are evaluated each at its own, in their order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

import onnxlrp
from onnxlrp.cli import main
from onnxlrp.errors import UsageError
from onnxlrp.evaluation.evaluate import evaluate
from onnxlrp.evaluation.metrics.registry import Curve, Measurement, joined
from support.open_models import pooled
from support.tiny_models import values

METRICS: dict[str, Any] = {
    "pixel_flipping": {"steps": 3, "cells": 4, "baseline": "zero"},
    "deletion": {"steps": 4},
    "abpc": {"cells": 3, "steps": 3},
    "conservation": {},
    "ledger": {},
    "energy_in_mask": {},
    "max_sensitivity": {"samples": 1},
    "randomisation": {"layers": 2},
    "shattering": {"points": 8, "depths": 1},
}
SIZES = [(9, 12), (14, 10), (9, 12), (14, 10)]


@pytest.fixture(scope="module")
def model() -> Any:
    return onnxlrp.load(pooled("h", "w"))


@pytest.fixture(scope="module")
def samples() -> list[Any]:
    return [values(3, *size, seed=n) for n, size in enumerate(SIZES)]


def masks_of(samples: list[Any]) -> list[Any]:
    return [one[0] > 0 for one in samples]


@pytest.fixture(scope="module")
def found(model: Any, samples: list[Any]) -> Any:
    return evaluate(model, samples, ["epsilon", "gradient"], METRICS, masks=masks_of(samples))


def test_a_sample_has_the_value_that_it_has_among_its_like(model: Any, samples: list[Any], found: Any) -> None:
    """Metrics that draw by a sample's number are compared where it is the same; others everywhere."""
    for own in ([0, 2], [1, 3]):
        some = [samples[n] for n in own]
        alone = evaluate(model, some, ["epsilon", "gradient"], METRICS, masks=masks_of(some))
        for cell in alone.cells:
            among = found.cell(cell.method, cell.metric).values
            same = [k for k, n in enumerate(own) if k == n or cell.metric not in ("max_sensitivity", "shattering")]
            for k in same:
                wanted = cell.values[k]  # None where the method keeps no ledger
                close = wanted if wanted is None else pytest.approx(wanted, rel=1e-4, abs=1e-6)
                assert among[own[k]] == close, (cell.method, cell.metric)


def test_values_by_definition_stand_in_the_order_of_the_samples(model: Any, samples: list[Any], found: Any) -> None:
    assert found.about["samples"]["names"] == ["array.0", "array.1", "array.2", "array.3"]
    for n, x in enumerate(samples):
        (explained,) = model.explain_each([x], method="epsilon")
        assert found.about["targets"][n] == int(explained.target[0])
        apart = abs(explained.relevance.sum() - explained.logit[0]) / abs(explained.logit[0])
        assert found.cell("epsilon", "conservation").values[n] == pytest.approx(apart, rel=1e-3, abs=1e-6)
        inside = np.abs(explained.relevance[0].sum(axis=0))
        share = inside[masks_of(samples)[n]].sum() / inside.sum()
        assert found.cell("epsilon", "energy_in_mask").values[n] == pytest.approx(share, rel=1e-4)


def test_curves_are_the_mean_over_all_sizes(found: Any) -> None:
    (line,) = found.cell("epsilon", "deletion").curves.values()
    assert len(line.x) == len(line.mean) == 5
    area = sum((a + b) / 2 * (t - s) for s, t, a, b in zip(line.x, line.x[1:], line.mean, line.mean[1:], strict=False))
    assert found.cell("epsilon", "deletion").mean == pytest.approx(area, rel=1e-2)
    assert found.cell("epsilon", "randomisation").curves[""].ticks


def test_joined_curves_are_read_off_between_their_own_points() -> None:
    one = Measurement(np.array([1.0, 3.0]), {"": Curve(np.array([0.0, 0.5, 1.0]), np.array([[0, 1, 2.0]] * 2), "", "")})
    two = Measurement(np.array([2.0]), {"": Curve(np.array([0.0, 1.0]), np.array([[0, 4.0]]), "", "")}, "why")
    made = joined([one, two], [np.array([0, 2]), np.array([1])])
    assert made.values.tolist() == [1, 2, 3]
    assert made.why == "why"
    assert made.curves[""].y.tolist() == [[0, 1, 2], [0, 2, 4], [0, 1, 2]]


def test_a_mask_of_another_size_is_refused_with_the_size_of_its_sample(model: Any, samples: list[Any]) -> None:
    wrong = [*masks_of(samples)[:3], np.ones((9, 12), bool)]
    with pytest.raises(UsageError, match=r"shape \(9, 12\) for 4 samples, 2 of them of shape \(14, 10\)"):
        evaluate(model, samples, ["gradient"], ["energy_in_mask"], masks=wrong)


def test_the_command_takes_pictures_of_their_own_sizes_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    onnx.save(pooled("h", "w"), "m.onnx")
    rng = np.random.default_rng(0)
    for folder in ("in/a", "in/b", "masks/a", "masks/b"):
        Path(folder).mkdir(parents=True)
    for name, size in (("a/x", (12, 9)), ("b/x", (10, 14))):
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(f"in/{name}.png")
        Image.fromarray(rng.integers(0, 2, size, dtype=np.uint8) * 255).save(f"masks/{name}.png")
    words = ["evaluate", "m.onnx", "in", "-r", "--methods", "epsilon", "--metric", "energy_in_mask,deletion"]
    words += ["--masks", "masks", "-o", "r.json", "--set", "deletion.steps=2"]
    assert main(words) == 0
    stored = json.loads(Path("r.json").read_text())
    assert stored["samples"]["names"] == ["a/x", "b/x"]
    assert [len(cell["values"]) for cell in stored["cells"]] == [2, 2]
    assert None not in stored["cells"][0]["values"]
    kept = Path("r.json").read_bytes()
    assert main(words) == 0
    assert Path("r.json").read_bytes() == kept
