"""Whether the model says what it said where it was trained: forward parity with stored outputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import OnnxLrpError
from ..findings.finding import Finding, MissingData, judged, skipped
from ..graph.graph import Graph
from ..model import Model
from . import causes, expected
from .case import Case
from .expected import Expected
from .registry import check

Array = npt.NDArray[Any]


@check("forward")
@dataclass(frozen=True)
class Forward:
    """The outputs equal the stored ones: |y − stored| <= `atol` + `rtol`·|stored| everywhere; a finding's value is the
    largest |y − stored| as a multiple of that. Inputs that are stored too are compared with what the pictures give."""

    rtol: float = 1e-3
    atol: float = 1e-4

    def __call__(self, case: Case) -> Iterable[Finding]:
        if not case.settings.expected:
            raise MissingData("no outputs are stored", 'expected = ["outputs.npz"], or ["test_data_set_*"]')
        graph = case.model.whole or case.model.graph
        name = case.model.choice.output if case.model.choice else graph.outputs[0].name
        for stored in expected.read(case.settings.expected, case.settings.folder, graph, name):
            yield from self._of_inputs(case, stored, graph) if stored.inputs else ()
            yield from self._of_samples(case, stored)

    def _of_inputs(self, case: Case, stored: Expected, graph: Graph) -> Iterator[Finding]:
        """Stored inputs through the model: no preprocessing has a part in it."""
        explained = case.model.graph.inputs[0].name
        others = {k: v for k, v in stored.inputs.items() if k != explained}
        if explained not in stored.inputs:
            yield skipped(f'it holds no input "{explained}"', stored.source)
            return
        try:
            model = case.model.choose(given=others) if others else case.model
            x = _batched(stored.inputs[explained], model)
            found = case.forward(model, x)[stored.kind]
        except OnnxLrpError as error:
            yield judged(False, f"stored inputs do not run: {error.message}", stored.source, fix=error.fix)
            return
        fix = "the weights or the graph are not those that made it: export the model again, or store its outputs again"
        yield self._compared(found, stored.output, f"{stored.source} (stored inputs)", fix)

    def _of_samples(self, case: Case, stored: Expected) -> Iterator[Finding]:
        """The samples of this run, through the whole of preprocessing and model."""
        if case.given is None:
            if not stored.inputs:
                raise MissingData("no samples are given that outputs are stored for", 'samples = ["images/"]')
            return
        rows = _rows(case, stored)
        without = len(case.samples) - len(rows)
        if without and not (stored.inputs and not rows):
            said = f"{without} of {len(case.samples)} samples have no output there, which holds {len(stored.output)}"
            yield skipped(said, stored.source, "store an output for each sample, with their names under names")
        if not rows:
            return
        mine, theirs = np.array(list(rows)), np.array(list(rows.values()))
        x = case.samples.values[mine]
        found = case.forward(case.model, x)[stored.kind]
        wanted = stored.output[theirs]
        ratios = [self._ratio(a, b) for a, b in zip(found, wanted, strict=True)]
        cause = fix = ""
        if max(ratios) > 1:
            tensor = stored.inputs.get(case.model.graph.inputs[0].name)
            seen = None if tensor is None else tensor[theirs]
            answer = causes.probable(case, mine, wanted, seen, stored.kind, lambda y: self._ratio(y, wanted))
            cause, fix = answer
        for n, a, b in zip(mine, found, wanted, strict=True):
            yield self._compared(a, b, case.samples.names[n], fix, cause)

    def _ratio(self, found: Array, wanted: Array) -> float:
        if found.size != wanted.size:
            return float("inf")
        a, b = (np.asarray(x, dtype=np.float64).reshape(-1) for x in (found, wanted))
        with np.errstate(invalid="ignore"):
            apart = np.where(a == b, 0, np.abs(a - b) / (self.atol + self.rtol * np.abs(b)))
        return float(np.where(np.isnan(apart), np.inf, apart).max())

    def _compared(self, found: Array, wanted: Array, subject: str, fix: str, cause: str = "") -> Finding:
        if found.size != wanted.size:
            message = f"an output of shape {found.shape}, stored is {wanted.shape}"
            return judged(False, message, subject, fix="store the output of this model, a row for each sample")
        ratio = self._ratio(found, wanted)
        a, b = (np.asarray(x, dtype=np.float64).reshape(-1) for x in (found, wanted))
        at = int(np.nanargmax(np.abs(a - b))) if np.isfinite(a - b).any() else 0
        message = f"{a[at]:.6g} where {b[at]:.6g} is stored"
        message = f"agrees: at worst {message}" if ratio <= 1 else message + (f"; {cause}" if cause else "")
        return judged(ratio <= 1, message, subject, ratio, 1.0, fix)


def _rows(case: Case, stored: Expected) -> dict[int, int]:
    """Which stored output belongs to which sample: by name, else in order where there are as many."""
    names = list(case.samples.names)
    if stored.names is not None:
        return {names.index(name): n for n, name in enumerate(stored.names) if name in names}
    return {n: n for n in range(len(names))} if len(stored.output) == len(names) else {}


def _batched(array: Array, model: Model) -> Array:
    from ..preprocessing import images

    tensor = model.graph.inputs[0]
    return images.batched(array, tensor.shape, tensor.dtype, f'the stored input "{tensor.name}"')
