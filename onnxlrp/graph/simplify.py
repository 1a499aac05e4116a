"""Inline, upgrade and fold the skeleton with the tools of onnx and onnxruntime."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from types import ModuleType

import onnx
from onnx import inliner, version_converter

from onnxlrp.errors import InputError, OnnxLrpError, UnsupportedError, UsageError
from onnxlrp.graph.read import printable

OPSET = 23

# What BASIC does beyond folding: it hides layers, or computes in float32 what `canonize` computes in float64.
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
)
# Up to opset 12 these flatten their operand.
_FLATTENING = frozenset({"Softmax", "LogSoftmax", "Hardmax"})


def onnxruntime() -> ModuleType:
    """onnxruntime, or how to install it."""
    try:
        import onnxruntime as ort
    except ImportError:
        raise UsageError(
            "onnxruntime is not installed.", 'pip install "onnxlrp[cpu]" or pip install "onnxlrp[cuda]"'
        ) from None
    return ort  # type: ignore[no-any-return]


def simplify(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """Convert up to opset 23 and fold; where a converted operator is refused, up to an older opset."""
    if model.functions:
        model = inliner.inline_local_functions(model)
    for entry in model.opset_import:
        if entry.domain == "ai.onnx":
            entry.domain = ""
    opset = next((entry.version for entry in model.opset_import if not entry.domain), OPSET)
    refusals: list[OnnxLrpError] = []
    for target in sorted({max(opset, target) for target in (OPSET, 20, 18)}, reverse=True):
        try:
            return basic(upgrade(model, opset, target), name)
        except (InputError, UnsupportedError) as error:
            refusals.append(error)
    if opset < 7:
        raise UnsupportedError(
            f"{name} has opset {opset}, older than what can be converted to {OPSET}.", "Export the model again."
        )
    raise refusals[0]


def upgrade(model: onnx.ModelProto, opset: int, target: int) -> onnx.ModelProto:
    """Convert up, never down."""
    if opset >= target:
        return model
    try:
        if opset < 13 and any(node.op_type in _FLATTENING for node in model.graph.node):
            # Of a Softmax along the last axis the converter keeps a Softmax, if it knows the rank.
            model = onnx.shape_inference.infer_shapes(model)
        converted = version_converter.convert_version(model, target)
    except Exception as error:
        raise UnsupportedError(
            f"The model's opset {opset} cannot be converted to {target}: {_first_line(error)}",
            "Export the model again with a newer opset (17 or later).",
        ) from None
    if opset < 11:
        _resize_from_origin(model, converted)
    return converted


def _resize_from_origin(old: onnx.ModelProto, new: onnx.ModelProto) -> None:
    """Upsample and Resize sampled from the origin before opset 11; the converter leaves the newer default."""
    resized = {node.output[0] for node in old.graph.node if node.op_type in ("Upsample", "Resize")}
    for node in new.graph.node:
        if node.op_type == "Resize" and node.output[0] in resized:
            kept = [a for a in node.attribute if a.name not in ("coordinate_transformation_mode", "nearest_mode")]
            del node.attribute[:]
            node.attribute.extend(kept)
            node.attribute.append(onnx.helper.make_attribute("coordinate_transformation_mode", "asymmetric"))
            node.attribute.append(onnx.helper.make_attribute("nearest_mode", "floor"))


def basic(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """onnxruntime's offline optimisation at level BASIC: constants and shape arithmetic fold, no-ops go."""
    ort = onnxruntime()
    with tempfile.TemporaryDirectory(prefix="onnxlrp-") as folder:
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(Path(folder) / "basic.onnx")
        options.log_severity_level = 4
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


def _refusal(model: onnx.ModelProto, name: str, error: Exception) -> InputError | UnsupportedError:
    text = str(error)
    unknown = re.search(r"([\w.]*:?\w+)\(-?\d+\) is not a registered function/op", text)
    if unknown:
        op = unknown[1].replace(":", "::") if not unknown[1].startswith(":") else unknown[1][1:]
        node = next((n for n in model.graph.node if n.op_type == op.rpartition("::")[2]), None)
        where = f' (node "{printable(node.name or node.output[0])}")' if node is not None and node.output else ""
        return UnsupportedError(
            f"{name} uses the operator {printable(op)}{where}, which onnxruntime does not know.",
            "Export the model with standard operators.",
        )
    if "NOT_IMPLEMENTED" in text:
        return UnsupportedError(
            f"{name}: onnxruntime has no implementation for it: {_first_line(error)}",
            "Export the model in float32 with standard operators.",
        )
    check = """python -c "import onnx; onnx.checker.check_model('FILE', True)\""""
    return InputError(f"{name} is not a valid model: {_first_line(error)}", f"Export it again; {check} says more.")


def _first_line(error: Exception) -> str:
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : ", "", str(error).strip() or type(error).__name__)
    return printable(text.splitlines()[0], 240)
