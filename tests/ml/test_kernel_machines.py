"""Kernel machines of ai.onnx.ml, made with onnx alone: what is explained, against the definitions in numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

import onnxlrp
from onnxlrp.errors import UnsupportedError, UsageError
from onnxlrp.explanation import ledger
from onnxlrp.graph.decomposition.ml import svm
from onnxlrp.graph.graph import Layer

WIDTH = 4
KERNELS = ("LINEAR", "RBF", "POLY", "SIGMOID")
PARAMS = {"LINEAR": (0.0, 0.0, 0.0), "RBF": (0.3, 0.0, 0.0), "POLY": (0.2, 0.5, 3.0), "SIGMOID": (0.15, -0.2, 0.0)}

EXACT: dict[str, Any] = {"method": "epsilon", "epsilon": 1e-12, "stabilizer": 1e-12}


def double(value: Any) -> Any:
    return np.asarray(value, np.float64)


def model_of(node: Any, outputs: Any) -> Any:
    types = {"label": TensorProto.INT64}
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", WIDTH])
    made = [helper.make_tensor_value_info(name, types.get(name, TensorProto.FLOAT), None) for name in outputs]
    graph = helper.make_graph([node] if not isinstance(node, list) else node, "svm", [given], made)
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def attributes(kernel: str, classes: int, seed: int = 0) -> dict[str, Any]:
    """A machine of random support vectors; of a classifier the first of a pair has positive coefficients."""
    rng = np.random.default_rng(seed)
    count, functions = 4 * max(3, classes), max(1, classes * (classes - 1) // 2)
    own = {"kernel_type": kernel, "kernel_params": PARAMS[kernel], "post_transform": "NONE"}
    vectors = rng.normal(size=(count, WIDTH)).astype(np.float32)
    rho = rng.normal(size=functions).astype(np.float32) * 0.3
    common = {**own, "support_vectors": vectors.reshape(-1), "rho": rho}
    if not classes:
        coefficients = rng.normal(size=count).astype(np.float32)
        return {**common, "coefficients": coefficients, "n_supports": count}
    per_class = [count // classes] * classes
    row = np.repeat(np.arange(classes), per_class)
    size = rng.uniform(0.2, 2, size=(classes - 1, count))
    first = np.array([[r <= c_row for r in row] for c_row in range(classes - 1)])
    signed = np.where(first, size, -size).astype(np.float32)
    return {**common, "coefficients": signed.reshape(-1), "vectors_per_class": per_class,
            "classlabels_ints": list(range(classes))}  # fmt: skip


def kernel_of(stated: Any, x: Any) -> Any:
    gamma, offset, degree = (double(np.float32(v)) for v in stated["kernel_params"])
    vectors = double(stated["support_vectors"]).reshape(-1, WIDTH)
    dots = x @ vectors.T
    return {
        "LINEAR": lambda: dots,
        "RBF": lambda: np.exp(-gamma * ((x[:, None] - vectors) ** 2).sum(axis=2)),
        "POLY": lambda: (gamma * dots + offset) ** degree,
        "SIGMOID": lambda: np.tanh(gamma * dots + offset),
    }[stated["kernel_type"]]()


def decisions_of(stated: Any) -> tuple[list[Any], list[Any]]:
    """Coefficients over all support vectors of each decision function, and the pairs of classes that they are of."""
    count = len(stated["support_vectors"]) // WIDTH
    per_class = stated.get("vectors_per_class")
    if per_class is None:
        return [double(stated["coefficients"])], [(0, 1)]
    table = double(stated["coefficients"]).reshape(-1, count)
    owner = np.repeat(np.arange(len(per_class)), per_class)
    pairs = [(i, j) for i in range(len(per_class)) for j in range(i + 1, len(per_class))]
    rows = [np.where(owner == i, table[j - 1], 0) + np.where(owner == j, table[i], 0) for i, j in pairs]
    return rows, pairs


def log_ratio(stated: Any, a: Any, b: float, x: Any) -> tuple[float, Any, float, float]:
    """g of one sample, its relevance by the midpoint rule, Σ p ln a − Σ q ln |a|, and H(p) − H(q)."""
    gamma = double(np.float32(stated["kernel_params"][0]))
    vectors = double(stated["support_vectors"]).reshape(-1, WIDTH)
    squares = np.vstack([-gamma * (x - vectors) ** 2, np.zeros(WIDTH)])
    weights = np.append(a, b)
    g, relevance, coefficients, entropy = 0.0, np.zeros(WIDTH), 0.0, 0.0
    for sign in (1, -1):
        on = sign * weights > 0
        z = squares[on].sum(axis=1) + np.log(np.abs(weights[on]))
        total = np.log(np.exp(z).sum())
        p = np.exp(z - total)
        g += sign * total
        relevance += sign * (p @ squares[on])
        coefficients += sign * (p @ np.log(np.abs(weights[on])))
        entropy -= sign * (p @ np.log(p))
    return g, relevance, coefficients, entropy


def path_integral(stated: Any, a: Any, x: Any, points: int) -> Any:
    """The integral of the gradient from the mean of the support vectors to one sample, by Gauss and Legendre."""
    gamma, offset, degree = (double(np.float32(v)) for v in stated["kernel_params"])
    vectors = double(stated["support_vectors"]).reshape(-1, WIDTH)
    start = double(np.float32(vectors.mean(axis=0)))
    found = np.zeros(WIDTH)
    for t, weight in zip(*np.polynomial.legendre.leggauss(points), strict=True):
        z = gamma * vectors @ (start + (t + 1) / 2 * (x - start)) + offset
        slope = degree * z ** (degree - 1) if stated["kernel_type"] == "POLY" else 1 - np.tanh(z) ** 2
        found += weight / 2 * (x - start) * ((a * slope * gamma) @ vectors)
    return found


def load(source: Any, engine: str = "reference") -> Any:
    return onnxlrp.load(source, engine=engine)


def samples(count: int = 9) -> Any:
    return np.random.default_rng(7).normal(size=(count, WIDTH)).astype(np.float32)


def classifier(kernel: str, classes: int, **more: Any) -> tuple[Any, Any]:
    stated = attributes(kernel, classes) | more
    return stated, model_of(
        helper.make_node("SVMClassifier", ["x"], ["label", "y"], domain="ai.onnx.ml", **stated), ["label", "y"]
    )


def regressor(kernel: str, **more: Any) -> tuple[Any, Any]:
    stated = attributes(kernel, 0) | more
    return stated, model_of(helper.make_node("SVMRegressor", ["x"], ["y"], domain="ai.onnx.ml", **stated), ["y"])


def against_rivals(stated: Any, pairs: Any, values: Any) -> Any:
    """The pairwise values [P] of one sample as [C, C], of the class of the row against that of the column."""
    classes = len(stated["vectors_per_class"])
    found = np.full((classes, classes), np.inf)
    for (i, j), value in zip(pairs, values, strict=True):
        found[i, j], found[j, i] = value, -value
    return found


@pytest.mark.parametrize("classes", [2, 3, 4])
@pytest.mark.parametrize("kernel", KERNELS)
def test_a_class_is_explained_against_its_strongest_rival(kernel: str, classes: int) -> None:
    stated, source = classifier(kernel, classes)
    explained = load(source).explain(samples(), ledger=True, **EXACT)
    rows, pairs = decisions_of(stated)
    x, rho = double(samples()), double(stated["rho"])
    f = kernel_of(stated, x) @ np.array(rows).T + rho
    votes = np.zeros((len(x), classes))
    for n, (i, j) in enumerate(pairs):
        votes[:, i] += f[:, n] > 0
        votes[:, j] += f[:, n] <= 0
    np.testing.assert_array_equal(explained.target, votes.argmax(axis=1))
    gone = ledger.sums(explained.ledger)
    for n, (sample, own) in enumerate(zip(x, explained.target, strict=True)):
        if kernel == "RBF":
            found = [log_ratio(stated, a, b, sample) for a, b in zip(rows, rho, strict=True)]
            values = [g for g, *_ in found]
            assert (np.sign(values) == np.sign(f[n])).all()
        else:
            values = f[n]
        table = against_rivals(stated, pairs, values)
        rival = int(table[own].argmin())
        assert explained.logit[n] == pytest.approx(table[own, rival], abs=1e-6)
        pair = pairs.index((min(own, rival), max(own, rival)))
        sign = 1 if own < rival else -1
        if kernel == "RBF":
            _, relevance, coefficients, entropy = found[pair]
            # The column differs from Σ p ln a by nothing: a common factor of both sums cancels.
            assert gone["coefficients"][n] == pytest.approx(sign * coefficients, abs=1e-5)
            assert gone["entropy"][n] == pytest.approx(sign * entropy, abs=1e-5)
        elif kernel == "LINEAR":
            vectors = double(stated["support_vectors"]).reshape(-1, WIDTH)
            relevance = (rows[pair] @ vectors) * sample
        else:
            relevance = path_integral(stated, rows[pair], sample, 60)
        np.testing.assert_allclose(explained.relevance[n], sign * relevance, atol=1e-5)
    assert max(row.error for row in explained.ledger) < 1e-8
    np.testing.assert_allclose(explained.logit, explained.total + sum(gone.values()), atol=1e-9)


@pytest.mark.parametrize("kernel", ["POLY", "SIGMOID"])
def test_ten_points_of_the_path_are_near(kernel: str) -> None:
    stated, source = classifier(kernel, 2)
    x = samples()
    explained = load(source).explain(x, target=0, **EXACT)
    (row,), _ = decisions_of(stated)
    few = np.array([path_integral(stated, row, sample, 10) for sample in double(x)])
    np.testing.assert_allclose(explained.relevance, few, atol=3e-3 * np.abs(few).max())


def test_the_mean_of_rivals_is_an_option() -> None:
    stated, source = classifier("RBF", 4)
    model = load(source)
    explained = model.explain(samples(), head="mean-rivals", **EXACT)
    rows, pairs = decisions_of(stated)
    for n, (sample, own) in enumerate(zip(double(samples()), explained.target, strict=True)):
        found = [log_ratio(stated, a, b, sample) for a, b in zip(rows, double(stated["rho"]), strict=True)]
        table = against_rivals(stated, pairs, [g for g, *_ in found])
        assert explained.logit[n] == pytest.approx(table[own][np.isfinite(table[own])].mean(), abs=1e-6)
        maps = [(1 if own == i else -1) * found[k][1] for k, (i, j) in enumerate(pairs) if own in (i, j)]
        np.testing.assert_allclose(explained.relevance[n], np.mean(maps, axis=0), atol=1e-5)
    assert "mean of its rivals" in explained.provenance["explained"]
    assert "strongest rival" in model.explain(samples()).provenance["explained"]
    with pytest.raises(UsageError, match="no rivals"):
        onnxlrp.load(classifier("RBF", 2)[1]).explain(samples(), head="mean-rivals")


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_value_of_a_regression(kernel: str) -> None:
    stated, source = regressor(kernel)
    explained = load(source).explain(samples(), ledger=True, **EXACT)
    a, x = double(stated["coefficients"]), double(samples())
    rho = float(stated["rho"][0])
    np.testing.assert_allclose(explained.output[:, 0], kernel_of(stated, x) @ a + rho, atol=1e-5)
    assert explained.is_value
    assert max(row.error for row in explained.ledger) < 1e-8
    for n, sample in enumerate(x):
        if kernel == "RBF":  # above the intercept, or below
            g, relevance, *_ = log_ratio(stated, a, 0.0, sample)
            assert explained.logit[n] == pytest.approx(g, abs=1e-6)
            assert np.sign(g) == np.sign(explained.output[n, 0] - rho)
        elif kernel == "LINEAR":
            relevance = (a @ double(stated["support_vectors"]).reshape(-1, WIDTH)) * sample
        else:
            relevance = path_integral(stated, a, sample, 60)
        np.testing.assert_allclose(explained.relevance[n], relevance, atol=1e-5)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("form", ["classifier", "regressor"])
def test_outputs_are_onnxruntimes(form: str, kernel: str) -> None:
    runtime = pytest.importorskip("onnxruntime")
    _, source = classifier(kernel, 3) if form == "classifier" else regressor(kernel)
    expected = runtime.InferenceSession(source.SerializeToString()).run(None, {"x": samples()})
    for engine in ("ort", "reference"):
        explained = load(source, engine).explain(samples(), ledger=True)
        np.testing.assert_allclose(explained.output, expected[-1], atol=1e-5)
        if form == "classifier":
            np.testing.assert_array_equal(explained.target, expected[0])
    exact = load(source).explain(samples()).relevance
    np.testing.assert_allclose(explained.relevance, exact, atol=1e-5)


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_probabilities_are_shown_as_the_file_says(classes: int) -> None:
    runtime = pytest.importorskip("onnxruntime")
    pairs = classes * (classes - 1) // 2
    more = {"prob_a": np.linspace(-3, -1, pairs), "prob_b": np.linspace(-0.2, 0.3, pairs)}
    stated = attributes("RBF", classes) | more
    node = helper.make_node("SVMClassifier", ["x"], ["label", "y"], domain="ai.onnx.ml", **stated)
    source = model_of(node, ["label", "y"])
    label, scores = runtime.InferenceSession(source.SerializeToString()).run(None, {"x": samples()})
    for engine in ("ort", "reference"):
        explained = load(source, engine).explain(samples())
        np.testing.assert_allclose(explained.output, scores, atol=1e-5)
        np.testing.assert_array_equal(explained.target, label)
        assert explained.quantity == "probability"


def test_one_class_has_the_sign_of_its_decision() -> None:
    runtime = pytest.importorskip("onnxruntime")
    rng = np.random.default_rng(2)
    coefficients = rng.uniform(0.1, 1, size=12).astype(np.float32)
    stated = attributes("RBF", 0) | {"coefficients": coefficients, "rho": [-2.0]}
    nodes = [helper.make_node("SVMRegressor", ["x"], ["y"], domain="ai.onnx.ml", **stated),
             helper.make_node("Sign", ["y"], ["s"]), helper.make_node("Cast", ["s"], ["label"], to=7)]  # fmt: skip
    x = samples(40) * 1.5
    source = model_of(nodes, ["label", "y"])
    label, value = runtime.InferenceSession(source.SerializeToString()).run(None, {"x": x})
    assert {-1, 1} == set(label.reshape(-1))
    explained = load(source).explain(x, ledger=True, **EXACT)
    np.testing.assert_array_equal(np.sign(explained.logit), label.reshape(-1))
    np.testing.assert_allclose(explained.output, value, atol=1e-5)
    for n, sample in enumerate(double(x)):
        g, relevance, *_ = log_ratio(stated, double(coefficients), -2.0, sample)
        assert explained.logit[n] == pytest.approx(g, abs=1e-5)
        np.testing.assert_allclose(explained.relevance[n], relevance, atol=1e-5)
    assert max(row.error for row in explained.ledger) < 1e-8


def test_the_gradient_is_that_of_what_is_explained() -> None:
    _, source = classifier("RBF", 3)
    model, x = load(source), samples(3)
    slope = model.explain(x, method="gradient", target=1).relevance
    step = 1e-3
    for column in range(WIDTH):
        moved = [x + sign * step * np.eye(WIDTH, dtype=np.float32)[column] for sign in (1, -1)]
        up, down = (model.explain(each, target=1).logit for each in moved)
        np.testing.assert_allclose(slope[:, column], (up - down) / (2 * step), atol=1e-2)


def test_labels_name_the_classes() -> None:
    """Strings as they are; numbers that do not count from 0 are told from ids."""
    words = {"classlabels_ints": [], "classlabels_strings": ["setosa", "virginica", "other"]}
    stated = {k: v for k, v in (attributes("RBF", 3) | words).items() if len(v)}
    for own, expected in ((stated, ("setosa", "virginica", "other")),
                          (attributes("RBF", 3) | {"classlabels_ints": [3, 5, 9]}, ("label 3", "label 5", "label 9")),
                          (attributes("RBF", 3), None)):  # fmt: skip
        node = helper.make_node("SVMClassifier", ["x"], ["label", "y"], domain="ai.onnx.ml", **own)
        model = load(model_of(node, ["y"]))
        assert model.labels == expected
    assert load(model_of(node, ["y"])).explain(samples(1)).top(1)[0][0][1] in ("0", "1", "2")


def test_a_label_alone_is_explained() -> None:
    stated = attributes("RBF", 3)
    node = helper.make_node("SVMClassifier", ["x"], ["label", "y"], domain="ai.onnx.ml", **stated)
    both = load(model_of(node, ["label", "y"])).explain(samples())
    alone = load(model_of(node, ["label"])).explain(samples())
    np.testing.assert_array_equal(alone.relevance, both.relevance)


@pytest.mark.parametrize(
    "damage",
    [
        {"coefficients": [1.0]},
        {"rho": [0.1]},
        {"support_vectors": [1.0] * 7},
        {"vectors_per_class": 12},
        {"kernel_params": []},
        {"classlabels_ints": [0, 1]},
    ],
    ids=lambda damage: next(iter(damage)),
)
def test_attributes_that_do_not_fit_are_no_machine(damage: Any) -> None:
    """Such a layer is left as it is; no other error than ours is raised."""
    layer = Layer(svm.CLASSIFIER, "svm", "", ("x",), ("label", "y"), attributes("RBF", 3) | damage)
    found = svm.read(layer)
    assert found is None or damage == {"kernel_params": []}


def test_a_decision_with_nothing_against_it_has_no_layers() -> None:
    """ln Σ₋ |a| k of no support vector is −∞: methods that hide parts answer."""
    more = {"coefficients": np.full(12, 0.5, np.float32), "rho": [1.0]}
    source = model_of(
        helper.make_node("SVMRegressor", ["x"], ["y"], domain="ai.onnx.ml", **(attributes("RBF", 0) | more)), ["y"]
    )
    model = load(source, "ort")
    with pytest.raises(UnsupportedError, match="SVMRegressor"):
        model.explain(samples())
    assert np.isfinite(model.explain(samples(), method="occlusion").relevance).all()


@pytest.mark.parametrize("transform", ["NONE", "SOFTMAX", "LOGISTIC"])
@pytest.mark.parametrize("rho", [[0.5], [0.5, -1.0, 2.0]])
def test_a_machine_without_support_vectors_is_linear(transform: str, rho: Any) -> None:
    """One row of weights for each class, and the first intercept for all of them, as onnxruntime computes it."""
    weight = np.random.default_rng(0).normal(size=(3, WIDTH)).astype(np.float32)
    stated: dict[str, Any] = {
        "kernel_type": "LINEAR",
        "kernel_params": [0.0, 0.0, 0.0],
        "classlabels_ints": [3, 5, 7],
    }
    node = helper.make_node("SVMClassifier", ["x"], ["label", "y"], domain="ai.onnx.ml", **stated, rho=rho,
                            coefficients=weight.reshape(-1), post_transform=transform)  # fmt: skip
    source = model_of(node, ["label", "y"])
    x = np.random.default_rng(1).normal(size=(5, WIDTH)).astype(np.float32)
    runtime = pytest.importorskip("onnxruntime")
    label, scores = runtime.InferenceSession(source.SerializeToString()).run(None, {"x": x})
    found = load(source).explain(x, method="epsilon", epsilon=1e-12)
    np.testing.assert_allclose(found.output, scores, atol=1e-6)
    np.testing.assert_array_equal(np.array([3, 5, 7])[found.target], label)
    np.testing.assert_allclose(found.relevance, x * weight[found.target], atol=1e-6)
    np.testing.assert_allclose(found.logit, found.total + rho[0], atol=1e-6)
