"""Engine conformance: programs written by hand over a forward model that computes nothing.

Every registered engine takes part; where its runtime is missing, tests are skipped.
Tests ask `run` for what a program gives, and compare it with numpy or with the reference engine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper

from onnxlrp.engines import ENGINES, Forward, Run
from onnxlrp.engines.cuda.engine import Cuda
from onnxlrp.engines.factory import make_engine
from onnxlrp.errors import UsageError
from onnxlrp.program.linear import LinearMap
from onnxlrp.program.program import SEED, Activation, Constant, Instruction, Program, Seed

from . import kernels_under_test
from .arrays import Array

# "plain" is cuda or the emulator without tensor cores: the gathers that serve what those do not take.
each_engine = pytest.mark.parametrize("name", [*ENGINES, "plain"])

# How far an engine's result may be from the exact one, as a share of the sum of the magnitudes that it adds up.
TOLERANCE = {"reference": 1e-12, "ort": 2e-6}
FLOAT32 = 2e-6


def tolerance(name: str) -> float:
    return TOLERANCE.get(name, FLOAT32)


def prepared(name: str, forward: Forward, program: Program) -> Run:
    """The program on an engine; skips the test where the machine cannot run it."""
    try:
        found = Cuda(kernels_under_test.device(), None) if name == "plain" else make_engine(name)
    except UsageError as error:
        if name == "cuda" and kernels_under_test.which != "emulator":
            raise  # a GPU was asked for
        pytest.skip(f"{name}: {error.message}")
    return found.prepare(forward, program)


def identity(shapes: Mapping[str, tuple[int, ...]]) -> Forward:
    """A forward model that hands out its inputs: tensor "x" is input "x/in"."""

    def model(dtype: type, tensors: Sequence[str]) -> onnx.ModelProto:
        kind = TensorProto.DOUBLE if dtype is np.float64 else TensorProto.FLOAT
        wanted = list(dict.fromkeys([*tensors, *shapes]))
        inputs = [helper.make_tensor_value_info(f"{t}/in", kind, ["N", *shape]) for t, shape in shapes.items()]
        outputs = [helper.make_tensor_value_info(t, kind, ["N", *shapes[t]]) for t in wanted]
        nodes = [helper.make_node("Identity", [f"{t}/in"], [t], name=t) for t in wanted]
        graph = helper.make_graph(nodes, "identity", inputs, outputs)
        return helper.make_model(graph, ir_version=11, opset_imports=[helper.make_opsetid("", 23)])

    return Forward(model, tuple(f"{t}/in" for t in shapes))


class Sketch:
    """A program written down instruction by instruction. Values are numbers of instructions.

    With `targets` the seed alone has a target axis; it is fed as the array "relevance", [T, N, *shape].
    """

    def __init__(self, targets: int | None = None) -> None:
        self.targets = targets
        self.steps: list[Instruction] = []
        self.shapes: dict[str, tuple[int, ...]] = {}

    def activation(self, tensor: str, shape: tuple[int, ...]) -> int:
        self.shapes[tensor] = shape
        return self._add(Instruction("read", "activation", (), Activation(tensor), shape, False, False))

    def seed(self, shape: tuple[int, ...], name: str = SEED, targets: bool = True) -> int:
        """The array that is fed as "relevance", or under a name of its own; with the target axis, or without."""
        self.shapes.setdefault("seeded", shape)
        several = self.targets if targets else None
        source = Seed("seeded", "relevance", several, name)
        return self._add(Instruction("read", "seed", (), source, shape, False, several is not None))

    def constant(self, array: npt.ArrayLike) -> int:
        array = np.asarray(array)
        return self._add(Instruction("read", "constant", (), Constant(array), array.shape, True, False))

    def map(self, op: str, *inputs: int, parameter: float = 0.0) -> int:
        shape = np.broadcast_shapes(*(self.steps[i].shape for i in inputs))
        return self._add(self._step("map", op, inputs, None, shape, parameter=parameter))

    def linear(self, linear: LinearMap, x: int, *weights: int, biased: bool = False) -> int:
        return self._add(self._step("linear", linear.name, (x, *weights), linear, linear.target, biased=biased))

    def adjoint(self, linear: LinearMap, s: int, *weights: int) -> int:
        return self._add(self._step("adjoint", linear.name, (s, *weights), linear, linear.source))

    def run(self, name: str, outputs: dict[str, int], **arrays: Array) -> dict[str, Array]:
        """The outputs by name; `arrays` are activations by tensor, and the seed as `relevance`."""
        program = Program(tuple(self.steps), outputs, self.targets)
        batch = next(a.shape[t] for t, a in ((self._lead(tensor), array) for tensor, array in arrays.items()))
        given = {seed: arrays.pop(seed or "relevance") for seed in program.seeds}
        feeds = {f"{tensor}/in": _typed(name, array) for tensor, array in arrays.items()}
        feeds |= {seed: _typed(name, array) for seed, array in given.items()}
        if given:
            feeds["seeded/in"] = _typed(name, np.zeros((batch, *self.shapes["seeded"])))
        return prepared(name, identity(self.shapes), program)(feeds)

    def _lead(self, name: str) -> int:
        """The axis of samples of an array: behind that of targets, which seeds alone have."""
        steps = [i for i in self.steps if isinstance(i.what, Seed) and (i.what.name or "relevance") == name]
        return int(any(i.targets for i in steps))

    def _add(self, step: Instruction) -> int:
        self.steps.append(step)
        return len(self.steps) - 1

    def _step(
        self, kind: Any, op: str, inputs: Sequence[int], what: Any, shape: Sequence[int], **rest: Any
    ) -> Instruction:
        steps = [self.steps[i] for i in inputs]
        constant, targets = all(s.constant for s in steps), any(s.targets for s in steps)
        return Instruction(kind, op, tuple(inputs), what, tuple(shape), constant, targets, origin="sketch", **rest)


def _typed(name: str, array: Array) -> Array:
    return np.asarray(array, np.float64 if name == "reference" else np.float32)
