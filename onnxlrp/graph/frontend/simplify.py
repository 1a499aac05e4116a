"""Inline, upgrade and fold a model without its weights, by the tools of onnx and onnxruntime."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import onnx
from onnx import inliner

from ...errors import InputError, OnnxLrpError, UnsupportedError
from ...runtime import missing, onnxruntime
from ..reading.printable import first_line, printable
from .group_normalization import split_groups
from .opset import upgrade

OPSET = 23

# What BASIC does beyond folding: it hides layers, or computes in float32 what `merge_affine` computes in float64.
_DISABLED = (
    "ConvAddFusion",
    "ConvBNFusion",
    "ConvMulFusion",
    "MatMul_BatchNormalization_Fusion",
    "Pad_Fusion",
    "MatMulAddFusion",
    "GemmSumFusion",
    "GemmTransposeFusion",
    "FuseReluClip",
    "ReluQuantRewrite",
    "ClipQuantRewrite",
    "DivMulFusion",
    "TransposeOptimizer",
    "QDQPropagationTransformer",
    "CommonSubexpressionElimination",
    "ConstantSharing",
    # Not exact: float weights between quantised activations are rounded, two scales in a row become one.
    "WeightBiasQuantization",
    "DoubleQDQPairsRemover",
)
# Bytes of a constant that is shape arithmetic and no table.
ARITHMETIC = 1 << 15
# What onnxruntime's optimiser writes for one machine alone, at level ALL.
_MACHINES = ("com.microsoft.nchwc", "com.ms.internal.nhwc")


class ContradictoryShapes(InputError):
    """Shapes of a model contradict each other, at the batch that it was read with."""


def simplify(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """Inline functions, convert to opset 23 and fold; where a converted operator is refused, to an older opset.

    Args:
        model: The model without its weights; its functions and opsets may be changed.
        name: The name of the file, for errors.

    Raises:
        InputError: It is no valid model.
        UnsupportedError: It cannot be converted, or has operators that onnxruntime does not know.
    """
    machine = next((node for node in model.graph.node if node.domain in _MACHINES), None)
    if machine is not None:
        raise UnsupportedError(
            f'{name} was optimised for one machine: its node "{printable(machine.name)}" is a '
            f"{machine.domain}::{printable(machine.op_type)}",
            "explain the model that it was made from, or save it with "
            "options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED",
        )
    if model.functions:
        model = inliner.inline_local_functions(model)
    for entry in model.opset_import:
        if entry.domain == "ai.onnx":
            entry.domain = ""
    opset = next((entry.version for entry in model.opset_import if not entry.domain), OPSET)
    old = next((node for node in model.graph.node if node.op_type == "Scan" and opset < 9), None)
    if old is not None:  # onnx's converter keeps its operands, of which axis 0 is the batch, as if it were the steps
        raise UnsupportedError(
            f'the Scan node "{printable(old.name or old.output[0])}" is of opset {opset}, and runs sample by sample',
            "export the model with opset 9 or newer",
        )
    if any(node.op_type == "If" for node in model.graph.node):
        model = _with_branches_taken(model)
    model = split_groups(model, opset)
    refusals: list[OnnxLrpError] = []
    for target in sorted({max(opset, target) for target in (OPSET, 20, 18)}, reverse=True):
        try:
            return optimise(upgrade(model, opset, target), name)
        except (InputError, UnsupportedError) as error:
            refusals.append(error)
    if opset < 7:
        raise UnsupportedError(
            f"{name} has opset {opset}, older than what can be converted to {OPSET}", "export the model again"
        )
    raise refusals[0]


def optimise(model: onnx.ModelProto, name: str, folded: int = ARITHMETIC) -> onnx.ModelProto:
    """Optimise a model by onnxruntime at level BASIC: constants and shape arithmetic are folded, no-ops removed.

    Without onnxruntime shapes are inferred alone: the passes behind this one fold, more slowly.

    Args:
        model: The model, not changed.
        name: The name of the file, for errors.
        folded: Bytes of the largest constant that is folded.

    Raises:
        InputError: It is no valid model.
        UnsupportedError: It has operators that onnxruntime does not know.
    """
    if missing():
        return _inferred(model, name)
    ort = onnxruntime()
    with tempfile.TemporaryDirectory(prefix="onnxlrp-") as folder:
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(Path(folder) / "basic.onnx")
        options.log_severity_level = 4
        # Unknown to older versions, which fold everything: what is foreseeable is refused before.
        options.add_session_config_entry("optimization.constant_folding_max_output_size_in_bytes", str(folded))
        options.intra_op_num_threads = 1
        try:
            ort.InferenceSession(
                model.SerializeToString(),
                options,
                providers=["CPUExecutionProvider"],
                disabled_optimizers=list(_DISABLED),
                enable_fallback=0,
            )
        except Exception as error:
            raise _refusal(model, name, error) from None
        return onnx.load_model(options.optimized_model_filepath)


def _with_branches_taken(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with the branch of each If whose condition is known, where its shapes can be inferred.

    The other branch need not fit the shapes: onnxruntime 1.32 refuses it, or ends the process.
    """
    from .constant_branches import take_branches

    try:
        return take_branches(model, ARITHMETIC)
    except Exception:  # InferenceError, and what its C++ raises: onnxruntime says more of it
        return model


def _inferred(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """Return the model with the shapes that onnx infers. Raises InputError where they contradict each other."""
    from .constant_branches import take_branches

    try:
        return take_branches(model, ARITHMETIC)
    except Exception as error:  # InferenceError, and what its C++ raises
        raise _refusal(model, name, error) from None


def _refusal(model: onnx.ModelProto, name: str, error: Exception) -> InputError | UnsupportedError:
    text = str(error)
    unknown = re.search(r"([\w.]*:?\w+)\(-?\d+\) is not a registered function/op", text)
    if unknown:
        op = unknown[1].replace(":", "::") if not unknown[1].startswith(":") else unknown[1][1:]
        node = next((n for n in model.graph.node if n.op_type == op.rpartition("::")[2]), None)
        where = f' (node "{printable(node.name or node.output[0])}")' if node is not None and node.output else ""
        return UnsupportedError(
            f"{name} uses the operator {printable(op)}{where}, which onnxruntime does not know",
            "export the model with standard operators",
        )
    if "NOT_IMPLEMENTED" in text:
        return UnsupportedError(
            f"{name}: onnxruntime has no implementation for it: {first_line(error)}",
            "export the model in float32 with standard operators",
        )
    check = """python -c "import onnx; onnx.checker.check_model('FILE', True)\""""
    kind = ContradictoryShapes if "ShapeInferenceError" in text else InputError
    return kind(f"{name} is not a valid model: {first_line(error)}", f"export it again; {check} says more")
