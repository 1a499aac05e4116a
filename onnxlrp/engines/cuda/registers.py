"""Registers, spills and shared memory of every kernel, as ptxas reports them; no GPU is needed.

`python -m onnxlrp.engines.cuda.registers [FILE.json]` prints the table and writes it to the file.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from .kernels import build
from .kernels.elementwise import INCLUDE, MapStep, elementwise_source
from .kernels.launch import Launch
from .kernels.tiles import PRECISIONS, TILES
from .planning.epilogue import Epilogue

ARCHITECTURES = tuple(code.removeprefix("sm_") for _, code in build.TARGETS if code.startswith("sm_"))


@dataclass(frozen=True)
class Usage:
    """Resources of one kernel.

    Args:
        registers: Of a thread.
        spills: Bytes of spill stores and loads of a thread.
        shared: Bytes of static shared memory of a block.
    """

    registers: int
    spills: int
    shared: int


def usage(text: str, architecture: str) -> dict[str, Usage]:
    """Compile CUDA source and return the resources of each kernel.

    Args:
        text: CUDA source.
        architecture: Such as "90a".

    Raises:
        FileNotFoundError: There is no nvcc.
        RuntimeError: The source does not compile.
    """
    compiler = build.nvcc()
    if compiler is None:
        raise FileNotFoundError("nvcc is not on the PATH: install the CUDA toolkit")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "kernels.cu")
        source.write_text(text, "utf-8")
        target = f"arch=compute_{architecture},code=sm_{architecture}"
        command = [compiler, "-cubin", *build.FLAGS, "-gencode", target, "-Xptxas", "-v", str(source), "-o"]
        done = subprocess.run([*command, str(Path(folder, "out"))], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr)
    return parsed(done.stderr)


def parsed(report: str) -> dict[str, Usage]:
    """Return the resources of each kernel in a report of `ptxas -v`."""
    found = {}
    for part in report.split("Compiling entry function '")[1:]:
        name = part.partition("'")[0]
        registers, spills = re.search(r"Used (\d+) registers", part), re.findall(r"(\d+) bytes spill", part)
        shared = re.search(r"(\d+) bytes smem", part)
        assert registers is not None, part
        found[name] = Usage(int(registers[1]), sum(map(int, spills)), int(shared[1]) if shared else 0)
    return found


def examples() -> list[Launch]:
    """Return generated kernels of the kinds that programs have: s = R / stabilize(z) and maps around it."""
    share = [MapStep("stabilize", (1,), 1e-6), MapStep("div", (0, 3)), MapStep("mul", (2, 4))]
    power = [MapStep("power", (1,), -0.75), MapStep("mul", (0, 2))]
    full, channels, samples = (True,) * 3, (False, True, False), (False, True, True)
    return [
        _example("map_example_full", elementwise_source("map_example_full", share, [full] * 3, [5])),
        _example("map_example_quads", elementwise_source("map_example_quads", share, [full] * 3, [5], quads=True)),
        _example("map_example_wide", elementwise_source("map_example_wide", share, [full] * 3, [5], wide=True)),
        _example("map_example_power", elementwise_source("map_example_power", power, [full] * 2, [3])),
        _example("map_example_broadcast",
                 elementwise_source("map_example_broadcast", share, [full, channels, samples], [4, 5])),
        _example("map_example_spread",
                 elementwise_source("map_example_spread", share, [full, channels, samples], [4, 5], quads=True)),
        *products(),
    ]  # fmt: skip


def products() -> list[Launch]:
    """Return kernels with an epilogue, in every tile: a * c / sum + b, of three operands."""
    body = """    if (bias != nullptr) finish_add_bias(v0, bias, m, i);
    float v1[U][W], v2[U][W], v3[U][W];
    finish_read(v1, a1, i);
    finish_read(v2, a2, i);
    finish_read(v3, a3, i);
#pragma unroll
    for (int k = 0; k < U * W; ++k) {
      const int u = k / W, e = k % W;
      v0[u][e] = map_add(map_div(map_mul(v1[u][e], v2[u][e]), v0[u][e]), v3[u][e]);
    }
    finish_write(y0, v0, i);
"""
    names = ["bias", "a1", "a2", "a3"]
    epilogue = Epilogue(body, (*(("const float*", name) for name in names), ("float*", "y0")), ())
    made = [epilogue.tile(tile, precision) for precision in PRECISIONS for tile in TILES]
    others = [epilogue.reduction(), epilogue.depthwise("depthwise_3x3", 3, 1), epilogue.route("pool_route_3x3", 3, 2)]
    return [_example(name, source) for name, source in [*made, *others]]


def _example(name: str, source: str) -> Launch:
    return Launch(name, (1, 1, 1), (1, 1, 1), (), source=source)


def everything() -> str:
    """Return the source of all kernels of csrc/kernels and of the generated examples."""
    return "\n".join([build.source(), *(INCLUDE.sub("", launch.source) for launch in examples())])


def table(found: Mapping[str, Mapping[str, Usage]]) -> str:
    """Return a table of {architecture: {kernel: Usage}} as text."""
    names = list(dict.fromkeys(name for kernels in found.values() for name in kernels))
    width = max(map(len, names))
    lines = [f"{'kernel':{width}}" + "".join(f"{f'sm_{a} regs':>13} spill smem" for a in found)]
    for name in sorted(names):
        cells = [kernels[name] for kernels in found.values()]
        lines.append(f"{name:{width}}" + "".join(f"{c.registers:13} {c.spills:5} {c.shared:4}" for c in cells))
    return "\n".join(lines)


def main() -> int:
    """Print the table, and write it as JSON to the files named on the command line."""
    text = everything()
    found = {architecture: usage(text, architecture) for architecture in ARCHITECTURES}
    print(table(found))
    for path in sys.argv[1:]:
        rows = {f"sm_{a}": {name: asdict(u) for name, u in sorted(kernels.items())} for a, kernels in found.items()}
        Path(path).write_text(json.dumps({"flags": build.FLAGS, "kernels": rows}, indent=1) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
