"""Steps per second of a prototype, beside the same objective, parameterisation and transformations in torch.

    python benchmarks/analysis.py squeezenet.onnx [more.onnx …] [--batches 1,8] [-o results/analysis.json]

Validated first: from the same coefficients and draws both have the same gradient, up to units that rounding switches.
Then steps of both take turns. The ratio is of the least processor time of each, with the default of threads, which rest
while they are idle: a busy machine changes it least. The fastest step by the clock stands beside it. The host's share
of a step's processor time is what is spent outside of the model: Fourier transform, transformations, optimiser. Needs
torch.
"""

from __future__ import annotations

import argparse
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from records import Record, environment, numbers, save

import onnxlrp
from onnxlrp.analysis.ascent import colours, domain, objectives
from onnxlrp.analysis.ascent.optimize import optimize
from onnxlrp.analysis.ascent.optimizers import Adam
from onnxlrp.analysis.ascent.parameterisations import Fourier
from onnxlrp.analysis.ascent.transformations import Affine

# torch's idle threads rest, as onnxruntime's do; libgomp reads this when torch is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
import torch

HERE = Path(__file__).parent
MOVES = Affine(24 / 224, (0.8, 1.25), 15)
CLASS, RATE, CLOSE = 130, 0.05, 0.1
F = torch.nn.functional


class Twin:
    """A network of plain convolutional operators, read from an ONNX file and run by torch."""

    def __init__(self, path: Path) -> None:
        graph = onnx.load(path).graph
        self.nodes = list(graph.node)
        self.constants = {t.name: torch.tensor(numpy_helper.to_array(t).copy()) for t in graph.initializer}
        self.input = next(i.name for i in graph.input if i.name not in self.constants)

    def __call__(self, x: Any) -> Any:
        """Return the logits: the operand of a last Softmax."""
        values = {**self.constants, self.input: x}
        for node in self.nodes:
            if node.op_type == "Softmax":
                break
            operands = [values[name] for name in node.input if name]
            given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            values[node.output[0]] = self.run(node.op_type, operands, given)
        return values[node.input[0] if node.op_type == "Softmax" else node.output[0]].flatten(1)

    def run(self, op: str, x: list[Any], given: Record) -> Any:
        """Return the result of an operator."""
        pads = given.get("pads", [0, 0, 0, 0])
        if pads[:2] != pads[2:] and op in ("Conv", "MaxPool"):
            raise SystemExit("padding that is not even")
        if op == "Conv":
            how = {"stride": given.get("strides", 1), "padding": pads[:2], "groups": given.get("group", 1)}
            return F.conv2d(*x, **how)
        if op == "MaxPool":
            return F.max_pool2d(x[0], given["kernel_shape"], given.get("strides"), pads[:2])
        if op == "Constant":
            return torch.tensor(numpy_helper.to_array(given["value"]).copy())
        table: dict[str, Callable[[], Any]] = {
            "Relu": lambda: F.relu(x[0]),
            "Add": lambda: x[0] + x[1],
            "Clip": lambda: torch.clamp(x[0], *[float(v) for v in x[1:]] or [given["min"], given["max"]]),
            "Concat": lambda: torch.cat(x, given["axis"]),
            "GlobalAveragePool": lambda: x[0].mean(dim=(2, 3), keepdim=True),
            "AveragePool": lambda: F.avg_pool2d(x[0], given["kernel_shape"], given.get("strides")),
            "Flatten": lambda: x[0].flatten(1),
            "Reshape": lambda: x[0].flatten(1),
            "Dropout": lambda: x[0],
            "Identity": lambda: x[0],
            "Gemm": lambda: F.linear(x[0], x[1] if given.get("transB") else x[1].T, x[2]),
            "BatchNormalization": lambda: F.batch_norm(x[0], x[3], x[4], x[1], x[2], eps=given.get("epsilon", 1e-5)),
        }
        return table[op]()


def grids(space: tuple[int, ...], n: int, rng: Any) -> Any:
    """Return the points of our draws as torch's grids [n, H, W, 2]."""
    made = []
    for _ in range(n):
        shift, factor, angle, _ = MOVES._one(rng)
        y, x = (torch.arange(length, dtype=torch.float32) - (length - 1) / 2 for length in space)
        y, x = torch.meshgrid(y / factor, x / factor, indexing="ij")
        y, x = math.cos(angle) * y - math.sin(angle) * x, math.sin(angle) * y + math.cos(angle) * x
        axes = zip((y, x), shift.tolist(), space, strict=False)
        points = [(point + share * length) / ((length - 1) / 2) for point, share, length in axes]
        made.append(torch.stack(points[::-1], dim=-1))
    return torch.stack(made)


