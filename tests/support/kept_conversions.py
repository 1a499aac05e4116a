"""onnx's conversion of a model to a newer opset, kept for the tests that load the same small model again.

The converter builds tables of all operators for each model, which takes longer than all else that loading a small
model does. What it returns depends on the bytes of the model and the opset alone.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx
from onnx import version_converter

LARGEST = 1 << 16  # bytes of a model whose conversion is kept


def keep(
    convert: Callable[[onnx.ModelProto, int], onnx.ModelProto],
) -> Callable[[onnx.ModelProto, int], onnx.ModelProto]:
    """Return the conversion that is done once for each model and opset; what it raises is raised each time."""
    kept: dict[tuple[bytes, int], bytes] = {}

    def converted(model: onnx.ModelProto, target_version: int) -> onnx.ModelProto:
        if not isinstance(model, onnx.ModelProto) or model.ByteSize() > LARGEST:
            return convert(model, target_version)
        key = model.SerializeToString(), target_version
        if key not in kept:
            kept[key] = convert(model, target_version).SerializeToString()
        return onnx.ModelProto.FromString(kept[key])

    return converted


def keep_all() -> None:
    """Let this process keep the conversions that it asks onnx for."""
    version_converter.convert_version = keep(version_converter.convert_version)  # type: ignore[assignment]
