"""onnx's own evaluator in float64: what a file computes, from the definition of its operators."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator


def values_of(made: onnx.ModelProto, tensor: str) -> Any:
    """onnx's evaluator in float64, of one tensor of the file: x → [N, …]."""
    doubled = onnx.ModelProto()
    doubled.CopyFrom(made)
    for t in doubled.graph.initializer:
        if t.data_type == TensorProto.FLOAT:
            t.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(t).astype(np.float64), t.name))
    doubled.graph.input[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    del doubled.graph.value_info[:]
    del doubled.graph.output[:]
    doubled.graph.output.append(helper.make_tensor_value_info(tensor, TensorProto.DOUBLE, None))
    evaluator = ReferenceEvaluator(doubled)
    return lambda x: evaluator.run(None, {"x": np.asarray(x, np.float64)})[0]  # type: ignore[index]
