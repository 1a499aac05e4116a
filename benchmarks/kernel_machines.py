"""How near relevance of kernel machines is to exact Shapley values, on data sets of four columns.

    python benchmarks/kernel_machines.py        # needs scikit-learn and skl2onnx; a minute

Two thirds of each data set, standardised, train a machine of radial basis functions; 40 other rows are explained,
absent columns are those of 60 training rows. The correlation is over all rows and columns together. Classes: the
midpoint rule of this package against gradient x input of the decision function. Values: the midpoint rule above the
intercept, as this package has it, and with the intercept as a unit of its own.
"""

from __future__ import annotations

import itertools
import math
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import records
import skl2onnx
from sklearn import datasets, preprocessing, svm

import onnxlrp

RESULTS = Path(__file__).parent / "results" / "kernel_machines.json"
ROWS, BACKGROUND = 40, 60


def classes() -> dict[str, tuple[Any, Any]]:
    """The data sets of two classes: all that were tried."""
    cancer, iris, wine = datasets.load_breast_cancer(), datasets.load_iris(), datasets.load_wine()
    two = wine.target < 2
    made = {"n_features": 4, "n_classes": 2, "random_state": 0}
    return {
        "breast cancer, first columns": (cancer.data[:, :4], cancer.target),
        "iris, last classes": (iris.data[50:], iris.target[50:]),
        "wine, first columns": (wine.data[two][:, :4], wine.target[two]),
        "quantiles": datasets.make_gaussian_quantiles(n_samples=300, **made),
        "clusters": datasets.make_classification(n_samples=300, n_informative=4, n_redundant=0, **made),
    }


def values() -> dict[str, tuple[Any, Any]]:
    """The data sets of values."""
    x, y = datasets.load_diabetes(return_X_y=True)
    friedman = datasets.make_friedman1(400, 5, random_state=0)
    return {"diabetes, bmi, s5, bp, s1": (x[:, [2, 8, 3, 4]], y), "friedman": (friedman[0][:, :4], friedman[1])}


def shapley(f: Callable[[Any], Any], x: Any, background: Any) -> Any:
    """Return exact Shapley values of one row, by all subsets of its columns."""
    count, worth = len(x), {}
    for size in range(count + 1):
        for subset in itertools.combinations(range(count), size):
            rows = background.copy()
            rows[:, list(subset)] = x[list(subset)]
            worth[subset] = float(f(rows).mean())
    found = np.zeros(count)
    for subset, own in worth.items():
        for i in set(range(count)) - set(subset):
            weight = math.factorial(len(subset)) * math.factorial(count - len(subset) - 1) / math.factorial(count)
            found[i] += weight * (worth[tuple(sorted((*subset, i)))] - own)
    return found


def correlation(found: Any, exact: Any) -> float:
    """Return the correlation of relevance with Shapley values, over all rows and columns together."""
    return round(float(np.corrcoef(np.ravel(found), np.ravel(exact))[0, 1]), 3)


def split(x: Any, y: Any) -> tuple[Any, Any, Any]:
    """Return training rows and their targets, and the rows that are explained, in a random order."""
    order = np.random.default_rng(0).permutation(len(x))
    rows = preprocessing.StandardScaler().fit_transform(x)[order].astype(np.float32)
    cut = len(rows) * 2 // 3
    return rows[:cut], y[order][:cut], rows[cut : cut + ROWS]


def relevance(machine: Any, rows: Any, **how: Any) -> Any:
    """Return the relevance of rows in this package's default method."""
    options = {"zipmap": False} if hasattr(machine, "classes_") else None
    file = skl2onnx.to_onnx(machine, rows[:1], options=options, target_opset={"": 18, "ai.onnx.ml": 3})
    return onnxlrp.load(file).explain(rows, **how).relevance


def with_intercept(machine: Any, rows: Any) -> Any:
    """Return the midpoint rule of a regression whose intercept is a unit, by its definition."""
    vectors, weights = machine.support_vectors_, np.append(machine.dual_coef_[0], machine.intercept_[0])
    found = []
    for x in rows:
        squares = np.vstack([-machine._gamma * (x - vectors) ** 2, np.zeros(len(x))])
        total = np.zeros(len(x))
        for sign in (1, -1):
            on = sign * weights > 0
            z = squares[on].sum(axis=1) + np.log(np.abs(weights[on]))
            p = np.exp(z - np.logaddexp.reduce(z))
            total += sign * (p @ squares[on])
        found.append(total)
    return np.array(found)


def main() -> int:
    """Measure, print and write the results."""
    warnings.filterwarnings("ignore")
    measured: list[records.Record] = []
    for (name, (x, y)), c in itertools.product(classes().items(), (1.0, 30.0)):
        train, target, rows = split(x, y)
        machine = svm.SVC(C=c).fit(train, target)
        f = machine.decision_function
        exact = np.array([shapley(f, row, train[:BACKGROUND]) for row in rows])
        slope = np.array([f(rows + s) - f(rows - s) for s in 1e-3 * np.eye(4, dtype=np.float32)]).T / 2e-3
        near = {"midpoint": relevance(machine, rows, target=1), "gradient x input": slope * rows}
        measured.append({"data": name, "C": c, **{k: correlation(v, exact) for k, v in near.items()}})
    for name, (x, y) in values().items():
        train, target, rows = split(x, y)
        regression = svm.SVR().fit(train, target)
        exact = np.array([shapley(regression.predict, row, train[:BACKGROUND]) for row in rows])
        near = {"above the intercept": relevance(regression, rows), "with it": with_intercept(regression, rows)}
        measured.append({"data": name, "C": 1.0, **{k: correlation(v, exact) for k, v in near.items()}})
    for row in measured:
        print(*(f"{key} {value}" for key, value in row.items()), sep="   ")
    packages = ("onnxlrp", "onnxruntime", "scikit-learn", "skl2onnx", "numpy")
    records.save(RESULTS, {"environment": records.environment(packages), "correlations": measured})
    return 0


if __name__ == "__main__":
    sys.exit(main())
