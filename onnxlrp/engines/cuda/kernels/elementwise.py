"""Elementwise kernels as generated text: one for a chain of maps, over operands that broadcast.

The text depends on what is computed and on which operands vary along which axes, not on sizes, so that layers share it.
The maps are functions of csrc/kernels/elementwise.cuh, which `module` puts before the kernels.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ....program.linear import Shape
from ....program.maps import PARAMETRIC
from ....program.program import Array, Constant, Instruction, Program
from ....program.value import drop_broadcast
from .build import CSRC
from .launch import Argument, InstructionRef, Launch

THREADS = 256
MOST = 2**31 - 1  # elements that 32 bits count
INCLUDE = re.compile(r'^#include "([\w.]+)"\n', re.M)  # files of csrc/kernels that generated text asks for


@dataclass(frozen=True)
class MapStep:
    """One map; `inputs` count the operands first, then the steps before."""

    op: str
    inputs: tuple[int, ...]
    parameter: float = 0.0

    def call(self, operands: Sequence[str]) -> str:
        """Its function of csrc/kernels/elementwise.cuh, applied."""
        given = [*operands, literal(self.parameter)] if self.op in PARAMETRIC else operands
        return f"map_{self.op}({', '.join(given)})"


Pattern = tuple[bool, ...]  # along which of the loop's axes an operand varies


def elementwise_source(
    name: str,
    steps: Sequence[MapStep],
    operands: Sequence[Pattern | float],
    outputs: Sequence[int],
    wide: bool = False,
    quads: bool = False,
) -> str:
    """The kernel `name`: steps over operands, each an array that varies along the axes of its pattern, or a number.

    Parameters: the arrays of the operands that are no numbers, an array for each of `outputs` (numbered as inputs of
    steps are), the size of each axis but the first (unsigned, if any operand leaves out an axis), the count of elements
    (long long). An output may be the array of an operand that varies along all axes. `wide` counts with 64 bits. With
    `quads` a thread makes four neighbours at a time: the last axis is a multiple of 4, arrays are so aligned.
    """
    arrays = {n: pattern for n, pattern in enumerate(operands) if not isinstance(pattern, float)}
    axes = max((len(pattern) for pattern in arrays.values()), default=0)
    plain = all(all(pattern) for pattern in arrays.values())
    index = "unsigned long long" if wide else "unsigned"
    parameters = [f"const float* {'' if all(pattern) else '__restrict__ '}a{n}" for n, pattern in arrays.items()]
    parameters += [f"float* y{n}" for n in range(len(outputs))]
    parameters += [] if plain else [f"{index} d{axis}" for axis in range(1, axes)]
    body = [] if plain else _coordinates(list(arrays.values()), axes, index)
    body += _four(steps, operands, outputs, index) if quads else _one(steps, operands, outputs, index)
    signature = ", ".join([*parameters, "long long count"])
    each = " * 4" if quads else ""
    return (
        f'extern "C" __global__ void __launch_bounds__({THREADS}) {name}({signature}) {{\n'
        f"  for ({index} i = (({index})blockIdx.x * blockDim.x + threadIdx.x){each}; i < ({index})count;\n"
        f"       i += ({index})gridDim.x * blockDim.x{each}) {{\n"
        + "".join(f"    {line}\n" for line in body)
        + "  }\n}\n"
    )


def _one(
    steps: Sequence[MapStep], operands: Sequence[Pattern | float], outputs: Sequence[int], index: str
) -> Iterator[str]:
    for n, operand in enumerate(operands):
        read = literal(operand) if isinstance(operand, float) else f"a{n}[{_place(operand, index)}]"
        yield f"const float v{n} = {read};"
    for n, step in enumerate(steps, len(operands)):
        yield f"const float v{n} = {step.call([f'v{i}' for i in step.inputs])};"
    for n, output in enumerate(outputs):
        yield f"y{n}[i] = v{output};"


def _four(
    steps: Sequence[MapStep], operands: Sequence[Pattern | float], outputs: Sequence[int], index: str
) -> Iterator[str]:
    names = {}
    for n, operand in enumerate(operands):
        names[n] = f"v{n}"
        if isinstance(operand, float) or not operand[-1]:
            read = literal(operand) if isinstance(operand, float) else f"a{n}[{_place(operand, index)}]"
            yield f"const float v{n} = {read};"
        else:
            names[n] += "[e]"
            yield f"const float4 q{n} = *reinterpret_cast<const float4*>(a{n} + {_place(operand, index)});"
            yield f"const float v{n}[4] = {{q{n}.x, q{n}.y, q{n}.z, q{n}.w}};"
    for n, _ in enumerate(outputs):
        yield f"float w{n}[4];"
    yield "#pragma unroll"
    yield "for (int e = 0; e < 4; ++e) {"
    for n, step in enumerate(steps, len(operands)):
        yield f"  const float v{n} = {step.call([names.get(i, f'v{i}') for i in step.inputs])};"
    for n, output in enumerate(outputs):
        yield f"  w{n}[e] = {names.get(output, f'v{output}')};"
    yield "}"
    for n, _ in enumerate(outputs):
        yield f"*reinterpret_cast<float4*>(y{n} + i) = make_float4(w{n}[0], w{n}[1], w{n}[2], w{n}[3]);"


def module(launches: Iterable[Launch]) -> str:
    """The text of all kernels that are generated for these launches, each once, with the functions that they call."""
    texts = [*dict.fromkeys(launch.source for launch in launches if launch.source)]
    files = dict.fromkeys(["elementwise.cuh", *(name for text in texts for name in INCLUDE.findall(text))])
    parts = [(CSRC / "kernels" / name).read_text("utf-8") for name in files]
    return "\n".join([*parts, *(INCLUDE.sub("", text) for text in texts)])


def _coordinates(patterns: Sequence[Pattern], axes: int, index: str) -> list[str]:
    """The coordinates of i along the axes that an incomplete operand varies along, last axis first."""
    needed = {axis for pattern in patterns if not all(pattern) for axis in range(axes) if pattern[axis]}
    lines, rest = [], "i"
    for axis in range(axes - 1, min(needed, default=axes) - 1, -1):
        if axis in needed:
            lines.append(f"const {index} c{axis} = {rest}{f' % d{axis}' if axis else ''};")
        if axis > min(needed):
            lines.append(f"const {index} r{axis} = {rest} / d{axis};")
            rest = f"r{axis}"
    return lines


def _place(pattern: Pattern, index: str) -> str:
    if all(pattern):
        return "i"
    place = ""
    for axis, varies in enumerate(pattern):
        if varies:
            place = f"({place}) * d{axis} + c{axis}" if place else f"c{axis}"
    return place or "0"


def literal(number: float) -> str:
    """A float32, to the bit."""
    value = np.float32(number)
    return f"{float(value).hex()}f" if np.isfinite(value) else f"__uint_as_float(0x{value.view(np.uint32):08x}u)"


def chain(
    program: Program, members: Sequence[int], outputs: Sequence[int], batch: int, constants: Mapping[int, Array]
) -> Launch:
    """One launch for the map instructions `members` (in order), which leaves the results `outputs` among them.

    Outputs are of one shape, which every member broadcasts to. `constants` are arrays as the engine holds them,
    without the copies of broadcasting (see `distinct`); those of one element become part of the text.
    """
    instructions = program.instructions
    whole = instructions[outputs[0]]
    assert all((i.shape, i.targets) == (whole.shape, whole.targets) for i in (instructions[o] for o in outputs))
    lead = (program.targets or 1, batch) if whole.targets else (batch,)
    shape = (*lead, *whole.shape)
    inner = list(dict.fromkeys(i for m in members for i in instructions[m].inputs if i not in members))
    number = {i: n for n, i in enumerate([*inner, *members])}
    steps = [
        MapStep(instructions[m].op, tuple(number[i] for i in instructions[m].inputs), instructions[m].parameter)
        for m in members
    ]
    found = {i: stored(instructions[i], constants.get(i)) for i in inner}
    numbers = {i: float(array.reshape(())) for i, array in found.items() if array is not None and array.size == 1}
    arrays = [i for i in inner if i not in numbers]
    layouts = [
        _aligned((), array.shape, shape) if (array := found[i]) is not None
        else _aligned(lead if instructions[i].targets else (batch,), instructions[i].shape, shape, len(lead))
        for i in arrays
    ]  # fmt: skip
    sizes, patterns = merged(shape, layouts)
    along = dict(zip(arrays, patterns, strict=True))
    operands = [numbers[i] if i in numbers else along[i] for i in inner]
    count = math.prod(shape)
    wide, quads = count > MOST, bool(sizes) and sizes[-1] % 4 == 0
    results = [number[o] for o in outputs]
    digest = hashlib.sha256(elementwise_source("", steps, operands, results, wide, quads).encode()).hexdigest()
    name = f"map_{digest[:16]}"
    arguments: list[Argument] = [*map(InstructionRef, arrays), *map(InstructionRef, outputs)]
    if not all(all(pattern) for pattern in patterns):
        arguments += [(np.int64 if wide else np.int32)(size) for size in sizes[1:]]
    arguments.append(np.int64(count))
    items = count // 4 if quads else count
    block = block_of(items)
    source = elementwise_source(name, steps, operands, results, wide, quads)
    return Launch(name, (blocks(items, block), 1, 1), (block, 1, 1), tuple(arguments), source=source)


def stored(step: Instruction, array: Array | None = None) -> Array | None:
    """The array of a constant without the copies that broadcasting made, folded (`array`) or a leaf; else None."""
    if not step.constant:
        return None
    if array is None:
        assert isinstance(step.what, Constant), "constants are folded before their readers are planned"
        array = step.what.array
    return drop_broadcast(array)


def _aligned(lead: Shape, own: Shape, shape: Shape, leads: int = 0) -> Shape:
    """An operand's shape at the rank of the loop: its leading axes end where the loop's do, its others too."""
    lead = (1,) * (leads - len(lead)) + lead
    return lead + (1,) * (len(shape) - len(lead) - len(own)) + own


def merged(shape: Shape, layouts: Sequence[Shape]) -> tuple[Shape, list[Pattern]]:
    """The loop's axes, those of one element left out and neighbours that all operands treat alike as one."""
    sizes: list[int] = []
    columns: list[tuple[bool, ...]] = []
    for axis, size in enumerate(shape):
        column = tuple(layout[axis] == size for layout in layouts)
        assert all(layout[axis] in (1, size) for layout in layouts), (shape, layouts)
        if size == 1:
            continue
        if columns and columns[-1] == column:
            sizes[-1] *= size
        else:
            sizes.append(size)
            columns.append(column)
    patterns = [tuple(column[n] for column in columns) or (True,) for n in range(len(layouts))]
    return tuple(sizes), patterns


def block_of(count: int) -> int:
    """Threads of a block that has at most this much to do: whole warps."""
    return min(THREADS, max(32, -(-count // 32) * 32))


def blocks(count: int, block: int, most: int = 2**20) -> int:
    """Blocks that cover a count, or fewer, for kernels that go on from where their grid ends."""
    return min(most, max(1, -(-count // block)))
