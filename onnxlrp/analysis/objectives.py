"""Objectives: what of a model is raised, with its gradient by the input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..composites import Composite
from ..methods.registry import METHODS, make_composite
from .domain import Domain
from .optimize import Array


@dataclass(eq=False)
class Score:
    """f(x) = the logit of a class, or the activation of a unit that is the model's output; and ∂f/∂x.

    Where the gradient of a sample is zero everywhere, because all units behind a ReLU are dead, the gradient that is
    redirected through dead units takes its place until they live.

    Attributes:
        model: The model.
        id: The class.
        batch_size: Samples at a time.
        redirected: The number of samples that were redirected so far.
    """

    model: Any
    id: int
    batch_size: int | None = None
    redirected: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._gradient = make_composite("gradient")
        self._redirect = redirecting(self.model)

    def __call__(self, x: Array) -> tuple[Array, Array]:
        """Return the logit of each sample [N], and the gradient [N, …]."""
        values, slope = self._run(self._gradient, x)
        dead = ~slope.reshape(len(slope), -1).any(axis=1)
        if dead.any():
            self.redirected += int(dead.sum())
            slope = np.array(slope)
            slope[dead] = self._run(self._redirect, x[dead])[1]
        return values, slope

    def values(self, x: Array) -> Array:
        """Return the logit of each sample [N], without a gradient."""
        logits: Array = self.model.outputs(x, batch_size=self.batch_size)["logits"]
        return np.asarray(logits.reshape(len(x), -1)[:, self.id], np.float64)

    def _run(self, composite: Composite, x: Array) -> tuple[Array, Array]:
        ids = np.full(len(x), self.id, np.int64)
        found = self.model.outputs(x, composite, ids=ids, batch_size=self.batch_size)
        return found["logits"].reshape(len(x), -1)[:, self.id], found["relevance"]


def redirecting(model: Any) -> Composite:
    """Return the gradient that also runs through ReLUs whose unit is dead."""
    if "redirect" in METHODS["gradient"].options:
        return make_composite("gradient", redirect=True)
    made: Composite = model.composite("gradient", rules=[("Relu", "pass"), ("Clip", "pass")])
    return made


def of_pictures(objective: Callable[[Array], tuple[Array, Array]], domain: Domain) -> Callable[[Array], Any]:
    """Return an objective of pictures z, from 0 to 1, for one of a model's inputs x."""

    def f(z: Array) -> tuple[Array, Array]:
        values, slope = objective(domain.to_input(z))
        return values, domain.pullback(slope)

    return f