class TorchStep:
    """One step of the same ascent in torch."""

    def __init__(self, twin: Twin, fourier: Fourier, where: Any, theta: Any) -> None:
        self.twin, self.space = twin, where.space
        self.theta = torch.nn.Parameter(torch.tensor(theta.copy()))
        self.scale = torch.tensor(fourier.scale)
        self.mixing = torch.tensor(np.asarray(fourier.colours.mixing, np.float32))
        self.mean = torch.tensor(colours.logit(fourier.colours.mean)).reshape(-1, 1, 1)
        self.low, self.high = torch.tensor(where.low), torch.tensor(where.high)
        self.optimizer = torch.optim.Adam([self.theta], lr=RATE)

    def backward(self, rng: Any) -> Any:
        """Compute the gradient; return the scores."""
        u = torch.fft.irfftn(torch.view_as_complex(self.theta * self.scale), s=self.space, dim=(2, 3), norm="ortho")
        z = torch.sigmoid(torch.einsum("ij,njyx->niyx", self.mixing, u) + self.mean)
        z = F.grid_sample(z - 0.5, grids(self.space, len(z), rng), align_corners=True) + 0.5
        scores = self.twin(self.low + z * (self.high - self.low))[:, CLASS]
        self.optimizer.zero_grad()
        (-scores.sum()).backward()
        return scores

    def __call__(self, rng: Any) -> None:
        self.backward(rng)
        self.optimizer.step()


@dataclass
class Times:
    """Seconds a step, of the processor and by the clock."""

    processor: list[float] = field(default_factory=list)
    clock: list[float] = field(default_factory=list)

    @contextmanager
    def steps(self, count: int) -> Iterator[None]:
        """Time so many steps."""
        began, busy = time.perf_counter(), time.process_time()
        yield
        self.processor.append((time.process_time() - busy) / count)
        self.clock.append((time.perf_counter() - began) / count)


def timed(path: Path, batch: int, rounds: int) -> Record:
    """Validate, then time both."""
    model = onnxlrp.load(path)
    where = domain.decide(model)
    fourier = Fourier(where.shape, colours.assumed(where.shape[0], where.space, where.order))
    score = objectives.Score(model, CLASS)
    inner = objectives.of_pictures(score, where)
    spent = [0.0]  # processor time in the model

    def objective(z: Any) -> Any:
        x = where.to_input(z)
        began = time.process_time()
        found = score(x)
        spent[0] += time.process_time() - began
        return found[0], where.pullback(found[1])

    theta = fourier.start(batch, np.random.default_rng(0)) * 20  # away from flat grey, where every gradient is tiny
    step = TorchStep(Twin(path), fourier, where, theta)
    gap = difference(step, fourier, inner, theta)
    if gap > CLOSE:
        raise SystemExit(f"{path.name}: the gradients differ by {gap:.3g} of their size")

    class From(Fourier):
        def start(self, n: int, rng: Any) -> Any:
            return theta.copy()

    ours, theirs, shares = Times(), Times(), []
    for turn in range(rounds):
        spent[0] = 0.0
        with ours.steps(2):
            optimize(objective, From(fourier.shape, fourier.colours), [MOVES], Adam(RATE), 2, n=batch, seed=turn)
        shares.append(1 - spent[0] / (2 * ours.processor[-1]))
        with theirs.steps(2):
            for n in range(2):
                step(np.random.default_rng((turn, n)))
    return {
        "model": path.stem,
        "batch": batch,
        "gradients differ by": float(f"{gap:.3g}"),
        "processor s": round(min(ours.processor), 4),
        "torch processor s": round(min(theirs.processor), 4),
        "ratio": round(min(theirs.processor) / min(ours.processor), 2),
        "steps/s": round(1 / min(ours.clock), 2),
        "torch steps/s": round(1 / min(theirs.clock), 2),
        "host share": round(min(shares), 3),
        "rounds": rounds,
    }


def difference(step: TorchStep, fourier: Fourier, inner: Any, theta: Any) -> float:
    """Return |ours - torch's| over |torch's| of one gradient by the coefficients."""
    step.backward(np.random.default_rng(7))
    theirs = -step.theta.grad.numpy()
    x, pull = fourier.image(theta)
    apply, adjoint = MOVES.draw(len(x), np.random.default_rng(7))
    _, slope = inner(apply(x))
    return float(np.linalg.norm(pull(adjoint(slope)) - theirs) / np.linalg.norm(theirs))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--batches", type=numbers, default=[1, 8])
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("-o", "--out", type=Path, default=HERE / "results" / "analysis.json")
    given = parser.parse_args()
    content: Record = {"environment": environment(["numpy", "onnxruntime", "torch"]), "prototype": []}
    content["threads"] = torch.get_num_threads()
    for path in given.models:
        for batch in given.batches:
            content["prototype"].append(timed(path, batch, given.rounds))
            print(content["prototype"][-1], flush=True)
            save(given.out, content)


if __name__ == "__main__":
    main()
