"""Lower bounds of a GPU's time: the operations and bytes of a forward pass and of a program, at the rates of its parts.

    python benchmarks/floors.py model.onnx [more.onnx ...] --batches 1,16,64

floor = Σ max(FLOP / rate, bytes / bandwidth) over the kernels that are left when every elementwise operation is fused
into a neighbour, arrays are float32, and each kernel reads its operands and weights once and writes its result once.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contenders import PRESETS, Case, program

# Of an H100 or H200: FLOP/s on CUDA cores, tensor cores as 3xTF32 and as TF32 (mma.sync, wgmma), and no limit at all.
RATES = {"FP32": 67e12, "3xTF32": 165e12, "mma.sync TF32": 300e12, "TF32": 495e12, "memory": math.inf}
BANDWIDTH = 4.3e12  # bytes/s, a measured copy on an H200
FUSED = {"Relu", "Clip", "LeakyRelu", "Sigmoid", "BatchNormalization", "Reshape", "Flatten", "Identity", "Dropout"}


@dataclass(frozen=True)
class Work:
    """One kernel: operations, and bytes of device memory."""

    flop: float
    bytes: float


def floor(works: Iterable[Work], rate: float, bandwidth: float = BANDWIDTH) -> float:
    """Seconds."""
    return sum(max(work.flop / rate, work.bytes / bandwidth) for work in works)


def forward_works(graph: Any, batch: int) -> Iterator[Work]:
    """The kernels of the forward pass: one a layer, but for layers that are fused into the one before."""
    for layer in graph.layers:
        if layer.op in FUSED:
            continue
        result = batch * math.prod(graph.shapes[layer.outputs[0]])
        read = sum(batch * math.prod(graph.shapes[name]) for name in layer.inputs if name in graph.shapes)
        if layer.op == "Add":  # the convolution before it adds the other branch
            yield Work(0.0, 4.0 * read / 2)
            continue
        held = [graph.constants[name] for name in layer.inputs if name in graph.constants]
        flop = 0.0
        if layer.op in ("Conv", "Gemm", "MatMul") and held:
            outer = graph.shapes[layer.outputs[0]][0 if layer.op == "Conv" else -1]
            flop = 2.0 * result * held[0].size / outer
        yield Work(flop, 4.0 * (result + read + sum(array.size for array in held)))


def program_works(made: Any, batch: int) -> Iterator[Work]:
    """The kernels of a program: its linear maps, with the chains beside them fused into them."""
    from onnxlrp.engines.cuda.planning.fusion import join_chains
    from onnxlrp.program.linear import Conv, Matmul, Reshape
    from onnxlrp.program.passes import Chain, fuse
    from onnxlrp.program.program import Activation

    steps = made.instructions

    def elements(n: int) -> int:
        step = steps[n]
        lead = 1 if step.constant else batch * (made.targets or 1 if step.targets else 1)
        return int(lead * math.prod(step.shape))

    for item in join_chains(made, fuse(made)):
        if isinstance(item, Chain):
            given = {i for n in item.steps for i in steps[n].inputs if i not in item.steps and not steps[i].constant}
            activations = {i for i in given if isinstance(steps[i].what, Activation)}
            computed = sorted((elements(i) for i in given - activations), reverse=True)
            # The largest result of a kernel is still in registers; the results go where the neighbour's would.
            yield Work(0.0, 4.0 * (sum(map(elements, activations)) + sum(computed[1:])))
            continue
        step = steps[item]
        if step.kind == "read" or isinstance(step.what, Reshape):
            continue
        flop = 0.0
        if isinstance(step.what, Conv | Matmul):
            weight = math.prod(steps[step.inputs[1]].shape)
            outer = step.what.target[0 if isinstance(step.what, Conv) else -1]
            lead = elements(item) // math.prod(step.shape)
            flop = 2.0 * lead * math.prod(step.what.target) * weight / outer
        yield Work(flop, 4.0 * (elements(item) + sum(map(elements, step.inputs))))


def floors(case: Case, batch: int, bandwidth: float = BANDWIDTH) -> dict[str, Any]:
    """GFLOP, GB and the floor in ms at each rate, of forward pass and relevance together."""
    forward, relevance = list(forward_works(case.graph, batch)), list(program_works(program(case)[1], batch))
    both = forward + relevance
    return {
        "GFLOP forward": sum(work.flop for work in forward) / 1e9,
        "GFLOP relevance": sum(work.flop for work in relevance) / 1e9,
        "GB": sum(work.bytes for work in both) / 1e9,
        "ms": {name: 1e3 * floor(both, rate, bandwidth) for name, rate in RATES.items()},
    }


def main() -> None:
    """Print the floors of models."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("model", type=Path, nargs="+")
    parser.add_argument("--preset", default=PRESETS[0])
    parser.add_argument("--batches", default="1,16,64")
    given = parser.parse_args()
    for path in given.model:
        for batch in map(int, given.batches.split(",")):
            found = floors(Case(path, given.preset), batch)
            times = "  ".join(f"{name} {ms:.3g}" for name, ms in found["ms"].items())
            flop = f"{found['GFLOP forward']:.0f}/{found['GFLOP relevance']:.0f} GFLOP"
            print(f"{path.stem:<14} b{batch:<3} {flop:<18} {found['GB']:6.2f} GB   ms: {times}")


if __name__ == "__main__":
    main()
