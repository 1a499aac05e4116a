"""Write the small exports of tests/golden/trees: as the converters of scikit-learn, LightGBM and XGBoost write trees.

    pip install scikit-learn lightgbm xgboost skl2onnx onnxmltools shap
    python tests/golden/trees_goldens.py

trees.npz holds samples, a background, and what shap gives for the native models: values by name, margins.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import shap
import xgboost
from onnxmltools import convert_lightgbm, convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType as Floats
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType
from sklearn import compose, ensemble, pipeline, preprocessing, tree

warnings.filterwarnings("ignore")
HERE = Path(__file__).parent / "trees"
RNG = np.random.default_rng(0)
X = RNG.normal(size=(400, 6)).astype(np.float32)
VALUE = (X[:, 0] * 2 + X[:, 1] * X[:, 2] + np.sin(X[:, 3])).astype(np.float32)
TWO, THREE = (VALUE > 0).astype(int), np.digitize(VALUE, [-1, 1])
ROWS, BACKGROUND = X[:20], X[100:125]
ONE = {"n_estimators": 4, "max_depth": 3, "random_state": 0}


def voting() -> Any:
    parts = [("a", ensemble.RandomForestClassifier(**ONE)), ("b", tree.DecisionTreeClassifier(max_depth=3))]
    return ensemble.VotingClassifier(parts, voting="soft", flatten_transform=False, weights=np.array([2, 1]))


def columns() -> Any:
    parts = [("a", preprocessing.StandardScaler(), [0, 2]), ("b", preprocessing.MinMaxScaler(), [1, 4])]
    return pipeline.make_pipeline(compose.ColumnTransformer(parts), ensemble.RandomForestClassifier(**ONE))


SKLEARN: dict[str, tuple[Any, Any]] = {
    "tree_regressor": (tree.DecisionTreeRegressor(max_depth=4), VALUE),
    "tree_classifier": (tree.DecisionTreeClassifier(max_depth=4), THREE),
    "forest_regressor": (ensemble.RandomForestRegressor(**ONE), VALUE),
    "forest_two_classes": (ensemble.RandomForestClassifier(**ONE), TWO),
    "forest_three_classes": (ensemble.RandomForestClassifier(**ONE), THREE),
    "forest_two_values": (ensemble.RandomForestRegressor(**ONE), np.stack([VALUE, X[:, 1] - VALUE], 1)),
    "extra_trees": (ensemble.ExtraTreesRegressor(**ONE), VALUE),
    "boosting_regressor": (ensemble.GradientBoostingRegressor(**ONE), VALUE),
    "boosting_two_classes": (ensemble.GradientBoostingClassifier(**ONE), TWO),
    "boosting_three_classes": (ensemble.GradientBoostingClassifier(**ONE), THREE),
    "bagging": (ensemble.BaggingRegressor(tree.DecisionTreeRegressor(max_depth=3), 3, random_state=0), VALUE),
    "voting": (voting(), THREE),
    "scaler": (pipeline.make_pipeline(preprocessing.StandardScaler(), ensemble.RandomForestRegressor(**ONE)), VALUE),
    "normalizer": (pipeline.make_pipeline(preprocessing.Normalizer(), ensemble.RandomForestRegressor(**ONE)), VALUE),
    "columns": (columns(), TWO),
}
OTHERS: dict[str, tuple[Any, Any, Any]] = {
    "lightgbm_regressor": (lightgbm.LGBMRegressor, convert_lightgbm, VALUE),
    "lightgbm_two_classes": (lightgbm.LGBMClassifier, convert_lightgbm, TWO),
    "lightgbm_three_classes": (lightgbm.LGBMClassifier, convert_lightgbm, THREE),
    "xgboost_regressor": (xgboost.XGBRegressor, convert_xgboost, VALUE),
    "xgboost_two_classes": (xgboost.XGBClassifier, convert_xgboost, TWO),
    "xgboost_three_classes": (xgboost.XGBClassifier, convert_xgboost, THREE),
}
# shap's own names: columns of the results.
EXPLAINED = (
    "forest_regressor", "forest_two_classes", "forest_three_classes", "boosting_two_classes", "lightgbm_regressor",
    "lightgbm_two_classes", "lightgbm_three_classes", "xgboost_regressor", "xgboost_two_classes",
    "xgboost_three_classes",
)  # fmt: skip


def main() -> None:
    HERE.mkdir(exist_ok=True)
    native: dict[str, Any] = {}
    for name, (model, target) in SKLEARN.items():
        native[name] = model.fit(X, target)
        made = convert_sklearn(
            model, initial_types=[("x", FloatTensorType([None, 6]))], target_opset={"": 18, "ai.onnx.ml": 3}
        )
        (HERE / f"{name}.onnx").write_bytes(made.SerializeToString())
    model = ensemble.RandomForestClassifier(**ONE).fit(X, THREE)
    types = [("x", DoubleTensorType([None, 6]))]
    made = convert_sklearn(model, initial_types=types, target_opset={"": 18, "ai.onnx.ml": 3})
    (HERE / "forest_double.onnx").write_bytes(made.SerializeToString())
    for name, (kind, convert, target) in OTHERS.items():
        options = {"verbose": -1, "num_leaves": 7} if convert is convert_lightgbm else {"max_depth": 3}
        native[name] = kind(n_estimators=4, **options).fit(X, target)
        zipped = {"zipmap": False} if "classes" in name and convert is convert_lightgbm else {}
        made = convert(native[name], initial_types=[("x", Floats([None, 6]))], **zipped)
        (HERE / f"{name}.onnx").write_bytes(made.SerializeToString())
    values: dict[str, Any] = {"x": ROWS, "background": BACKGROUND}
    for name in EXPLAINED:
        explainer = shap.TreeExplainer(native[name], BACKGROUND, feature_perturbation="interventional")
        found = np.asarray(explainer.shap_values(ROWS, check_additivity=False), np.float64)
        values[name] = found if found.ndim == 3 else found[:, :, None]
        values[f"{name}/expected"] = np.atleast_1d(np.asarray(explainer.expected_value, np.float64))
    np.savez_compressed(HERE.parent / "trees.npz", **values)


if __name__ == "__main__":
    main()
