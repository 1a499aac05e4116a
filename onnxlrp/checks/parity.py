"""Forward parity: the outputs equal those stored where the model was trained."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import OnnxLrpError
from ..findings.finding import Finding, MissingData, judged, skipped
from ..graph.graph import Graph
from ..model import Model
from . import causes, expected
from .context import CheckContext
from .expected import Expected
from .registry import check

Array = npt.NDArray[Any]


@check("forward", order=20)
@dataclass(frozen=True)
class Forward:
    """The outputs equal the stored ones: |y − stored| <= atol + rtol·|stored|.

    The value of a finding is the largest |y − stored|, in multiples of the tolerance. Stored inputs are run too, and
    compared with those that preprocessing makes of the pictures.

    Args:
        rtol: Relative tolerance.
        atol: Absolute tolerance.
    """

    rtol: float = 1e-3
    atol: float = 1e-4

    def __call__(self, context: CheckContext) -> Iterable[Finding]:
        """Yield the findings, one for each subject."""
        if not context.settings.expected:
            raise MissingData("no stored outputs are given", 'expected = ["outputs.npz"], or ["test_data_set_*"]')
        graph = context.model.whole or context.model.graph
        name = context.model.choice.output if context.model.choice else graph.outputs[0].name
        for stored in expected.read(context.settings.expected, context.settings.folder, graph, name):
            yield from self._of_inputs(context, stored, graph) if stored.inputs else ()
            yield from self._of_samples(context, stored)

    def _of_inputs(self, context: CheckContext, stored: Expected, graph: Graph) -> Iterator[Finding]:
        """Run the stored inputs: preprocessing has no part in it."""
        explained = context.model.graph.inputs[0].name
        others = {k: v for k, v in stored.inputs.items() if k != explained}
        if explained not in stored.inputs:
            yield skipped(f'no stored input "{explained}"', stored.source)
            return
        try:
            model = context.model.choose(given=others) if others else context.model
            x = _batched(stored.inputs[explained], model)
            found = context.forward(model, x)[stored.kind]
        except OnnxLrpError as error:
            yield judged(False, f"the stored inputs do not run: {error.message}", stored.source, fix=error.fix)
            return
        fix = "weights or graph changed since: export the model again, or store its outputs again"
        yield self._compared(found, stored.output, f"{stored.source} (stored inputs)", fix)

    def _of_samples(self, context: CheckContext, stored: Expected) -> Iterator[Finding]:
        """Run the samples through preprocessing and model."""
        if not context.has_samples:
            if not stored.inputs:
                raise MissingData("no samples are given for the stored outputs", 'samples = ["images/"]')
            return
        rows = _rows(context, stored)
        without = len(context.names) - len(rows)
        if without and not (stored.inputs and not rows):
            samples, outputs = len(context.names), len(stored.output)
            message = f"{without} of {samples} samples have no stored output; the file holds {outputs}"
            yield skipped(message, stored.source, 'store an output for each sample, and their names under "names"')
        for part, places in zip(context.parts, context.places, strict=True):
            own = {n: rows[place] for n, place in enumerate(places.tolist()) if place in rows}
            if own:
                yield from self._of_one_size(part, stored, own)

    def _of_one_size(self, context: CheckContext, stored: Expected, rows: Mapping[int, int]) -> Iterator[Finding]:
        """Compare samples of one size with their rows of the stored outputs."""
        mine, theirs = np.array(list(rows)), np.array(list(rows.values()))
        x = context.samples.values[mine]
        found = context.forward(context.model, x)[stored.kind]
        wanted = stored.output[theirs]
        ratios = [self._ratio(a, b) for a, b in zip(found, wanted, strict=True)]
        cause = fix = ""
        if max(ratios) > 1:
            tensor = stored.inputs.get(context.model.graph.inputs[0].name)
            seen = None if tensor is None else tensor[theirs]
            answer = causes.probable(context, mine, wanted, seen, stored.kind, lambda y: self._ratio(y, wanted))
            cause, fix = answer
        for n, a, b in zip(mine, found, wanted, strict=True):
            yield self._compared(a, b, context.samples.names[n], fix, cause)

    def _ratio(self, found: Array, wanted: Array) -> float:
        if found.size != wanted.size:
            return float("inf")
        a, b = (np.asarray(x, dtype=np.float64).reshape(-1) for x in (found, wanted))
        with np.errstate(invalid="ignore"):
            apart = np.where(a == b, 0, np.abs(a - b) / (self.atol + self.rtol * np.abs(b)))
        return float(np.where(np.isnan(apart), np.inf, apart).max())

    def _compared(self, found: Array, wanted: Array, subject: str, fix: str, cause: str = "") -> Finding:
        if found.size != wanted.size:
            message = f"an output of shape {found.shape}, the stored one has {wanted.shape}"
            return judged(False, message, subject, fix="store the outputs of this model, a row for each sample")
        ratio = self._ratio(found, wanted)
        a, b = (np.asarray(x, dtype=np.float64).reshape(-1) for x in (found, wanted))
        at = int(np.nanargmax(np.abs(a - b))) if np.isfinite(a - b).any() else 0
        message = f"{a[at]:.6g}, stored {b[at]:.6g}"
        message = f"agrees; at worst {message}" if ratio <= 1 else message + (f"; {cause}" if cause else "")
        return judged(ratio <= 1, message, subject, ratio, 1.0, fix)


def _rows(context: CheckContext, stored: Expected) -> dict[int, int]:
    """Map samples to stored outputs: by name, else in order where there are equally many."""
    names = context.names
    if stored.names is not None:
        return {names.index(name): n for n, name in enumerate(stored.names) if name in names}
    return {n: n for n in range(len(names))} if len(stored.output) == len(names) else {}


def _batched(array: Array, model: Model) -> Array:
    from ..preprocessing import images

    tensor = model.graph.inputs[0]
    return images.batched(array, tensor.shape, tensor.dtype, f'the stored input "{tensor.name}"')
