"""An evaluation: the same numbers for the same seed, resumed to the same file, at the command line and from Python."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scenes import HELD_OUT, render

import onnxlrp
from onnxlrp.cli import main
from onnxlrp.errors import InputError, NothingToDo, UsageError
from onnxlrp.evaluation import curves
from onnxlrp.evaluation.evaluate import evaluate
from onnxlrp.evaluation.metrics.registry import METRICS
from onnxlrp.evaluation.results import read
from support.paths import MODELS
from support.planted import unruled
from support.problems import convolutional

SHAPES = MODELS / "shapes.onnx"
METHODS = ["epsilon_plus_flat", "sensitivity", "smooth_grad"]
QUICK = {
    "pixel_flipping": {"steps": 2},
    "pointing_game": {},
    "energy_in_mask": {},
    "max_sensitivity": {"samples": 1},
    "ledger": {},
}
FEW = {"smooth_grad": {"samples": 2}}


@pytest.fixture(scope="module")
def model() -> Any:
    return onnxlrp.load(SHAPES)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A folder of three scenes, and one of the masks of two of them."""
    folder = tmp_path_factory.mktemp("evaluate")
    (folder / "pictures").mkdir()
    (folder / "masks").mkdir()
    for n in range(3):
        image, mask, _ = render(HELD_OUT + n)
        Image.fromarray(image).save(folder / "pictures" / f"scene{n}.png")
        if n:
            Image.fromarray(mask).save(folder / "masks" / f"scene{n}.png")
    return folder


def run(model: Any, scenes: Any, **options: Any) -> Any:
    pictures = sorted((scenes / "pictures").iterdir())
    asked = {"methods": METHODS, "metrics": QUICK, "masks": scenes / "masks", "options": FEW, **options}
    return evaluate(model, pictures, asked.pop("methods"), asked.pop("metrics"), **asked)


