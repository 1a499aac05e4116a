"""Models of open sizes give what a model of the sample's size gives, whatever the sample's size."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

import onnxlrp
from onnxlrp.cli import main
from onnxlrp.comparison.divergence import DivergenceMeter
from onnxlrp.errors import InputError, OnnxLrpError, UnsupportedError, UsageError
from onnxlrp.model.interface import open_sizes
from support.open_models import pooled
from support.tiny_models import model, node, values


def gradient(x: np.ndarray, target: int) -> np.ndarray:
    """The gradient of a class of `pooled` at a signal [3, L], by hand."""
    w, d = values(4, 3, 3), values(4, 3, seed=1)
    length = x.shape[1] - 2
    windows = np.stack([x[:, i : i + length] for i in range(3)], axis=-1)
    active = np.einsum("ocs,cls->ol", w, windows) > 0
    found = np.zeros_like(x)
    for i in range(3):
        found[:, i : i + length] += np.einsum("o,ol,oc->cl", d[:, target] / length, active, w[:, :, i])
    return found


@pytest.mark.parametrize("length", [16, 20, 1009])
def test_the_length_comes_from_the_array(length: int) -> None:
    x = values(2, 3, length, seed=length)
    explained = onnxlrp.load(pooled("t")).explain(x, target=1, method="gradient")
    np.testing.assert_allclose(explained.relevance[1], gradient(x[1], 1), atol=1e-5)
    assert explained.kind.name == "signal"


def test_a_model_at_one_size_gives_that_of_another() -> None:
    small = onnxlrp.load(pooled("h", "w")).at((3, 6, 7))
    large = small.at((3, 9, 8))
    assert [model.graph.inputs[0].shape for model in (small, large, large.at((3, 6, 7)))] == [
        (3, 6, 7), (3, 9, 8), (3, 6, 7)
    ]  # fmt: skip
    x = values(1, 3, 9, 8)
    fixed = onnxlrp.load(pooled(9, 8)).explain(x)
    np.testing.assert_allclose(large.explain(x).relevance, fixed.relevance, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_height_and_width_come_from_each_array_and_few_sizes_are_kept() -> None:
    opened = onnxlrp.load(pooled("h", "w"))
    for height in range(5, 5 + open_sizes._KEPT + 2):
        x = values(1, 3, height, 9, seed=height)
        fixed = onnxlrp.load(pooled(height, 9)).explain(x)
        np.testing.assert_allclose(opened.explain(x).relevance, fixed.relevance, rtol=1e-4, atol=1e-6)
    assert len(opened.sizes.models) == open_sizes._KEPT


def test_each_sample_of_several_sizes_is_explained_in_its_place() -> None:
    opened = onnxlrp.load(pooled("t"))
    given = [values(3, 9, seed=1), values(2, 3, 12, seed=2), values(3, 9, seed=3), values(3, 12, seed=4)]
    alone = [given[0], *given[1], given[2], given[3]]
    classes = [2, 0, 1, 0, 2]
    found = opened.explain_each(given, target=tuple(classes), method="gradient")
    assert len(found) == len(alone)
    for explained, x, k in zip(found, alone, classes, strict=True):
        assert explained.target.tolist() == [k]
        np.testing.assert_allclose(explained.relevance[0], gradient(x, k), atol=1e-5)
    best = opened.explain_each(given)
    assert [e.target.tolist() for e in best] == [opened.explain(x).target.tolist() for x in alone]
    with pytest.raises(UsageError, match="2 targets for 5 samples"):
        opened.explain_each(given, target=[0, 1])
    with pytest.raises(UsageError, match="a seed is given"):
        opened.explain_each(given, seed=np.ones((5, 3), np.float32))


def scaled() -> onnx.ModelProto:
    """`pooled` for signals, its logits times another input s."""
    made = pooled("t")
    made.graph.node[-1].output[0] = "z"
    made.graph.node.append(node("Mul", ["z", "s"], ["y"]))
    made.graph.input.append(onnx.helper.make_tensor_value_info("s", onnx.TensorProto.FLOAT, ["N", 1]))
    return made


def test_each_sample_of_several_sizes_has_its_own_row_of_another_input() -> None:
    given = [values(3, 9, seed=1), values(3, 12, seed=2), values(3, 9, seed=3)]
    factors = np.array([[2], [3], [5]], np.float32)
    found = onnxlrp.load(scaled()).explain_each(given, 1, "gradient", given={"s": factors})
    for explained, x, factor in zip(found, given, factors, strict=True):
        np.testing.assert_allclose(explained.relevance[0], factor * gradient(x, 1), atol=1e-5)


def test_commands_give_each_sample_of_several_sizes_its_own_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The logit is s times that without s: a copy whose weights are 1.5 times as large is off by half of it."""
    monkeypatch.chdir(tmp_path)
    for name, factor in (("a", 1.0), ("b", 1.5)):
        made = scaled()
        (weight,) = (one for one in made.graph.initializer if one.name == "d")
        weight.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight) * np.float32(factor), "d"))
        onnx.save(made, f"{name}.onnx")
    for n, length in enumerate((9, 12, 9)):
        np.save(f"{n}.npy", values(3, length, seed=n))
    np.save("s.npy", np.array([[2], [3], [5]], np.float32))
    files = ["0.npy", "1.npy", "2.npy", "--given", "s=s.npy", "-q"]
    assert main(["compare", "a.onnx", "b.onnx", *files, "--save", "r.json"]) == 0
    rows = json.loads(Path("r.json").read_text())["samples"]
    np.testing.assert_allclose([row["logits"] for row in rows], 0.5, atol=1e-5)
    words = ["--methods", "gradient", "--metric", "conservation", "-o", "e.json"]
    assert main(["evaluate", "a.onnx", *files, *words]) == 0
    capsys.readouterr()


