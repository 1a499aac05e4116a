"""Train and export bow.onnx: a bag of visual words of oriented gradients and a linear support vector machine.

Each local descriptor x is shared among the words c of a codebook, softmax(−β ‖x − c‖²) (van Gemert et al. 2010); the
vector is the mean of the shares over the scene, with power and length normalisation.

Run `python models/bow.py`: some minutes, with scikit-learn and no torch.
"""

from __future__ import annotations

from features import Recipe, Written, make
from finish import Floats

WORDS = 1024
_HARDNESS = 2.0  # β, in units of the inverse mean squared distance of a descriptor to its word


def encode(graph: Written, sampled: Floats) -> str:
    """Write the histogram [N, words] of the descriptors' components, by a codebook of a sample of them."""
    from sklearn.cluster import MiniBatchKMeans

    codebook = MiniBatchKMeans(WORDS, random_state=0, n_init=1, batch_size=4096).fit(sampled)
    hardness = _HARDNESS * len(sampled) / codebook.inertia_
    graph.add("Unsqueeze", "columns", "components", [2])
    graph.add("Sub", "differences", "columns", codebook.cluster_centers_)
    graph.add("ReduceSumSquare", "distances", "differences", axes=[3], keepdims=0)
    graph.add("Mul", "nearness", "distances", -hardness)
    graph.add("Softmax", "assignments", "nearness", axis=2)
    return graph.add("ReduceMean", "histogram", "assignments", axes=[1], keepdims=0)


RECIPE = Recipe(encode, components=24, scenes=12_000, cost=10.0, dual=False)

if __name__ == "__main__":
    make("bow", RECIPE)