@pytest.fixture(scope="module")
def whole(model: Any, scenes: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """One run over everything, and its file."""
    out = tmp_path_factory.mktemp("whole") / "results.json"
    return run(model, scenes, out=out), out


@pytest.mark.slow
def test_the_cells_are_what_the_metrics_say(whole: tuple[Any, Any]) -> None:
    found, _ = whole
    assert [(c.method, c.metric) for c in found.cells] == [(m, q) for m in METHODS for q in QUICK]
    pointing = found.cell("epsilon_plus_flat", "pointing_game")
    assert pointing.values == [None, 1.0, 1.0]  # the first scene has no mask
    assert (pointing.mean, pointing.count) == (1.0, 2)
    assert "1 of 3" in pointing.note
    energy = found.cell("epsilon_plus_flat", "energy_in_mask")
    assert energy.mean == pytest.approx(np.mean(energy.values[1:]))
    assert energy.low <= energy.mean <= energy.high
    ledger = found.cell("sensitivity", "ledger")
    assert ledger.mean is None
    assert "no ledger" in ledger.note
    assert not ledger.refused
    assert found.cell("epsilon_plus_flat", "ledger").mean < 1e-4


def test_the_same_seed_gives_the_same_numbers(model: Any, scenes: Any, whole: tuple[Any, Any]) -> None:
    asked = {"methods": ["smooth_grad"], "metrics": {"pixel_flipping": {"steps": 2}, "max_sensitivity": {"samples": 1}}}
    again, other = (run(model, scenes, **asked, seed=seed) for seed in (0, 1))
    for metric in asked["metrics"]:
        assert again.cell("smooth_grad", metric) == whole[0].cell("smooth_grad", metric)
        assert other.cell("smooth_grad", metric).values != again.cell("smooth_grad", metric).values


@pytest.mark.slow
def test_a_run_that_is_stopped_goes_on_to_the_same_file(
    model: Any, scenes: Any, whole: tuple[Any, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "results.json"

    def stop(done: Any, total: Any, name: Any) -> None:
        if done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(model, scenes, out=out, progress=stop)
    assert len(read(out).cells) == 7
    again = run(model, scenes, out=out)
    assert out.read_bytes() == whole[1].read_bytes()
    assert list(again.cells) == list(whole[0].cells)


def test_what_is_there_is_not_computed_again(
    model: Any, scenes: Any, whole: tuple[Any, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "results.json"
    out.write_bytes(whole[1].read_bytes())
    before = out.stat().st_mtime_ns

    def refuse(*_: Any) -> Any:
        raise AssertionError("computed again")

    monkeypatch.setattr("onnxlrp.evaluation.evaluate._EvaluationRun._measured", refuse)
    assert list(run(model, scenes, out=out).cells) == list(whole[0].cells)
    assert out.stat().st_mtime_ns == before
    with pytest.raises(AssertionError, match="computed again"):
        run(model, scenes, out=out, seed=1)
    with pytest.raises(AssertionError, match="computed again"):
        run(model, scenes, out=out, metrics={"pixel_flipping": {"steps": 3}})


def test_a_run_of_less_keeps_the_rest_of_the_file(
    model: Any, scenes: Any, whole: tuple[Any, Any], tmp_path: Path
) -> None:
    out = tmp_path / "results.json"
    out.write_bytes(whole[1].read_bytes())
    found = run(model, scenes, out=out, methods=["gradient"], metrics=["ledger"], options={})
    assert [c.method for c in found.cells] == ["gradient"]
    assert len(read(out).cells) == len(whole[0].cells) + 1


def test_results_of_another_question_are_not_overwritten(
    model: Any, scenes: Any, whole: tuple[Any, Any], tmp_path: Path
) -> None:
    out = tmp_path / "results.json"
    out.write_bytes(whole[1].read_bytes())
    with pytest.raises(UsageError, match="other classes"):
        run(model, scenes, out=out, target=[0, 1, 2])
    with pytest.raises(UsageError, match="other samples"):
        evaluate(model, sorted((scenes / "pictures").iterdir())[:2], ["gradient"], ["ledger"], out=out)
    assert out.read_bytes() == whole[1].read_bytes()
    out.write_text('{"weights": 3}')
    with pytest.raises(InputError, match="not the results"):
        run(model, scenes, out=out)
    assert out.read_text() == '{"weights": 3}'


@pytest.mark.slow
def test_own_functions_and_composites_are_judged_too(model: Any, scenes: Any) -> None:
    from onnxlrp.methods.registry import make_composite

    def noise(model: Any, x: Any, ids: Any) -> Any:
        return np.random.default_rng(0).normal(size=x.shape)

    methods = {"noise": noise, "mine": make_composite("epsilon_plus"), "named": "epsilon_plus"}
    found = run(model, scenes, methods=methods, metrics=["energy_in_mask", "max_sensitivity"], options={})
    assert found.cell("mine", "energy_in_mask").values == found.cell("named", "energy_in_mask").values
    assert found.cell("noise", "energy_in_mask").mean < found.cell("mine", "energy_in_mask").mean
    assert found.cell("noise", "max_sensitivity").mean == 0
    keys = [run(model, scenes, methods={"n": noise}, metrics=["ledger"], options={}).cells[0].key for _ in range(2)]
    assert keys[0] == keys[1]
    assert len({cell.key for cell in found.cells}) == 6


def test_a_method_that_cannot_explain_the_model_is_said_to_be_refused() -> None:
    x = np.random.default_rng(0).normal(size=(2, 1, 16, 16)).astype(np.float32)
    found = evaluate(unruled(), x, ["epsilon_plus", "occlusion"], ["deletion"], options={"occlusion": {"window": 4}})
    refused, fine = found.cell("epsilon_plus", "deletion"), found.cell("occlusion", "deletion")
    assert refused.refused
    assert str(refused) == "refused"
    assert "Shrink" in refused.note
    assert fine.mean is not None


def test_weights_that_are_drawn_anew_change_the_maps_of_a_model_from_a_file(model: Any, scenes: Any) -> None:
    """A method that forgets the weights has 1, to the last digit: so would one that is asked of the old model."""
    found = evaluate(model, sorted((scenes / "pictures").iterdir())[:2], ["gradient"], {"randomisation": {"layers": 2}})
    assert found.cell("gradient", "randomisation").mean < 0.9


def test_masks_may_be_arrays(model: Any, scenes: Any) -> None:
    masks = [None, np.eye(64, dtype=bool), np.ones((64, 64))]
    found = run(model, scenes, masks=masks, methods=["gradient"], metrics=["energy_in_mask"], options={})
    assert found.cell("gradient", "energy_in_mask").values[2] == 1
    with pytest.raises(UsageError, match="mask"):
        run(
            model,
            scenes,
            masks=[np.eye(3, dtype=bool)] * 3,
            methods=["gradient"],
            metrics=["pointing_game"],
            options={},
        )


@pytest.mark.parametrize(
    "wrong",
    [
        {"methods": ["gradients"]},
        {"methods": []},
        {"metrics": ["pointing"]},
        {"metrics": []},
        {"metrics": {"deletion": {"step": 1}}},
        {"options": {"gradient": {}}},
        {"options": {"smooth_grad": {"sample": 2}}},
        {"masks": None},
        {"target": "top2"},
    ],
    ids=str,
)
def test_what_is_asked_wrongly_is_refused_with_the_fix(model: Any, scenes: Any, wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError) as caught:
        run(model, scenes, **wrong)
    assert caught.value.fix


def test_a_folder_without_the_masks_is_refused(model: Any, scenes: Any, tmp_path: Path) -> None:
    with pytest.raises(NothingToDo):
        run(model, scenes, masks=tmp_path)


def test_curves_are_pictures_of_every_metric_that_has_some(whole: tuple[Any, Any], tmp_path: Path) -> None:
    found, _ = whole
    written = curves.save(found, tmp_path / "results.json")
    assert [path.name for path in written] == ["results.pixel_flipping.png"]
    with Image.open(written[0]) as picture:
        colors = {tuple(c) for c in np.asarray(picture.convert("RGB")).reshape(-1, 3)}
    assert {(0, 114, 178), (213, 94, 0), (0, 158, 115)} <= colors  # a line of each of the three methods


@pytest.mark.slow
def test_the_command_line_gives_the_same_numbers(
    model: Any, scenes: Any, whole: tuple[Any, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "results.json"
    words = ["evaluate", str(SHAPES), str(scenes / "pictures"), "--methods", ",".join(METHODS), "--samples", "2"]
    words += ["--metric", ",".join(QUICK), "--set", "pixel_flipping.steps=2", "--set", "max_sensitivity.samples=1"]
    words += ["--masks", str(scenes / "masks"), "-o", str(out)]
    assert main(words) == 0
    said = capsys.readouterr()
    assert out.read_bytes() == whole[1].read_bytes()
    assert (tmp_path / "results.pixel_flipping.png").is_file()
    table = [line.split()[0] for line in said.out.splitlines()]
    assert table == ["method", *METHODS, "wrote"]
    assert "no ledger" in said.err
    assert main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(out.read_text())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--metric", "pointing"], "pointing_game"),
        (["--metric", "pointing_game"], "--masks"),
        (["--methods", "gradients"], "gradient"),
        (["--set", "deletion.steps"], "METRIC.OPTION"),
        (["--set", "deletion.step=3"], "steps"),
        (["--set", "deletion.steps=few"], "number"),
        (["--set", "ledger.steps=3"], "not evaluated"),
        (["--seed", "x"], "--seed"),
        (["-o", "results.txt"], "results.json"),
        (["--batch-size", "0"], "1 or more"),
    ],
    ids=str,
)
def test_the_command_line_refuses_with_the_fix(
    scenes: Any, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(SHAPES), str(scenes / "pictures"), *words]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error")
    assert said in err


def test_all_metrics_are_those_that_need_no_masks_where_none_are_given(scenes: Any) -> None:
    from argparse import Namespace

    from onnxlrp.commands.evaluate import _metrics

    without = set(_metrics(Namespace(metric="all", masks=None, set=[])))
    assert set(METRICS) - without == {"pointing_game", "energy_in_mask"}
    assert set(_metrics(Namespace(metric="all", masks="masks/", set=[]))) == set(METRICS)


def test_quantus_judges_through_the_adapter(model: Any, scenes: Any) -> None:
    quantus = pytest.importorskip("quantus", exc_type=ImportError)
    from onnxlrp.evaluation.quantus import adapted, explain_func

    x = model.read(sorted((scenes / "pictures").iterdir())).values
    ids = model.outputs(x)["logits"].argmax(axis=1)
    masks = np.stack([np.asarray(Image.open(path)) for path in sorted((scenes / "masks").iterdir())]) > 0
    how = {"model": adapted(model), "explain_func": explain_func("epsilon_plus_flat")}
    pointing = quantus.PointingGame(disable_warnings=True)
    hits = pointing(x_batch=x[1:], y_batch=ids[1:], s_batch=masks[:, None], **how)
    ours = run(model, scenes, methods=["epsilon_plus_flat"], metrics=["pointing_game"], options={})
    assert [float(hit) for hit in hits] == ours.cells[0].values[1:]
    moved = quantus.MaxSensitivity(nr_samples=2, disable_warnings=True)(x_batch=x, y_batch=ids, **how)
    assert np.isfinite(moved).all()


def test_controls_stand_in_every_table_of_abpc_and_in_no_other() -> None:
    """Maps that know nothing of the model: edges of the picture, and a Gaussian in its middle."""
    model = convolutional()
    x = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)
    found = evaluate(model, x, ["epsilon"], {"abpc": {"cells": 4}, "deletion": {}})
    controls = ["edges (control)", "centre (control)"]
    assert [row[0] for row in found.rows()] == ["method", "epsilon", *controls]
    assert all(row[2] == "" for row in found.rows()[2:])
    assert [cell.metric for cell in found.cells] == ["abpc", "deletion", "abpc", "abpc"]
    assert not any(cell.refused for cell in found.cells)
    plain = evaluate(model, x, ["epsilon"], ["deletion"])
    assert [cell.method for cell in plain.cells] == ["epsilon"]
    down, right = np.mgrid[:8, :8] - 3.5
    heat = np.exp(-(down**2 + right**2) / 8)
    mine = evaluate(model, x, {"mine": lambda m, x, ids: np.broadcast_to(heat / 3, x.shape)}, {"abpc": {"cells": 4}})
    assert mine.cell("mine", "abpc").values == found.cell("centre (control)", "abpc").values
