"""Patterns: estimated as their definition says, and put in place of the weights."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnxlrp.compile import weighted_layers
from onnxlrp.engines.factory import make_engine
from onnxlrp.errors import InputError, NothingToDo, UnsupportedError, UsageError
from onnxlrp.methods.patterns import ESTIMATORS, estimate
from onnxlrp.methods.registry import make_composite
from onnxlrp.patterns import Patterns
from onnxlrp.rules import make
from support import small_nets
from support.conformance import each_engine
from support.problems import convolutional, model
from support.small_nets import Net

# -- the definition, neuron by neuron


def by_definition(x: Any, w: Any, y: Any, estimator: Any) -> Any:
    """a of one neuron from all its inputs x [P, D], its weights w [D] and its outputs y [P]."""
    kept = np.ones(len(y), bool) if estimator == "linear" else y > 0
    mean = y[kept].mean() if estimator == "positive" else y.mean()
    covariance = (x[kept] * y[kept, None]).mean(axis=0) - x[kept].mean(axis=0) * mean
    return covariance / (w @ covariance)


def patches(x: Any, weight: Any, strides: Any, pads: Any, dilations: Any, group: Any) -> Iterator[tuple[Any, Any]]:
    """(neuron, input patch [C/group, *kernel]) of every position of a convolution, by its definition, one by one."""
    outputs, inner, *kernel = weight.shape
    d = len(kernel)
    padded = np.pad(x, [(0, 0), *zip(pads[:d], pads[d:], strict=True)])
    counts = [(n - dil * (k - 1) - 1) // s + 1
              for n, k, s, dil in zip(padded.shape[1:], kernel, strides, dilations, strict=True)]  # fmt: skip
    for o in range(outputs):
        first = o // (outputs // group) * inner
        for at in itertools.product(*map(range, counts)):
            patch = np.zeros((inner, *kernel))
            for tap in itertools.product(*map(range, kernel)):
                place = [a * s + t * dil for a, s, t, dil in zip(at, strides, tap, dilations, strict=True)]
                patch[:, *tap] = padded[first : first + inner, *place]  # type: ignore[index]
            yield o, patch


CONVOLUTIONS: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "plain": ((3, 5, 4), {}),
    "strided, crooked pads": ((2, 6, 5), {"kernel": (3, 2), "strides": [2, 3], "pads": [1, 0, 0, 2]}),
    "leaves a tail": ((2, 6, 5), {"kernel": (2, 2), "strides": [3, 2], "pads": [0, 0, 0, 0]}),
    "dilated": ((2, 6, 6), {"dilations": [2, 1], "pads": [2, 1, 2, 1]}),
    "grouped": ((4, 4, 4), {"group": 2}),
    "depthwise": ((4, 5, 5), {"group": 4, "strides": [2, 2]}),
    "1-d": ((3, 9), {"kernel": (3,), "strides": [2]}),
    "3-d": ((2, 3, 3, 3), {"kernel": (2, 2, 3), "pads": [0, 0, 1, 1, 1, 1]}),
}


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_a_convolution_is_a_dense_layer_on_its_patches(name: str, estimator: Any) -> None:
    shape, options = CONVOLUTIONS[name]
    asked = model(lambda n: n.relu(n.conv("x", shape[0], 4, **options)), *shape)
    layer: Any
    (layer,) = weighted_layers(asked.graph)[0]
    x = np.random.default_rng(1).normal(size=(6, *shape)) + 0.5
    kernel = layer.weight.shape[2:]
    stated = [options.get(key, [1] * len(kernel)) for key in ("strides", "dilations")]
    pads = options.get("pads", [k // 2 for k in kernel] * 2)
    weight, bias = (asked.graph.constants[n].astype(float) for n in asked.graph.layers[0].inputs[1:])
    seen = [found for sample in x for found in patches(sample, weight, stated[0], pads, stated[1], layer.linear.group)]
    expected = np.zeros(weight.shape)
    for o, w in enumerate(weight):
        inputs = np.stack([patch.ravel() for neuron, patch in seen if neuron == o])
        expected[o] = by_definition(inputs, w.ravel(), inputs @ w.ravel() + bias[o], estimator).reshape(w.shape)
    found = estimate(asked, [x], estimator).arrays[layer.node]
    small_nets.agree(found, expected, 1e-6)


DENSE = {
    "Gemm": ((5,), lambda n: n.dense("x", 5, 4)),
    "Gemm with factors": (
        (5,),
        lambda n: n.op("Gemm", "x", n.rng.normal(size=(5, 4)), n.rng.normal(size=4), alpha=0.5),
    ),
    "MatMul of tokens": ((3, 5), lambda n: n.op("MatMul", "x", n.rng.normal(size=(5, 4)))),
}


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("name", DENSE)
def test_a_dense_layer_is_its_definition(name: str, estimator: Any) -> None:
    shape, build = DENSE[name]
    asked = model(lambda n: n.relu(build(n)), *shape)
    layer: Any
    (layer,) = weighted_layers(asked.graph)[0]
    x = np.random.default_rng(1).normal(size=(30, *shape)) + 0.5
    y = asked.outputs(x, activations=[layer.result])[f"activation/{layer.result}"].reshape(-1, 4)
    matrix = layer.weight if layer.linear.transposed else layer.weight.T
    expected = np.stack(
        [by_definition(x.reshape(-1, 5), w.astype(float), y[:, o], estimator) for o, w in enumerate(matrix)]
    )
    found = estimate(asked, [x], estimator).arrays[layer.node]
    small_nets.agree(found if layer.linear.transposed else found.T, expected, 1e-6)


# -- properties


def samples(count: int = 40, shape: Any = (3, 8, 8)) -> Any:
    return np.random.default_rng(3).normal(size=(count, *shape)) + 0.2


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_signal_has_the_output_of_the_neuron(estimator: Any) -> None:
    """wᵀa = 1, in every layer."""
    asked = convolutional()
    found = estimate(asked, [samples()], estimator)
    for layer in weighted_layers(asked.graph)[0]:
        products = (found.arrays[layer.node] * layer.weight).reshape(len(layer.weight), -1)
        np.testing.assert_allclose(products.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_batches_change_nothing(estimator: Any) -> None:
    asked, x = convolutional(), samples()
    whole = estimate(asked, [x], estimator)
    for cuts in ([1, 2, 9], list(range(1, len(x)))):
        parts = estimate(asked, np.split(x, cuts), estimator)
        assert parts.about == whole.about
        for node, array in whole.arrays.items():
            small_nets.agree(parts.arrays[node], array, 1e-6)


def test_a_layer_that_no_rectifier_follows_has_one_component() -> None:
    asked, x = convolutional(), samples()
    last = weighted_layers(asked.graph)[0][-1].node
    linear, positive = (estimate(asked, [x], name).arrays for name in ("linear", "positive"))
    np.testing.assert_array_equal(positive[last], linear[last])
    assert all((positive[node] != linear[node]).any() for node in linear if node != last)


def test_a_neuron_that_is_never_active_has_no_pattern() -> None:
    def build(n: Net) -> Any:
        hidden = n.op("Gemm", "x", np.eye(3), np.array([0.0, -100.0, 1.0]))
        return n.dense(n.relu(hidden), 3, 2)

    asked = model(build, 3)
    found = estimate(asked, [samples(shape=(3,))])
    (layer, _) = weighted_layers(asked.graph)[0]
    assert found.about["silent"] == {layer.label: 1}
    assert not found.arrays[layer.node][:, 1].any()
    assert np.isfinite(found.arrays[layer.node]).all()


def toy(rectified: Any) -> tuple[Any, Any]:
    """x = a_s y + a_d ε of the paper's first figure: w takes the distractor out, and does not point at the signal."""

    def build(n: Net) -> Any:
        y = n.op("Gemm", "x", np.array([[1.0], [-1.0]]))
        return n.op("Gemm", n.relu(y), np.ones((1, 1))) if rectified else y

    rng = np.random.default_rng(0)
    y, noise = rng.uniform(-1, 1, size=(20000, 1)), rng.normal(size=(20000, 1))
    return model(build, 2), y * [1.0, 0.0] + noise * [1.0, 1.0]


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("rectified", [False, True])
def test_the_pattern_is_the_direction_of_the_signal_where_the_weight_is_not(estimator: Any, rectified: bool) -> None:
    asked, x = toy(rectified)
    found = estimate(asked, np.array_split(x, 7), estimator)
    first = weighted_layers(asked.graph)[0][0].node
    np.testing.assert_allclose(found.arrays[first].ravel(), [1, 0], atol=0.1)
    sample = np.array([[2.0, 1.0]])  # y = 1, ε = 1
    signal = asked.explain(sample, 0, "pattern_net", patterns=found).relevance
    np.testing.assert_allclose(signal, [[1, 0]], atol=0.1)
    gradient = asked.explain(sample, 0, "gradient").relevance
    np.testing.assert_allclose(gradient, [[1, -1]])


