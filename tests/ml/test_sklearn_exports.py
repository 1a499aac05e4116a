"""Eighty models as skl2onnx writes them; skipped, and said so, where scikit-learn or skl2onnx is missing.

Run them where both are: PYTHONPATH=. python -m pytest tests/ml -m "slow or not slow".
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import onnxlrp
from onnxlrp.explanation import ledger

pytest.importorskip("sklearn")
skl2onnx: Any = pytest.importorskip("skl2onnx")
runtime: Any = pytest.importorskip("onnxruntime")

from sklearn import (  # noqa: E402
    cluster,
    compose,
    datasets,
    ensemble,
    impute,
    linear_model,
    mixture,
    pipeline,
    preprocessing,
    svm,
    tree,
)

KERNELS = ("linear", "rbf", "poly", "sigmoid")


def flowers(classes: int) -> tuple[Any, Any]:
    x, y = datasets.load_iris(return_X_y=True)
    kept = y >= 3 - classes
    return preprocessing.StandardScaler().fit_transform(x[kept]).astype(np.float32), y[kept]


def classifiers() -> dict[str, Callable[[], Any]]:
    made: dict[str, Callable[[], Any]] = {}
    for kernel, classes, probability in itertools.product(KERNELS, (2, 3), (False, True)):
        name = f"{kernel}-{classes}{'-probability' * probability}"
        made[name] = lambda k=kernel, c=classes, p=probability: (svm.SVC(kernel=k, probability=p), *flowers(c))  # type: ignore[misc]
    for kernel in KERNELS:
        made[f"{kernel}-3-ovo"] = lambda k=kernel: (svm.SVC(kernel=k, decision_function_shape="ovo"), *flowers(3))  # type: ignore[misc]
    made["nu"] = lambda: (svm.NuSVC(nu=0.2), *flowers(3))
    for scaler in ("StandardScaler", "MinMaxScaler", "MaxAbsScaler", "RobustScaler", "Normalizer"):
        made[f"pipeline-{scaler}"] = lambda s=scaler: (  # type: ignore[misc]
            pipeline.make_pipeline(getattr(preprocessing, s)(), svm.SVC()),
            *flowers(3),
        )
    for kind in ("full", "tied", "diag", "spherical"):
        made[f"mixture-{kind}"] = lambda k=kind: (  # type: ignore[misc]
            mixture.GaussianMixture(3, covariance_type=k, random_state=0),
            flowers(3)[0],
            None,
        )
    made["mixture-bayesian"] = lambda: (
        mixture.BayesianGaussianMixture(n_components=3, random_state=0), flowers(3)[0], None
    )  # fmt: skip
    made["clusters"] = lambda: (cluster.KMeans(4, n_init=3, random_state=0), flowers(3)[0], None)
    return made


def values() -> dict[str, Callable[[], Any]]:
    made: dict[str, Callable[[], Any]] = {}
    for kernel in KERNELS:
        made[f"svr-{kernel}"] = lambda k=kernel: (svm.SVR(kernel=k), flowers(3)[0][:, :3], flowers(3)[0][:, 3])  # type: ignore[misc]
        made[f"one-class-{kernel}"] = lambda k=kernel: (svm.OneClassSVM(kernel=k, nu=0.1), flowers(3)[0], None)  # type: ignore[misc]
    return made


def exported(make: Callable[[], Any]) -> tuple[Any, Any, Any]:
    """The model, its samples, and the file."""
    model, x, y = make()
    model.fit(x, y)
    options = {"zipmap": False} if y is not None and hasattr(model, "classes_") else None
    return model, x[::5], skl2onnx.to_onnx(model, x[:1], options=options, target_opset={"": 18, "ai.onnx.ml": 3})


def run_of(file: Any, x: Any) -> dict[str, Any]:
    session = runtime.InferenceSession(file.SerializeToString())
    name = session.get_inputs()[0].name
    return dict(zip((o.name for o in session.get_outputs()), session.run(None, {name: x}), strict=True))


def closes(explained: Any, engine: str) -> None:
    """The balance: of every layer in double precision, of the whole in single, where terms of a value may be large."""
    if engine == "reference":
        assert max(row.error for row in explained.ledger) < 1e-8
    gone = sum(ledger.sums(explained.ledger).values())
    error = 1e-8 if engine == "reference" else 1e-3
    np.testing.assert_allclose(explained.logit, explained.total + gone, atol=error * np.abs(explained.logit).max())


@pytest.mark.few(6)
@pytest.mark.slow
@pytest.mark.parametrize("case", classifiers())
def test_classes(case: str) -> None:
    _, x, file = exported(classifiers()[case])
    outputs = run_of(file, x)
    label = next(v for v in outputs.values() if np.asarray(v).dtype.kind == "i").reshape(-1)
    for engine in ("ort", "reference"):
        explained: Any = onnxlrp.load(file, engine=engine).explain(x, ledger=True)
        scores = next(v for v in outputs.values() if np.asarray(v).dtype.kind == "f")
        own = explained.output
        # Of two classes the operator writes (d, −d) for d > 0 of the second; they are shown in the order of classes.
        turned = own[:, ::-1] if own.shape[1] == 2 and (scores < 0).any() else own
        np.testing.assert_allclose(turned, scores, atol=1e-4)
        classes = np.unique(label)
        np.testing.assert_array_equal(
            np.searchsorted(classes, label), np.searchsorted(np.unique(explained.target), explained.target)
        )
        assert explained.provenance["explained"]
        closes(explained, engine)


@pytest.mark.few(3)
@pytest.mark.slow
@pytest.mark.parametrize("case", values())
def test_values(case: str) -> None:
    _, x, file = exported(values()[case])
    outputs = run_of(file, x)
    value = next(v for v in outputs.values() if np.asarray(v).dtype.kind == "f")
    for engine in ("ort", "reference"):
        explained: Any = onnxlrp.load(file, engine=engine).explain(x, ledger=True)
        np.testing.assert_allclose(explained.output, value, atol=1e-4 * max(1, np.abs(value).max()))
        closes(explained, engine)
        if case.startswith("one-class-rbf"):
            np.testing.assert_array_equal(np.sign(explained.logit), np.sign(value[:, 0]))


def shapley(f: Callable[[Any], Any], x: Any, background: Any) -> Any:
    """Exact Shapley values of one sample, by all subsets of its features; absent ones are those of the background."""
    features = range(len(x))
    subsets = [s for k in range(len(x) + 1) for s in itertools.combinations(features, k)]
    worth = {}
    for subset in subsets:
        rows = background.copy()
        rows[:, list(subset)] = x[list(subset)]
        worth[subset] = float(f(rows).mean())
    found, count = np.zeros(len(x)), len(x)
    for i in features:
        for s in (s for s in subsets if i not in s):
            weight = math.factorial(len(s)) * math.factorial(count - len(s) - 1) / math.factorial(count)
            found[i] += weight * (worth[tuple(sorted((*s, i)))] - worth[s])
    return found


@pytest.mark.slow
def test_the_midpoint_rule_is_nearer_to_shapley_values_than_gradient_x_input() -> None:
    """Of an RBF machine of four features, C = 1: the relevance of all samples and features together."""
    x, y = datasets.make_gaussian_quantiles(n_samples=300, n_features=4, n_classes=2, random_state=0)
    x = preprocessing.StandardScaler().fit_transform(x).astype(np.float32)
    machine = svm.SVC(C=1.0).fit(x[:200], y[:200])
    file = skl2onnx.to_onnx(machine, x[:1], options={"zipmap": False}, target_opset={"": 18, "ai.onnx.ml": 3})
    rows = x[200:240]
    exact = np.array([shapley(machine.decision_function, row, x[:60].copy()) for row in rows]).ravel()
    midpoint = np.asarray(onnxlrp.load(file, engine="ort").explain(rows, target=1).relevance).ravel()
    step = 1e-3 * np.eye(4, dtype=np.float32)
    slopes = [machine.decision_function(rows + s) - machine.decision_function(rows - s) for s in step]
    slope_x_input = (np.array(slopes).T / 2e-3 * rows).ravel()
    near, far = (np.corrcoef(found, exact)[0, 1] for found in (midpoint, slope_x_input))
    print(f"correlation with Shapley values: midpoint {near:.2f}, gradient x input {far:.2f}")
    assert near > 0.8
    assert near > far


SOME = {"n_estimators": 5, "max_depth": 4, "random_state": 0}
ENCODERS: dict[str, Callable[[], Any]] = {
    "hot": lambda: preprocessing.OneHotEncoder(handle_unknown="ignore"),
    "hot-dropped": lambda: preprocessing.OneHotEncoder(drop="first"),
    "hot-infrequent": lambda: preprocessing.OneHotEncoder(min_frequency=70, handle_unknown="infrequent_if_exist"),
    "ordinal": lambda: preprocessing.OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
    "target": lambda: preprocessing.TargetEncoder(random_state=0),
}
LINEAR: dict[str, Callable[[], Any]] = {
    "logistic": lambda: linear_model.LogisticRegression(max_iter=1000),
    "sgd": lambda: linear_model.SGDClassifier(loss="log_loss", random_state=0),
}
TREES: dict[str, Callable[[], Any]] = {
    "tree": lambda: tree.DecisionTreeClassifier(max_depth=4),
    "forest": lambda: ensemble.RandomForestClassifier(**SOME),
    "extra": lambda: ensemble.ExtraTreesClassifier(**SOME),
    "boosting": lambda: ensemble.GradientBoostingClassifier(**SOME),
    "bagging": lambda: ensemble.BaggingClassifier(tree.DecisionTreeClassifier(max_depth=3), 3, random_state=0),
}
COLUMNS = ("age", "fare", "sex", "port", "class")


def people() -> tuple[Any, Any]:
    """A table with words and missing values, and an answer that depends on both."""
    pandas: Any = pytest.importorskip("pandas")
    rng, count = np.random.default_rng(1), 300
    table = pandas.DataFrame({
        "age": rng.normal(40, 10, count).round(1), "fare": rng.gamma(2, 10, count).round(2),
        "sex": rng.choice(["f", "m"], count), "port": rng.choice(["Cork", "Dover", "Oslo"], count, p=[0.6, 0.3, 0.1]),
        "class": rng.integers(1, 4, count),
    })  # fmt: skip
    answer = np.asarray((table["age"] > 40).astype(int) ^ (table["sex"] == "f") ^ (table["port"] == "Dover"))
    table.loc[rng.random(count) < 0.2, "age"] = np.nan
    return table, answer


def written(encoder: str, last: Any) -> tuple[Any, Any, Any]:
    """The pipeline, the table that it was trained with, and the file."""
    from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType

    table, answer = people()
    numbers = pipeline.make_pipeline(impute.SimpleImputer(), preprocessing.StandardScaler())
    parts = [("numbers", numbers, ["age", "fare"]), ("words", ENCODERS[encoder](), ["sex", "port"]),
             ("rest", "passthrough", ["class"])]  # fmt: skip
    model = pipeline.make_pipeline(compose.ColumnTransformer(parts), last).fit(table, answer)
    kinds = dict(
        zip(
            COLUMNS,
            (FloatTensorType, FloatTensorType, StringTensorType, StringTensorType, Int64TensorType),
            strict=True,
        )
    )
    given = [(name, kind([None, 1])) for name, kind in kinds.items()]
    target = {"": 18, "ai.onnx.ml": 3}
    return (
        model,
        table,
        skl2onnx.convert_sklearn(model, initial_types=given, options={"zipmap": False}, target_opset=target),
    )


def scores_of(file: Any, table: Any) -> Any:
    """What onnxruntime gives for rows of a table."""
    feed = {name: np.asarray(table[[name]]) for name in COLUMNS}
    feed = {
        k: v.astype(object if k in ("sex", "port") else np.int64 if k == "class" else np.float32)
        for k, v in feed.items()
    }
    return runtime.InferenceSession(file.SerializeToString()).run(None, feed)[1]


@pytest.mark.few(4)
@pytest.mark.slow
@pytest.mark.parametrize("last", [*LINEAR, *TREES])
@pytest.mark.parametrize("encoder", ENCODERS)
def test_tables_with_words_and_missing_values(encoder: str, last: str) -> None:
    """Outputs are the file's, sums are exact, and tree_shap is the enumeration of the five original columns."""
    _, table, file = written(encoder, {**LINEAR, **TREES}[last]())
    rows, background = table[:6], table[100:112]
    opened: Any = onnxlrp.load(file, engine="ort")
    assert opened.graph.opaque is None
    if last in LINEAR:
        found = opened.explain(rows, method="epsilon", epsilon=1e-9, ledger=True)
        closes(found, "ort")
    else:
        found = opened.explain(rows, target=1, method="tree_shap", background=background)
        assert np.abs(found.notes["difference"]).max() < 1e-4
        cells, others = (np.asarray(part, dtype=object) for part in (rows, background))
        pandas: Any = pytest.importorskip("pandas")

        def f(mixed: Any) -> Any:
            frame = pandas.DataFrame(mixed, columns=COLUMNS)
            if last == "boosting":
                return opened.outputs(opened.read(frame).values)["logits"][:, 1]
            return scores_of(file, frame)[:, 1]

        want = np.array([shapley(f, cells[n], others) for n in range(2)])
        np.testing.assert_allclose(found.relevance[:2], want, atol=1e-5)
    assert found.feature_names == COLUMNS
    np.testing.assert_allclose(found.output, scores_of(file, rows), atol=1e-5)
