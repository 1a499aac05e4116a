"""Write optimizers.npz: the path of torch's optimisers on random gradients. Needs torch.

python tests/golden/optimizers_goldens.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

STEPS = 100


def path(make: Any, start: Any, pull: Any, gradients: Any) -> Any:
    """The parameters after every step: gradients are of a quadratic around 0 with noise."""
    p = torch.nn.Parameter(torch.tensor(start))
    optimizer, found = make([p]), []
    for noise in gradients:
        p.grad = torch.tensor(pull) * p.detach() + torch.tensor(noise)
        optimizer.step()
        found.append(p.detach().numpy().copy())
    return np.stack(found)


def main() -> None:
    rng = np.random.default_rng(0)
    start, pull, gradients = rng.normal(size=(2, 5)), rng.uniform(0.1, 3, (2, 5)), rng.normal(size=(STEPS, 2, 5))
    optim = torch.optim
    makers = {
        "adam": lambda p: optim.Adam(p, lr=0.05),
        "adam_other": lambda p: optim.Adam(p, lr=0.3, betas=(0.5, 0.9), eps=1e-4),
        "nadam": lambda p: optim.NAdam(p, lr=1.0),
        "momentum": lambda p: optim.SGD(p, lr=0.05, momentum=0.9),
        "descent": lambda p: optim.SGD(p, lr=0.05),
    }
    paths = {name: path(make, start, pull, gradients) for name, make in makers.items()}
    np.savez_compressed(
        Path(__file__).with_name("optimizers.npz"), start=start, pull=pull, gradients=gradients, **paths
    )


if __name__ == "__main__":
    main()
