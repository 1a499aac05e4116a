"""Models of one recurrent layer and a dense one behind it, and what numpy says of them (`recurrent_numpy`)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from .recurrent_numpy import Array, Cell, away_from_zero

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
CLASSES = 3
STABILIZER = 1e-6  # of the mean over steps


@dataclass
class Net:
    """x [N, steps, inputs] → the layer → what `head` takes of its results → a dense layer [N, CLASSES].

    Args:
        head: "last", the last states; "mean", the mean over all steps; "cell", the last states of an LSTM's cell.
        lengths: Whether there is an input with the number of steps of each sample.
        initial: Whether the initial states are inputs.
        functions: (name, *numbers) of the activation functions of one direction.
    """

    op: str
    direction: str = "forward"
    head: str = "last"
    lengths: bool = False
    initial: bool = False
    peepholes: bool = False
    functions: tuple[Any, ...] = ()
    attributes: dict[str, Any] = field(default_factory=dict)
    inputs: int = 3
    width: int = 4
    steps: int = 6
    opset: int = 17
    seed: int = 0
    scale: float = 0.6
    bias: bool = True

    def __post_init__(self) -> None:
        rng, d, g = np.random.default_rng(self.seed), self.directions, GATES[self.op] * self.width

        def normal(*shape: int) -> Array:
            return np.asarray(rng.normal(size=shape) * self.scale, np.float32)

        self.weights = {"W": normal(d, g, self.inputs), "R": normal(d, g, self.width)}
        self.weights |= {"B": normal(d, 2 * g)} if self.bias else {}
        self.weights |= {"P": normal(d, 3 * self.width)} if self.peepholes else {}
        self.weights["V"] = normal(d * self.width, CLASSES)

    @property
    def directions(self) -> int:
        return 2 if self.direction == "bidirectional" else 1

    @property
    def initials(self) -> list[str]:
        return ["h0", "c0"][: 2 if self.op == "LSTM" else 1] if self.initial else []

    def proto(self) -> onnx.ModelProto:
        """The model, batch first, as exporters write it."""
        operands = {0: "steps", 1: "W", 2: "R", 3: "B" if self.bias else "", 4: "lengths" if self.lengths else ""}
        operands |= {5 + n: f"{name}/moved" for n, name in enumerate(self.initials)}
        operands |= {7: "P"} if self.peepholes else {}
        nodes = [helper.make_node("Transpose", ["x"], ["steps"], perm=[1, 0, 2])]
        nodes += [helper.make_node("Transpose", [n], [f"{n}/moved"], perm=[1, 0, 2]) for n in self.initials]
        stated: dict[str, Any] = {}
        if self.functions:
            each = [f if isinstance(f, tuple) else (f,) for f in self.functions * self.directions]
            stated = {"activations": [name for name, *_ in each]}
            for n, key in enumerate(("activation_alpha", "activation_beta"), 1):
                numbers = [f[n] for f in each if len(f) > n]
                stated |= {key: numbers} if numbers else {}
        results = ["Y", "Y_h", *(["Y_c"] if self.op == "LSTM" else [])]
        names = [operands.get(i, "") for i in range(max(i for i, name in operands.items() if name) + 1)]
        stated |= {"hidden_size": self.width, "direction": self.direction, **self.attributes}
        nodes.append(helper.make_node(self.op, names, results, name="rnn", **stated))
        arrays: dict[str, Array] = dict(self.weights)
        if self.head == "mean":
            arrays["shape"] = np.array([0, self.steps, self.directions * self.width])
            nodes += [
                helper.make_node("Transpose", ["Y"], ["moved"], perm=[2, 0, 1, 3]),
                helper.make_node("Reshape", ["moved", "shape"], ["rows"]),
            ]
            if self.opset < 18:
                nodes.append(helper.make_node("ReduceMean", ["rows"], ["z"], axes=[1], keepdims=0))
            else:
                arrays["axes"] = np.array([1])
                nodes.append(helper.make_node("ReduceMean", ["rows", "axes"], ["z"], keepdims=0))
        else:
            last = "Y_h" if self.head == "last" else "Y_c"
            nodes += [
                helper.make_node("Transpose", [last], ["moved"], perm=[1, 0, 2]),
                helper.make_node("Flatten", ["moved"], ["z"], axis=1),
            ]
        nodes.append(helper.make_node("MatMul", ["z", "V"], ["y"], name="head"))
        values = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", self.steps, self.inputs])]
        shape: list[Any] = ["N", self.directions, self.width]
        values += [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in self.initials]
        values += [helper.make_tensor_value_info("lengths", TensorProto.INT32, ["N"])] if self.lengths else []
        end = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", CLASSES])]
        stored = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
        graph = helper.make_graph(nodes, "recurrent", values, end, stored)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)

    def feeds(self, samples: int = 4, seed: int = 1) -> dict[str, Array]:
        """Inputs of the model; the second sample has one step."""
        rng = np.random.default_rng(seed)
        found = {"x": rng.normal(size=(samples, self.steps, self.inputs)).astype(np.float32)}
        for name in self.initials:
            found[name] = rng.normal(size=(samples, self.directions, self.width)).astype(np.float32)
        if self.lengths:
            found["lengths"] = np.array([self.steps, 1, *rng.integers(1, self.steps + 1, samples)][:samples], np.int32)
        return found

    # -- by numpy

    def cells(self, **options: Any) -> list[Cell]:
        """The layer's directions for one sample."""
        known = ("clip", "input_forget", "linear_before_reset")
        options |= {key: value for key, value in self.attributes.items() if key in known}
        backward = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}[self.direction]
        arrays = {name: array.astype(np.float64) for name, array in self.weights.items()}
        zero = np.zeros((self.directions, 2 * GATES[self.op] * self.width))
        b = arrays.get("B", zero)
        found = []
        for d, reverse in enumerate(backward):
            weights = (arrays["W"][d], arrays["R"][d], b[d], arrays["P"][d] if self.peepholes else None)
            found.append(Cell(self.op, *weights, self.functions, reverse=reverse, **options))
        return found

    def by_numpy(self, feeds: dict[str, Array], seeds: Array, **options: Any) -> tuple[Array, Array, list[Array]]:
        """The output, and the relevance of x and of the initial states for relevance `seeds` of the output."""
        outputs, heat, initial = [], [], [np.zeros(feeds[name].shape) for name in self.initials]
        v = self.weights["V"].astype(np.float64)
        for n, x in enumerate(feeds["x"].astype(np.float64)):
            length = int(feeds["lengths"][n]) if self.lengths else self.steps
            cells = self.cells(**options)
            first = [feeds[name][n].astype(np.float64) for name in self.initials]
            first += [np.zeros((self.directions, self.width))] * (2 - len(first))
            made = [cell.run(x, length, first[0][d], first[1][d]) for d, cell in enumerate(cells)]
            states, last, inner = (np.concatenate(parts, axis=-1) for parts in zip(*made, strict=True))
            z = {"mean": states.mean(axis=0), "last": last, "cell": inner}[self.head]
            outputs.append(z @ v)
            r = cells[0].linear(z @ v, seeds[n].astype(np.float64), (v.T, z))[0]
            r_states, r_last, r_cell = np.zeros_like(states), np.zeros_like(last), np.zeros_like(inner)
            if self.head == "mean":
                r_states = states / self.steps * (r / away_from_zero(z, STABILIZER))
            elif self.head == "last":
                r_last = r
            else:
                r_cell = r
            total = np.zeros_like(x)
            for d, cell in enumerate(cells):
                own = slice(d * self.width, (d + 1) * self.width)
                found, *rest = cell.relevance(r_states[:, own], r_last[own], r_cell[own], length)
                total += found
                for store, one in zip(initial, rest, strict=False):
                    store[n, d] = one
            heat.append(total)
        return np.array(outputs), np.array(heat), initial


