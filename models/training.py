"""The training loop that scripts share."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn


def train(
    parameters: Iterable[nn.Parameter],
    loss: Callable[[Tensor], Tensor],
    count: int,
    *,
    epochs: int,
    batch: int,
    weight_decay: float,
) -> None:
    """Minimise a loss by AdamW with a one-cycle rate that peaks at 4e-3, over whole batches in random order.

    Args:
        parameters: The parameters to train.
        loss: A function from the indices of the pictures of a batch [batch] to the batch's loss [].
        count: The number of pictures.
        epochs: How often each picture is seen.
        batch: The number of pictures in a batch; what is left over in an epoch is left out of it.
        weight_decay: The decay of AdamW.
    """
    optimiser = torch.optim.AdamW(parameters, weight_decay=weight_decay)
    steps = epochs * (count // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=4e-3, total_steps=steps)
    for _ in range(epochs):
        for pick in torch.randperm(count)[: count // batch * batch].view(-1, batch):
            value = loss(pick)
            optimiser.zero_grad()
            torch.autograd.backward(value)
            optimiser.step()
            schedule.step()
