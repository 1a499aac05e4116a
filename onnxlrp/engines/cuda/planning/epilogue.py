"""The text of a product's kernel that runs an elementwise chain on its sums before it stores them."""

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
    """What a kernel does with a sum: the text between its braces, its parameters, their arguments."""

    body: str
    parameters: tuple[tuple[str, str], ...]  # types and names
    arguments: tuple[Argument, ...]

    def tile(self, tile: Tile, precision: Precision) -> tuple[str, str]:
        """Name and source of a tile's kernel that ends so."""
        warp, exact = tile.warp(precision), "true" if precision == "exact" else "false"
        numbers = f"{tile.rows}, {tile.pixels}, {warp.rows}, {warp.pixels}, {tile.stages}, {exact}"
        run = f"gemm_tile<{numbers}>(GEMM_ARGUMENTS, finish);"
        return self._kernel(tile.name(precision), f"{tile.threads(precision)}, {warp.resident}", "GEMM_PARAMETERS", run)

    def reduction(self) -> tuple[str, str]:
        """Name and source of the kernel that adds up shares and ends so."""
        return self._kernel("gemm_reduce", "256", "GEMM_PARTS", "gemm_add_shares(GEMM_PARTS_ARGUMENTS, finish);")

    def depthwise(self, name: str, kernel: int, stride: int) -> tuple[str, str]:
        """Name and source of a depthwise kernel that ends so; kernel 0 is any."""
        run = f"depthwise<{kernel}, {stride}>(DEPTHWISE_ARGUMENTS, finish);"
        return self._kernel(name, "256, 3", "DEPTHWISE_PARAMETERS", run, '#include "depthwise.cuh"\n')

    def route(self, name: str, kernel: int, stride: int) -> tuple[str, str]:
        """Name and source of a max-pool's adjoint that ends so."""
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


def epilogue(program: Program, item: Fused, batch: int, constants: Mapping[int, Array]) -> Epilogue:
    """The chain's text; the first parameter is the bias, whose argument the planner adds."""
    instructions = program.instructions
    given = operands(program, item, constants)
    assert given is not None
    number = {n: k for k, n in enumerate([item.product, *given, *item.chain.steps])}
    parameters: list[tuple[str, str]] = [("const float*", "bias")]
    arguments: list[Argument] = []
    lines = ["if (bias != nullptr) finish_add_bias(v0, bias, m, i);"]
    numbers, channels = set(), set()
    for i, kind in given.items():
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
