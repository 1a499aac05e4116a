"""Shapley values of 500 trees: tree_shap beside shap's C extension, equal first, then timed in one run.

    pip install scikit-learn skl2onnx shap
    python benchmarks/trees.py

The values of both are compared before anything is timed. Times are of the processor, as this process counts them.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import shap
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType
from sklearn.ensemble import RandomForestRegressor

import onnxlrp

OUT = Path(__file__).parent / "results" / "trees.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("rows", 1000), ("trees", 500), ("depth", 6), ("background", 100), ("features", 20)):
        parser.add_argument(f"--{name}", type=int, default=value)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3000, args.features)).astype(np.float32)
    y = 2 * x[:, 0] + x[:, 1] * x[:, 2] + np.sin(2 * x[:, 3]) + rng.normal(size=3000)
    forest = RandomForestRegressor(args.trees, max_depth=args.depth, random_state=0).fit(x, y)
    types = [("x", FloatTensorType([None, args.features]))]
    file = convert_sklearn(forest, initial_types=types, target_opset={"": 18, "ai.onnx.ml": 3}).SerializeToString()
    rows, background = x[: args.rows], x[-args.background :]

    began = time.process_time()
    model = onnxlrp.load(file)
    load = time.process_time() - began
    ours = []
    for _ in range(3):
        began = time.process_time()
        found = model.explain(rows, method="tree_shap", background=background).relevance
        ours.append(time.process_time() - began)
    explainer = shap.TreeExplainer(forest, background, feature_perturbation="interventional")
    began = time.process_time()
    want = explainer.shap_values(rows, check_additivity=False)
    theirs = time.process_time() - began
    error = float(np.abs(found - want).max() / np.abs(want).max())
    assert error < 1e-6, error
    result = {
        **vars(args),
        "leaves": int(sum(tree.tree_.n_leaves for tree in forest.estimators_)),
        "relative difference": error,
        "load s": round(load, 3),
        "tree_shap s": round(min(ours), 3),
        "shap s": round(theirs, 3),
        "ratio": round(theirs / min(ours), 1),
        "versions": {"shap": shap.__version__, "numpy": np.__version__},
    }
    print(json.dumps(result, indent=1))
    OUT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
