"""The pytest plugin, in runs of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from PIL import Image

from onnxlrp.checks import pytest_assertions, regression
from onnxlrp.checks.registry import CHECKS
from support import small_nets

pytest_plugins = ["pytester"]

HEAVY = {"numpy", "onnx", "onnxruntime", "PIL"}
# A run inside this process forgets the modules that it was the first to import, but packages keep them: two of each.
LOADED = pytest_assertions, list(CHECKS)
# As pytest looks for it: in every distribution, also in two of one name.
POINTS = [point for found in distributions() for point in found.entry_points.select(group="pytest11")]
INSTALLED = any(point.value == "onnxlrp.pytest_plugin" for point in POINTS)
PLUGIN = () if INSTALLED else ("-p", "onnxlrp.pytest_plugin")


@pytest.fixture
def folder(pytester: pytest.Pytester) -> Any:
    """A folder with net.onnx, which takes arrays [N, 2, 6, 6], and x.npy of two samples."""
    onnx.save(small_nets.NETS["everything"](), pytester.path / "net.onnx")
    np.save(pytester.path / "x.npy", small_nets.batch(small_nets.graph("everything"))["x"])
    return pytester


def outcome(folder: Any, *words: Any, **counts: Any) -> Any:
    result = folder.runpytest_inprocess(*PLUGIN, "-p", "no:cacheprovider", *words)
    result.assert_outcomes(**counts)
    return result


def test_models_are_loaded_once_beside_the_test(folder: Any) -> None:
    folder.makepyfile(
        """
        import numpy as np

        def test_a(onnxlrp):
            test_a.model = onnxlrp.load("net.onnx", engine="ort")
            assert test_a.model.explain(np.load("x.npy")).relevance.shape == (2, 2, 6, 6)

        def test_b(onnxlrp):
            assert onnxlrp.load("net.onnx", engine="ort") is test_a.model
            assert onnxlrp.load("net.onnx", engine="reference") is not test_a.model
        """
    )
    outcome(folder, passed=2)


@pytest.mark.slow
def test_a_closed_ledger_passes_and_an_open_one_fails(folder: Any) -> None:
    folder.makepyfile(
        """
        import dataclasses
        import numpy as np
        import pytest

        def explained(onnxlrp, **how):
            model = onnxlrp.load("net.onnx", engine="ort")
            return model.explain(np.load("x.npy"), **{"ledger": True, "method": "epsilon_plus", **how})

        def test_holds(onnxlrp):
            onnxlrp.assert_conserves(explained(onnxlrp))
            onnxlrp.assert_conserves(explained(onnxlrp, targets=[1, 2, 3]))

        def test_a_row_that_does_not_close(onnxlrp):
            e = explained(onnxlrp)
            row = dataclasses.replace(e.ledger[3], bias=e.ledger[3].bias + e.ledger[3].scale)
            onnxlrp.assert_conserves(dataclasses.replace(e, ledger=[*e.ledger[:3], row, *e.ledger[4:]]))

        def test_a_heatmap_that_lost_some(onnxlrp):
            e = explained(onnxlrp)
            onnxlrp.assert_conserves(dataclasses.replace(e, relevance=e.relevance * 1.01))

        def test_nan(onnxlrp):
            e = explained(onnxlrp)
            onnxlrp.assert_conserves(dataclasses.replace(e, relevance=e.relevance * np.nan))

        def test_no_ledger(onnxlrp):
            onnxlrp.assert_conserves(explained(onnxlrp, ledger=False))

        def test_gradient(onnxlrp):
            onnxlrp.assert_conserves(explained(onnxlrp, method="gradient"))
        """
    )
    result = outcome(folder, passed=1, failed=5)
    said = "does not close", "what the walk began with", "ledger=True", "does not conserve"
    result.stdout.fnmatch_lines_random([f"E*{words}*" for words in said])


def test_inside_a_mask(folder: Any) -> None:
    x = np.load(folder.path / "x.npy")
    mask = np.zeros(x.shape[2:], bool)
    mask[:3] = True
    np.save(folder.path / "mask.npy", mask.astype("f"))
    Image.fromarray(mask.astype(np.uint8) * 255).save(folder.path / "mask.png")
    folder.makepyfile(
        """
        import dataclasses
        import numpy as np
        import pytest

        @pytest.fixture
        def explained(onnxlrp):
            e = onnxlrp.load("net.onnx", engine="ort").explain(np.load("x.npy"))
            relevance = np.zeros_like(e.relevance)
            relevance[:, 0, 1, 2], relevance[:, 0, 4, 4] = -3, 1  # a share of 0.75 lies above
            return dataclasses.replace(e, relevance=relevance)

        @pytest.mark.parametrize("mask", ["mask.npy", "mask.png"])
        def test_holds(onnxlrp, explained, mask):
            onnxlrp.assert_inside(explained, mask, energy=0.75)
            onnxlrp.assert_inside(explained, np.stack([np.load("mask.npy")] * 2), energy=0.75)

        def test_outside(onnxlrp, explained):
            onnxlrp.assert_inside(explained, "mask.npy", energy=0.76)

        def test_one_of_two_masks(onnxlrp, explained):
            mask = np.load("mask.npy") > 0
            onnxlrp.assert_inside(explained, np.stack([mask, ~mask]))

        def test_size(onnxlrp, explained):
            onnxlrp.assert_inside(explained, np.ones((5, 6)))

        def test_percent(onnxlrp, explained):
            onnxlrp.assert_inside(explained, "mask.npy", energy=75)
        """
    )
    result = outcome(folder, passed=2, failed=4)
    said = (
        "holds 75.0% of Σ|R|, not 76.0%",
        "holds 25.0%*not 50.0%",
        "(5, 6) for a heatmap of (6, 6)",
        "energy = 75 is out of range",
    )
    result.stdout.fnmatch_lines_random([f"E*{words}*" for words in said])


TEST = """
    import numpy as np

    def test_map(onnxlrp):
        e = onnxlrp.load("net.onnx", engine="ort").explain(np.load("x.npy"), method={method!r})
        onnxlrp.regression(e, cosine=0.99)
    """


def test_a_missing_baseline_is_written_and_fails_once(folder: Any) -> None:
    folder.makepyfile(test_some_maps=TEST.format(method="epsilon_plus"))
    stored = folder.path / "test_some_maps" / "test_map.npz"
    outcome(folder, failed=1).stdout.fnmatch_lines(["*there was no baseline:*test_map.npz is written*"])
    assert stored.stat().st_size < 8000
    outcome(folder, passed=1)


@pytest.mark.slow
def test_another_heatmap_fails_until_it_is_stored(folder: Any) -> None:
    folder.makepyfile(test_some_maps=TEST.format(method="epsilon_plus"))
    outcome(folder, "--onnxlrp-update", passed=1)
    before = (folder.path / "test_some_maps" / "test_map.npz").read_bytes()
    model = onnx.load(folder.path / "net.onnx")
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.ndim == 4:
            tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(array[::-1]), tensor.name))
    onnx.save(model, folder.path / "net.onnx")
    outcome(folder, failed=1).stdout.fnmatch_lines(["*below 0.99*by another model file*", "*--onnxlrp-update*"])
    assert (folder.path / "test_some_maps" / "test_map.npz").read_bytes() == before
    outcome(folder, "--onnxlrp-update", passed=1)
    outcome(folder, passed=1)


def test_another_method_is_no_drift(folder: Any) -> None:
    folder.makepyfile(test_some_maps=TEST.format(method="epsilon_plus"))
    outcome(folder, "--onnxlrp-update", passed=1)
    folder.makepyfile(test_some_maps=TEST.format(method="gradient"))
    outcome(folder, failed=1).stdout.fnmatch_lines(["*made with*epsilon_plus*now*gradient*"])


@pytest.mark.few(1)
@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"no archive", lambda b: b""])
def test_a_damaged_baseline_says_what_to_type(folder: Any, damage: Callable[..., Any]) -> None:
    folder.makepyfile(test_some_maps=TEST.format(method="epsilon_plus"))
    outcome(folder, "--onnxlrp-update", passed=1)
    stored = folder.path / "test_some_maps" / "test_map.npz"
    stored.write_bytes(damage(stored.read_bytes()))
    outcome(folder, failed=1).stdout.fnmatch_lines(["E*InputError*test_map.npz*"])
    outcome(folder, "--onnxlrp-update", passed=1)
    outcome(folder, passed=1)


def test_every_call_and_every_parameter_has_a_file_of_its_own() -> None:
    module = Path("there/test_some_maps.py")
    names = ["test_map", "test_map[a/b]", "test_map[../x]", "test_map[" + "a" * 300, "test_map[" + "a" * 301]
    places = {regression.place(module, name, which) for name in names for which in ("", "2", "again")}
    assert len(places) == 15
    assert {path.parent for path in places} == {Path("there/test_some_maps")}


SETTINGS = """
model = "net.onnx"
samples = ["x.npy"]
engine = "ort"
method = "epsilon_plus"
[checks]
latency = "off"
memory = "off"
"""


@pytest.mark.slow
def test_an_item_for_each_check_and_sample(folder: Any) -> None:
    (folder.path / "onnxlrp.toml").write_text(SETTINGS)
    result = folder.runpytest_inprocess(*PLUGIN, "-p", "no:cacheprovider", "--onnxlrp=onnxlrp.toml", "-v")
    assert result.ret == 0
    wanted = ["load[[]net.onnx[]] PASSED*", "finite[[]x.0[]] PASSED*", "finite[[]x.1[]] PASSED*", "latency SKIPPED*"]
    result.stdout.fnmatch_lines([f"onnxlrp.toml::{line}" for line in wanted])
    chosen = outcome(folder, "--onnxlrp=onnxlrp.toml", "-k", "ledger", passed=2, deselected=result_size(result) - 2)
    assert chosen.ret == 0


def result_size(result: Any) -> Any:
    return sum(result.parseoutcomes().get(word, 0) for word in ("passed", "failed", "skipped"))


def test_a_failed_check_is_a_failed_item_or_a_warning_by_its_severity(folder: Any) -> None:
    model = onnx.load(folder.path / "net.onnx")
    (node,) = [n for n in model.graph.node if n.op_type == "AveragePool"]
    node.op_type = "NoSuchPool"
    onnx.save(model, folder.path / "net.onnx")
    for severity, failures in (("error", 1), ("warning", 0)):
        (folder.path / "onnxlrp.toml").write_text(SETTINGS + f'load = "{severity}"\n')
        result = folder.runpytest_inprocess(*PLUGIN, "--onnxlrp=onnxlrp.toml", "-k", "load")
        outcomes = result.parseoutcomes()
        assert outcomes.get("failed", 0) == failures
        assert outcomes.get("warnings", 0) == 1 - failures
        result.stdout.fnmatch_lines(["*load*NoSuchPool*"])


def test_beside_the_tests_and_without_them(folder: Any) -> None:
    (folder.path / "onnxlrp.toml").write_text(SETTINGS)
    folder.makepyfile("def test_own(): pass")
    outcome(folder, passed=1)  # a file of settings that nobody asked for is none of pytest's business
    words = ("--onnxlrp=onnxlrp.toml", "-k", "test_own or load")
    both = folder.runpytest_inprocess(*PLUGIN, "-p", "no:cacheprovider", *words)
    assert both.parseoutcomes()["passed"] == 2
    alone = folder.runpytest_inprocess(*PLUGIN, "-p", "no:cacheprovider", *words, "onnxlrp.toml")
    assert alone.parseoutcomes()["passed"] == 1


@pytest.mark.slow
def test_update_stores_the_baseline_of_the_settings(folder: Any) -> None:
    (folder.path / "onnxlrp.toml").write_text('baseline = "kept"\n' + SETTINGS)
    words = ("--onnxlrp=onnxlrp.toml", "-k", "baseline or drift")
    assert folder.runpytest_inprocess(*PLUGIN, *words).parseoutcomes()["failed"] == 1
    assert folder.runpytest_inprocess(*PLUGIN, *words, "--onnxlrp-update").ret == 0
    again = folder.runpytest_inprocess(*PLUGIN, *words)
    assert again.ret == 0
    assert "skipped" not in again.parseoutcomes()


@pytest.mark.parametrize(
    ("text", "said"), [('method = "epsilon_plus"', "no model is given"), ("[[", "as TOML"), ("modle = 1", '"model"')]
)
def test_settings_that_say_nothing_of_use(folder: Any, text: str, said: str) -> None:
    (folder.path / "onnxlrp.toml").write_text(text)
    result = folder.runpytest_inprocess(*PLUGIN, "--onnxlrp=onnxlrp.toml")
    assert result.ret != 0
    result.stdout.fnmatch_lines([f"*{said}*"])
    result.stdout.no_fnmatch_line("*Traceback*")


def test_no_file(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_inprocess(*PLUGIN, "--onnxlrp=none.toml")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*none.toml: no such file*"])


def test_a_run_that_does_not_use_it_loads_nothing(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_own(): pass")
    pytester.makeconftest(
        """
        import sys
        from pathlib import Path

        def pytest_unconfigure():
            Path("modules").write_text(" ".join(sys.modules))
        """
    )
    words = [sys.executable, "-m", "pytest", *PLUGIN, "-p", "no:hypothesispytest"]
    subprocess.run(words, cwd=pytester.path, check=True)
    names = (pytester.path / "modules").read_text().split()
    assert {n for n in names if n.startswith("onnxlrp")} == {
        "onnxlrp",
        "onnxlrp.errors",
        "onnxlrp.lazy",
        "onnxlrp.pytest_plugin",
        "onnxlrp.version",
    }
    assert not {n for n in names if n.partition(".")[0] in HEAVY}
