"""Contrastive relevance: what speaks for a class and not for others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..errors import UsageError
from .problem import Problem
from .registry import Attribution, method


@method("contrastive", paper="Gu et al. 2018", passes="1 + 1 propagation")
@dataclass(frozen=True)
class Contrastive:
    """R = R(target) - R(the others): the target's logit z at the target, -z / (K - 1) at every other class.

    Args:
        base: Name of the composite that propagates.
        against: One class id in place of all others.

    References:
        Gu et al., Understanding individual decisions of CNNs via contrastive backpropagation, ACCV 2018.
    """

    base: str = "zplus"
    against: int | None = None

    def __call__(self, problem: Problem) -> Attribution:
        everybody = np.arange(len(problem.x))
        logits = problem.logits(problem.x, everybody).astype(np.float64)
        n, classes = logits.shape
        if classes < 2:
            raise UsageError("contrastive relevance wants two classes or more", "use another method for one output")
        own = logits[everybody, problem.ids][:, None]
        if self.against is None:
            seed = np.repeat(-own / (classes - 1), classes, axis=1)
        else:
            if not 0 <= self.against < classes or (problem.ids == self.against).any():
                raise UsageError(f"against={self.against}", f"give another class than the target, 0 to {classes - 1}")
            seed = np.zeros((n, classes))
            seed[:, self.against] = -own[:, 0]
        seed[everybody, problem.ids] = own[:, 0]
        outputs = problem.propagate(problem.composite(self.base), problem.x, everybody, seed=seed)
        return Attribution(outputs["relevance"])
