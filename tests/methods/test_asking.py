"""Methods through `Model.explain` and the command line: options, notes, several targets, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnxlrp.cli import main
from onnxlrp.commands import method_options
from onnxlrp.commands.parsers import COMMANDS
from onnxlrp.commands.parsers.groups import METHOD_OPTION, METHOD_OPTIONS
from onnxlrp.commands.parsers.parser import Parser
from onnxlrp.errors import UsageError
from onnxlrp.methods.registry import METHODS, make
from support.paths import MODELS
from support.problems import convolutional

X = np.random.default_rng(0).normal(size=(3, 3, 8, 8))


def test_help_describes_no_option_that_no_method_has() -> None:
    assert set(METHOD_OPTIONS) <= {option for entry in METHODS.values() for option in entry.options}


@pytest.mark.parametrize("command", ["explain", "inspect", "export", "evaluate"])
def test_every_option_of_every_method_is_a_flag_and_means_only_that(command: str) -> None:
    parser = Parser(prog=command)
    COMMANDS[command][1](parser)
    method_options.add(parser)
    for entry in METHODS.values():
        for option in entry.options:
            action = parser._option_string_actions[method_options.flag(option)]
            assert action.dest == f"{METHOD_OPTION}{option}"


@pytest.mark.parametrize("name", ["integrated_gradients", "layer_cam"])
def test_explain_gives_what_the_method_gives(name: str) -> None:
    model = convolutional()
    one = model.explain(X, target=2, method=name)
    other = model.explain(X, target=2, method=make(name))
    np.testing.assert_array_equal(one.relevance, other.relevance)
    assert one.method == name
    assert one.provenance["options"] == vars(make(name))
    assert one.notes


def test_several_targets_are_explanations_of_each() -> None:
    model = convolutional()
    both = model.explain(X, targets=[1, 3], method="integrated_gradients", steps=4)
    assert both.relevance.shape == (2, *X.shape)
    for t, target in enumerate((1, 3)):
        alone = model.explain(X, target=target, method="integrated_gradients", steps=4)
        np.testing.assert_allclose(both.relevance[t], alone.relevance)
        np.testing.assert_allclose(both.notes["difference"][t], alone.notes["difference"])
    assert both[1].notes["difference"].shape == (2, 1)


def test_top_targets_are_the_model_s_own() -> None:
    model = convolutional()
    found = model.explain(X, method="gradient_x_input")
    np.testing.assert_array_equal(found.target, model.outputs(X)["logits"].argmax(axis=1))


@pytest.mark.parametrize(
    "given", [{"record": ("conv0",)}, {"ledger": True}, {"conditions": {"conv0": [1]}}, {"rules": (("Conv", None),)}]
)
def test_what_only_composites_have_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="no layers"):
        convolutional().explain(X, method="sensitivity", **given)


def test_an_unknown_method_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        convolutional().explain(X, method="smooth_gard")
    assert "smooth_grad" in caught.value.fix


def test_conditions_part_the_relevance_of_a_layer() -> None:
    """The channels' shares add up to the whole (Achtibat et al. 2023)."""
    model = convolutional()
    layer = model.graph.layers[0].label
    whole = model.explain(X, target=1, method="epsilon_plus").relevance
    parts = [
        model.explain(X, target=1, method="epsilon_plus", conditions={layer: channels}).relevance
        for channels in ([0, 2], [1, 3, 4])
    ]
    np.testing.assert_allclose(parts[0] + parts[1], whole, rtol=1e-6, atol=1e-9)
    with pytest.raises(UsageError, match="channel 9"):
        model.explain(X, method="epsilon_plus", conditions={layer: [9]})


def run(capsys: pytest.CaptureFixture[str], *words: Any) -> tuple[Any, Any]:
    code = main([str(word) for word in words])
    return code, capsys.readouterr()


@pytest.mark.slow
def test_the_command_takes_methods_and_their_options(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [MODELS / "shapes.onnx", MODELS / "samples" / "marked_star.png", "-o", tmp_path]
    code, said = run(capsys, "explain", *words, "-m", "integrated_gradients,grad_cam", "--steps", 4)
    assert code == 0
    assert "steps 4" in said.out
    assert len(list(tmp_path.iterdir())) == 2
    code, said = run(capsys, "explain", *words, "-m", "integrated_gradients", "--steps", "4.5")
    assert code != 0
    assert "--steps" in said.err
    code, said = run(capsys, "explain", *words, "-m", "sensitivity", "--rule", "Conv=epsilon")
    assert code != 0
    assert "--rule" in said.err
    code, said = run(capsys, "explain", *words, "--condition", "blocks.4.relu2:1,2")
    assert code == 0
    assert "--condition" in said.out
    code, said = run(capsys, "explain", *words, "--condition", "blocks.4.relu2")
    assert code != 0
    assert "LAYER:CHANNELS" in said.err


def test_the_list_of_methods_has_them_all(capsys: pytest.CaptureFixture[str]) -> None:
    code, said = run(capsys, "methods")
    assert code == 0
    assert all(name in said.out for name in METHODS)


def test_a_method_is_no_composite() -> None:
    with pytest.raises(UsageError, match="no composite"):
        convolutional().composite("rise")