def weights_of(asked: Any) -> dict[Any, Any]:
    return {layer.node: layer.weight for layer in weighted_layers(asked.graph)[0]}


def test_patterns_that_are_the_weights_give_the_gradient() -> None:
    asked, x = convolutional(), samples(3)
    found = asked.explain(x, 1, "pattern_net", patterns=weights_of(asked))
    gradient = asked.explain(x, 1, "gradient").relevance
    small_nets.agree(found.relevance, gradient * found.logit[:, None, None, None])


def test_attribution_multiplies_patterns_by_weights() -> None:
    """R = ((A ⊙ W)ᵀ relu'(z) ((A' ⊙ W')ᵀ logit), by hand."""
    asked = model(lambda n: n.dense(n.relu(n.dense("x", 5, 6)), 6, 3), 5)
    x, rng = samples(4, (5,)), np.random.default_rng(9)
    (w, v), (b, c) = zip(*[
        [asked.graph.constants[name].astype(float) for name in layer.inputs[1:]]
        for layer in asked.graph.layers if layer.op == "Gemm"
    ], strict=True)  # fmt: skip
    a, d = rng.normal(size=(2, 30))[0].reshape(6, 5), rng.normal(size=(3, 6))
    first, second = (layer.label for layer in weighted_layers(asked.graph)[0])
    z = x @ w.T + b
    logit = (np.maximum(z, 0) @ v.T + c)[:, 2:3]
    expected = {
        "pattern_attribution": (logit * (d * v)[2] * (z > 0)) @ (a * w),
        "pattern_net": (logit * d[2] * (z > 0)) @ a,
    }
    for method, right in expected.items():
        small_nets.agree(asked.explain(x, 2, method, patterns={first: a, second: d}).relevance, right, 1e-6)