def test_models_are_compared_layer_by_layer_at_the_size_of_each_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The convolution has no bias: with weights 1.5 times as large it drifts by half of itself."""
    monkeypatch.chdir(tmp_path)
    first, second = pooled("t"), pooled("t")
    (weight,) = (one for one in second.graph.initializer if one.name == "w")
    weight.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight) * np.float32(1.5), "w"))
    meter = DivergenceMeter(onnxlrp.load(first), onnxlrp.load(second))
    for n, length in enumerate((9, 14, 9)):
        np.save(f"{n}.npy", x := values(2, 3, length, seed=n))
        meter.add(x, x)
    drifts = [row.drift for row in meter.result().rows]
    assert drifts[0] == 0
    assert len(drifts) > 1
    np.testing.assert_allclose(drifts[1:], 0.5, atol=1e-6)
    onnx.save(first, "a.onnx")
    onnx.save(second, "b.onnx")
    assert main(["compare", "a.onnx", "b.onnx", "0.npy", "1.npy", "2.npy"]) == 0
    assert "relative L2 0.5, 0 in the layer before (input)" in capsys.readouterr().out


@pytest.mark.slow
def test_several_sizes_in_one_call_are_refused_with_what_to_do_and_judged_by_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    onnx.save(pooled("h", "w"), "m.onnx")
    opened = onnxlrp.load("m.onnx")
    for n, height in enumerate((5, 6, 5)):
        np.save(f"{n}.npy", values(1, 3, height, 9, seed=n))
        pixels = np.random.default_rng(n).integers(0, 256, (height, 9, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(f"{n}.png")
    with pytest.raises(InputError) as error:
        opened.explain([values(3, 5, 9), values(3, 6, 9)])
    assert error.value.message == "samples of several sizes: 3 x 5 x 9 (sample 0); 3 x 6 x 9 (sample 1)"
    assert error.value.fix == "give those of one size in one call; model.explain_each takes several sizes"
    with pytest.raises(InputError) as error:
        opened.explain(["0.png", "1.png", "2.png"])
    assert error.value.message == "samples of several sizes: 3 x 5 x 9 (0 and 1 more); 3 x 6 x 9 (1)"
    assert "load(path, size=(224, 224))" in error.value.fix
    onnxlrp.load("m.onnx", size=(224, 224)).explain(["0.png", "1.png", "2.png"])
    judged = (["evaluate", "--methods", "epsilon", "--metric", "deletion"], ["check"])
    for command, *words in judged:
        files = [[f"{n}.{suffix}" for n in range(3)] for suffix in ("npy", "png")]
        for given in (*files, ["0.npy", "2.npy"], [*files[1], "--size", "12x12"]):
            assert main([command, "m.onnx", *given, *words]) == 0
    capsys.readouterr()


@pytest.mark.parametrize("method", ["occlusion", "integrated_gradients", "grad_cam", "rise"])
def test_every_kind_of_method_runs_at_the_size_of_the_sample(method: str) -> None:
    x = values(1, 3, 12, 9, seed=5)
    options: Any = {"samples": 20} if method == "rise" else {}
    opened = onnxlrp.load(pooled("h", "w")).explain(x, method=method, **options)
    fixed = onnxlrp.load(pooled(12, 9)).explain(x, method=method, **options)
    np.testing.assert_allclose(opened.relevance, fixed.relevance, rtol=1e-4, atol=1e-6)


def test_a_picture_is_taken_at_its_own_size_unless_one_is_stated() -> None:
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 31, 3)).astype(np.uint8))
    opened = onnxlrp.load(pooled("h", "w"))
    explained = opened.explain(picture)
    pixels = (np.asarray(picture) / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(explained.relevance, opened.explain(pixels.transpose(2, 0, 1)).relevance, atol=1e-5)
    assert onnxlrp.load(pooled("h", "w"), size=16).explain(picture).relevance.shape == (1, 3, 16, 16)
    assert onnxlrp.load(pooled("h", "w"), prep={"size": "16x18"}).explain(picture).relevance.shape == (1, 3, 16, 18)
    assert onnxlrp.load(pooled("h", "w", classes=1000)).explain(picture).relevance.shape == (1, 3, 224, 224)


def test_no_crop_is_assumed_of_a_picture_at_its_own_size() -> None:
    """As the model at the size of a picture has it; where pictures are brought to a size, it is."""
    formula, geometry = ("color", "scale", "mean", "std"), ("resize", "crop")
    opened = onnxlrp.load(pooled("h", "w"))
    assert opened.preprocessing_as_read.assumed == opened.at((3, 20, 31), True).preprocessing.assumed == formula
    assert opened.preprocessing.assumed == formula + geometry  # of a file that is written at one size
    stated = onnxlrp.load(pooled("h", "w"), prep={"prep": "imagenet"})
    assert stated.preprocessing_as_read.assumed == ()
    for fixed in (onnxlrp.load(pooled("h", "w"), size=16), onnxlrp.load(pooled(16, 16))):
        assert fixed.preprocessing_as_read.assumed == formula + geometry


def test_other_inputs_have_the_length_of_the_explained_one() -> None:
    gated = pooled("t")
    gated.graph.input.append(onnx.helper.make_tensor_value_info("m", 1, ["N", 1, "t"]))
    gated.graph.node[0].input[0] = "masked"
    gated.graph.node.insert(0, node("Mul", ["x", "m"], ["masked"]))
    x, mask = values(3, 30), (np.arange(30) < 20).astype(np.float32)[np.newaxis]
    given = onnxlrp.load(gated).explain(x, target=0, method="gradient", given={"m": mask})
    np.testing.assert_allclose(given.relevance[0], gradient(x * mask, 0) * mask, atol=1e-5)
    whole = onnxlrp.load(gated).explain(x, target=0, method="gradient", given={"m": 1})
    np.testing.assert_allclose(whole.relevance[0], gradient(x, 0), atol=1e-5)


def test_the_command_groups_arrays_by_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    onnx.save(pooled("t"), "m.onnx")
    arrays = {"a": values(3, 20), "b": values(3, 30), "c": values(3, 20, seed=1)}
    for name, x in arrays.items():
        np.save(f"{name}.npy", x)
    assert main(["explain", "m.onnx", "a.npy", "b.npy", "c.npy", "-m", "gradient", "-t", "1", "--format", "npz"]) == 0
    for name, x in arrays.items():
        np.testing.assert_allclose(np.load(f"{name}.1.npz")["relevance"][0], gradient(x, 1), atol=1e-5)
    assert main(["explain", "m.onnx", "a.npy", "--size", "16000"]) == 3
    assert "pixel" not in capsys.readouterr().err
    assert main(["export", "m.onnx", "-o", "e.onnx"]) == 4
    assert "--size t=" in capsys.readouterr().err
    assert main(["export", "m.onnx", "-o", "e.onnx", "--size", "t=20"]) == 0
    assert main(["inspect", "m.onnx"]) == 0
    assert "t=" in capsys.readouterr().out
    assert main(["inspect", "m.onnx", "--size", "q=20"]) == 2


def test_a_model_of_one_length_says_how_to_give_it() -> None:
    dense = [node("Flatten", ["x"], ["f"]), node("MatMul", ["f", "d"], ["y"])]
    made = model(dense, {"d": values(300, 2)}, shape=("N", 3, "t"))
    with pytest.raises(UnsupportedError) as error:
        onnxlrp.load(made)
    assert 'size={"t"' in error.value.fix
    assert "--size t=" in error.value.command
    assert onnxlrp.load(made, size={"t": 100}).explain(values(3, 100)).relevance.shape == (1, 3, 100)
    with pytest.raises(OnnxLrpError):
        onnxlrp.load(made, size={"t": 100}).explain(values(3, 99))


@pytest.mark.parametrize("rate", [2.0, 3])
def test_an_input_of_shape_nothing_is_a_number(rate: float, tmp_path: Path, capsys: Any) -> None:
    weights = {"w": values(3, 2)}
    made = model([node("MatMul", ["x", "w"], ["z"]), node("Mul", ["z", "t"], ["y"])], weights, shape=("N", 3))
    made.graph.input.append(onnx.helper.make_tensor_value_info("t", 1, []))
    opened = onnxlrp.load(made)
    x = values(2, 3, seed=1)
    explained = opened.explain(x, target=1, method="gradient", given={"t": rate})
    np.testing.assert_allclose(explained.relevance, np.broadcast_to(rate * weights["w"][:, 1], (2, 3)), rtol=1e-5)
    np.testing.assert_allclose(explained.output, rate * (x @ weights["w"]), rtol=1e-5)
    with pytest.raises(OnnxLrpError) as error:
        opened.explain(x)
    assert "--given t=" in error.value.command
    for wrong in ({"t": [1.0, 2.0]}, {"t": float("nan")}, {"u": 1.0}):
        with pytest.raises(OnnxLrpError):
            opened.explain(x, given=wrong)
    path = str(tmp_path / "m.onnx")
    onnx.save(made, path)
    np.save(tmp_path / "x.npy", x[0])
    out = str(tmp_path / "r.npz")
    words = ["explain", path, str(tmp_path / "x.npy"), "-t", "1", "-m", "gradient", "-o", out]
    assert main(words) == 2
    assert main([*words, "--given", f"t={rate}"]) == 0
    np.testing.assert_allclose(np.load(out)["relevance"][0], rate * weights["w"][:, 1], rtol=1e-5)


def test_a_picture_that_is_too_small_is_named_and_can_be_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    onnx.save(pooled("H", "W"), "m.onnx")
    for side in (1, 12):
        Image.new("RGB", (side, side), (200, 80, 7)).save(f"p{side}.png")
    assert main(["patterns", "m.onnx", "p1.png", "p12.png", "-o", "a.npz"]) == 3
    assert "p1.png: the model does not run at the picture's own 1 x 1" in capsys.readouterr().err
    assert main(["explain", "m.onnx", "p1.png", "p12.png", "-o", "maps"]) == 2
    (fix,) = re.findall(r"-o '(maps/)'", capsys.readouterr().err)
    assert main(["explain", "m.onnx", "p1.png", "p12.png", "-o", fix, "--on-error", "skip"]) == 3
    assert len(list(Path("maps").iterdir())) == 1


@pytest.mark.parametrize("words", [["--epsilon", "-1"], ["--rule", "Conv=epsilon(-1)"]])
def test_a_stabiliser_below_0_is_refused(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    onnx.save(pooled("H", "W"), "m.onnx")
    Image.new("RGB", (12, 12), (200, 80, 7)).save("p.png")
    assert main(["explain", "m.onnx", "p.png", "-m", "epsilon", *words]) == 2
    assert "0 or more" in capsys.readouterr().err
