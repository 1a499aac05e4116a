"""An ONNX model at an older opset, for runtimes that do not know the newest one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from onnx import TensorProto, defs, helper, numpy_helper, shape_inference

from ...errors import UnsupportedError, UsageError, of_type

OLDEST = 13
# What means something else from an opset on, although its attributes do not say so; None: whatever they are.
_CHANGED: tuple[tuple[str, int, tuple[str, Any] | None], ...] = (
    ("RoiAlign", 16, None),
    ("AveragePool", 19, ("ceil_mode", 1)),
    ("GridSample", 20, None),
    ("GroupNormalization", 21, None),
    ("ScatterElements", 18, ("reduction", b"max")),
    ("ScatterElements", 18, ("reduction", b"min")),
    ("ScatterND", 18, ("reduction", b"max")),
    ("ScatterND", 18, ("reduction", b"min")),
    ("Pad", 19, ("mode", b"wrap")),
    ("Resize", 19, ("coordinate_transformation_mode", b"half_pixel_symmetric")),
)


def convert(model: Any, opset: int) -> Any:
    """Write a model of ai.onnx at an older opset; its nodes are changed in place.

    A node stays as it is where the older operator has its attributes, inputs and types. Attributes that only the newer
    one has go where they state its default, and axes of reductions become attributes. All else is refused.

    Args:
        model: The ONNX model; its large weights may be only named.
        opset: The version of the operator set, from `OLDEST` to the model's own.

    Returns:
        The model.

    Raises:
        UsageError: No such opset.
        UnsupportedError: A node that needs a newer one.
    """
    of_type(int, "the version of an operator set", opset=opset)
    domain = next(entry for entry in model.opset_import if not entry.domain)
    own = domain.version
    if not OLDEST <= opset <= own:
        raise UsageError(
            f"opset {opset}: explainers are written at opsets {OLDEST} to {own}",
            f"give one of them; what takes a newer opset than {own} takes {own}",
            f"--opset {min(max(opset, OLDEST), own)}",
        )
    if opset == own:
        return model
    inferred = shape_inference.infer_shapes(model)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    too_new: dict[str, int] = {}
    _convert(model.graph, inferred.graph, constants, {}, (own, opset), too_new)
    if too_new:
        least = max(too_new.values())
        named = ", ".join(f"{op} needs {needed}" for op, needed in sorted(too_new.items()))
        raise UnsupportedError(
            f"the explainer cannot be written at opset {opset}: {named}", f"take opset {least}", f"--opset {least}"
        )
    domain.version = opset
    model.ir_version = helper.find_min_ir_version_for(list(model.opset_import))
    return model


def _convert(
    graph: Any,
    inferred: Any,
    constants: Mapping[str, Any],
    outer: Mapping[str, int],
    versions: tuple[int, int],
    too_new: dict[str, int],
) -> None:
    """Convert the nodes of a graph and of those inside; note in `too_new` what needs which opset."""
    types = {**outer, **{tensor.name: tensor.data_type for tensor in graph.initializer}}
    for value in (*inferred.input, *inferred.value_info, *inferred.output):
        types[value.name] = value.type.tensor_type.elem_type
    for node, known in zip(graph.node, inferred.node, strict=True):
        if not node.domain and not _fits(node, constants, types, *versions):
            own, opset = versions
            better = (v for v in range(opset + 1, own) if _fits(_copy(node), constants, types, own, v))
            too_new[node.op_type] = max(too_new.get(node.op_type, 0), next(better, own))
        for attribute, inside in zip(node.attribute, known.attribute, strict=False):
            if attribute.HasField("g"):
                _convert(attribute.g, inside.g, constants, types, versions, too_new)


def _copy(node: Any) -> Any:
    copy = type(node)()
    copy.CopyFrom(node)
    return copy


def _fits(node: Any, constants: Mapping[str, Any], types: Mapping[str, int], own: int, opset: int) -> bool:
    """Change a node to what it is at an older opset; return whether it is anything there."""
    newer = defs.get_schema(node.op_type, own)
    try:
        older = defs.get_schema(node.op_type, opset)
    except defs.SchemaError:
        return False
    if older.since_version == newer.since_version:
        return True
    stated = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    for op, since, where in _CHANGED:
        if op == node.op_type and opset < since <= own and (where is None or stated.get(where[0]) == where[1]):
            return False
    if "axes" in older.attributes and "axes" not in newer.attributes and not _axes_as_attribute(node, constants):
        return False
    for name in [attribute.name for attribute in node.attribute]:
        if name not in older.attributes:
            default = _default(newer, name)
            if default is None or default != stated[name]:
                return False
            node.attribute.remove(next(a for a in node.attribute if a.name == name))
    for name in newer.attributes:
        default = _default(newer, name)
        if name not in stated and default is not None and name in older.attributes and _default(older, name) != default:
            node.attribute.append(helper.make_attribute(name, default))
    while node.input and not node.input[-1]:
        del node.input[-1]
    if len(node.input) > older.max_input or len(node.output) > older.max_output:
        return False
    return _types_fit(older.inputs, older, node.input, types) and _types_fit(older.outputs, older, node.output, types)


def _default(schema: Any, name: str) -> Any:
    if name not in schema.attributes:
        return None
    default = schema.attributes[name].default_value
    return helper.get_attribute_value(default) if default.name else None


def _axes_as_attribute(node: Any, constants: Mapping[str, Any]) -> bool:
    """Write the axes of a reduction as an attribute, as before opset 18; return whether they are constants."""
    if len(node.input) < 2 or not node.input[1]:
        return all(not attribute.i for attribute in node.attribute if attribute.name == "noop_with_empty_axes")
    axes = constants.get(node.input[1])
    if (
        axes is None
        or axes.data_location == TensorProto.EXTERNAL
        or not (values := numpy_helper.to_array(axes).tolist())
    ):
        return False
    for attribute in [a for a in node.attribute if a.name == "noop_with_empty_axes"]:
        node.attribute.remove(attribute)
    del node.input[1]
    node.attribute.append(helper.make_attribute("axes", values))
    return True


def _types_fit(formal: Any, schema: Any, names: Any, types: Mapping[str, int]) -> bool:
    """Return whether tensors of known types are among those that an operator takes or gives."""
    for i, name in enumerate(names):
        kind = types.get(name, 0)
        if name and kind and formal:
            taken = formal[min(i, len(formal) - 1)].types
            if f"tensor({_NAMES.get(kind, '?')})" not in taken:
                return False
    return True


_NAMES = {
    value: {"FLOAT": "float", "DOUBLE": "double"}.get(name, name.lower())
    for name, value in TensorProto.DataType.items()
}
