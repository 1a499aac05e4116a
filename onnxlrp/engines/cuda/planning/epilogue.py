"""Epilogues: source of kernels that apply an elementwise chain to their sums before they store them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ....program.program import Array, Program
from ..kernels.elementwise import MapStep, literal
from ..kernels.launch import Argument, InstructionRef
from ..kernels.tiles import Precision, Tile
from .fusion import Cycle, Fused, operands


@dataclass(frozen=True)
class Epilogue:
    """The part of a kernel that finishes its sums.

    Args:
        body: Source of the function that gets the sums.
        parameters: (type, name) of the parameters that it adds to the kernel.
        arguments: Their arguments, without that of the bias.
    """

    body: str
    parameters: tuple[tuple[str, str], ...]
    arguments: tuple[Argument, ...]

    def tile(self, tile: Tile, precision: Precision) -> tuple[str, str]:
        """Return name and source of the matrix product of a tile with this epilogue."""
        bounds = f"{tile.threads(precision)}, {tile.warp(precision).resident}"
        run = f"gemm_tile<{tile.template(precision)}>(GEMM_ARGUMENTS, finish);"
        return self._kernel(tile.name(precision), bounds, "GEMM_PARAMETERS", run)

    def reduction(self) -> tuple[str, str]:
        """Return name and source of the split-K reduction with this epilogue."""
        return self._kernel("gemm_reduce", "256", "GEMM_PARTS", "gemm_add_shares(GEMM_PARTS_ARGUMENTS, finish);")

    def depthwise(self, name: str, kernel: int, stride: int) -> tuple[str, str]:
        """Return name and source of a depthwise convolution with this epilogue; a kernel size of 0 is any."""
        run = f"depthwise<{kernel}, {stride}>(DEPTHWISE_ARGUMENTS, finish);"
        return self._kernel(name, "256, 3", "DEPTHWISE_PARAMETERS", run, '#include "depthwise.cuh"\n')

    def route(self, name: str, kernel: int, stride: int) -> tuple[str, str]:
        """Return name and source of the adjoint of a max-pooling with this epilogue."""
        run = f"pool_route<{kernel}, {stride}>(ROUTE_ARGUMENTS, finish);"
        return self._kernel(name, "256, 2", "ROUTE_PARAMETERS", run, '#include "route.cuh"\n')

    def _kernel(self, base: str, bounds: str, parameters: str, run: str, files: str = "") -> tuple[str, str]:
        fields = "".join(f"  {kind} {name};\n" for kind, name in self.parameters)
        struct = (
            f"struct NAME_finish {{\n{fields}  template <int U, int W>\n"
            "  __device__ __forceinline__ void operator()(float (&v0)[U][W], const int (&m)[U],\n"
            "                                             const int (&i)[U]) const {\n"
            f"{self.body}  }}\n}};\n"
        )
        signature = ", ".join([parameters, *(f"{kind} {name}" for kind, name in self.parameters)])
        text = (
            f'#include "gemm.cuh"\n{files}{struct}'
            f'extern "C" __global__ void __launch_bounds__({bounds}) NAME({signature}) {{\n'
            f"  const NAME_finish finish{{{', '.join(name for _, name in self.parameters)}}};\n  {run}\n}}\n"
        )
        name = f"{base}_{hashlib.sha256(text.encode()).hexdigest()[:12]}"
        return name, text.replace("NAME", name)


def make_epilogue(program: Program, item: Fused, batch: int, constants: Mapping[int, Array]) -> Epilogue:
    """Return the epilogue of an item's chain; its first parameter is the bias, whose argument the planner adds."""
    instructions = program.instructions
    inputs_of_chain = operands(program, item, constants)
    assert inputs_of_chain is not None
    number = {n: k for k, n in enumerate([item.product, *inputs_of_chain, *item.chain.steps])}
    parameters: list[tuple[str, str]] = [("const float*", "bias")]
    arguments: list[Argument] = []
    lines = ["if (bias != nullptr) finish_add_bias(v0, bias, m, i);"]
    numbers, channels = set(), set()
    for i, kind in inputs_of_chain.items():
        k = number[i]
        if isinstance(kind, float):
            lines.append(f"const float v{k} = {literal(kind)};")
            numbers.add(k)
            continue
        parameters.append(("const float*", f"a{k}"))
        arguments.append(InstructionRef(i))
        if kind == "channel":
            lines.append(f"float v{k}[U];\nfinish_read_channels(v{k}, a{k}, m, i);")
            channels.add(k)
            continue
        repeat = ""
        if isinstance(kind, Cycle):
            parameters.append(("int", f"p{k}"))
            arguments.append(np.int32(kind.size * (batch if kind.batched else 1)))
            repeat = f", p{k}"
        lines.append(f"float v{k}[U][W];\nfinish_read(v{k}, a{k}, i{repeat});")
    steps = [
        MapStep(instructions[m].op, tuple(number[i] for i in instructions[m].inputs), instructions[m].parameter)
        for m in item.chain.steps
    ]
    first = number[item.chain.steps[0]]
    lines.append("float " + ", ".join(f"v{first + k}[U][W]" for k in range(len(steps))) + ";")
    lines.append("#pragma unroll\nfor (int k = 0; k < U * W; ++k) {\n  const int u = k / W, e = k % W;")
    for k, step in enumerate(steps, first):
        inputs = [f"v{i}" + ("" if i in numbers else "[u]" if i in channels else "[u][e]") for i in step.inputs]
        lines.append(f"  v{k}[u][e] = {step.call(inputs)};")
    lines.append("}")
    for k, n in enumerate(item.results):
        parameters.append(("float*", f"y{k}"))
        arguments.append(InstructionRef(n))
        lines.append(f"finish_write(y{k}, v{number[n]}, i);")
    body = "".join(f"    {line}\n" for text in lines for line in text.split("\n"))
    return Epilogue(body, tuple(parameters), tuple(arguments))
