"""Layers: for each ONNX operator, the Op that rules see. A new operator is one function with `@layer`.

The function gets a `Node` and returns an `Op`. It also declares what the forward pass computes (`declare_linear` of the
trace), so that rules read this result instead of computing it again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ..errors import UnsupportedError, UsageError
from ..graph.graph import Array, Graph, Layer
from ..program.affine import Affine, Diagonal
from ..program.op import KINDS, Op, misfit
from ..program.trace import Trace
from ..program.value import Value
from ..registry import Registry


class Node(NamedTuple):
    """One layer in the trace: its operands and result as values, its constants as arrays.

    Args:
        graph: The model.
        layer: The layer.
        trace: The trace that instructions are recorded in.
        values: The traced values of the graph's tensors, by name.
    """

    graph: Graph
    layer: Layer
    trace: Trace
    values: dict[str, Value]

    def has(self, i: int) -> bool:
        """Return whether input i is given."""
        return i < len(self.layer.inputs) and bool(self.layer.inputs[i])

    def is_constant(self, i: int) -> bool:
        """Return whether input i is a constant of the graph."""
        return self.layer.inputs[i] in self.graph.constants

    def operand(self, i: int) -> Value:
        """Return input i, an activation or a weight, as a traced value."""
        name = self.layer.inputs[i]
        if name in self.graph.constants:
            return self.trace.weight(name, self.graph.constants[name])
        return self.values[name]

    def array(self, i: int, default: Any = None) -> Array:
        """Return the array of constant input i, or `default` where it is absent.

        Raises:
            UnsupportedError: The input is computed at run time.
        """
        if not self.has(i):
            return np.asarray(default)
        if not self.is_constant(i):
            raise UnsupportedError(
                f"{self.layer.op} {self.layer.label!r} computes its input {i} ({self.layer.inputs[i]!r}) at run time",
                "export the model with fixed shapes, or choose a rule that does not need it: "
                f"--rule '{self.layer.name}=gradient'",
            )
        return self.graph.constants[self.layer.inputs[i]]

    def ints(self, name: str, default: tuple[int, ...] = ()) -> tuple[int, ...]:
        """Return an attribute that is a list of integers."""
        value = self.layer.attributes.get(name, default)
        return tuple(int(v) for v in value)

    def attribute(self, name: str, default: Any = None) -> Any:
        """Return an attribute."""
        return self.layer.attributes.get(name, default)

    @property
    def result(self) -> Value:
        """The first output."""
        return self.values[self.layer.outputs[0]]

    @property
    def activations(self) -> tuple[int, ...]:
        """The indices of the inputs that are activations, the operands of the op."""
        return tuple(i for i in range(len(self.layer.inputs)) if self.has(i) and not self.is_constant(i))

    def identity(self, x: Value) -> Affine:
        """Return the identity of x as an affine map; a smaller x is broadcast to the result."""
        return Affine(Diagonal(x.shape, self.result.shape), gain=self.trace.constant(1.0))


Build = Callable[[Node], Op]


class Operator(NamedTuple):
    """A row of the table of operators.

    Args:
        operators: ONNX operators, with the domain in front where it is not ONNX's own.
        kind: The kind of op that they usually are.
        build: The function that makes their op.
    """

    operators: tuple[str, ...]
    kind: str
    build: Build


LAYERS: Registry[Operator] = Registry("operator", __name__, first=("activation", "conv", "shape", "pool", "dense"))


def layer(*operators: str, kind: str) -> Callable[[Build], Build]:
    """Register the function that makes an Op of ONNX operators.

    Args:
        operators: The operators' names, with the domain in front where it is not ONNX's own: "Conv",
            "com.microsoft::Gelu".
        kind: The kind of op, a key of `program.op.KINDS`, by which composites choose a rule.

    Returns:
        A decorator for the function, which it gives back.

    Raises:
        ValueError: There is no such kind.
    """
    if kind not in KINDS:
        raise ValueError(f"{kind!r} is no kind of op")

    def register(build: Build) -> Build:
        for operator in operators:
            LAYERS.register(operator, Operator(operators, kind, build), source=build)
        return build

    return register


def build(node: Node) -> Op:
    """Return the op of a layer; that of an unregistered operator has the kind "unknown".

    Raises:
        UsageError: The function of the operator returns an op that does not fit its kind.
    """
    if node.layer.op not in LAYERS:
        return unknown(node)
    found = LAYERS[node.layer.op].build(node)
    if why := misfit(found):
        raise UsageError(
            f'the operator {node.layer.op} is registered as kind "{found.kind}" and has {why} ({place_of(node.layer)})',
            "give it a kind that fits in @layer(..., kind=...) and in its Op, such as routing: "
            + ", ".join(kind for kind in KINDS),
        )
    return found


def unknown(node: Node) -> Op:
    """Return the op of an unsupported operator, or form of one; only a rule that the user chooses applies to it."""

    def refuse(_: Value) -> tuple[Value, ...]:
        raise unsupported(node.layer)

    return Op("unknown", tuple(node.operand(i) for i in node.activations), node.result, refuse, name=node.layer.label)


def place_of(layer: Layer) -> str:
    """Return a layer's node and path, as errors name it."""
    return f"node {layer.name!r}" + f", path {layer.path!r}" * bool(layer.path)


def unsupported(layer: Layer) -> UnsupportedError:
    """Return the error for an operator without a rule."""
    return UnsupportedError(
        f"no rule for operator {layer.op} ({place_of(layer)})",
        "-m occlusion, and other methods that need only the forward pass, need no rules; where a layer keeps its "
        f"operand's shape, --rule '{layer.name}=pass' hands relevance on, --on-unsupported pass at all such layers",
    )
