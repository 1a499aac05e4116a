"""Objectives: what of a model is raised, with its gradient by the input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...composites import Composite
from ...errors import one_of
from ...graph.outputs.heads import head_of
from ...graph.outputs.units import Start, Unit, of_tensor
from ...methods.registry import METHODS, make_composite
from .domain import Domain
from .optimize import Array

OBJECTIVES = ("logit", "log-probability", "logit+log-probability")
"""Of a class k with logits z: z_k; log p_k, p = softmax z; their sum, where rivals are pushed down until p_k is 1."""


@dataclass(eq=False)
class Score:
    """f(x) = an objective of a class, or the activation of a unit that is the model's output; and ∂f/∂x.

    Where the gradient of a sample is zero everywhere, because all units behind a ReLU are dead, the gradient that is
    redirected through dead units takes its place until they live. While no class of a sample has a lower logit, it is
    the logit that is raised: rivals whose units live would hide that those of the class are dead.

    Attributes:
        model: The model.
        id: The class.
        batch_size: Samples at a time.
        objective: Of OBJECTIVES.
        redirected: The number of samples that were redirected so far.
    """

    model: Any
    id: int
    batch_size: int | None = None
    objective: str = "logit"
    redirected: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        one_of(OBJECTIVES, objective=self.objective)
        self._gradient = make_composite("gradient")
        self._redirect = redirecting(self.model)
        self._summed = None if self.objective == "logit" else _Summed.of(self.model, self.id, self.objective)

    def __call__(self, x: Array) -> tuple[Array, Array]:
        """Return the objective of each sample [N], and its gradient [N, …]."""
        if self._summed is None:
            return self._of_logit(x)
        values, slope, last = self._summed(x, self._gradient, self.batch_size)
        if last.any():
            slope = np.array(slope)
            slope[last] = self._of_logit(x[last])[1]
        return values, slope

    def values(self, x: Array) -> Array:
        """Return the logit of each sample [N], without a gradient."""
        logits: Array = self.model.outputs(x, batch_size=self.batch_size)["logits"]
        return np.asarray(logits.reshape(len(x), -1)[:, self.id], np.float64)

    def _of_logit(self, x: Array) -> tuple[Array, Array]:
        values, slope = self._run(self._gradient, x)
        dead = ~slope.reshape(len(slope), -1).any(axis=1)
        if dead.any():
            self.redirected += int(dead.sum())
            slope = np.array(slope)
            slope[dead] = self._run(self._redirect, x[dead])[1]
        return values, slope

    def _run(self, composite: Composite, x: Array) -> tuple[Array, Array]:
        ids = np.full(len(x), self.id, np.int64)
        found = self.model.outputs(x, composite, ids=ids, batch_size=self.batch_size)
        return found["logits"].reshape(len(x), -1)[:, self.id], found["relevance"]


@dataclass(frozen=True, eq=False)
class _Summed:
    """An objective with log p_k in it, whose gradient starts at the logits and at their log softmax in one run.

    Attributes:
        model: The model with log softmax as a further output.
        logits: The unit of all logits.
        starts: Where the gradient starts.
        id: The class.
    """

    model: Any
    logits: Unit
    starts: Sequence[Start]
    id: int

    @classmethod
    def of(cls, model: Any, id: int, objective: str) -> _Summed:
        """Return the objective of a class of a model."""
        made, tensor = model.with_log_softmax()
        logits = head_of(model.graph, model.graph.outputs[0].name).logits
        one = np.zeros(made.graph.shapes[tensor], np.float32)
        one.reshape(-1)[id] = 1
        tensors = {"logit": logits, "log-probability": tensor}
        starts = [Start(tensors[word], "seed", one) for word in objective.split("+")]
        return cls(made, of_tensor(made.graph, logits), starts, id)

    def __call__(self, x: Array, gradient: Composite, batch_size: int | None) -> tuple[Array, Array, Array]:
        """Return values [N], gradients [N, …], and whether no class has a lower logit [N]."""
        asked: dict[str, Any] = {"starts": self.starts, "activations": [self.logits], "batch_size": batch_size}
        found = self.model.outputs(x, gradient, **asked)
        values = sum(found[f"value/{n}"].reshape(len(x)).astype(np.float64) for n in range(len(self.starts)))
        z = found[f"activation/{self.logits.label}"].reshape(len(x), -1)
        return np.asarray(values), found["relevance"], z[:, self.id] <= z.min(axis=1)


def has_probabilities(model: Any) -> bool:
    """Return whether the classes of a model's output compete for a probability of 1, the softmax of its logits.

    Args:
        model: The model; it explains classes, not a unit.
    """
    head = head_of(model.graph, model.graph.outputs[0].name)
    classes = int(np.prod(model.graph.shapes[head.logits]))
    return classes > 1 and not head.unit and head.kind in ("Softmax", "LogSoftmax", "")


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
