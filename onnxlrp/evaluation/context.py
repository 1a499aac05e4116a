"""Context of an evaluation: model, samples and heatmaps of one method, and how to explain again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from ..composites import Composite
from ..errors import CheckFailed
from ..explanation import Explanation
from ..methods.problem import Problem, cast
from ..methods.registry import METHODS, Array, Method
from ..model import DEFAULT, ExplainOptions, Model
from ..model.interface.extra_inputs import rows
from ..preprocessing.samples import Samples

Attribute = Callable[[Model, Array, Array], Array]  # (model, x [N, …], ids [N]) → relevance in x's shape


@dataclass(frozen=True, eq=False)
class Attributor:
    """A method of explanation with its options.

    Attributes:
        name: Its name in the evaluation.
        method: The name of a method, a Composite, a Method, or a function.
        options: Options of the method.
        batch_size: Samples of a batch.
    """

    name: str
    method: str | Composite | Method | Attribute
    options: Mapping[str, Any] = field(default_factory=dict)
    batch_size: int | None = None

    def __call__(
        self, model: Model, samples: Samples, ids: Array, record: Sequence[str] = (), ledger: bool = False
    ) -> Explanation:
        """Explain samples for their classes.

        Args:
            model: The model.
            samples: N samples.
            ids: The class of each [N].
            record: Layers whose relevance is recorded; composites only.
            ledger: Keep the ledger; composites only.
        """
        if self._function is not None:
            relevance = np.asarray(self._function(model, samples.values, ids))
            scores = model.outputs(samples.values, batch_size=self.batch_size)["scores"]
            return Explanation(relevance, scores, ids, kind=samples.kind)
        how: dict[str, Any] = {"record": record, "ledger": ledger} if self.propagates else {}
        asked: Any = self.method
        return model.explain(samples, ids, asked, batch_size=self.batch_size, **how, **self.options)

    @property
    def propagates(self) -> bool:
        """Whether the method is a composite: relevance passes through the layers, and can be recorded there."""
        return isinstance(self.method, Composite) or (
            isinstance(self.method, str) and (self.method == DEFAULT or METHODS[self.method].is_composite)
        )

    def conserves(self, model: Model, pictures: bool) -> bool:
        """Return whether the method redistributes the logit, and so keeps a ledger."""
        if not self.propagates:
            return False
        asked: Any = self.method
        return model.composite(ExplainOptions.of(method=asked, **self.options), pictures=pictures).seed != "one"

    @property
    def _function(self) -> Attribute | None:
        # Methods of the registry have a name; they are called with a Problem.
        if isinstance(self.method, str | Composite) or hasattr(type(self.method), "name"):
            return None
        return self.method  # type: ignore[return-value]


@dataclass(frozen=True, eq=False)
class EvaluationContext:
    """The explanation of samples that a metric judges.

    Attributes:
        model: The model.
        samples: N samples.
        ids: The class explained of each [N].
        attributor: The method.
        explanation: The explanation by this method.
        masks: A boolean array in the shape of the heatmap for each sample, None where it has none.
        batch_size: Samples of a batch.
        places: The number of each sample [N] among all of the evaluation, which are of several sizes; None where these
            are all. Random numbers of a sample go by it.
    """

    model: Model
    samples: Samples
    ids: Array
    attributor: Attributor
    explanation: Explanation
    masks: Sequence[Array | None] | None = None
    batch_size: int | None = None
    places: Array | None = None

    @property
    def numbers(self) -> list[int]:
        """The number of each sample among all of the evaluation."""
        return list(range(len(self.samples))) if self.places is None else [int(place) for place in self.places]

    @cached_property
    def maps(self) -> Array:
        """Heatmaps [N, *grid] in float64, summed over channels. Raises CheckFailed where they are not finite."""
        return self.samples.kind.summed(self.relevance)

    @cached_property
    def relevance(self) -> Array:
        """Relevance [N, …] in float64. Raises CheckFailed where it is not finite."""
        return finite(self.explanation.relevance, self.attributor.name)

    @cached_property
    def problem(self) -> Problem:
        """The same samples and classes as methods see them: scores, baselines, masked copies."""
        prep = self.model.preprocessing if self.samples.pictures else None
        return Problem(self.model, self.samples.values, self.ids, prep, self.batch_size, columns=self.samples.columns)

    def again(
        self,
        x: Array | None = None,
        model: Model | None = None,
        record: Sequence[str] = (),
        keep: slice = slice(None),
    ) -> Explanation:
        """Explain again by the same method.

        Args:
            x: Other inputs [n, …] in the place of the samples; None for the samples.
            model: Another model; None for the same.
            record: Layers whose relevance is recorded.
            keep: The samples to explain.
        """
        kept, asked = self.samples[keep], model or self.model
        samples = kept if x is None else replace(kept, values=cast(x, kept.values.dtype))
        # Not `choose`, which reads the file again: random weights would be lost.
        asked = replace(asked, given={**asked.given, **rows(asked.given, keep)})
        return self.attributor(asked, samples, self.ids[keep], record)


def finite(relevance: Array, name: str) -> Array:
    """Convert relevance to float64. Raises CheckFailed where it holds NaN or infinity."""
    values: Array = np.asarray(relevance, dtype=np.float64)
    if not np.isfinite(values).all():
        bad = int((~np.isfinite(values)).sum())
        raise CheckFailed(
            f"{bad} of {values.size} relevances of {name} are NaN or infinite", "try --engine reference (float64)"
        )
    return values


def flat(values: Array) -> Array:
    """Reshape [N, …] to [N, P]."""
    return values.reshape(len(values), -1)
