"""The kernels that a program gets, item by item, as `onnxlrp inspect --engine cuda` shows them."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...program.passes import Chain, members
from ...program.program import Activation, Instruction, Program, Seed
from .kernels.launch import Launch, Size
from .kernels.tiles import Precision, precision_of
from .planning.instructions import alias
from .planning.schedule import Schedules


@dataclass(frozen=True)
class Kernel:
    """A kernel as it is launched."""

    name: str
    grid: Size
    block: Size
    shared: int

    @property
    def shape(self) -> str:
        """`98x16 x 256`: blocks and threads, axes of length 1 left out."""
        return " x ".join("x".join(map(str, _short(size))) for size in (self.grid, self.block))


@dataclass(frozen=True)
class Item:
    """What runs as one: an instruction, or a chain of elementwise ones. `tensor` is what a read reads."""

    instructions: tuple[int, ...]
    origin: str
    what: str
    tensor: str = ""
    kernels: tuple[Kernel, ...] = ()


@dataclass(frozen=True)
class Listing:
    """The items in the order in which they run, and what they take; sizes are in bytes."""

    batch: int
    precision: Precision
    items: tuple[Item, ...] = field(repr=False)
    launches: int
    kernels: int
    arena: int
    given: int
    constants: int


def listing(program: Program, batch: int, precision: str | None = None) -> Listing:
    """The kernels of a program for a batch of this size, at a precision by its name ("exact" if none is given).

    Raises UsageError for another name, UnsupportedError where a kernel is missing.
    """
    wanted = precision_of(precision)
    drafts = Schedules(program, wanted)
    draft = drafts.draft(batch)
    planned: dict[int, list[Launch]] = {}
    for k, launch in draft.launches:
        planned.setdefault(k, []).append(launch)
    items = tuple(_item(program, item, planned.get(k, [])) for k, item in enumerate(drafts.order))
    names = {launch.kernel for _, launch in draft.launches}
    held = sum(array.nbytes for array in drafts.constants.values())
    return Listing(batch, wanted, items, len(draft.launches), len(names), draft.size, draft.given, held)


def _item(program: Program, item: int | Chain, launches: list[Launch]) -> Item:
    steps = [program.instructions[n] for n in members(item)]
    kernels = tuple(Kernel(one.kernel, one.grid, one.block, one.shared) for one in launches)
    origins = list(dict.fromkeys(step.origin for step in steps if step.origin))
    origin = origins[-1] + f" (+{len(origins) - 1})" * (len(origins) > 1) if origins else ""
    shared = isinstance(item, int) and alias(program, item) is not None
    what = " ".join(map(_word, steps)) + " (no copy)" * shared
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
    """Without the axes of length 1 at the end."""
    kept = list(size)
    while len(kept) > 1 and kept[-1] == 1:
        kept.pop()
    return kept
