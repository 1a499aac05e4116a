"""The examples: each runs, is short, draws the picture that the docs hold, and measures what it says of the methods."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from support.paths import ROOT

EXAMPLES = ROOT / "examples"
NAMES = ("sensitivity", "linear_regions", "shattered_gradients", "gradient_times_input", "conservation", "yosinski")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """What the main of an example returns, and the picture that it wrote; each runs once."""
    done = {}

    def once(name: Any) -> Any:
        if name not in done:
            path = tmp_path_factory.mktemp(name) / "drawn.png"
            done[name] = loaded(name).main(path), path
        return done[name]

    return once


def loaded(name: Any) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLES)  # as when Python is given the script
        spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    return module


def test_every_example_is_tested_and_shown() -> None:
    found = {path.stem for path in EXAMPLES.glob("*.py")} - {"figure"}
    assert found == set(NAMES)
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for name in NAMES:
        assert f"(./{name}.py)" in readme
        assert f"(../docs/pictures/{name}.png)" in readme


@pytest.mark.parametrize("name", NAMES)
def test_it_is_short_and_says_what_it_shows(name: str) -> None:
    text = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
    assert len(text.splitlines()) < 60
    assert "Samek, Montavon & Müller, CVPR 2018" in text
    assert f"python examples/{name}.py [picture.png]" in text


@pytest.mark.few(1)
@pytest.mark.parametrize("name", NAMES)
def test_it_draws_the_picture_of_the_docs(name: str, run: Callable[..., Any]) -> None:
    _, path = run(name)
    with Image.open(path) as drawn, Image.open(ROOT / "docs" / "pictures" / f"{name}.png") as kept:
        assert drawn.format == kept.format == "PNG"
        assert drawn.size == kept.size
        # Not a blank sheet, and the same up to how a font is drawn.
        assert np.asarray(drawn).std() > 5
        assert np.abs(np.asarray(drawn.convert("L"), float) - np.asarray(kept.convert("L"), float)).mean() < 5


@pytest.mark.slow
def test_as_a_command_it_writes_where_it_is_told_or_beside_you(tmp_path: Path) -> None:
    for words in ([], ["own.png"]):
        script = [sys.executable, str(EXAMPLES / "linear_regions.py"), *words]
        done = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert "depth 3:  8 linear regions" in done.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"linear_regions.png", "own.png"}


def test_sensitivity_sums_to_the_change_and_deep_taylor_to_the_score(run: Callable[..., Any]) -> None:
    found, _ = run("sensitivity")
    assert np.abs(found["deep Taylor"] / found["score"] - 1).max() < 0.01
    assert np.abs(found["sensitivity"] / found["change"] - 1).max() < 0.05
    # The star is clearest at the end, and the sensitivity is largest where it only begins to be seen.
    assert found["score"][-1] > 0.95 * found["score"].max()
    assert found["sensitivity"][-1] < 0.5 * found["sensitivity"].max()
    assert np.corrcoef(found["sensitivity"], found["score"])[0, 1] < 0.5


@pytest.mark.slow
def test_regions_and_slopes_double_with_depth(run: Callable[..., Any]) -> None:
    found, _ = run("linear_regions")
    assert {1, 2, 3} <= found.keys()
    for depth, (regions, slope) in found.items():
        assert regions == 2**depth
        assert slope == 2**depth


def test_network_is_the_composition_that_it_says() -> None:
    import onnxlrp

    example = loaded("linear_regions")
    x = np.linspace(0, 1, 65, dtype=np.float32)
    expected = x
    for depth in (1, 2, 3):
        expected = 2 * np.maximum(expected, 0) - 4 * np.maximum(expected - 0.5, 0)
        explained = onnxlrp.load(example.network(depth)).explain(x.reshape(-1, 1), 0, method="gradient")
        np.testing.assert_allclose(explained.output.ravel(), expected, atol=1e-6)


@pytest.mark.slow
def test_gradients_shatter_with_depth_and_relevance_does_not(run: Callable[..., Any]) -> None:
    found, _ = run("shattered_gradients")
    gradient, relevance = (found[name][:, 1:].mean(axis=1) for name in ("gradient", "epsilon_plus_flat"))
    np.testing.assert_allclose(found["gradient"][:, 0], 1, atol=1e-6)
    assert gradient[0] == pytest.approx(1)  # the head is linear
    assert (np.diff(gradient) < 0.01).all()
    assert gradient[-1] < 0.6 * gradient[1]
    assert np.ptp(relevance) < 0.1
    assert (relevance[1:] > gradient[1:] + 0.05).all()
    assert (found["epsilon_plus_flat"][-1, 1:] > found["gradient"][-1, 1:]).all()


def test_lrp_0_is_gradient_times_input_and_zplus_is_not(run: Callable[..., Any]) -> None:
    found, _ = run("gradient_times_input")
    product = found["gradient x input"]
    largest = np.abs(product).max()
    assert np.abs(found["LRP-0"] - product).max() < 1e-4 * largest
    assert np.abs(found["z+"] - product).max() > 0.5 * largest
    assert np.corrcoef(found["z+"].ravel(), product.ravel())[0, 1] < 0.7
    assert found["z+"].min() >= 0 > product.min()
    for name in ("LRP-0", "z+"):
        np.testing.assert_allclose(found[name].sum(axis=(1, 2, 3)), found["score"], rtol=1e-3)


def test_the_sum_of_relevance_stays(run: Callable[..., Any]) -> None:
    found, _ = run("conservation")
    for shares in found.values():
        np.testing.assert_allclose(shares[:, 0], 1)
    np.testing.assert_allclose(found["deep_taylor_bounded"], 1, atol=0.01)
    # What biases absorb is lost to the pixels.
    assert (found["epsilon_plus_flat"][:, -1] < 0.9).all()


@pytest.mark.slow
def test_blur_alone_of_the_four_regularisers_keeps_the_star_under_moves(run: Callable[..., Any]) -> None:
    found, _ = run("yosinski")
    moved = {name: one.evidence["transformed"]["score"][0] for name, one in found.items()}
    assert moved["blur"] > 2 * max(value for name, value in moved.items() if name != "blur")
    assert all(moved[name] > moved["none"] for name in moved if name != "none")
    assert all(one.scores[0] < found["none"].scores[0] for name, one in found.items() if name != "none")
