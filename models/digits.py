"""Train and export digits.onnx: a small convolutional network on scikit-learn's handwritten digits.

Run `python models/digits.py`. Training takes about a minute on one processor core; torch is needed only here.
"""

from __future__ import annotations

import math
from collections import OrderedDict

import handwriting
import numpy as np
import onnx
import torch
import training
from finish import HERE, SAMPLES, Floats, finish, logits, record, softmax
from numpy.typing import NDArray
from onnx import numpy_helper
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn import functional as F

FILE = HERE / "digits.onnx"
SIZE = handwriting.SIZE
PREP = {
    "size": [SIZE, SIZE],
    "color": "grey",
    "scale": 1 / 255,
    "layout": "NCHW",
    "mean": [0.0],
    "std": [1.0],
    "resize": "stretch",
    "labels": [str(digit) for digit in range(10)],
}
EPOCHS, BATCH = 40, 64


def network() -> nn.Sequential:
    """Return three convolutions, two pools and two linear layers with ReLUs between: 1×28×28 to ten logits."""
    layers: list[tuple[str, nn.Module]] = [
        ("conv1", nn.Conv2d(1, 16, 3, padding=1)),
        ("relu1", nn.ReLU()),
        ("pool1", nn.MaxPool2d(2)),
        ("conv2", nn.Conv2d(16, 32, 3, padding=1)),
        ("relu2", nn.ReLU()),
        ("pool2", nn.MaxPool2d(2)),
        ("conv3", nn.Conv2d(32, 32, 3)),
        ("relu3", nn.ReLU()),
        ("flatten", nn.Flatten()),
        ("dense1", nn.Linear(32 * 5 * 5, 64)),
        ("relu4", nn.ReLU()),
        ("dense2", nn.Linear(64, 10)),
    ]
    return nn.Sequential(OrderedDict(layers))


def pictures() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return all 1797 digits as grey pictures [N, 28, 28], enlarged from 8×8, and their classes [N]."""
    data = load_digits()
    return handwriting.enlarged(data.images.astype(np.uint8)), data.target.astype(np.int64)


def split() -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64]]:
    """Return the training and held-out pictures [N, 28, 28], then the classes [N] of both."""
    images, labels = pictures()
    train_images, test_images, train_labels, test_labels = train_test_split(
        images, labels, test_size=0.2, random_state=0, stratify=labels
    )
    return train_images, test_images, train_labels, test_labels


def trained() -> nn.Sequential:
    """Return the network with the weights of the shipped file, frozen."""
    weights = {t.name: torch.from_numpy(numpy_helper.to_array(t).copy()) for t in onnx.load(FILE).graph.initializer}
    net = network()
    net.load_state_dict({name: weights[name] for name in net.state_dict()})
    return net.eval().requires_grad_(False)


def normalise(images: NDArray[np.uint8]) -> Floats:
    """Convert bytes [N, 28, 28] to the input of the network [N, 1, 28, 28], as `PREP` states it."""
    return (images[:, None] / np.float32(255)).astype(np.float32)


def augment(x: Tensor) -> Tensor:
    """Rotate every picture by up to 12 degrees, scale it by up to 10 % and shift it by up to two pixels."""
    n = len(x)
    angle = (torch.rand(n) * 2 - 1) * math.radians(12)
    scale = 1 + (torch.rand(n) * 2 - 1) * 0.1
    shift = (torch.rand(n, 2) * 2 - 1) * (2 * 2 / SIZE)
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    theta = torch.stack([cos, -sin, shift[:, 0], sin, cos, shift[:, 1]], dim=1).view(n, 2, 3)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, align_corners=False)


def train(net: nn.Module, x: Tensor, y: Tensor) -> None:
    """Minimise the cross-entropy on augmented pictures; smoothed labels keep probabilities below 1."""
    net.train()

    def loss(pick: Tensor) -> Tensor:
        return F.cross_entropy(net(augment(x[pick])), y[pick], label_smoothing=0.02)

    training.train(net.parameters(), loss, len(x), epochs=EPOCHS, batch=BATCH, weight_decay=0.05)


def export(net: nn.Module) -> None:
    """Export by torch.export at opset 18, with a symbolic batch."""
    torch.onnx.export(
        net.eval(),
        (torch.zeros(2, 1, SIZE, SIZE),),
        str(FILE),
        dynamo=True,
        external_data=False,
        opset_version=18,
        input_names=["image"],
        output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
    )
    finish(FILE, PREP)


def write_data() -> None:
    """Write all digits as they come, 8×8 with values 0..16, and which of them are held out."""
    data = load_digits()
    order = np.arange(len(data.target))
    _, held_out = train_test_split(order, test_size=0.2, random_state=0, stratify=data.target)
    held = np.isin(order, held_out)
    images, labels = data.images.astype(np.uint8), data.target.astype(np.uint8)
    np.savez_compressed(handwriting.FILE, images=images, labels=labels, held_out=held)


def write_samples(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
    """Write one held-out picture of each digit, classified correctly with a probability of 0.95 to 0.999."""
    SAMPLES.mkdir(exist_ok=True)
    p = softmax(logits(FILE, normalise(images)))
    ranking = np.argsort(-p, axis=1)
    for digit in range(10):
        good = np.flatnonzero((labels == digit) & (p[:, digit] >= 0.95) & (p[:, digit] <= 0.999))
        if digit == 7:  # a seven whose second class is nine makes the clearer example
            good = good[ranking[good, 1] == 9]
        Image.fromarray(images[good[0]]).save(SAMPLES / f"digit_{digit}.png", optimize=True)
        print(digit, [(int(k), round(float(p[good[0], k]), 4)) for k in ranking[good[0], :3]])


def main() -> None:
    """Train, export and measure, then write the samples."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    train_images, test_images, train_labels, test_labels = split()
    net = network()
    train(net, torch.from_numpy(normalise(train_images)), torch.from_numpy(train_labels))
    export(net)

    x = normalise(test_images)
    with torch.no_grad():
        torch_logits = net(torch.from_numpy(x)).numpy()
    onnx_logits = logits(FILE, x)
    record(
        "digits",
        parameters=sum(p.numel() for p in net.parameters()),
        training_pictures=len(train_images),
        held_out_pictures=len(test_images),
        held_out_accuracy=round(float((onnx_logits.argmax(1) == test_labels).mean()), 4),
        torch_accuracy=round(float((torch_logits.argmax(1) == test_labels).mean()), 4),
        largest_logit_difference=float(np.abs(onnx_logits - torch_logits).max()),
    )
    write_samples(test_images, test_labels)
    write_data()


if __name__ == "__main__":
    main()
