"""Each planted fault is found by the check that is for it, and its sound twin passes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxlrp
from onnxlrp.checks import Settings, baseline, run
from onnxlrp.checks.registry import CHECKS
from onnxlrp.checks.suite import open_context
from onnxlrp.errors import InputError
from support.check_cases import HANS, SHAPES, Tampering, checked, found, only, with_random_head, write_scenes


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return write_scenes(tmp_path_factory.mktemp("scenes"), stars=4, others=6)


@pytest.fixture(scope="module")
def marked(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return write_scenes(tmp_path_factory.mktemp("marked"), stars=6, others=6, marked=True)


@pytest.fixture(scope="module")
def shapes() -> Any:
    return onnxlrp.load(SHAPES)


@pytest.fixture(scope="module")
def hans() -> Any:
    return onnxlrp.load(HANS)


def folder(path: Any) -> list[str]:
    return [str(path)]


# -- a sound model


@pytest.mark.slow
def test_a_sound_model_passes_what_has_data_and_skips_the_rest_with_the_reason(shapes: Any, scenes: Any) -> None:
    findings = run(shapes, folder(scenes), Settings(masks=str(scenes / "masks")))
    assert not findings.fails
    assert not found(findings, "load", "failed")
    assert {f.check for f in findings.findings} == set(CHECKS)
    passed = {f.check for f in findings.findings if f.status == "passed"}
    assert passed >= {"load", "coverage", "preprocessing", "finite", "deterministic", "ledger", "inside", "pointing"}
    assert passed >= {"border", "corners", "randomised"}
    for finding in findings.findings:
        if finding.status == "skipped":
            assert finding.message
    assert set(found(findings, "finite")) == {path.stem for path in scenes.glob("*.png")}


def test_without_samples_the_checks_of_samples_are_skipped(shapes: Any) -> None:
    findings = run(shapes, None, Settings())
    assert not findings.fails
    assert {f.check for f in findings.findings if f.status == "passed"} == {"load", "coverage"}
    (finding,) = found(findings, "finite").values()
    assert (finding.status, finding.message) == ("skipped", "no samples are given")


def test_a_check_that_is_off_says_so(shapes: Any) -> None:
    findings = run(shapes, None, Settings(severities={"coverage": "off"}))
    (finding,) = found(findings, "coverage").values()
    assert (finding.status, finding.message) == ("skipped", "switched off in the settings")


@pytest.mark.slow
def test_findings_are_what_was_asked(shapes: Any, scenes: Any) -> None:
    findings = checked(shapes, folder(scenes), "ledger", thresholds={"ledger": {"residual": 0}})
    assert findings.about["thresholds"]["ledger"] == {"residual": 0}
    assert all(f.limit == 0 and f.status == "failed" for f in found(findings, "ledger").values())
    warned = run(
        shapes, folder(scenes), Settings(severities={"ledger": "warning"}, thresholds={"ledger": {"residual": 0}})
    )
    assert found(warned, "ledger", "failed")
    assert not warned.fails


# -- watermarks


@pytest.mark.slow
def test_a_watermark_fails_the_border_check_and_the_clean_twin_passes(hans: Any, shapes: Any, marked: Any) -> None:
    here = found(checked(hans, folder(marked), "border", "corners"), "border")
    assert here["class star"].fails
    assert here["class star"].value > 1.5
    corner = found(checked(hans, folder(marked), "corners"), "corners")["class star"]
    assert corner.fails
    assert "lower left" in corner.message
    clean = checked(shapes, folder(marked), "border", "corners")
    assert found(clean, "border")["class star"].status == "passed"
    assert not clean.fails


def test_a_watermark_is_outside_of_the_masks(hans: Any, shapes: Any, marked: Any) -> None:
    outside = checked(hans, folder(marked), "inside", "pointing", masks=str(marked / "masks"))
    assert len(found(outside, "inside", "failed")) >= 5
    assert found(outside, "pointing")["all samples"].status == "failed"
    assert not checked(shapes, folder(marked), "inside", "pointing", masks=str(marked / "masks")).fails


def test_energy_in_a_mask_by_its_definition(shapes: Any, scenes: Any) -> None:
    settings = only("inside", masks=str(scenes / "masks"))
    seen = open_context(shapes, folder(scenes), settings)
    values = found(run(shapes, folder(scenes), settings), "inside")
    for n, name in enumerate(seen.samples.names):
        heat, mask = np.abs(seen.explanation.relevance[n].sum(axis=0)), seen.masks[n]
        wanted = heat[mask].sum() / heat.sum() / (mask.sum() / mask.size)
        assert values[name].value == pytest.approx(wanted, rel=1e-6)


def test_few_samples_say_nothing_about_borders(shapes: Any, scenes: Any) -> None:
    findings = checked(shapes, [str(p) for p in sorted(scenes.glob("*.png"))[:3]], "border")
    assert {f.status for f in found(findings, "border").values()} == {"skipped"}


def test_a_sample_without_a_mask_is_named(shapes: Any, scenes: Any, tmp_path: Path) -> None:
    findings = checked(shapes, folder(scenes), "inside", masks=str(tmp_path))
    assert {f.message for f in found(findings, "inside").values()} == {"no mask"}
    assert len(found(findings, "inside")) == 10


def test_a_folder_of_masks_that_is_not_there_is_refused(shapes: Any, scenes: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder of masks"):
        checked(shapes, folder(scenes), "inside", masks=str(tmp_path / "nope"))


# -- the baseline


@pytest.fixture(scope="module")
def kept(shapes: Any, scenes: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("baseline")
    baseline.write(baseline.capture(open_context(shapes, folder(scenes), Settings())), path)
    return str(path)


DRIFT = ("baseline", "baseline_model", "logits", "drift")


def test_a_model_against_itself_does_not_drift(shapes: Any, scenes: Any, kept: str) -> None:
    findings = checked(shapes, folder(scenes), *DRIFT, baseline=kept)
    assert {f.status for f in findings.findings if f.check in DRIFT} == {"passed"}
    assert all(f.value == pytest.approx(1, abs=1e-9) for f in found(findings, "drift").values())


@pytest.mark.slow
def test_a_randomised_last_layer_fails_drift(scenes: Any, kept: str, tmp_path: Path) -> None:
    findings = checked(with_random_head(tmp_path / "m.onnx"), folder(scenes), *DRIFT, baseline=kept)
    drift = found(findings, "drift")
    assert sum(f.fails for f in drift.values()) >= 5
    assert findings.fails
    (other,) = found(findings, "baseline_model", "failed").values()
    assert other.severity == "warning"
    assert "re-baseline" in other.fix


@pytest.mark.slow
def test_drift_asks_for_the_class_that_was_explained_then(scenes: Any, kept: str, tmp_path: Path) -> None:
    # With weights of the opposite sign another class is best; the old one keeps its map up to that sign.
    model = onnx.load(SHAPES)
    (tensor,) = [t for t in model.graph.initializer if t.name == "head.weight"]
    tensor.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(tensor), tensor.name))
    onnx.save(model, tmp_path / "m.onnx")
    drift = found(checked(tmp_path / "m.onnx", folder(scenes), *DRIFT, baseline=kept), "drift")
    assert all(f.value < -0.9 for f in drift.values())


@pytest.mark.parametrize(("change", "what"), [({"method": "epsilon"}, "method"), ({"target": 2}, "method")])
def test_a_stale_baseline_says_re_baseline(
    shapes: Any, scenes: Any, kept: str, change: dict[str, Any], what: str
) -> None:
    findings = checked(shapes, folder(scenes), *DRIFT, baseline=kept, **change)
    failed = found(findings, "baseline", "failed")[what]
    assert "stale" in failed.message
    assert "re-baseline" in failed.fix
    assert {f.status for f in found(findings, "drift").values()} == {"skipped"}
    assert all("stale" in f.message for f in found(findings, "drift").values())


def test_another_preprocessing_makes_a_baseline_stale(scenes: Any, kept: str) -> None:
    findings = checked(SHAPES, folder(scenes), *DRIFT, baseline=kept, prep={"prep": "imagenet"})
    assert set(found(findings, "baseline", "failed")) == {"preprocessing"}
    assert findings.fails


def test_samples_that_changed_or_are_new_or_are_gone_are_named(
    shapes: Any, scenes: Any, kept: str, tmp_path: Path
) -> None:
    from PIL import Image

    paths = sorted(scenes.glob("*.png"))
    Image.open(paths[1]).save(tmp_path / paths[0].name)
    Image.open(paths[2]).save(tmp_path / "new.png")
    Image.open(paths[3]).save(tmp_path / paths[3].name)
    findings = checked(shapes, folder(tmp_path), *DRIFT, baseline=kept)
    drift = found(findings, "drift")
    assert "changed" in drift[paths[0].stem].message
    assert "lacks this sample" in drift["new"].message
    assert drift[paths[3].stem].status == "passed"
    gone = found(findings, "baseline", "failed")["samples"]
    assert gone.value == 8


def test_a_folder_without_a_baseline_fails_once(shapes: Any, scenes: Any, tmp_path: Path) -> None:
    findings = checked(shapes, folder(scenes), *DRIFT, baseline=str(tmp_path))
    assert [f.check for f in findings.findings if f.status == "failed"] == ["baseline"]


# -- stored outputs


def stored(shapes: Any, scenes: Any, path: Any, **more: Any) -> tuple[str]:
    samples = open_context(shapes, folder(scenes), Settings()).samples
    scores = shapes.outputs(samples.values)["scores"]
    extra: dict[str, Any] = {"image": samples.values} if more.get("inputs") else {}
    np.savez(path, logits=scores, names=list(samples.names), **extra)
    return (str(path),)


@pytest.mark.parametrize("inputs", [False, True])
def test_outputs_that_were_stored_agree(shapes: Any, scenes: Any, tmp_path: Path, inputs: bool) -> None:
    expected = stored(shapes, scenes, tmp_path / "e.npz", inputs=inputs)
    findings = checked(shapes, folder(scenes), "forward", expected=expected)
    assert {f.status for f in found(findings, "forward").values()} == {"passed"}
    assert len(found(findings, "forward")) == 10 + inputs


@pytest.mark.few(1)
@pytest.mark.parametrize("inputs", [False, True])
@pytest.mark.parametrize("prep", [{"prep": "imagenet"}, {"mean": [0.4, 0.5, 0.6], "std": [0.3, 0.25, 0.2]}])
def test_a_wrong_mean_and_std_is_the_probable_cause(
    shapes: Any, scenes: Any, tmp_path: Path, inputs: bool, prep: dict[str, Any]
) -> None:
    expected = stored(shapes, scenes, tmp_path / "e.npz", inputs=inputs)
    findings = checked(SHAPES, folder(scenes), "forward", expected=expected, prep=prep)
    assert findings.fails
    failed = [f for name, f in found(findings, "forward").items() if name.startswith("scene_")]
    assert len(failed) == 10
    for finding in failed:
        assert re.search(r"probable cause: the preprocessing \(mean, std\)", finding.message)
        assert finding.fix == "prep = { mean = [0.5, 0.5, 0.5], std = [0.25, 0.25, 0.25] }"


def test_a_mean_that_nobody_states_is_found_from_stored_inputs(shapes: Any, scenes: Any, tmp_path: Path) -> None:
    """The file that made them had a preprocessing that is stated nowhere now."""
    odd = onnxlrp.load(SHAPES, prep={"mean": [0.31, 0.42, 0.53], "std": [0.21, 0.32, 0.43]})
    expected = stored(odd, scenes, tmp_path / "e.npz", inputs=True)
    findings = found(checked(shapes, folder(scenes), "forward", expected=expected), "forward")
    numbers = re.findall(r"[\d.]+", next(f.fix for f in findings.values() if f.fails))
    np.testing.assert_allclose([float(n) for n in numbers], [0.31, 0.42, 0.53, 0.21, 0.32, 0.43], atol=2e-3)


def test_other_weights_are_told_from_another_preprocessing(shapes: Any, scenes: Any, tmp_path: Path) -> None:
    expected = stored(shapes, scenes, tmp_path / "e.npz", inputs=True)
    model = with_random_head(tmp_path / "m.onnx")
    findings = found(checked(model, folder(scenes), "forward", expected=expected), "forward")
    assert any("weights or graph differ" in f.message for f in findings.values())
    assert not any("probable cause: the preprocessing" in f.message for f in findings.values())


def test_a_folder_of_onnx_test_data(shapes: Any, tmp_path: Path) -> None:
    folder = tmp_path / "test_data_set_0"
    folder.mkdir()
    x = np.random.default_rng(0).normal(size=(2, 3, 64, 64)).astype(np.float32)
    y = shapes.outputs(x)["scores"]
    for name, array in (("input_0", x), ("output_0", y)):
        (folder / f"{name}.pb").write_bytes(numpy_helper.from_array(array).SerializeToString())
    findings = checked(SHAPES, None, "forward", expected=(str(tmp_path / "test_data_set_*"),))
    assert {f.status for f in found(findings, "forward").values()} == {"passed"}
    (folder / "output_0.pb").write_bytes(numpy_helper.from_array(y + 1).SerializeToString())
    assert checked(SHAPES, None, "forward", expected=(str(folder),)).fails


@pytest.mark.parametrize("name", ["e.npz", "test_data_set_0"])
def test_stored_outputs_that_are_not_there_are_refused(shapes: Any, tmp_path: Path, name: str) -> None:
    with pytest.raises(onnxlrp.OnnxLrpError):
        checked(shapes, None, "forward", expected=(str(tmp_path / name),))


def test_outputs_of_another_shape_fail(shapes: Any, scenes: Any, tmp_path: Path) -> None:
    np.savez(tmp_path / "e.npz", logits=np.zeros((10, 7), np.float32))
    findings = checked(shapes, folder(scenes), "forward", expected=(str(tmp_path / "e.npz"),))
    assert "stored one has (7,)" in next(iter(found(findings, "forward").values())).message


# -- numbers


def with_engine(change: Any) -> Any:
    return onnxlrp.load(SHAPES, engine=Tampering(change))


@pytest.mark.slow
def test_nan_is_found_and_names_the_sample(scenes: Any) -> None:
    def spoilt(name: Any, value: Any, runs: Any) -> Any:
        value = value.copy()
        if name == "relevance":
            value[0, 0, 0, :3] = np.nan
        return value

    findings = found(checked(with_engine(spoilt), folder(scenes), "finite", batch_size=100), "finite")
    failed = [f for f in findings.values() if f.fails]
    assert len(failed) == 1
    assert failed[0].value == 3
    assert "3 values of the relevance" in failed[0].message


@pytest.mark.slow
def test_what_differs_from_run_to_run_is_not_deterministic(scenes: Any) -> None:
    model = with_engine(lambda name, value, runs: value * (1 + 1e-5 * runs) if name == "relevance" else value)
    findings = found(checked(model, folder(scenes), "deterministic"), "deterministic")
    assert all(f.fails and 0 < f.value < 1e-3 for f in findings.values())
    loose = checked(model, folder(scenes), "deterministic", thresholds={"deterministic": {"tolerance": 1e-3}})
    assert not loose.fails


def test_a_ledger_that_does_not_close_names_the_layer(scenes: Any) -> None:
    def leaking(name: Any, value: Any, runs: Any) -> Any:
        return value * 1.01 if re.fullmatch(r"ledger/.*/in", name) else value

    findings = found(checked(with_engine(leaking), folder(scenes), "ledger"), "ledger")
    assert all(f.fails and f.value == pytest.approx(0.01, rel=0.5) for f in findings.values())
    assert all(re.search(r"in [\w.]+$", f.message) for f in findings.values())


def test_a_method_without_a_ledger_is_skipped(shapes: Any, scenes: Any) -> None:
    findings = checked(shapes, folder(scenes), "ledger", method="gradient")
    assert "gradient keeps no ledger" in next(iter(found(findings, "ledger").values())).message


@pytest.mark.slow
def test_an_explanation_that_ignores_the_weights_fails_the_smoke_test(scenes: Any) -> None:
    def constant(name: Any, value: Any, runs: Any) -> Any:
        return np.ones_like(value) if name == "relevance" else value

    findings = found(checked(with_engine(constant), folder(scenes), "randomised"), "randomised")
    assert findings["all samples"].status == "failed"
    assert findings["all samples"].value == pytest.approx(1)


# -- loading


def test_a_file_that_is_no_model_fails_the_check_load(tmp_path: Path) -> None:
    (tmp_path / "cut.onnx").write_bytes(SHAPES.read_bytes()[:5000])
    findings = run(tmp_path / "cut.onnx", None, Settings())
    assert found(findings, "load")["cut.onnx"].fails
    assert {f.status for f in findings.findings if f.check != "load"} == {"skipped"}


def test_a_file_that_is_not_there_is_a_mistake_of_the_request(tmp_path: Path) -> None:
    with pytest.raises(onnxlrp.OnnxLrpError, match="no such file"):
        run(tmp_path / "none.onnx", None, Settings())
    with pytest.raises(onnxlrp.OnnxLrpError, match="no model is given"):
        run(None, None, Settings())


def test_a_layer_without_a_rule_fails_coverage_and_nothing_is_silent(tmp_path: Path) -> None:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])
    nodes = [helper.make_node("Det", ["m"], ["d"]), helper.make_node("Mul", ["x", "e"], ["y"])]
    shape = numpy_helper.from_array(np.array([-1, 2, 2], np.int64), "shape")
    column = numpy_helper.from_array(np.array([-1, 1], np.int64), "column")
    nodes = [
        helper.make_node("Reshape", ["x", "shape"], ["m"]),
        nodes[0],
        helper.make_node("Reshape", ["d", "column"], ["e"]),
        nodes[1],
    ]
    graph = helper.make_graph(nodes, "g", [x], [y], [shape, column])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), tmp_path / "m.onnx")
    findings = run(tmp_path / "m.onnx", np.ones((2, 4), np.float32), Settings())
    (coverage,) = found(findings, "coverage").values()
    assert coverage.fails
    assert "Det" in coverage.message
    assert all("the method gives no explanation" in f.message for f in found(findings, "finite").values())
    assert not found(findings, "drift", "passed")


def test_assumed_preprocessing_is_a_warning(scenes: Any, tmp_path: Path) -> None:
    model = onnx.load(SHAPES)
    del model.metadata_props[:]
    onnx.save(model, tmp_path / "m.onnx")
    (finding,) = found(checked(tmp_path / "m.onnx", folder(scenes), "preprocessing"), "preprocessing").values()
    assert (finding.status, finding.severity) == ("failed", "warning")
    assert "--" in finding.fix


# -- budgets


def test_budgets(shapes: Any, scenes: Any) -> None:
    wide = {
        "latency": {"explain_ms": 1e9, "forward_ms": 1e9, "forwards": 1e9, "repeats": 1},
        "memory": {"peak_mb": 1e9},
    }
    assert not checked(shapes, folder(scenes), "latency", "memory", thresholds=wide).fails
    none = {"latency": {"explain_ms": 0, "repeats": 1}, "memory": {"peak_mb": 1}}
    findings = checked(shapes, folder(scenes), "latency", "memory", thresholds=none)
    assert found(findings, "latency")["explanation"].fails
    assert found(findings, "memory")["process"].fails


def test_an_input_that_is_no_picture_has_no_places(tmp_path: Path) -> None:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 6])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])
    w = numpy_helper.from_array(np.random.default_rng(0).normal(size=(6, 3)).astype("f"), "w")
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [x], [y], [w])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), tmp_path / "m.onnx")
    samples = np.random.default_rng(1).normal(size=(5, 6)).astype(np.float32)
    made = open_context(tmp_path / "m.onnx", samples, Settings())
    baseline.write(baseline.capture(made), tmp_path)
    findings = run(tmp_path / "m.onnx", samples, Settings(baseline=str(tmp_path), masks=str(tmp_path)))
    assert not findings.fails
    assert {f.status for f in found(findings, "drift").values()} == {"passed"}
    for id in ("inside", "border", "corners"):
        assert "no height and width" in next(iter(found(findings, id).values())).message
