"""Source of elementwise kernels: one kernel for a chain of maps, over operands that broadcast.

The source depends on the maps and on the axes along which operands vary, not on sizes, so that layers share kernels.
The maps are functions of csrc/kernels/elementwise.cuh, which `module` puts before the kernels.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ....program.maps import PARAMETRIC
from .build import CSRC
from .launch import THREADS, Launch

INCLUDE = re.compile(r'^#include "([\w.]+)"\n', re.M)  # files of csrc/kernels that generated source includes
Pattern = tuple[bool, ...]  # for each axis of the loop, whether an operand varies along it


@dataclass(frozen=True)
class MapStep:
    """One map of a chain.

    Args:
        op: Its name, one of `maps.MAPS`.
        inputs: Its inputs, numbered: the operands of the chain first, then the steps before.
        parameter: The number of a map that takes one.
    """

    op: str
    inputs: tuple[int, ...]
    parameter: float = 0.0

    def call(self, operands: Sequence[str]) -> str:
        """Return the call of its function in csrc/kernels/elementwise.cuh."""
        arguments = [*operands, literal(self.parameter)] if self.op in PARAMETRIC else operands
        return f"map_{self.op}({', '.join(arguments)})"


def elementwise_source(
    name: str,
    steps: Sequence[MapStep],
    operands: Sequence[Pattern | float],
    outputs: Sequence[int],
    wide: bool = False,
    quads: bool = False,
) -> str:
    """Return the source of a kernel that runs a chain of maps.

    Its parameters: the arrays of operands that are not numbers; an array for each output, which may be that of an
    operand that varies along all axes; if an operand is constant along an axis, the size of each axis but the first
    (unsigned); the count of elements (long long).

    Args:
        name: The kernel's name.
        steps: The maps, in order.
        operands: For each operand its pattern, or its number.
        outputs: The operands and steps, numbered as inputs of steps are, that the kernel writes.
        wide: Count elements with 64 bits.
        quads: A thread computes four neighbours; the last axis is a multiple of 4, and arrays are aligned to 16 bytes.
    """
    arrays = {n: pattern for n, pattern in enumerate(operands) if not isinstance(pattern, float)}
    axes = max((len(pattern) for pattern in arrays.values()), default=0)
    plain = all(all(pattern) for pattern in arrays.values())
    index = "unsigned long long" if wide else "unsigned"
    parameters = [f"const float* {'' if all(pattern) else '__restrict__ '}a{n}" for n, pattern in arrays.items()]
    parameters += [f"float* y{n}" for n in range(len(outputs))]
    parameters += [] if plain else [f"{index} d{axis}" for axis in range(1, axes)]
    body = [] if plain else _coordinates(list(arrays.values()), axes, index)
    body += _quad_body(steps, operands, outputs, index) if quads else _scalar_body(steps, operands, outputs, index)
    signature = ", ".join([*parameters, "long long count"])
    stride = " * 4" if quads else ""
    return (
        f'extern "C" __global__ void __launch_bounds__({THREADS}) {name}({signature}) {{\n'
        f"  for ({index} i = (({index})blockIdx.x * blockDim.x + threadIdx.x){stride}; i < ({index})count;\n"
        f"       i += ({index})gridDim.x * blockDim.x{stride}) {{\n"
        + "".join(f"    {line}\n" for line in body)
        + "  }\n}\n"
    )


def _scalar_body(
    steps: Sequence[MapStep], operands: Sequence[Pattern | float], outputs: Sequence[int], index: str
) -> Iterator[str]:
    """Yield the lines of a loop body that computes one element."""
    for n, operand in enumerate(operands):
        read = literal(operand) if isinstance(operand, float) else f"a{n}[{_place(operand, index)}]"
        yield f"const float v{n} = {read};"
    for n, step in enumerate(steps, len(operands)):
        yield f"const float v{n} = {step.call([f'v{i}' for i in step.inputs])};"
    for n, output in enumerate(outputs):
        yield f"y{n}[i] = v{output};"


def _quad_body(
    steps: Sequence[MapStep], operands: Sequence[Pattern | float], outputs: Sequence[int], index: str
) -> Iterator[str]:
    """Yield the lines of a loop body that computes four neighbours."""
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


def _coordinates(patterns: Sequence[Pattern], axes: int, index: str) -> list[str]:
    """Return the lines that compute the coordinates of i along the axes of broadcast operands, last axis first."""
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
    """Return the index expression of an operand."""
    if all(pattern):
        return "i"
    place = ""
    for axis, varies in enumerate(pattern):
        if varies:
            place = f"({place}) * d{axis} + c{axis}" if place else f"c{axis}"
    return place or "0"


def literal(number: float) -> str:
    """Return a C literal of exactly this float32."""
    value = np.float32(number)
    return f"{float(value).hex()}f" if np.isfinite(value) else f"__uint_as_float(0x{value.view(np.uint32):08x}u)"


def module(launches: Iterable[Launch]) -> str:
    """Return the source of all generated kernels of these launches, each once, with the functions that they call."""
    texts = [*dict.fromkeys(launch.source for launch in launches if launch.source)]
    files = dict.fromkeys(["elementwise.cuh", *(name for text in texts for name in INCLUDE.findall(text))])
    parts = [(CSRC / "kernels" / name).read_text("utf-8") for name in files]
    return "\n".join([*parts, *(INCLUDE.sub("", text) for text in texts)])
