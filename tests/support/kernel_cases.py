"""Programs run launch by launch by the kernels under test, against the meaning of their instructions.

A test module that imports this is skipped where the kernels cannot be run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

from onnxlrp.engines.cuda.kernels.cublas import MATMUL
from onnxlrp.engines.cuda.kernels.elementwise import module
from onnxlrp.engines.cuda.kernels.launch import InputRef, InstructionRef, Launch, Scratch, Table
from onnxlrp.engines.cuda.planning.constants import fold_constants
from onnxlrp.engines.cuda.planning.instructions import plan
from onnxlrp.errors import UsageError
from onnxlrp.program.interpret import run_linear, run_map
from onnxlrp.program.linear import LinearMap, Select, Take
from onnxlrp.program.program import Constant, Program

from .arrays import Array
from .conformance import Sketch
from .geometries import weight_shape
from .kernels_under_test import blas, kernels

try:
    EMULATORS = {check: kernels(check) for check in (False, True)}
except UsageError as error:
    pytest.skip(error.message, allow_module_level=True)

BLAS = blas()
seeds = st.integers(0, 2**32 - 1)
leads = st.sampled_from((None, None, 1, 3))
batches = st.sampled_from((1, 3))

# Axes of a grid, and blocks, that say how the work is divided; elsewhere kernels go on from where their grid ends.
MEANT = {"dense_tiled": (0,), "reduce_blocks": (1,)}
SHAPED = ("dense_columns", "dense_tiled", "reduce_blocks", "seed_top")


def launched(launch: Launch, arguments: Sequence[Any], check: bool = False, seed: int = 0) -> None:
    """Run one launch; `check` looks at every access to memory, `seed` orders the threads."""
    if launch.source:
        if launch.source not in GENERATED:
            GENERATED[launch.source] = kernels().from_source(module([launch]))
        GENERATED[launch.source].launch(launch.kernel, launch.grid, launch.block, arguments, launch.shared)
    elif launch.kernel == MATMUL:
        BLAS.launch(launch.kernel, launch.grid, launch.block, arguments)
    else:
        EMULATORS[check].seed = seed
        EMULATORS[check].launch(launch.kernel, launch.grid, launch.block, arguments, launch.shared)


GENERATED: dict[str, Any] = {}


def ran(
    program: Any,
    batch: Any,
    arrays: Any,
    feeds: Any = None,
    narrow: bool = False,
    check: bool = True,
    seed: int = 0,
    conv_planner: Any = None,
) -> dict[Any, Any]:
    """The arrays of all instructions after the planned launches; `arrays` has those of activations and given seeds.

    `narrow` runs every kernel that allows it with a grid of one block, and that of one warp.
    New arrays hold NaN until they are written.
    """
    constants = fold_constants(program)
    held = {n: np.ascontiguousarray(array, np.float32) for n, array in {**constants, **arrays}.items()}
    for n, step in enumerate(program.instructions):
        launches = plan(program, n, batch, constants, conv_planner)
        if not launches:
            continue
        lead = (program.targets or 1, batch) if step.targets else (batch,)
        held[n] = np.full((*lead, *step.shape), np.nan, np.float32)
        scratches = {}
        for launch in launches:
            if narrow:
                meant = MEANT.get(launch.kernel, ())
                grid: Any = tuple(b if a in meant else 1 for a, b in enumerate(launch.grid))
                launch = replace(launch, grid=grid, block=launch.block if launch.kernel in SHAPED else (32, 1, 1))
            arguments = [bound(argument, held, scratches, feeds) for argument in launch.arguments]
            launched(launch, arguments, check, seed)
    return held


def bound(argument: Any, held: dict[int, Array], scratches: dict[Any, Array], feeds: Any) -> Any:
    if isinstance(argument, InstructionRef):
        return held[argument.index]
    if isinstance(argument, InputRef):
        return feeds[argument.name]
    if isinstance(argument, Table):
        return argument.array
    if isinstance(argument, Scratch):
        if argument not in scratches:
            fill = np.nan if argument.dtype.startswith("float") else 2**30
            scratches[argument] = np.full(argument.count, fill, argument.dtype)
        return scratches[argument]
    return argument


def meant(program: Program, arrays: Mapping[Any, Any]) -> list[Array]:
    """What interpret.py makes of the program, in float64."""
    values = []
    for n, step in enumerate(program.instructions):
        if isinstance(step.what, Constant):
            values.append(np.asarray(step.what.array, np.float64))
        elif step.kind == "read":
            values.append(np.asarray(arrays[n], np.float64))
        else:
            run = run_map if step.kind == "map" else run_linear
            operands = [values[i] for i in step.inputs]
            if step.kind != "map" and not step.constant and program.instructions[step.inputs[0]].constant:
                lead = (program.targets or 1, arrays["batch"]) if step.targets else (arrays["batch"],)
                operands[0] = np.broadcast_to(operands[0], (*lead, *operands[0].shape))
            values.append(run(step, operands))
    return values


def whole(rng: np.random.Generator, *shape: int) -> Array:
    """Small whole numbers: sums are exact in float32, and selectors have ties."""
    return rng.integers(-4, 5, size=shape).astype(np.float64)


class Case(Sketch):
    """A program with the arrays of its leaves, which are whole numbers."""

    def __init__(self, rng: np.random.Generator, batch: int, targets: int | None = None) -> None:
        super().__init__(targets)
        self.rng, self.batch = rng, batch
        self.arrays: dict[int, Array] = {}

    def read(self, shape: tuple[int, ...]) -> int:
        """An activation."""
        n = self.activation(f"a{len(self.steps)}", shape)
        self.arrays[n] = whole(self.rng, self.batch, *shape)
        return n

    def places(self, linear: Take) -> int:
        """Activations that number elements of a map's source."""
        n = self.read(linear.target)
        self.arrays[n] = self.rng.integers(math.prod(linear.source), size=(self.batch, *linear.target)).astype(float)
        return n

    def first_operand(self, shape: tuple[int, ...]) -> int:
        """The first operand of a linear map: a seed where there are targets, else an activation."""
        if self.targets is None:
            return self.read(shape)
        n = self.seed(shape)
        self.arrays[n] = whole(self.rng, self.targets, self.batch, *shape)
        return n

    @property
    def program(self) -> Program:
        return Program(tuple(self.steps), {"y": len(self.steps) - 1}, self.targets)

    def check(self, exact: bool = True, **how: Any) -> Array:
        """The last instruction, as planned, is what it means."""
        n = len(self.steps) - 1
        actual = ran(self.program, self.batch, self.arrays, **how)[n]
        expected = meant(self.program, {**self.arrays, "batch": self.batch})[n]
        expected = np.broadcast_to(expected, actual.shape)
        if exact:
            np.testing.assert_array_equal(actual, expected)
        else:
            np.testing.assert_allclose(actual, expected, rtol=2e-6, atol=2e-6 * np.max(np.abs(expected), initial=1))
        return actual


def applied(case: Case, linear: LinearMap, direction: str) -> int:
    """Append a linear map or its adjoint with fresh operands."""
    x = case.first_operand(linear.source if direction == "linear" else linear.target)
    rest = []
    if weight_shape(linear) is not None:
        rest.append(case.constant(whole(case.rng, *weight_shape(linear))))
    if isinstance(linear, Select):
        rest.append(case.read(linear.source))
    if isinstance(linear, Take):
        rest.append(case.places(linear))
    return case.linear(linear, x, *rest) if direction == "linear" else case.adjoint(linear, x, *rest)


each_direction = pytest.mark.parametrize("direction", ["linear", "adjoint"])
