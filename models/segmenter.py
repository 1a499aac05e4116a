"""Train and export segmenter.onnx: the class of every pixel of scenes with two shapes.

Run `python models/segmenter.py`. Training takes some minutes on one processor core; torch is needed only here.
"""

from __future__ import annotations

import numpy as np
import torch
from finish import HERE, logits, record
from numpy.typing import NDArray
from pairs import HEATMAPS, TEST, block, energy, learn, scenes, share_of_area
from scenes import CLASSES, HELD_OUT, normalise
from torch import Tensor, nn
from torch.nn import functional as F

FILE = HERE / "segmenter.onnx"
EPOCHS = 12
LABELS = ("background", *CLASSES)


class Net(nn.Module):
    """A U of two strides: what a pixel belongs to is told at a quarter of the size, where it ends at half of it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(block(3, 12), block(12, 20, 2))
        self.inner = nn.Sequential(block(20, 32, 2), block(32, 32), block(32, 32, 1, 2), block(32, 32, 1, 2))
        self.up = nn.Upsample(scale_factor=2, mode="nearest")
        self.join = block(32 + 20, 16)
        self.head = nn.Conv2d(16, len(LABELS), 1)

    def forward(self, image: Tensor) -> Tensor:
        """Compute the logits [N, 7, 64, 64]."""
        half = self.stem(image)
        joined = self.join(torch.cat([self.up(self.inner(half)), half], 1))
        out: Tensor = self.up(self.head(joined))
        return out


def classes_of(masks: NDArray[np.bool_], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """The class of every pixel [n, H, W] of masks [n, 2, H, W], 0 for the background."""
    first, second = (masks[:, n] * (1 + labels[:, n, None, None]) for n in (0, 1))
    return np.asarray(np.where(masks[:, 1], second, first), np.int64)


def loss_of(out: Tensor, masks: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of the pixels, with less weight of the background."""
    weight = torch.ones(len(LABELS))
    weight[0] = 0.3
    return F.cross_entropy(out, torch.from_numpy(classes_of(masks.numpy(), labels.numpy())), weight)


def target(mask: NDArray[np.bool_], k: int) -> str:
    """The target of a shape: its class where it is predicted."""
    return f"{1 + k}@predicted"


def measure() -> None:
    """Measure the file on held-out scenes: its pixels, and where heatmaps for a shape lie."""
    data = scenes(HELD_OUT, TEST)
    best, true = logits(FILE, normalise(data[0])).argmax(axis=1), classes_of(*data[1:])
    overlaps = [((best == k) & (true == k)).sum() / ((best == k) | (true == k)).sum() for k in range(len(LABELS))]
    images, masks, labels = data[0][:HEATMAPS], data[1][:HEATMAPS], data[2][:HEATMAPS]
    record(
        "segmenter",
        held_out_scenes=TEST,
        pixel_accuracy=round(float((best == true).mean()), 4),
        mean_intersection_over_union=round(float(np.mean(overlaps)), 4),
        mask_share_of_area=share_of_area(masks),
        energy=energy(FILE, (images, masks, labels), target),
    )


def main() -> None:
    """Train and export, compare with torch, and measure."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    trained, difference = learn(Net(), FILE, loss_of, EPOCHS, "logits", LABELS)
    record("segmenter", **trained, largest_logit_difference=difference)
    measure()


if __name__ == "__main__":
    main()
