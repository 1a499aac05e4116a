"""Contrastive relevance: evidence for a class and not for others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import UsageError
from .problem import Problem
from .registry import Attribution, method


@method("contrastive", paper="Gu et al. 2018", passes="1 + 1 propagation")
@dataclass(frozen=True)
class Contrastive:
    """R = R(target) - R(others): propagation starts with the target's logit z there, and -z / (K - 1) elsewhere.

    Args:
        base: Name of the composite that propagates.
        against: One class id in place of all others.

    References:
        Gu et al., Understanding individual decisions of CNNs via contrastive backpropagation, ACCV 2018.
    """

    base: str = "zplus"
    against: int | None = None

    def __call__(self, problem: Problem) -> Attribution:
        """Explain every sample."""
        rows = np.arange(len(problem.x))
        logits = problem.logits(problem.x, rows).astype(np.float64)
        n, classes = logits.shape
        if classes < 2:
            raise UsageError("contrastive relevance needs two classes or more", "use another method for one output")
        target = logits[rows, problem.ids][:, None]
        if self.against is None:
            seed = np.repeat(-target / (classes - 1), classes, axis=1)
        else:
            if not 0 <= self.against < classes or (problem.ids == self.against).any():
                raise UsageError(f"against={self.against}", f"give another class than the target, 0 to {classes - 1}")
            seed = np.zeros((n, classes))
            seed[:, self.against] = -target[:, 0]
        seed[rows, problem.ids] = target[:, 0]
        outputs = problem.propagate(problem.composite(self.base), problem.x, rows, seed=seed)
        return Attribution(outputs["relevance"])
