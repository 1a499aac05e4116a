"""Checks of samples of several sizes: each by its own, means over all of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

import onnxlrp
from onnxlrp.checks import Settings, baseline, run
from onnxlrp.checks.calibrate import proposals
from onnxlrp.checks.suite import open_context
from onnxlrp.cli import main
from onnxlrp.errors import InputError
from onnxlrp.explanation.maps import shares
from onnxlrp.findings.finding import MissingData
from support.open_models import pooled
from support.tiny_models import values

SIZES = [(12, 15), (16, 10), (12, 15), (16, 10), (20, 20)]


def found(findings: Any, check: str) -> list[Any]:
    return [one for one in findings.findings if one.check == check]


@pytest.fixture(scope="module")
def model() -> Any:
    return onnxlrp.load(pooled("h", "w"))


@pytest.fixture(scope="module")
def samples() -> list[Any]:
    return [values(3, *size, seed=n) for n, size in enumerate(SIZES)]


@pytest.fixture(scope="module")
def findings(model: Any, samples: list[Any]) -> Any:
    return run(model, samples, Settings(method="epsilon", target=1))


def test_every_sample_is_judged_in_its_place(model: Any, samples: list[Any], findings: Any) -> None:
    names = [f"array.{n}" for n in range(5)]
    for check in ("finite", "deterministic", "ledger"):
        assert [one.subject for one in found(findings, check)] == names
        assert {one.status for one in found(findings, check)} == {"passed"}
    alone = [run(model, [x], Settings(method="epsilon", target=1)) for x in samples[:2]]
    for n, one in enumerate(alone):
        (own,) = found(one, "ledger")
        assert found(findings, "ledger")[n].value == pytest.approx(own.value, rel=0.5, abs=1e-6)


def test_borders_and_corners_are_means_of_shares_at_each_size(model: Any, samples: list[Any], findings: Any) -> None:
    """By loops: the share of a border an eighth of each side wide, and of the largest corner of a quarter."""
    lifts, corners = [], np.zeros((5, 4))
    energies = []
    for n, x in enumerate(samples):
        (one,) = model.explain_each([x], 1, "epsilon")
        (heat,) = shares(one.kind.to_maps(one.relevance))
        h, w = heat.shape
        a, b = max(1, round(h / 8)), max(1, round(w / 8))
        inner = heat[a : h - a, b : w - b]
        energies.append(1 - inner.sum())
        lifts.append(1 - inner.size / heat.size)
        a, b = round(h / 4), round(w / 4)
        corners[n] = [heat[:a, :b].sum(), heat[:a, -b:].sum(), heat[-a:, :b].sum(), heat[-a:, -b:].sum()]
    border = found(findings, "border")[0]
    assert border.value == pytest.approx(np.mean(energies) / np.mean(lifts), rel=1e-5)
    areas = [round(h / 4) * round(w / 4) / (h * w) for h, w in SIZES]
    assert found(findings, "corners")[0].value == pytest.approx(corners.mean(axis=0).max() / np.mean(areas), rel=1e-5)


def test_the_mean_cosine_of_random_weights_is_over_all_sizes(model: Any, samples: list[Any], findings: Any) -> None:
    each = []
    for own in ([0, 2], [1, 3], [4]):
        one = run(model, [samples[n] for n in own], Settings(method="epsilon", target=1))
        each += [found(one, "randomised")[0].value] * len(own)
    assert found(findings, "randomised")[0].value == pytest.approx(np.mean(each), rel=1e-5)


def test_a_check_that_compares_samples_of_one_size_is_skipped_with_the_fix(model: Any, samples: list[Any]) -> None:
    context = open_context(model, samples, Settings(method="epsilon"))
    assert context.names == [f"array.{n}" for n in range(5)]
    with pytest.raises(MissingData, match="samples of 3 sizes") as error:
        _ = context.maps
    assert "--size" in error.value.fix


def test_thresholds_are_proposed_by_the_worst_of_all_sizes(model: Any, samples: list[Any]) -> None:
    made = proposals(open_context(model, samples[:2], Settings(method="epsilon", target=1)))
    assert {"drift", "ledger", "latency"} <= {one.check for one in made}


def test_a_baseline_needs_heatmaps_of_one_size_when_they_are_pooled(
    model: Any, samples: list[Any], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="12 x 15, 16 x 10") as error:
        baseline.capture(open_context(model, samples[:2], Settings(method="epsilon")))
    assert "--size" in error.value.fix
    large = [values(3, *size, seed=n) for n, size in enumerate([(60, 70), (64, 58)])]
    settings = Settings(method="epsilon", baseline=str(tmp_path))
    baseline.write(baseline.capture(open_context(model, large, settings)), tmp_path)
    again = run(model, large[::-1], settings)
    assert [one.status for one in found(again, "drift")] == ["skipped"] * 2  # other samples of these names
    same = run(model, large, settings)
    assert [(one.status, round(one.value, 6)) for one in found(same, "drift")] == [("passed", 1)] * 2


def test_the_command_reads_lists_folders_and_masks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    onnx.save(pooled("h", "w"), "m.onnx")
    rng = np.random.default_rng(0)
    for n, size in enumerate(SIZES[:2]):
        Path(f"in/{n}").mkdir(parents=True)
        Path(f"masks/{n}").mkdir(parents=True)
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(f"in/{n}/x.png")
        Image.fromarray(rng.integers(0, 2, size, dtype=np.uint8) * 255).save(f"masks/{n}/x.png")
    Path("list.csv").write_text("file,label\nin/0/x.png,a\nin/1/x.png,b\n")
    said = []
    off = ["--set", "inside.severity=note", "--set", "inside.lift=0", "--set", "pointing.rate=0"]
    for words in (["in", "-r"], ["--from-list", "list.csv", "--path-column", "file"], ["in/*/x.png"]):
        main(["check", "m.onnx", *words, "--masks", "masks", *off, "--format", "json"])
        out = capsys.readouterr().out
        assert '"subject": "0/x"' in out
        assert "no mask" not in out
        said.append(out.count('"subject": "1/x"'))
    assert len(set(said)) == 1
    Path("onnxlrp.toml").write_text('model = "m.onnx"\nfrom_list = "list.csv"\npath_column = "file"\n')
    main(["check", "--format", "json"])
    assert '"subject": "0/x"' in capsys.readouterr().out
    assert main(["check", "m.onnx", "in/0/x.png", "--from-list", "list.csv"]) == 2
    assert "beside" in capsys.readouterr().err