# The product of what an attribute can be is too large: each stands in a few of these.
NETS: dict[str, Net] = {}
for _op in GATES:
    for _direction in ("forward", "reverse", "bidirectional"):
        NETS[f"{_op} {_direction}"] = Net(_op, _direction)
        NETS[f"{_op} {_direction}, all steps"] = Net(_op, _direction, "mean", initial=True)
        NETS[f"{_op} {_direction}, lengths"] = Net(_op, _direction, lengths=True, initial=True)
        NETS[f"{_op} {_direction}, lengths, all steps"] = Net(_op, _direction, "mean", lengths=True)
    NETS[f"{_op} without bias"] = Net(_op, bias=False)
    NETS[f"{_op} of one step"] = Net(_op, "bidirectional", initial=True, steps=1)
    NETS[f"{_op} clipped"] = Net(_op, attributes={"clip": 0.375})
    for _opset in (7, 11, 13, 14, 21, 22, 23):
        NETS[f"{_op} of opset {_opset}"] = Net(_op, opset=_opset)
for _direction in ("forward", "reverse", "bidirectional"):
    NETS[f"LSTM {_direction}, cell"] = Net("LSTM", _direction, "cell", initial=True)
    NETS[f"LSTM {_direction}, cell, lengths"] = Net("LSTM", _direction, "cell", lengths=True, initial=True)
    NETS[f"LSTM {_direction}, peepholes"] = Net("LSTM", _direction, peepholes=True, initial=True)
    NETS[f"LSTM {_direction}, peepholes, lengths"] = Net("LSTM", _direction, "mean", lengths=True, peepholes=True)
    NETS[f"GRU {_direction}, reset behind"] = Net("GRU", _direction, attributes={"linear_before_reset": 1})
NETS |= {
    "LSTM, input_forget": Net("LSTM", attributes={"input_forget": 1}),
    "LSTM, input_forget, peepholes": Net("LSTM", peepholes=True, attributes={"input_forget": 1}),
    "LSTM, peepholes, clipped": Net("LSTM", peepholes=True, attributes={"clip": 0.375}),
    "LSTM of other functions": Net(
        "LSTM", functions=(("HardSigmoid", 0.25, 0.375), "Softsign", ("ScaledTanh", 0.875, 0.75))
    ),
    "LSTM of other functions, peepholes": Net(
        "LSTM", peepholes=True, functions=(("HardSigmoid", 0.25, 0.5), ("Elu", 0.5), "Softsign")
    ),
    "LSTM of an affine gate, peepholes": Net(
        "LSTM", peepholes=True, functions=(("Affine", 0.25, 0.375), "Tanh", "Tanh")
    ),
    "GRU of other functions": Net("GRU", "bidirectional", functions=(("Affine", 0.25, 0.375), ("LeakyRelu", 0.25))),
    "RNN of Softplus": Net("RNN", functions=("Softplus",)),
    "RNN of Relu": Net("RNN", functions=("Relu",)),
    "RNN of ThresholdedRelu": Net("RNN", functions=(("ThresholdedRelu", 0.125),)),
}
