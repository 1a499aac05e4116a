"""Train and export bow.onnx: a bag of visual words of oriented gradients and a linear support vector machine.

Each local descriptor x is shared among the words c of a codebook, softmax(−β ‖x − c‖²) (van Gemert et al. 2010); the
vector is the mean of the shares over the scene, with power and length normalisation. The codebook is found by k-means,
and then moved, with β, by the gradient of a softmax classifier of the vectors: words that tell classes apart are not
those that describe descriptors best (Boureau et al., Learning mid-level features for recognition, CVPR 2010).

Run `python models/bow.py`: some minutes, with scikit-learn and torch.
"""

from __future__ import annotations

import numpy as np
from features import Labels, Recipe, Scenes, Written, make
from finish import Floats
from numpy.typing import NDArray

WORDS = 512
_HARDNESS = 2.0  # β at first, in units of the inverse mean squared distance of a descriptor to its word
_ROUNDS, _BATCH = 6, 50
_RATES = (3e-3, 2e-2)  # the largest, of codebook and β, and of the classifier
_LEAST = 1e-9  # added to a share: the slope of a root at 0 is infinite


def encode(graph: Written, sampled: Floats, scenes: Scenes, labels: Labels) -> str:
    """Write the histogram [N, words] of the descriptors' components, by a codebook trained on the scenes."""
    from sklearn.cluster import MiniBatchKMeans

    means = MiniBatchKMeans(WORDS, random_state=0, n_init=1, batch_size=4096).fit(sampled)
    hardness = _HARDNESS * len(sampled) / means.inertia_
    codebook, hardness = _trained(means.cluster_centers_, hardness, graph.run("components", scenes), labels)
    graph.add("Unsqueeze", "columns", "components", [2])
    graph.add("Sub", "differences", "columns", codebook)
    graph.add("ReduceSumSquare", "distances", "differences", axes=[3], keepdims=0)
    graph.add("Mul", "nearness", "distances", -hardness)
    graph.add("Softmax", "assignments", "nearness", axis=2)
    return graph.add("ReduceMean", "histogram", "assignments", axes=[1], keepdims=0)


def _trained(
    codebook: Floats, hardness: float, descriptors: Floats, labels: Labels
) -> tuple[NDArray[np.float32], float]:
    """Return codebook [words, components] and β after the training on descriptors [N, places, components]."""
    import torch

    torch.manual_seed(0)
    torch.set_num_threads(1)
    words = torch.nn.Parameter(torch.tensor(codebook, dtype=torch.float32))
    log_beta = torch.nn.Parameter(torch.tensor(np.log(hardness), dtype=torch.float32))
    classifier = torch.nn.Linear(len(codebook), int(labels.max()) + 1)
    log_scale = torch.nn.Parameter(torch.tensor(np.log(10.0), dtype=torch.float32))
    groups = [[words, log_beta], [*classifier.parameters(), log_scale]]
    optimizer = torch.optim.Adam([{"params": group} for group in groups])
    steps = len(labels) // _BATCH * _ROUNDS
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, list(_RATES), total_steps=steps)
    for _ in range(_ROUNDS):
        for batch in torch.randperm(len(labels))[: len(labels) // _BATCH * _BATCH].split(_BATCH):
            x = torch.from_numpy(descriptors[batch.numpy()])
            distances = (x**2).sum(-1, keepdim=True) - 2 * x @ words.T + (words**2).sum(1)
            roots = torch.sqrt(torch.softmax(-log_beta.exp() * distances, -1).mean(1) + _LEAST)
            scores = classifier(roots / roots.norm(dim=1, keepdim=True)) * log_scale.exp()
            loss = torch.nn.functional.cross_entropy(scores, torch.from_numpy(labels[batch.numpy()]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return words.detach().numpy(), float(log_beta.detach().exp())


RECIPE = Recipe(encode, components=40, scenes=10_000, cost=10.0, dual=False)

if __name__ == "__main__":
    make("bow", RECIPE)
