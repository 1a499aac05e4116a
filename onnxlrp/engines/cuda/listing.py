"""Listing of the kernels of a program, as `onnxlrp inspect --engine cuda` shows it."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...program.passes import Chain, members
from ...program.program import Activation, Instruction, Program, Seed
from .kernels.launch import Launch, Size
from .kernels.tiles import Precision, precision_of
from .planning.instructions import alias
from .planning.schedule import Scheduler


@dataclass(frozen=True)
class Kernel:
    """A kernel as it is launched.

    Args:
        name: Its name.
        grid: Blocks along x, y and z.
        block: Threads of a block along x, y and z.
        shared: Dynamic shared memory of a block, in bytes.
    """

    name: str
    grid: Size
    block: Size
    shared: int

    @property
    def shape(self) -> str:
        """Blocks and threads without axes of length 1, such as `98x16 x 256`."""
        return " x ".join("x".join(map(str, _short(size))) for size in (self.grid, self.block))


@dataclass(frozen=True)
class Item:
    """An instruction, or a chain of elementwise ones that run as one.

    Args:
        instructions: Their indices.
        origin: Layer and rule that they come from, the last of several.
        what: Their operations.
        tensor: For a read, the tensor or seed input that it reads.
        kernels: The launches that carry them out.
    """

    instructions: tuple[int, ...]
    origin: str
    what: str
    tensor: str = ""
    kernels: tuple[Kernel, ...] = ()


@dataclass(frozen=True)
class Listing:
    """The items of a program in execution order, and the memory they take.

    Args:
        batch: Samples at once.
        precision: Of the kernels.
        items: In execution order.
        launches: Number of launches.
        kernels: Number of different kernels.
        arena: Bytes of results and workspaces.
        inputs: Bytes of the arrays that the forward pass and the caller write.
        constants: Bytes of weights and folded constants.
    """

    batch: int
    precision: Precision
    items: tuple[Item, ...] = field(repr=False)
    launches: int
    kernels: int
    arena: int
    inputs: int
    constants: int


def listing(program: Program, batch: int, precision: str | None = None) -> Listing:
    """List the kernels of a program.

    Args:
        program: The program.
        batch: Samples at once.
        precision: "exact" (the default) or "fast".

    Raises:
        UsageError: There is no such precision.
        UnsupportedError: The engine has no kernel for an instruction.
    """
    wanted = precision_of(precision)
    scheduler = Scheduler(program, wanted)
    schedule = scheduler.schedule(batch)
    launches: dict[int, list[Launch]] = {}
    for k, launch in schedule.launches:
        launches.setdefault(k, []).append(launch)
    items = tuple(_item(program, item, launches.get(k, [])) for k, item in enumerate(scheduler.order))
    names = {launch.kernel for _, launch in schedule.launches}
    constants = sum(array.nbytes for array in scheduler.constants.values())
    memory = schedule.arena_bytes, schedule.input_bytes, constants
    return Listing(batch, wanted, items, len(schedule.launches), len(names), *memory)


def _item(program: Program, item: int | Chain, launches: list[Launch]) -> Item:
    steps = [program.instructions[n] for n in members(item)]
    kernels = tuple(Kernel(one.kernel, one.grid, one.block, one.shared) for one in launches)
    origins = list(dict.fromkeys(step.origin for step in steps if step.origin))
    origin = origins[-1] + f" (+{len(origins) - 1})" * (len(origins) > 1) if origins else ""
    aliased = isinstance(item, int) and alias(program, item) is not None
    what = " ".join(map(_word, steps)) + " (no copy)" * aliased
    return Item(members(item), origin, what, _tensor(steps[0]), kernels)


def _word(step: Instruction) -> str:
    return f"{step.op}ᵀ" if step.kind == "adjoint" else step.op


def _tensor(step: Instruction) -> str:
    if isinstance(step.what, Activation):
        return step.what.tensor
    if isinstance(step.what, Seed):
        return {"index": "target", "relevance": "relevance"}.get(step.what.mode, step.what.tensor)
    return ""


def _short(size: Size) -> list[int]:
    """Return a size without axes of length 1 at the end."""
    kept = list(size)
    while len(kept) > 1 and kept[-1] == 1:
        kept.pop()
    return kept