def test_attribution_keeps_relevance_without_padding() -> None:
    """Σ R is the logit where no rectifier closes on it: wᵀa = 1 in every layer."""
    asked = model(lambda n: n.dense(n.dense("x", 5, 6), 6, 3), 5)
    x = samples(30, (5,))
    found = asked.explain(x, 1, "pattern_attribution", patterns=estimate(asked, [x]))
    np.testing.assert_allclose(found.relevance.sum(axis=1), found.logit, rtol=1e-5)


@pytest.mark.few(4)
@each_engine
@pytest.mark.parametrize("method", ["pattern_net", "pattern_attribution"])
def test_engines_agree_on_patterns(method: str, name: str) -> None:
    graph = small_nets.graph("everything")
    patterns = {layer.node: np.abs(layer.weight) for layer in weighted_layers(graph)[0]}
    inputs, composite = small_nets.batch(graph, 3), make_composite(method, patterns=patterns)
    outputs = small_nets.explained(graph, composite, inputs, name)
    exact = small_nets.explained(graph, composite, inputs, rewrites=())
    assert exact["relevance"].any()
    small_nets.agree(outputs["relevance"], exact["relevance"], 1e-9 if name == "reference" else 1e-4)


def test_large_patterns_of_one_shape_are_not_mistaken_for_each_other() -> None:
    """The emitted graph stores each of several large constants once, and as what it is."""
    width = 80  # its square is more than what constants are compared by value for

    def build(n: Net) -> Any:
        x = "x"
        for _ in range(6):
            x = n.dense(x, width, width)
        return n.dense(x, width, 3)

    exact = model(build, width)
    rng = np.random.default_rng(2)
    patterns = {node: rng.normal(size=w.shape) / np.sqrt(width) for node, w in weights_of(exact).items()}
    x = samples(2, (width,)).astype(np.float32)
    quick = model(build, width, engine=make_engine("ort"))
    found, right = (asked.explain(x, 1, "pattern_net", patterns=patterns).relevance for asked in (quick, exact))
    small_nets.agree(found, right, 1e-4)


