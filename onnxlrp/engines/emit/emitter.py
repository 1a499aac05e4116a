"""Emitter: forward pass and program as one ONNX graph of standard operators.

Weights are shared with the forward model by name, and arithmetic on them is emitted as expressions (W⁺ as Relu(W)):
the runtime folds them when it loads the graph, and the saved file stays small.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from ...program.interpret import run_linear, run_map
from ...program.linear import LinearMap, Matmul, Select, Take
from ...program.program import Activation, Array, Constant, Instruction, Loop, LoopInput, Program, Seed
from ...program.value import drop_broadcast
from .adjoint import ADJOINT
from .linear import LINEAR, matrices
from .loop import Body, Row, scan
from .maps import MAPS, Operand
from .nodes import SMALL, Nodes
from .order import emission, sizes
from .routing import select, select_constant
from .seed import emit_seed
from .taking import take


class Emitter:
    """Appends the instructions of a program to the graph of a model.

    Args:
        model: The forward model, which gets the nodes.
        program: The program.
        portable: Whether operators that other runtimes than onnxruntime lack are avoided.
    """

    def __init__(self, model: onnx.ModelProto, program: Program, portable: bool = False) -> None:
        self._begin(program, Nodes(model.graph, portable))

    def _begin(self, program: Program, nodes: Nodes) -> None:
        self.program, self.nodes = program, nodes
        self.names: dict[int, str] = {}
        self.absolute = sizes(program)
        self.folded: dict[int, str] = {}  # [T, N, ...] as [T·N, ...]
        self._arrays: dict[int, Array] = {}
        self._annotated: set[str] = set()
        self.seeds: Mapping[str, str] = {}

    def emit(self, seeds: Mapping[str, str]) -> dict[str, str]:
        """Append all instructions.

        Args:
            seeds: The graph's inputs that choose the target or hold relevance, by the names of the program's seeds.

        Returns:
            The tensor of each output of the program.
        """
        self.seeds = seeds
        places = {name: n for n, node in enumerate(self.nodes.graph.node) for name in node.output}
        for n in emission(self.program, self.absolute, places):
            step = self.program.instructions[n]
            self.nodes.origin = step.origin
            self.names[n] = self._step(n, step)
            self._annotate(n, step)
        return {name: self.names[n] for name, n in self.program.outputs.items()}

    def _annotate(self, n: int, step: Instruction) -> None:
        """State the shape of a tensor: onnxruntime's blocked kernels need the batch axis that a Reshape hides."""
        if step.constant or isinstance(step.what, Activation):
            return
        if not step.targets:
            self._state(self.names[n], "N", step.shape)
        elif not self.nodes.portable and len(step.shape) == 3:  # for `engines.blocked`
            self._state(self.names[n], self.program.targets or 1, "N", step.shape)
            if n in self.folded:
                self._state(self.folded[n], "TN", step.shape)

    def _state(self, name: str, *dims: Any) -> None:
        """State the axes of a tensor: the leading ones, and the shape of a sample."""
        if name not in self._annotated:
            self._annotated.add(name)
            info = helper.make_tensor_value_info(name, TensorProto.FLOAT, [*dims[:-1], *dims[-1]])
            self.nodes.graph.value_info.append(info)

    def _step(self, n: int, step: Instruction) -> str:
        if isinstance(step.what, Activation):
            return step.what.tensor
        if isinstance(step.what, Constant):
            return self._constant(step.what)
        if isinstance(step.what, Loop):
            return self._loop(step, step.what)
        if isinstance(step.what, Seed):
            return emit_seed(self.nodes, step, self.seeds.get(step.what.name, ""))
        if step.constant and int(np.prod(step.shape)) <= SMALL:
            return self.nodes.store(self._array(n))
        if n in self.absolute:
            return self.nodes.node("Abs", self._whole(self.absolute[n], step.shape))
        if step.kind == "map":
            names = [self.names[i] for i in step.inputs]
            if np.broadcast_shapes(*(self._stored_shape(i) for i in step.inputs)) != step.shape:
                names = [self._whole(i, self.program.instructions[i].shape) for i in step.inputs]
            numbers = map(self._number, step.inputs)
            return MAPS[step.op](self.nodes, step, [Operand(*pair) for pair in zip(names, numbers, strict=True)])
        return self._linear(n, step)

    def _loop(self, step: Instruction, loop: Loop) -> str:
        """Append a loop as a Scan, whose body is emitted as any program."""
        rows = []
        for i in step.inputs:
            operand = self.program.instructions[i]
            whole = self._whole(i, operand.shape) if operand.constant else self.names[i]
            rows.append(Row(whole, operand.constant, operand.targets))
        targets = self.program.targets if step.targets else None

        def emit(inner: Nodes, states: list[str], at_step: list[str]) -> list[str]:
            body = Program(loop.body, {str(k): n for k, n in enumerate(loop.results)}, self.program.targets)
            emitter = BodyEmitter(inner, body, {"state": states, "step": at_step, "whole": [row.name for row in rows]})
            return list(emitter.emit({}).values())

        read = {i.what.index for i in loop.body if isinstance(i.what, LoopInput) and i.what.sort == "step"}
        return scan(self.nodes, Body(loop, sorted(read), targets), rows, emit)

    def _constant(self, source: Constant) -> str:
        if source.tensor:
            return self.nodes.weight(source.tensor, source.array)
        return self.nodes.store(drop_broadcast(source.array))

    def _array(self, n: int) -> Array:
        if n not in self._arrays:
            step = self.program.instructions[n]
            if isinstance(step.what, Constant):
                return step.what.array
            operands = [self._array(i) for i in step.inputs]
            self._arrays[n] = np.asarray((run_map if step.kind == "map" else run_linear)(step, operands))
        return self._arrays[n]

    def _number(self, n: int) -> float | None:
        """Return the number of a constant of shape (), else None."""
        step = self.program.instructions[n]
        return float(self._array(n)) if step.constant and step.shape == () else None

    def _linear(self, n: int, step: Instruction) -> str:
        linear, nodes = step.what, self.nodes
        assert isinstance(linear, LinearMap)
        inner, outer = (linear.source, linear.target) if step.kind == "linear" else (linear.target, linear.source)
        first = self.program.instructions[step.inputs[0]]
        rest = [self._operand(i) for i in step.inputs[1:]]
        table = LINEAR if step.kind == "linear" else ADJOINT
        if step.constant:
            x = nodes.node("Unsqueeze", self._whole(step.inputs[0], inner), nodes.ints(0))
            return nodes.node("Squeeze", table[linear.name](nodes, linear, x, *rest), nodes.ints(0))
        if isinstance(linear, Select) and first.constant and step.kind == "linear":
            return select_constant(nodes, linear, np.broadcast_to(self._array(step.inputs[0]), inner), rest[0])
        x = self.names[step.inputs[0]] if not first.constant else self._whole(step.inputs[0], inner)
        if isinstance(linear, Matmul) and (rank := self._matrices(step.inputs[1])):
            return matrices(nodes, linear.transposed == (step.kind == "linear"), x, rank, *rest)
        if isinstance(linear, Select):
            lead = (self.program.targets or 1,) if first.targets else ()
            return select(nodes, linear, x, rest[0], lead, back=step.kind == "adjoint")
        if isinstance(linear, Take):
            lead = (self.program.targets or 1,) if first.targets else ()
            return take(nodes, linear, x, rest[0], lead, step.kind == "adjoint", alone=first.constant)
        if not first.targets:
            return table[linear.name](nodes, linear, x, *rest)
        if any(not self.program.instructions[i].constant for i in step.inputs[1:]):
            raise NotImplementedError("a weight that is an activation, with several targets")
        if step.inputs[0] not in self.folded:
            self.folded[step.inputs[0]] = nodes.node("Reshape", x, nodes.ints(-1, *inner))
            if not nodes.portable and len(inner) == 3 and inner == first.shape:
                self._state(self.folded[step.inputs[0]], "TN", inner)
        self.folded[n] = table[linear.name](nodes, linear, self.folded[step.inputs[0]], *rest)
        return nodes.node("Reshape", self.folded[n], nodes.ints(self.program.targets or 1, -1, *outer))

    def _matrices(self, n: int) -> int:
        """Return the rank of a weight of several matrices, one for each sample or index; 0 for a single matrix."""
        step = self.program.instructions[n]
        rank = len(step.shape) + (not step.constant)
        return rank if rank > 2 else 0

    def _stored_shape(self, n: int) -> tuple[int, ...]:
        step = self.program.instructions[n]
        own = isinstance(step.what, Constant) and not step.what.tensor
        return drop_broadcast(step.what.array).shape if own and isinstance(step.what, Constant) else step.shape

    def _operand(self, n: int) -> str:
        """Return a weight or bias with explicit broadcast copies: kernels do not broadcast theirs."""
        what = self.program.instructions[n].what
        return self.nodes.store(what.array) if isinstance(what, Constant) and not what.tensor else self.names[n]

    def _whole(self, n: int, shape: tuple[int, ...]) -> str:
        """Return a constant with explicit broadcast copies."""
        if self._stored_shape(n) == shape:
            return self.names[n]
        return self.nodes.node("Expand", self.names[n], self.nodes.ints(*shape))


class BodyEmitter(Emitter):
    """Appends the instructions of a loop's body to the graph of the body.

    Args:
        nodes: The graph of the body.
        program: The body.
        given: The tensors of what the body reads, by the sort of `LoopInput`, in order.
    """

    def __init__(self, nodes: Nodes, program: Program, given: Mapping[str, list[str]]) -> None:
        self._begin(program, nodes)
        self.given = given

    def _annotate(self, n: int, step: Instruction) -> None:
        pass

    def _step(self, n: int, step: Instruction) -> str:
        if isinstance(step.what, LoopInput):
            return self.given[step.what.sort][step.what.index]
        return super()._step(n, step)
