"""Passes with contracts: what each requires of a model and what it ensures, checked where that is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from ...errors import OnnxLrpError
from .load_state import LoadState


class Property(NamedTuple):
    """Something that is true of a model from one pass on: its name, and a check whether it holds."""

    name: str
    holds: Callable[[LoadState], bool]


class ContractError(OnnxLrpError):
    """A pass does not keep its contract: an error of this library."""


class PreconditionError(ContractError):
    """A property that a pass requires does not hold before it."""


class PostconditionError(ContractError):
    """A property that a pass ensures, or should leave intact, does not hold behind it."""


class Pass(NamedTuple):
    """One step from a file to a `Graph`.

    Attributes:
        name: What errors call the pass; a pass that runs again has its name twice in `PASSES`.
        summary: One sentence: what the pass does.
        run: Changes the state.
        requires: Properties that must hold before it.
        ensures: Properties that hold behind it.
        breaks: Properties that may have held before it and need not hold behind it.
    """

    name: str
    summary: str
    run: Callable[[LoadState], None]
    requires: tuple[Property, ...] = ()
    ensures: tuple[Property, ...] = ()
    breaks: tuple[Property, ...] = ()

    def __call__(self, state: LoadState) -> None:
        """Run the pass, and check its contract before and behind it.

        Raises:
            PreconditionError: A property that it requires does not hold.
            PostconditionError: A property that it ensures does not hold.
        """
        for required in self.requires:
            if not required.holds(state):
                raise PreconditionError(*self._broken("requires", required))
        self.run(state)
        for ensured in self.ensures:
            if not ensured.holds(state):
                raise PostconditionError(*self._broken("ensures", ensured))

    def _broken(self, verb: str, wanted: Property) -> tuple[str, str]:
        fix = "report the model: this is an error of onnxlrp"
        return f'the pass "{self.name}" {verb} that {wanted.name}: this does not hold', fix


def run(passes: Iterable[Pass], state: LoadState, check: bool = False) -> None:
    """Run passes in order.

    Args:
        passes: The passes.
        state: The model, changed in place.
        check: Whether to check, around each pass, that the properties hold that should by then.

    Raises:
        ContractError: With `check`, for the first pass that does not keep its contract.
    """
    holding: dict[Property, None] = {}
    for step in passes:
        if not check:
            with np.errstate(all="ignore"):  # the last pass refuses constants that are not finite
                step.run(state)
            continue
        step(state)
        holding = {kept: None for kept in holding if kept not in step.breaks} | dict.fromkeys(step.ensures)
        for kept in holding:
            if not kept.holds(state):
                raise PostconditionError(*step._broken("leaves intact", kept))
