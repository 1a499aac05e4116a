"""Programs: the straight-line code of one backward pass, independent of the rules it was traced from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from .linear import LinearMap, Shape

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Activation:
    """A tensor of the forward pass, by name."""

    tensor: str


@dataclass(frozen=True, eq=False)
class Constant:
    """An array of constants.

    Args:
        array: The numbers, without batch axis.
        tensor: For a weight of the model its name there, by which engines share it with the forward pass; "" otherwise.
    """

    array: Array
    tensor: str = ""


# The key of the class ids or the relevance among the inputs of a run. ONNX allows no tensor without a name, so no input
# has it.
SEED = ""


@dataclass(frozen=True)
class Seed:
    """An array that a run is given, where relevance starts: of the logits [N, K], or [T, N, K] with several targets.

    A program may have several, each under a name of its own.

    Args:
        tensor: Name of the logits in the forward pass, or of another tensor where relevance starts.
        mode: "index": 1 at the class ids (int64, [N] or [T, N]) that a run is given, else 0. "top": 1 at each sample's
            T highest logits. "relevance": the array that a run is given.
        targets: T, the length of the target axis; None without one.
        name: The key of what a run is given, among its inputs. No tensor of the forward pass has this name.
    """

    tensor: str
    mode: str
    targets: int | None = None
    name: str = SEED


@dataclass(frozen=True)
class Carried:
    """A state of a loop while a program is traced: what the step behind has given, zero where there is none.

    Its first per-sample axis are the steps. `loops.close` makes the loop of it.

    Args:
        loop: The loop.
        state: The name of the state.
        backward: Whether the loop runs from the last step to the first.
    """

    loop: str
    state: str
    backward: bool


@dataclass(frozen=True)
class LoopInput:
    """What the body of a loop reads: an operand of the loop, at the present step or whole; or a state.

    Args:
        sort: "step" or "whole" for an operand of the loop, "state" for what the step before has given.
        index: Of the operand, or of the state.
    """

    sort: str
    index: int


Source = Activation | Constant | Seed | Carried | LoopInput


@dataclass(frozen=True, eq=False)
class Loop:
    """The same instructions at every step, with states that go from one to the next and begin as zero.

    The result of the loop are the states that each step receives, [steps, Σ width], side by side.

    Args:
        body: The instructions of one step. They read constants and `LoopInput`; shapes are those of one step.
        results: For each state the instruction of the body that gives it to the next step.
        widths: The width of each state [width].
        length: The number of steps.
        backward: Whether it runs from the last step to the first.
    """

    body: tuple[Instruction, ...]
    results: tuple[int, ...]
    widths: tuple[int, ...]
    length: int
    backward: bool

    @property
    def name(self) -> str:
        """The name in an engine's table."""
        return "Loop"


@dataclass(frozen=True)
class Instruction:
    """One instruction. An engine holds its result as [N, *shape], [T, N, *shape] or [*shape] (see Args).

    Args:
        kind: "read", "map", "linear", "adjoint" or "loop".
        op: Name of the elementwise map or of the linear map; of a read, its sort.
        inputs: Indices of earlier instructions: operands of a map, (x[, weight][, bias]) of a linear map,
            (s[, weight]) of an adjoint, what the body of a loop reads.
        what: The Source of a read, the LinearMap of a linear map or adjoint, the Loop of a loop, else None.
        shape: Shape of the result per sample.
        constant: The result has no batch axis.
        targets: The result has a leading axis of T targets.
        parameter: The number of a map that takes one: ε of stabilize, the exponent of power.
        biased: The last input is a bias.
        origin: Layer and rule that it comes from ("layer1.0.conv2/gamma").
    """

    kind: str
    op: str
    inputs: tuple[int, ...]
    what: Source | LinearMap | Loop | None
    shape: Shape
    constant: bool
    targets: bool
    parameter: float = 0.0
    biased: bool = False
    origin: str = ""


@dataclass(frozen=True)
class Program:
    """A straight-line program over the activations of one forward pass.

    Args:
        instructions: In order; each reads earlier ones only.
        outputs: Names of results, and the indices of their instructions.
        targets: T, the length of the target axis; None without one.
        notes: Facts for callers that do not change the results: the ledger's plan, names of input and output.
    """

    instructions: tuple[Instruction, ...]
    outputs: Mapping[str, int]
    targets: int | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the forward activations that an engine must provide."""
        names = [i.what.tensor for i in self.instructions if isinstance(i.what, Activation)]
        return tuple(dict.fromkeys(names))

    @cached_property
    def seeds(self) -> dict[str, Instruction]:
        """The instructions that read a seed, where relevance enters, by the names of the seeds."""
        return {i.what.name: i for i in self.instructions if isinstance(i.what, Seed)}

    @property
    def tensors(self) -> tuple[str, ...]:
        """Names of all tensors that an engine must provide: `reads`, and the scores that choose the best classes."""
        scores = [i.what.tensor for i in self.instructions if isinstance(i.what, Seed) and i.what.mode == "top"]
        return tuple(dict.fromkeys((*self.reads, *scores)))

    def interface(self) -> Program:
        """Return what callers of a program that runs read of it: outputs, seeds, targets and notes."""
        seeds = (n for n, i in enumerate(self.instructions) if isinstance(i.what, Seed))
        kept = sorted({*self.outputs.values(), *seeds})
        steps = (self.instructions[n] for n in kept)
        bare = (replace(i, inputs=(), what=i.what if isinstance(i.what, Seed) else None) for i in steps)
        places = {n: place for place, n in enumerate(kept)}
        outputs = {name: places[n] for name, n in self.outputs.items()}
        return replace(self, instructions=tuple(bare), outputs=outputs, notes=dict(self.notes))

    def listing(self) -> str:
        """Return the program as text, one line for each instruction."""
        lines = _listed(self.instructions)
        lines += [f"{name} -> %{n}" for name, n in self.outputs.items()]
        return "\n".join(lines)


def _listed(instructions: tuple[Instruction, ...], indent: str = "") -> list[str]:
    """Return a line for each instruction; the body of a loop stands behind it, indented."""
    lines = []
    for n, i in enumerate(instructions):
        what = i.what.tensor if isinstance(i.what, Activation | Constant | Seed) else ""
        if isinstance(i.what, LoopInput):
            what = f"{i.what.sort} {i.what.index}"
        name = f"{i.op}ᵀ" if i.kind == "adjoint" else i.op
        operands = " ".join(f"%{j}" for j in i.inputs)
        fixed = " const" if i.constant else ""
        lines.append(f"{indent}%{n} = {name} {operands} {what} {list(i.shape)}{fixed}  # {i.origin}")
        if isinstance(i.what, Loop):
            order = "from the last step to the first" if i.what.backward else "from the first step to the last"
            lines.append(f"{indent}    {i.what.length} steps, {order}:")
            lines += _listed(i.what.body, f"{indent}    ")
            lines += [f"{indent}    state {k} -> %{n}" for k, n in enumerate(i.what.results)]
    return lines


def scalar(value: float) -> Array:
    """Return a float64 constant of shape ()."""
    return np.asarray(value, dtype=np.float64)
