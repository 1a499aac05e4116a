"""What the unfolding of every recurrent layer needs: its operands for one direction, and layers named after parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ...errors import UnsupportedError
from ..graph import Array, Layer
from ..names import unique_name
from ..operators import CELL_STATES, GATED, JOINT, PREVIOUS, STEPS
from ..reading.printable import printable
from ..rewriting.builder import Builder
from .activations import Activation, activations_of

# The gates in the order of their weights, and the number of activation functions.
GATES = {"LSTM": ("input", "output", "forget", "candidate"), "GRU": ("update", "reset", "candidate"), "RNN": ("state",)}
FUNCTIONS = {"LSTM": ("Sigmoid", *("Tanh",) * 2), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}


class Gate(NamedTuple):
    """The weights of one gate, in the layout in which a MatMul reads them.

    Attributes:
        of_input: [inputs, width].
        of_state: [width, width].
        input_bias: [width]; None where all are zero.
        state_bias: Likewise.
        peephole: [width], factors of the cell state; None without.
    """

    of_input: str
    of_state: str
    input_bias: Array | None
    state_bias: Array | None
    peephole: str = ""


@dataclass
class Cell:
    """One direction of a recurrent layer of stored tensors [N, steps, width], and the layers that stand for it.

    Attributes:
        build: Gets the layers.
        direction: Which of the layer's directions.
        reverse: Whether steps run from the last to the first.
        prefix: What the names of new layers begin with: the layer's name, and the direction where there are two.
    """

    build: Builder
    direction: int
    reverse: bool
    prefix: str
    valid: str = ""
    first: str = ""
    last: str = ""
    gates: dict[str, Gate] = field(init=False)
    functions: list[Activation] = field(init=False)

    def __post_init__(self) -> None:
        layer = self.layer
        self._names = {other.name for other in self.build.graph.layers} - {layer.name}
        self._state_tensors = {part: self._tensor(part) for part in ("hidden", "cell")}
        self._initial: dict[int, str] = {}
        names = GATES[layer.op]
        self.batch, self.steps = self.build.shape(layer.inputs[0])[:2]
        self.width = int(self.build.graph.constants[layer.inputs[2]].shape[2])
        self.functions = activations_of(layer, FUNCTIONS[layer.op], self.direction)
        w, r, b, p = (self._of_direction(position) for position in (1, 2, 3, 7))
        assert w is not None
        assert r is not None
        if not len(w) == len(r) == len(names) * self.width:
            raise refuse(
                layer, f"has weights {list(w.shape)} and {list(r.shape)}, which are not those of {len(names)} gates "
                "(ONNX has no projection of states: proj_size in PyTorch)"
            )  # fmt: skip
        peepholes = dict(zip(("input", "output", "forget"), np.split(p, 3), strict=True)) if p is not None else {}
        self.gates = {}
        for n, name in enumerate(names):
            rows = slice(n * self.width, (n + 1) * self.width)
            of_input, of_state = (self._matrix(f"{name}.{what}", m[rows]) for what, m in (("W", w), ("R", r)))
            biases = [None, None] if b is None else [part[rows] for part in np.split(b, 2)]
            input_bias, state_bias = (bias if bias is not None and bias.any() else None for bias in biases)
            factors = peepholes.get(name)
            peephole = self.constant(factors, f"{name}.P") if factors is not None and factors.any() else ""
            self.gates[name] = Gate(of_input, of_state, input_bias, state_bias, peephole)

    @property
    def layer(self) -> Layer:
        """The recurrent layer."""
        return self.build.layer

    @property
    def clip(self) -> float:
        """The bound of what activation functions read; 0 without one."""
        return float(self.layer.attributes.get("clip", 0.0))

    def _of_direction(self, position: int) -> Array | None:
        name = self.layer.inputs[position] if len(self.layer.inputs) > position else ""
        return self.build.graph.constants[name][self.direction] if name else None

    def _matrix(self, part: str, rows: Array) -> str:
        return self.constant(np.ascontiguousarray(rows.T), part)

    def constant(self, value: Array, part: str) -> str:
        """Add a constant that is named after a part."""
        return self.build.constant(value, f"{self.prefix}.{part}")

    def add(self, op: str, part: str, *inputs: str, shape: Sequence[int] | None = None, **attributes: Any) -> str:
        """Append a layer named after a part, [N, steps, width] where no shape is given; return what it writes."""
        operands = list(inputs)
        while operands and not operands[-1] and op != JOINT:
            operands.pop()
        name = unique_name(f"{self.prefix}.{part}", self._names.__contains__, "{}#{}")
        self._names.add(name)
        out = self._state_tensors.get(part) or self._tensor(part)
        self.build.declare(out, shape or (self.batch, self.steps, self.width))
        self.build.graph.dtypes[out] = self.build.graph.dtypes[self.layer.inputs[0]]
        path = f"{self.layer.path}.{name.removeprefix(self.layer.name + '.')}" if self.layer.path else ""
        self.build.layers.append(Layer(op, name, path, tuple(operands), (out,), attributes))
        return out

    def _tensor(self, part: str) -> str:
        graph = self.build.graph
        return unique_name(f"{self.prefix}.{part}", lambda n: n in graph.constants or n in graph.shapes)

    def linear(self, gate: str, *operands: tuple[str, str], bias: Array | None, part: str = "linear") -> str:
        """Append Σ W x + b before a gate's activation.

        Args:
            gate: The gate.
            *operands: (x, the name of W) of each term; "" for W leaves x as it is.
            bias: b [width]; None without one.
            part: The name of the layer behind that of the gate.
        """
        stored = "" if bias is None else self.constant(bias, f"{gate}.b")
        return self.add(JOINT, f"{gate}.{part}", *(name for pair in operands for name in pair), stored)

    def bounded(self, gate: str, z: str) -> str:
        """Append the clip of what a gate's activation reads, where the layer has one."""
        if not self.clip:
            return z
        bounds = (self.constant(np.array(bound, np.float32), "clip") for bound in (-self.clip, self.clip))
        return self.add("Clip", f"{gate}.clip", z, *bounds)

    def activate(self, which: int, part: str, x: str) -> str:
        """Append one of the layer's activation functions."""
        f = self.functions[which]
        if f.name == "Affine":
            scaled = self.add("Mul", f"{part}.scaled", x, self._number(part, "alpha", f.alpha))
            return self.add("Add", part, scaled, self._number(part, "beta", f.beta))
        if f.name == "ScaledTanh":
            inner = self.add("Mul", f"{part}.argument", x, self._number(part, "beta", f.beta))
            tanh = self.add("Tanh", f"{part}.tanh", inner)
            return self.add("Mul", part, tanh, self._number(part, "alpha", f.alpha))
        return self.add(f.name, part, x, **f.numbers())

    def _number(self, part: str, which: str, value: float | None) -> str:
        return self.constant(np.array(value, np.float32), f"{part}.{which}")

    def gate(self, which: int, gate: str, z: str) -> str:
        """Append the activation function of a gate, of what is bounded as the layer says."""
        return self.activate(which, gate, self.bounded(gate, z))

    def gated(self, part: str, gate: str, signal: str) -> str:
        """Append gate ⊙ signal."""
        return self.add(GATED, part, gate, signal)

    def one_minus(self, part: str, x: str) -> str:
        """Append 1 − x."""
        return self.add("Sub", part, self.constant(np.array(1, np.float32), "one"), x)

    def previous(self, part: str, states: str, initial: str, state: str) -> str:
        """Append states one step earlier.

        Args:
            part: The name of the layer.
            states: The states as the operator has them.
            initial: The initial state [N, 1, width]; "" for zero.
            state: The part that computes the same states.
        """
        return self.add(PREVIOUS, part, states, initial, self.first, state=self._state_tensors[state],
                        loop=self.prefix, reverse=int(self.reverse))  # fmt: skip

    def initial(self, position: int) -> str:
        """Return the initial state of this direction [N, 1, width], "" where it is zero; a constant is [1, 1, width].

        Args:
            position: 5 for the hidden state, 6 for that of the cell.
        """
        if position not in self._initial:
            self._initial[position] = self._initial_state(position)
        return self._initial[position]

    def _initial_state(self, position: int) -> str:
        name = self.layer.inputs[position] if len(self.layer.inputs) > position else ""
        if not name:
            return ""
        value, d = self.build.graph.constant(name), self.direction
        part = f"initial.{'h' if position == 5 else 'c'}"
        if value is not None:
            return self.constant(value[:, d : d + 1], part) if value[:, d].any() else ""
        if self.build.shape(name)[1] == 1:
            return name
        bounds = [self.build.integers([n], f"{self.prefix}.{part}.{n}") for n in (d, d + 1, 1)]
        return self.add("Slice", part, name, *bounds, shape=(self.batch, 1, self.width))

    def own_states(self) -> str:
        """Append the operator of the file for this direction, and return its states [N, steps, width]."""
        layer, d = self.layer, slice(self.direction, self.direction + 1)
        inputs = list(layer.inputs)
        for position in (1, 2, 3, 7):
            if position < len(inputs) and inputs[position] and self.build.shape(inputs[position])[0] > 1:
                own = self.build.graph.constants[inputs[position]][d]
                inputs[position] = self.constant(own, f"operator.{position}")
        for position in (5, 6):
            if position < len(inputs) and inputs[position]:
                inputs[position] = self.initial(position)
        while not inputs[-1]:
            inputs.pop()
        attributes = {k: v for k, v in layer.attributes.items() if not k.startswith("activation")}
        attributes |= {"direction": "reverse" if self.reverse else "forward"}
        attributes |= {"activations": tuple(f.name for f in self.functions)}
        for key in ("alpha", "beta"):
            numbers = tuple(getattr(f, key) for f in self.functions if getattr(f, key) is not None)
            attributes |= {f"activation_{key}": numbers} if numbers else {}
        shape = (self.batch, self.steps, 1, self.width)
        whole = self.add(layer.op, "operator", *inputs, shape=shape, **attributes)
        target = self.build.integers((-1, self.steps, self.width), f"{self.prefix}.states.shape")
        return self.add("Reshape", "states", whole, target)

    def masks(self, lengths: str) -> None:
        """Append the masks of the steps that a sample has, from the number of its steps [N]."""
        places = self.constant(np.arange(self.steps, dtype=np.int32).reshape(1, -1, 1), "places")
        shape = self.build.integers((-1, 1, 1), f"{self.prefix}.lengths.shape")
        column = self.add("Reshape", "lengths", lengths, shape, shape=(self.batch, 1, 1))
        self.build.graph.dtypes[column] = "int32"
        self.valid = self._mask("valid", "Less", places, column)
        one = self.constant(np.array(1, np.int32), "lengths.one")
        last = self.add("Sub", "lengths.last", column, one, shape=(self.batch, 1, 1))
        self.build.graph.dtypes[last] = "int32"
        self.last = self._mask("last", "Equal", places, last)
        self.first = self.last if self.reverse else ""

    def _mask(self, part: str, op: str, *operands: str) -> str:
        shape = (self.batch, self.steps, 1)
        found = self.add(op, f"{part}.bool", *operands, shape=shape)
        self.build.graph.dtypes[found] = "bool"
        return self.add("Cast", part, found, shape=shape, to=1)

    def of_valid(self, part: str, x: str) -> str:
        """Append x, zero at steps that a sample does not have."""
        return self.add(STEPS, part, x, self.valid) if self.valid else x

    def end(self, part: str, x: str) -> str:
        """Append x at the step that is computed last, [N, 1, width]."""
        shape = (self.batch, 1, self.width)
        if self.valid and not self.reverse:
            return self.add(STEPS, part, x, self.last, shape=shape, sum=1)
        at = 0 if self.reverse else self.steps - 1
        bounds = [self.build.integers([n], f"{self.prefix}.{part}.{n}") for n in (at, at + 1, 1)]
        return self.add("Slice", part, x, *bounds, shape=shape)

    def cell_states(self, keep: str, new: str, initial: str) -> str:
        """Append c_t = keep_t ⊙ c_(t-1) + new_t of all steps; at steps that a sample does not have, c stays."""
        if self.valid:
            keep = self.add(STEPS, "states.keep", keep, self.valid)
            rest = self.add("Sub", "states.rest", self.constant(np.array(1, np.float32), "one"), self.valid,
                            shape=(self.batch, self.steps, 1))  # fmt: skip
            keep = self.add("Add", "states.kept", keep, rest)
            new = self.of_valid("states.new", new)
        return self.add(CELL_STATES, "cell_states", keep, new, initial, reverse=int(self.reverse), width=self.width)


def refuse(layer: Layer, what: str) -> UnsupportedError:
    """Make an error that names a recurrent layer and what of it is not known."""
    return UnsupportedError(
        f'the {layer.op} node "{printable(layer.name)}" {what}',
        "methods of forward passes alone need no layers: -m occlusion",
    )
