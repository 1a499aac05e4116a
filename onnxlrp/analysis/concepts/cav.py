"""Concept activation vectors of sets of samples, in the span of the samples' activations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ..extras import library
from .layer import Array

CLASSIFIERS = ("fastcav", "svm", "logistic")


class Fit(Protocol):
    """Maps a choice of samples to the weights that make a concept activation vector of all samples."""

    def __call__(self, inside: Array) -> Array:
        """Return weights [N]: the vector is Σ_j weight_j a_j. `inside` [N] says which samples show the concept."""
        ...


def mean_difference(inside: Array) -> Array:
    """Return the weights of FastCAV: the mean of the concept's activations − the mean of all.

    References:
        Schmalwasser et al. 2025, "FastCAV: Efficient Computation of Concept Activation Vectors".
    """
    return np.asarray(inside / inside.sum() - 1 / len(inside))


def fitted_by(kind: str) -> Any:
    """Return the class of scikit-learn that fits a kind of classifier; None of "fastcav", which needs none.

    Args:
        kind: Of CLASSIFIERS.

    Raises:
        UsageError: scikit-learn is not installed.
    """
    name, module = {
        "fastcav": ("", ""),
        "svm": ("LinearSVC", "sklearn.svm"),
        "logistic": ("LogisticRegression", "sklearn.linear_model"),
    }[kind]
    return getattr(library(module, f"--classifier {kind}"), name) if module else None


@dataclass(frozen=True, eq=False)
class LinearClassifier:
    """A linear classifier between samples with and without the concept; the vector is normal to its boundary.

    With a penalty on ‖w‖ the solution lies in the span of the samples: w = Σ α_j a_j. So the classifier is fitted to
    the coordinates F = U √λ of the samples in that span, where A Aᵀ = U λ Uᵀ, which gives the same solution in N
    dimensions instead of those of the layer.

    Attributes:
        coordinates: F [N, r], scaled to a mean square length of 1.
        back: The matrix [N, r] with α = back · w.
        kind: "svm" (scikit-learn's LinearSVC) or "logistic" (LogisticRegression).
    """

    coordinates: Array
    back: Array
    kind: str

    @classmethod
    def of(cls, gram: Array, kind: str) -> LinearClassifier:
        """Prepare the classifier of samples with the inner products A Aᵀ [N, N]."""
        values, vectors = np.linalg.eigh(gram)
        kept = values > values.max() * 1e-10
        scale = np.sqrt(values[kept].sum() / len(gram)) or 1.0
        root = np.sqrt(values[kept])
        return cls(vectors[:, kept] * (root / scale), vectors[:, kept] / root, kind)

    def __call__(self, inside: Array) -> Array:
        """Fit the classifier; see `Fit`."""
        words: dict[str, Any] = {"dual": True, "random_state": 0} if self.kind == "svm" else {"max_iter": 500}
        made = fitted_by(self.kind)(class_weight="balanced", **words)
        return np.asarray(self.back @ made.fit(self.coordinates, inside).coef_[0])
