"""Train and export fisher.onnx: Fisher vectors of oriented gradients and a linear support vector machine.

Of a mixture of Gaussians with weights w, means μ and deviations σ, and the posteriors γ of its components for each
local descriptor x, the vector has for each component k (Perronnin et al. 2010)

    mean γₖ (x − μₖ) / σₖ / √wₖ    and    mean γₖ [((x − μₖ) / σₖ)² − 1] / √(2 wₖ),

with power and length normalisation. Run `python models/fisher.py`: a minute or two, with scikit-learn and no torch.
"""

from __future__ import annotations

import numpy as np
from features import Labels, Recipe, Scenes, Written, make
from finish import Floats

GAUSSIANS = 48


def encode(graph: Written, sampled: Floats, scenes: Scenes, labels: Labels) -> str:
    """Write the Fisher vector [N, 2 · 48 · 40] of the components, by a mixture fitted to a sample of them.

    Sixty steps of expectation and maximisation are enough, although scikit-learn warns that more would go on.
    """
    from sklearn.mixture import GaussianMixture

    mixture = GaussianMixture(GAUSSIANS, covariance_type="diag", random_state=0, max_iter=60, reg_covar=1e-5)
    mixture.fit(sampled)
    weights, deviations = mixture.weights_, np.sqrt(mixture.covariances_)
    graph.add("Unsqueeze", "columns", "components", [2])
    graph.add("Sub", "differences", "columns", mixture.means_)
    graph.add("Div", "standardised", "differences", deviations)
    graph.add("ReduceSumSquare", "distances", "standardised", axes=[3], keepdims=0)
    graph.add("Mul", "halved", "distances", -0.5)
    constants = np.log(weights) - np.log(deviations).sum(axis=1)
    graph.add("Add", "densities", "halved", constants)
    graph.add("Softmax", "posteriors", "densities", axis=2)
    graph.add("Unsqueeze", "gates", "posteriors", [3])
    parts = [_order(graph, "first", "standardised", 1 / np.sqrt(weights))]
    graph.add("Mul", "squares", "standardised", "standardised")
    graph.add("Sub", "excess", "squares", 1.0)
    parts.append(_order(graph, "second", "excess", 1 / np.sqrt(2 * weights)))
    return graph.add("Concat", "fisher_vector", *parts, axis=1)


def _order(graph: Written, word: str, terms: str, factors: Floats) -> str:
    """Write the mean over places of what the posteriors let through."""
    graph.add("Mul", f"{word}_gated", "gates", terms)
    graph.add("ReduceMean", f"{word}_mean", f"{word}_gated", axes=[1], keepdims=0)
    graph.add("Mul", f"{word}_scaled", f"{word}_mean", factors[:, None])
    return graph.add("Flatten", f"{word}_order", f"{word}_scaled")


RECIPE = Recipe(encode, components=40, scenes=6_000, cost=1.0, dual=True)

if __name__ == "__main__":
    make("fisher", RECIPE)
