"""What segmenter.py and detector.py share: their scenes, their training, and the energy of heatmaps in shapes.

Both learn from scenes with two shapes of different classes, so that a heatmap for one of them can be wrong by lying on
the other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from finish import finish, logits
from numpy.typing import NDArray
from scenes import HELD_OUT, PREP, SIZE, normalise, render_pair
from torch import Tensor, nn

TRAIN, TEST, BATCH = 4000, 500, 32
PEAK_RATE = 4e-3
HEATMAPS = 50
METHODS = ("epsilon_plus_flat", "gradient_x_input")

# What errors say where the network does not find a shape.
NOT_FOUND = ("covers the point", "is predicted as")

Scenes = tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.int64]]


def scenes(first: int, count: int) -> Scenes:
    """Render `count` scenes from seed `first` on: images [N, 3, H, W], masks [N, 2, H, W], classes [N, 2]."""
    drawn = [render_pair(seed) for seed in range(first, first + count)]
    return (
        np.stack([image.transpose(2, 0, 1) for image, _, _ in drawn]),
        np.stack([masks for _, masks, _ in drawn]),
        np.stack([labels for _, _, labels in drawn]),
    )


def block(channels: int, out: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """A 3×3 convolution with batch normalisation and a ReLU."""
    conv = nn.Conv2d(channels, out, 3, stride, padding=dilation, dilation=dilation, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out), nn.ReLU())


def train(net: nn.Module, data: Scenes, loss_of: Callable[[Tensor, Tensor, Tensor], Tensor], epochs: int) -> None:
    """Train by AdamW with a one-cycle rate, on random symmetries of the square and orders of the colour channels.

    Args:
        net: The network.
        data: Scenes.
        loss_of: The loss of what the network gives, of masks [n, 2, H, W] and classes [n, 2].
        epochs: How often each scene is seen.
    """
    images, masks, labels = data
    steps = epochs * (len(images) // BATCH)
    optimiser = torch.optim.AdamW(net.parameters(), weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=PEAK_RATE, total_steps=steps, pct_start=0.2)
    net.train()
    start = time.time()
    for epoch in range(epochs):
        order, total = np.random.default_rng(epoch).permutation(len(images)), 0.0
        for i in range(0, len(order) - BATCH + 1, BATCH):
            pick = order[i : i + BATCH]
            x, m = torch.from_numpy(normalise(images[pick])), torch.from_numpy(masks[pick])
            turns, flip = int(torch.randint(4, ())), bool(torch.rand(()) < 0.5)
            x, m = (torch.rot90(t, turns, (2, 3)) for t in (x, m))
            x, m = (t.flip(3) if flip else t for t in (x, m))
            loss = loss_of(net(x[:, torch.randperm(3)].contiguous()), m, torch.from_numpy(labels[pick]))
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
            schedule.step()
            total += float(loss.detach())
        mean = total / (len(order) // BATCH)
        print(f"epoch {epoch + 1}/{epochs}  loss {mean:.4f}  {time.time() - start:.0f} s", flush=True)
    net.eval()


def export(net: nn.Module, file: Path, output: str, labels: Sequence[str]) -> None:
    """Export by TorchScript at opset 17, with a batch of any size."""
    torch.onnx.export(
        net.eval(),
        (torch.zeros(1, 3, SIZE, SIZE),),
        str(file),
        dynamo=False,
        opset_version=17,
        input_names=["image"],
        output_names=[output],
        dynamic_axes={"image": {0: "batch"}, output: {0: "batch"}},
    )
    finish(file, {**PREP, "labels": list(labels)})


def learn(
    net: nn.Module,
    file: Path,
    loss_of: Callable[[Tensor, Tensor, Tensor], Tensor],
    epochs: int,
    output: str,
    labels: Sequence[str],
) -> tuple[dict[str, int], float]:
    """Train a network and export it.

    Args:
        net: The network.
        file: The file to write.
        loss_of: As of `train`.
        epochs: As of `train`.
        output: The name of the output.
        labels: The names of the classes.

    Returns:
        What was trained, and the largest difference between the file and torch on held-out scenes.
    """
    train(net, scenes(0, TRAIN), loss_of, epochs)
    export(net, file, output, labels)
    x = normalise(scenes(HELD_OUT, BATCH)[0])
    with torch.no_grad():
        own = net(torch.from_numpy(x)).numpy()
    trained = {"parameters": sum(p.numel() for p in net.parameters()), "training_scenes": TRAIN, "epochs": epochs}
    return trained, float(np.abs(logits(file, x) - own).max())


def energy(file: Path, data: Scenes, target: Callable[[NDArray[np.bool_], int], str], **more: Any) -> dict[str, Any]:
    """Measure which share of Σ|R| lies in the shape that is explained, and which in the other shape of the scene.

    Args:
        file: The model.
        data: Held-out scenes.
        target: The target of a shape, by its mask [H, W] and its class.
        **more: What else `explain` is asked.

    Returns:
        By method the means over both shapes of the scenes that have the target, with their number.
    """
    import onnxlrp

    model = onnxlrp.load(file)
    images, masks, labels = data
    found: dict[str, Any] = {}
    for method in METHODS:
        own, other, count = [], [], 0
        for x, pair, classes in zip(normalise(images), masks, labels, strict=True):
            for n in (0, 1):
                try:
                    one = model.explain(x[np.newaxis], target(pair[n], int(classes[n])), method, **more)
                except onnxlrp.OnnxLrpError as error:
                    if not any(word in error.message for word in NOT_FOUND):
                        raise
                    continue
                heat = np.abs(one.kind.summed(one.relevance)[0])
                own.append((heat * pair[n]).sum() / heat.sum())
                other.append((heat * pair[1 - n]).sum() / heat.sum())
                count += 1
        found[method] = {
            "in_the_shape": round(float(np.mean(own)), 4),
            "in_the_other": round(float(np.mean(other)), 4),
            "shapes": count,
        }
    return found


def share_of_area(masks: NDArray[np.bool_]) -> float:
    """The mean share of the area that one shape has."""
    return round(float(masks.mean()), 4)
