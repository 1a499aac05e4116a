"""The standard layers that stand for a fused one, or for one on integers."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from onnx import TensorProto

from ...errors import UnsupportedError
from ..graph import Layer
from ..names import unique_name
from ..reading.printable import printable
from ..rewriting.builder import Builder, Shape
from ..rewriting.shape_inference import infer

_FIX = "explain the model that it was optimised from"
# The opset that an operator came with.
_SINCE = {"Gelu": 20, "RMSNormalization": 23}


@dataclass
class Context:
    """State that the decompositions of one model share.

    Attributes:
        names: Names of layers that are taken.
        made: Tensors that later layers may read again, by what they are.
        as_floats: Tensors of integers that are now the floats that these stand for (see `dynamic_quantization`).
        done: The layers in front of the one that is decomposed.
        left: That layer and those behind it.
    """

    names: set[str]
    made: dict[Hashable, str] = field(default_factory=dict)
    as_floats: set[str] = field(default_factory=set)
    done: list[Layer] = field(default_factory=list)
    left: list[Layer] = field(default_factory=list)


@dataclass
class Replacement(Builder):
    """The layers that stand for one layer of the file, each with a name of its own."""

    context: Context = field(kw_only=True)

    def input(self, position: int) -> str:
        """The tensor of an input, "" where it is absent."""
        return self.layer.inputs[position] if position < len(self.layer.inputs) else ""

    def output(self, position: int = 0) -> str:
        """The tensor of an output, "" where it is absent."""
        return self.layer.outputs[position] if position < len(self.layer.outputs) else ""

    def floats(self, name: str) -> str:
        """A tensor as floats: itself, or a Cast of whole numbers, which operators of ai.onnx.ml read as floats."""
        if self.graph.dtypes.get(name, "float32") == "float32":
            return name
        out = f"{self.out}/{name}/floats"
        return self.add("Cast", name, out=out, name=out, to=TensorProto.FLOAT, saturate=1)

    def shape(self, name: str) -> Shape:
        """The shape of an activation or a constant, inferred from the layers before it where it is not known.

        Raises:
            UnsupportedError: It cannot be inferred.
        """
        if name not in self.graph.constants and name not in self.graph.shapes:
            so_far = replace(self.graph, layers=[*self.context.done, *self.context.left])
            infer(so_far)
            self.graph.shapes |= so_far.shapes
            if name not in self.graph.shapes:
                raise self.refuse(f'an operand of unknown shape ("{printable(name)}")')
        return super().shape(name)

    def rank(self, name: str) -> int:
        """The number of axes of an activation or a constant."""
        return len(self.shape(name))

    def attribute(self, name: str, default: Any) -> Any:
        """An attribute of the layer that is replaced."""
        return self.layer.attributes.get(name, default)

    def store(self, value: Any, what: str) -> str:
        """Add a constant, a number of Python as float32, named after the layer."""
        array = np.asarray(value, np.float32) if isinstance(value, float) else np.asarray(value)
        return self.constant(array, f"{self.layer.name}/{what}")

    def compute(self, op: str, *inputs: str, to: tuple[str, ...] = (), main: bool = False, **attributes: Any) -> str:
        """Append a layer.

        Args:
            op: Its operator.
            *inputs: The tensors that it reads; absent ones at the end are left out.
            to: The tensors that it writes; by default one of its own.
            main: Whether it has the name and the path of the layer that is replaced, whose rules it gets then.
            **attributes: Its attributes.

        Returns:
            The first tensor that it writes.

        Raises:
            UnsupportedError: The model's opset does not have the operator.
        """
        if self.graph.opsets.get("", 23) < _SINCE.get(op, 0):
            raise self.refuse(f"no standard form before opset {_SINCE[op]}")
        name = self.layer.name if main else self._new_name(op)
        operands = list(inputs)
        while operands and not operands[-1]:
            operands.pop()
        outputs = to or (f"{self.out}/{name}",)
        self.layers.append(Layer(op, name, self.layer.path if main else "", tuple(operands), outputs, attributes))
        return outputs[0]

    def finish(self) -> None:
        """Let the last layer write what the replaced one wrote."""
        self.layers[-1] = replace(self.layers[-1], outputs=(self.output(),))

    def refuse(self, what: str, fix: str = _FIX) -> UnsupportedError:
        """An error that names the layer and what it has."""
        return UnsupportedError(f'the {self.layer.op} node "{printable(self.layer.name)}" has {what}', fix)

    def only(self, *known: int) -> None:
        """Refuse inputs but those at `known` positions: they would be dropped silently."""
        for position, name in enumerate(self.layer.inputs):
            if name and position not in known:
                raise self.refuse(f'an input {position} ("{printable(name)}") that is not known')

    def _new_name(self, op: str) -> str:
        name = unique_name(f"{self.layer.name}/{op}", self.context.names.__contains__, "{}{}")
        self.context.names.add(name)
        return name


# Appends the layers that stand for one.
Decomposition = Callable[[Replacement], None]
