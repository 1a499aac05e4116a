"""Similarity to another sample: against matrices and differences that numpy computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

import onnxlrp
from onnxlrp.cli import main
from onnxlrp.errors import InputError, UsageError
from support import small_nets
from support.arrays import Array
from support.paths import ROOT
from support.small_nets import Net

each_kind = pytest.mark.parametrize("kind", ["cosine", "dot"])


def similarity(z: Array, w: Array, kind: str) -> Array:
    """Of rows [N, …] to one w."""
    z, w = z.reshape(len(z), -1), w.reshape(-1)
    dot: Array = z @ w
    return dot if kind == "dot" else dot / (np.linalg.norm(z, axis=1) * np.linalg.norm(w))


def linear() -> tuple[onnxlrp.Model, Array, Array]:
    n = Net(8, seed=3)
    weights = n.rng.normal(size=(8, 5))
    file = n.model(n.op("MatMul", "x", weights.astype(np.float32)))
    x = np.random.default_rng(4).normal(size=(3, 8)).astype(np.float32)
    return onnxlrp.load(file, engine="reference"), weights.T.astype(np.float32), x


@each_kind
def test_rules_share_the_similarity_exactly_in_a_linear_model(kind: str) -> None:
    model, w, x = linear()
    found = model.explain(x[:2], similar_to=x[2], similarity=kind, method="epsilon", epsilon=1e-12)
    z, other = x[:2] @ w.T, x[2] @ w.T
    norms = np.linalg.norm(z, axis=1) * np.linalg.norm(other) if kind == "cosine" else np.ones(2)
    expected = np.einsum("k,ki,ni->ni", other, w, x[:2]) / norms[:, np.newaxis]
    np.testing.assert_allclose(found.relevance, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.total, similarity(z, other, kind), rtol=1e-4)
    np.testing.assert_allclose(found.logit, similarity(z, other, kind), rtol=1e-4)
    np.testing.assert_allclose(found.output[:, 0], similarity(z, other, kind), rtol=1e-4)


@each_kind
@pytest.mark.parametrize("engine", ["reference", "ort"])
def test_gradients_are_those_of_the_similarity(kind: str, engine: str) -> None:
    model = onnxlrp.load(small_nets.residual(), engine=engine)
    layer = next(layer for layer in model.graph.layers if layer.op == "Relu").label
    x = np.random.default_rng(0).normal(size=(2, *model.graph.inputs[0].shape)).astype(np.float32)
    exact = onnxlrp.load(small_nets.residual(), engine="reference")

    def values(rows: Array) -> Array:
        return exact.outputs(rows, activations=[layer])[f"activation/{layer}"]

    moves = np.eye(x[0].size).reshape(x[0].size, *x.shape[1:]) * 1e-5
    w, one = values(x[1:])[0], x[0].astype(np.float64)
    up, down = (similarity(values(one + move), w, kind) for move in (moves, -moves))
    expected = ((up - down) / 2e-5).reshape(one.shape)
    how = {"output": layer, "similar_to": x[1], "similarity": kind}
    for method, factor in (("gradient", 1.0), ("gradient_x_input", x[0])):
        found = model.explain(x[:1], method=method, **how)
        np.testing.assert_allclose(found.relevance[0], expected * factor, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(found.logit, similarity(values(x[:1]), w, kind), rtol=1e-4)


@each_kind
def test_hiding_parts_watches_the_similarity_itself(kind: str) -> None:
    model, w, x = linear()
    found = model.explain(x[:1], similar_to=x[1], similarity=kind, method="occlusion", baseline="zero", window=1)
    z, other = x[:1] @ w.T, x[1] @ w.T
    for i in range(8):
        hidden = x[:1].copy()
        hidden[0, i] = 0
        fall = similarity(z, other, kind) - similarity(hidden @ w.T, other, kind)
        np.testing.assert_allclose(found.relevance[0, i], fall[0], rtol=1e-3, atol=1e-5)


def test_a_sample_is_most_similar_to_itself() -> None:
    model, _, x = linear()
    found = model.explain(x, similar_to=x, method="epsilon")
    np.testing.assert_allclose(found.logit, 1, rtol=1e-5)
    slope = model.explain(x, similar_to=x, method="gradient")
    np.testing.assert_allclose(slope.relevance, 0, atol=1e-5)


def test_an_embedding_is_found_by_its_name_and_said() -> None:
    n = Net(8, seed=3)
    z = n.op("MatMul", "x", n.rng.normal(size=(8, 5)))
    logits = n.op("MatMul", n.relu(z), n.rng.normal(size=(5, 4)))
    file = n.model(logits)
    file.graph.node.append(helper.make_node("Identity", [z], ["image_embeds"]))
    file.graph.output.append(helper.make_tensor_value_info("image_embeds", TensorProto.FLOAT, ["N", 5]))
    model = onnxlrp.load(onnx.ModelProto.FromString(file.SerializeToString()), engine="reference")
    x = np.random.default_rng(1).normal(size=(2, 8)).astype(np.float32)
    found = model.explain(x[:1], similar_to=x[1], method="epsilon")
    assert found.provenance["output"] == "image_embeds"
    assert found.provenance["put_in"]["similarity"] == "cosine"
    assert "by its name" in model.for_seed("cosine").notes[0][0]
    assert model.explain(x[:1], similar_to=x[1], output=logits).provenance["output"] == logits
    assert model.explain(x[:1]).provenance["output"] == logits, "classes stay the default"


def test_what_does_not_go_with_it() -> None:
    model, _, x = linear()
    for more, says in (
        ({"target": 1}, "beside a target"),
        ({"seed": np.ones(5)}, "beside similar_to"),
        ({"similarity": "euclid"}, "euclid"),
    ):
        with pytest.raises(UsageError, match=says):
            model.explain(x[:1], similar_to=x[1], **more)
    with pytest.raises(UsageError, match='similarity="dot" without similar_to'):
        model.explain(x[:1], similarity="dot")
    with pytest.raises(InputError, match="2 samples to compare with 3"):
        model.explain(x, similar_to=x[:2])
    with pytest.raises(InputError, match="no cosine"):
        model.explain(x[:1], similar_to=np.zeros(8, np.float32), method="epsilon")


@pytest.mark.slow
def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scene = ROOT / "models" / "samples"
    words = ["explain", str(ROOT / "models" / "shapes.onnx"), str(scene / "scene_star.png"), "--output", "blocks.4"]
    words += ["--similar-to", str(scene / "scene_ring.png"), "-o", str(tmp_path / "out.png")]
    assert main(words) == 0
    said = capsys.readouterr()
    assert "similar the cosine with the other sample, of the 64 x 8 x 8 values" in " ".join(said.out.split())
    assert "sum of all" not in said.out + said.err
    assert (tmp_path / "out.png").exists()
    assert main([*words, "-t", "star"]) == 2
