"""What the command says of models whose explained value is made for the explanation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from onnxlrp import cli


def machine(path: Path) -> Path:
    rng = np.random.default_rng(0)
    node = helper.make_node(
        "SVMClassifier", ["x"], ["label", "y"], domain="ai.onnx.ml", kernel_type="RBF", kernel_params=[0.3, 0.0, 0.0],
        support_vectors=rng.normal(size=24), coefficients=[*rng.uniform(0.2, 1, 4), *-rng.uniform(0.2, 1, 4)],
        rho=[0.1], vectors_per_class=[4, 4], classlabels_strings=["bad", "good"],
    )  # fmt: skip
    graph = helper.make_graph(
        [node],
        "svm",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path / "svm.onnx")
    return path / "svm.onnx"


def test_the_command_says_what_is_explained_and_shows_its_columns(tmp_path: Path, capfd: Any) -> None:
    pytest.importorskip("onnxruntime")
    row = tmp_path / "row.csv"
    row.write_text("age,fare,size\n0.5,-1,0.25\n", encoding="utf-8")
    assert cli.main(["explain", str(machine(tmp_path)), str(row), "--ledger", "-o", str(tmp_path / "bars.png")]) == 0
    said = "".join(capfd.readouterr())
    assert (
        "explained: the evidence ln Σ₊ a k − ln Σ₋ |a| k of the support vectors, of the class against the other" in said
    )
    assert "of evidence" in said
    assert "coefficients  entropy" in said
    assert "good" in said
    assert (tmp_path / "bars.png").exists()