# -- what is refused, and kept


@pytest.mark.parametrize("method", ["pattern_net", "pattern_attribution"])
def test_without_patterns_the_command_is_named(method: str) -> None:
    with pytest.raises(UsageError, match="needs the patterns") as caught:
        make_composite(method)
    assert "onnxlrp patterns" in caught.value.fix
    with pytest.raises(UsageError) as caught:
        convolutional().explain(samples(1), 0, rules=[("Conv", make(method))])
    assert "onnxlrp patterns" in caught.value.fix


def test_patterns_of_another_model_are_refused() -> None:
    asked = convolutional()
    theirs = Patterns(weights_of(asked), "0" * 64)
    with pytest.raises(UsageError, match="another model"):
        asked.explain(samples(1), 0, "pattern_net", patterns=theirs)


def test_patterns_that_fit_no_layer_are_refused() -> None:
    asked = convolutional()
    weights = weights_of(asked)
    first, *others = weights
    with pytest.raises(UnsupportedError, match="no pattern for layer"):
        asked.explain(samples(1), 0, "pattern_net", patterns={node: weights[node] for node in others})
    with pytest.raises(UsageError, match="shape"):
        asked.explain(samples(1), 0, "pattern_net", patterns={**weights, first: weights[first][:1]})


def test_a_transposed_convolution_is_named_and_left_to_the_user() -> None:
    def build(n: Net) -> Any:
        y = n.op("ConvTranspose", n.relu(n.conv("x", 2, 2)), n.rng.normal(size=(2, 2, 2, 2)))
        return n.dense(n.op("Flatten", y), 50, 3)

    asked = model(build, 2, 4, 4)
    found, x = estimate(asked, [samples(20, (2, 4, 4))]), samples(2, (2, 4, 4))
    assert [layer.op for layer in weighted_layers(asked.graph)[1]] == ["ConvTranspose"]
    with pytest.raises(UnsupportedError, match="no pattern for layer") as caught:
        asked.explain(x, 0, "pattern_net", patterns=found)
    assert "gradient" in caught.value.fix
    rule = ("ConvTranspose", make("gradient"))
    assert asked.explain(x, 0, "pattern_net", patterns=found, rules=[rule]).relevance.any()


def test_what_cannot_be_estimated_is_refused() -> None:
    asked = convolutional()
    with pytest.raises(UsageError, match="estimator"):
        estimate(asked, [samples(1)], "two")
    with pytest.raises(NothingToDo):
        estimate(asked, [])
    with pytest.raises(InputError, match="not finite"):
        estimate(asked, [np.full((2, 3, 8, 8), np.inf)])
    with pytest.raises(UnsupportedError, match="no Conv"):
        estimate(model(lambda n: n.relu("x"), 4), [samples(2, (4,))])


def test_a_file_gives_back_what_was_saved(tmp_path: Path) -> None:
    asked = convolutional()
    found = estimate(asked, [samples()])
    path = found.save(tmp_path / "model.patterns.npz")
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    composite = make_composite("pattern_net", patterns=path)
    (kept,) = {entry.patterns for _, entry in composite.entries if hasattr(entry, "patterns")}
    assert kept == found
    assert (kept.sha256, kept.about) == (asked.graph.sha256, found.about)
    x = samples(2)
    np.testing.assert_array_equal(
        asked.explain(x, 0, "pattern_net", patterns=path).relevance,
        asked.explain(x, 0, "pattern_net", patterns=found).relevance,
    )


def test_a_program_is_kept_by_the_numbers_of_its_patterns() -> None:
    asked, x = convolutional(), samples(1)
    for factor in (1, 1, 2):
        patterns = {node: factor * weight for node, weight in weights_of(asked).items()}
        asked.explain(x, 0, "pattern_net", patterns=patterns)
    assert len(asked._programs.kept) == 2


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"no zip at all"])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.npz"
    path.write_bytes(content)
    with pytest.raises(InputError):
        make_composite("pattern_net", patterns=path)


def test_another_npz_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", relevance=np.zeros(3))
    with pytest.raises(InputError) as caught:
        make_composite("pattern_net", patterns=tmp_path / "other.npz")
    assert "onnxlrp patterns" in caught.value.fix
