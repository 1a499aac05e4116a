"""Inline, upgrade and fold the skeleton with the tools of onnx and onnxruntime."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from types import ModuleType

import onnx
from onnx import inliner, version_converter

from ...errors import InputError, OnnxLrpError, UnsupportedError, UsageError
from .. import operators
from ..reading.printable import printable
from .group_normalization import split_groups

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
# Bytes of a constant that is shape arithmetic and no table.
ARITHMETIC = 1 << 15
# What onnxruntime's optimiser writes for one machine alone, at level ALL.
_MACHINES = ("com.microsoft.nchwc", "com.ms.internal.nhwc")
# What it writes into ai.onnx whatever the opset is; the converter does not know them there.
_FUSED = frozenset({"LayerNormalization", "SimplifiedLayerNormalization"})
_HIDDEN = "onnxlrp.hidden"


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
    machine = next((node for node in model.graph.node if node.domain in _MACHINES), None)
    if machine is not None:
        raise UnsupportedError(
            f'{name} was optimised for one machine: its node "{printable(machine.name)}" is a '
            f"{machine.domain}::{printable(machine.op_type)}.",
            "Explain the model that it was made from, or save it with "
            "options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED",
        )
    if model.functions:
        model = inliner.inline_local_functions(model)
    for entry in model.opset_import:
        if entry.domain == "ai.onnx":
            entry.domain = ""
    opset = next((entry.version for entry in model.opset_import if not entry.domain), OPSET)
    model = split_groups(model, opset)
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
        if opset < 13 and any(node.op_type in operators.FLATTENING_UNTIL_12 for node in model.graph.node):
            # Of a Softmax along the last axis the converter keeps a Softmax, if it knows the rank.
            model = onnx.shape_inference.infer_shapes(model)
        converted = _shown(version_converter.convert_version(_convertible(model, opset), target))
    except Exception as error:
        _refuse_unknown(model)
        raise UnsupportedError(
            f"The model's opset {opset} cannot be converted to {target}: {_first_line(error)}",
            "Export the model again with a newer opset (17 or later).",
        ) from None
    if opset < 11:
        _resize_from_origin(converted)
    return converted


def _refuse_unknown(model: onnx.ModelProto) -> None:
    """An operator that ONNX does not have: converters write those of TensorFlow that they do not know as they are."""
    for node in model.graph.node:
        if node.domain in ("", "ai.onnx") and not onnx.defs.has(node.op_type):
            name = printable(node.name or "".join(node.output[:1]))
            raise UnsupportedError(
                f'The node "{name}" is a {printable(node.op_type)}, which is no operator of ONNX.',
                "Convert the model again, by a converter that knows it or with standard layers in its place.",
            )


def _convertible(model: onnx.ModelProto, opset: int) -> onnx.ModelProto:
    """What the converter has no way for is put into a domain that it leaves alone, or trimmed."""

    def hides(node: onnx.NodeProto) -> bool:
        return node.op_type in _FUSED and not node.domain and not (node.op_type == "LayerNormalization" and opset >= 17)

    def trims(node: onnx.NodeProto) -> bool:
        # Statistics that nobody reads, of exports in training mode (BiT's weights): onnxruntime ignores them too.
        norm = node.op_type == "BatchNormalization" and not node.domain and opset < 14
        return norm and len(node.output) > 1 and not read.intersection(node.output[1:])

    read = {name for node in model.graph.node for name in node.input} | {value.name for value in model.graph.output}
    if not any(hides(node) or trims(node) for node in model.graph.node):
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for node in copy.graph.node:
        if hides(node):
            node.domain = _HIDDEN
        elif trims(node):
            del node.output[1:]
    copy.opset_import.append(onnx.helper.make_opsetid(_HIDDEN, 1))
    return copy


def _shown(model: onnx.ModelProto) -> onnx.ModelProto:
    for node in model.graph.node:
        if node.domain == _HIDDEN:
            node.domain = ""
    kept = [entry for entry in model.opset_import if entry.domain != _HIDDEN]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    return model


def _resize_from_origin(model: onnx.ModelProto) -> None:
    """Upsample and Resize sampled from the origin before opset 11; the converter leaves the newer default."""
    for node in model.graph.node:
        if node.op_type == "Resize":
            kept = [a for a in node.attribute if a.name not in ("coordinate_transformation_mode", "nearest_mode")]
            del node.attribute[:]
            node.attribute.extend(kept)
            node.attribute.append(onnx.helper.make_attribute("coordinate_transformation_mode", "asymmetric"))
            node.attribute.append(onnx.helper.make_attribute("nearest_mode", "floor"))


def basic(model: onnx.ModelProto, name: str, folded: int = ARITHMETIC) -> onnx.ModelProto:
    """onnxruntime's offline optimisation at level BASIC: constants and shape arithmetic fold, no-ops go.

    A constant of more than `folded` bytes is left to be computed.
    """
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
