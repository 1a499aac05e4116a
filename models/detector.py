"""Train and export detector.onnx: boxes of two shapes in a scene, in the layout of YOLO v8.

Run `python models/detector.py`. Training takes some minutes on one processor core; torch is needed only here.
"""

from __future__ import annotations

import numpy as np
import torch
from finish import HERE, SAMPLES, logits, record
from numpy.typing import NDArray
from pairs import HEATMAPS, TEST, block, energy, learn, scenes, share_of_area
from PIL import Image
from scenes import CLASSES, HELD_OUT, SIZE, normalise, render_pair
from torch import Tensor, nn
from torch.nn import functional as F

FILE = HERE / "detector.onnx"
EPOCHS = 12
STRIDE = 8
CELLS = SIZE // STRIDE
RIGHT = 0.5  # intersection over union of a box that is found


class Net(nn.Module):
    """Three strides of 2 to cells of 8×8 pixels, then a box and a score for each class in every cell."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            block(3, 16), block(16, 24, 2), block(24, 32, 2), block(32, 40, 2), block(40, 40), block(40, 32, 1, 2)
        )
        self.box = nn.Conv2d(32, 4, 1)
        self.classes = nn.Conv2d(32, len(CLASSES), 1)
        nn.init.constant_(self.classes.bias, -4.0)  # most cells hold no centre
        y, x = torch.meshgrid(torch.arange(CELLS), torch.arange(CELLS), indexing="ij")
        self.register_buffer("grid", torch.stack([x, y]).reshape(1, 2, -1).float())

    def forward(self, image: Tensor) -> Tensor:
        """Compute [N, 4 + 6, 64]: centre x and y, width and height in pixels, probabilities of the classes."""
        features = self.body(image)
        raw = torch.sigmoid(self.box(features).flatten(2))
        centre = (raw[:, :2] + self.grid) * STRIDE
        size = raw[:, 2:] * (SIZE / 2)
        return torch.cat([torch.cat([centre, size], 1), torch.sigmoid(self.classes(features).flatten(2))], 1)


def boxes(masks: Tensor) -> Tensor:
    """Centre x and y, width and height of masks [n, 2, H, W], in pixels [n, 2, 4]."""
    found = []
    for axis in (3, 2):
        some = masks.any(dim=5 - axis)
        places = torch.arange(masks.shape[axis])
        low = torch.where(some, places, SIZE).amin(dim=2)
        high = torch.where(some, places, -1).amax(dim=2) + 1
        found.append((low, high))
    (x0, x1), (y0, y1) = found
    return torch.stack([(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0], dim=2).float()


def loss_of(out: Tensor, masks: Tensor, labels: Tensor) -> Tensor:
    """Cross entropy of all scores, that of centres with a weight, and L1 of the boxes at centres."""
    wanted = boxes(masks)
    cells = (wanted[..., 1] // STRIDE * CELLS + wanted[..., 0] // STRIDE).long()
    rows = torch.arange(len(out))[:, None].expand_as(cells)
    hot = torch.zeros_like(out[:, 4:])
    hot[rows, labels, cells] = 1
    scores = out[:, 4:].clamp(1e-6, 1 - 1e-6)
    own = F.binary_cross_entropy(scores, hot, reduction="none")
    focus = torch.where(hot > 0, (1 - scores) ** 1.5 * 4, scores**1.5)
    placed = out[:, :4].transpose(1, 2)[rows, cells]
    return (own * focus.detach()).sum() / len(out) + 0.1 * F.l1_loss(placed, wanted, reduction="sum") / len(out)


def found(out: NDArray[np.float32], masks: NDArray[np.bool_], labels: NDArray[np.int64]) -> float:
    """The share of shapes whose class has a best box that overlaps the true one."""
    true = boxes(torch.from_numpy(masks)).numpy()
    right = []
    for one, wanted, classes in zip(out, true, labels, strict=True):
        for box, k in zip(wanted, classes, strict=True):
            at = int(one[4 + k].argmax())
            right.append(one[4 + k, at] > 0.25 and overlap(one[:4, at], box) >= RIGHT)
    return round(float(np.mean(right)), 4)


def overlap(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Intersection over union of two boxes, each by centre and size."""
    low, high = (pick([c[:2] + s * c[2:] / 2 for c in (a, b)], axis=0) for pick, s in ((np.max, -1), (np.min, 1)))
    shared = float(np.prod(np.maximum(high - low, 0)))
    return shared / float(a[2] * a[3] + b[2] * b[3] - shared)


def target(mask: NDArray[np.bool_], k: int) -> str:
    """The target of a shape: its class at the best box that covers its centre."""
    x, y, *_ = boxes(torch.from_numpy(mask)[None, None])[0, 0].tolist()
    return f"box@{int(y)},{int(x)}:{k}"


def measure() -> None:
    """Measure the file on held-out scenes: boxes that are found, and where heatmaps for them lie."""
    data = scenes(HELD_OUT, TEST)
    images, masks, labels = data[0][:HEATMAPS], data[1][:HEATMAPS], data[2][:HEATMAPS]
    record(
        "detector",
        held_out_scenes=TEST,
        shapes_found=found(logits(FILE, normalise(data[0])), *data[1:]),
        mask_share_of_area=share_of_area(masks),
        energy=energy(FILE, (images, masks, labels), target),
    )


def main() -> None:
    """Train and export, compare with torch, measure, then write a sample."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    trained, difference = learn(Net(), FILE, loss_of, EPOCHS, "output0", CLASSES)
    record("detector", **trained, largest_difference=difference)
    measure()
    image, _, labels = render_pair(HELD_OUT + 3)
    name = "_".join(CLASSES[k] for k in labels)
    Image.fromarray(image).save(SAMPLES / f"pair_{name}.png", optimize=True)


if __name__ == "__main__":
    main()
