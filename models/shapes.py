"""Train and export shapes.onnx: a residual network with batch normalisation on rendered scenes.

Run `python models/shapes.py`. Training takes some minutes on one processor core; torch is needed only here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from finish import HERE, SAMPLES, finish, logits, record, softmax
from numpy.typing import NDArray
from PIL import Image
from scenes import CLASSES, HELD_OUT, PREP, SIZE, draw, normalise, render
from torch import Tensor, nn
from torch.nn import functional as F

FILE = HERE / "shapes.onnx"
TRAIN, TEST, EPOCHS, BATCH = 12_000, 2_000, 7, 64
PEAK_RATE, SPARSITY = 2e-3, 0.05


class Add(nn.Module):
    """The residual sum as a module of its own, so that an attribution library can put a rule on it."""

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Add x and y."""
        return x + y


class Block(nn.Module):
    """Two 3×3 convolutions with batch normalisation beside a shortcut (He et al. 2016, the basic block)."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels != out:
            self.shortcut = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))
        self.add: nn.Module = Add()
        self.relu2 = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        out: Tensor = self.relu2(self.add(self.shortcut(x), y))
        return out


class Net(nn.Module):
    """Stem, five residual blocks down to 8×8, global average pooling, one linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.blocks = nn.Sequential(
            Block(16, 24, 2), Block(24, 48, 2), Block(48, 48, 1), Block(48, 64, 2), Block(64, 64, 1)
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.head = nn.Linear(64, len(CLASSES))

    def features(self, x: Tensor) -> Tensor:
        """The last feature map [N, 64, 8, 8]."""
        out: Tensor = self.blocks(self.stem(x))
        return out

    def forward(self, x: Tensor) -> Tensor:
        """Compute the logits."""
        out: Tensor = self.head(self.flatten(self.pool(self.features(x))))
        return out


def augment(x: Tensor) -> Tensor:
    """Apply one random symmetry of the square and one random order of the colour channels to the batch."""
    x = torch.rot90(x, int(torch.randint(4, ())), (2, 3))
    if torch.rand(()) < 0.5:
        x = x.flip(3)
    return x[:, torch.randperm(3)]


def train(net: Net, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
    """Train by AdamW with a one-cycle rate; an L1 penalty on the last feature map keeps it zero without a shape."""
    steps = EPOCHS * (len(images) // BATCH)
    optimiser = torch.optim.AdamW(net.parameters(), weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=PEAK_RATE, total_steps=steps, pct_start=0.2)
    net.train()
    start = time.time()
    for epoch in range(EPOCHS):
        order = np.random.default_rng(epoch).permutation(len(images))
        total = 0.0
        for i in range(0, len(order) - BATCH + 1, BATCH):
            pick = order[i : i + BATCH]
            x = augment(torch.from_numpy(normalise(images[pick]))).contiguous(memory_format=torch.channels_last)
            maps = net.features(x)
            scores = net.head(net.flatten(net.pool(maps)))
            loss = F.cross_entropy(scores, torch.from_numpy(labels[pick]), label_smoothing=0.02)
            optimiser.zero_grad()
            penalty = SPARSITY if epoch > 0 else 0.0  # from the start it would prevent learning
            torch.autograd.backward(loss + penalty * maps.mean())
            optimiser.step()
            schedule.step()
            total += float(loss.detach())
        mean = total / (len(order) // BATCH)
        print(f"epoch {epoch + 1}/{EPOCHS}  loss {mean:.4f}  {time.time() - start:.0f} s", flush=True)


def export(net: Net, file: Path) -> None:
    """Export by TorchScript at opset 17; `PRESERVE` keeps BatchNormalization nodes from being folded."""
    torch.onnx.export(
        net.eval(),
        (torch.zeros(1, 3, SIZE, SIZE),),
        str(file),
        dynamo=False,
        opset_version=17,
        input_names=["image"],
        output_names=["logits"],
        dynamic_axes={"image": {0: "batch"}, "logits": {0: "batch"}},
        training=torch.onnx.TrainingMode.PRESERVE,
        do_constant_folding=False,
    )
    finish(file, PREP)


def exported(net: Net, file: Path, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> dict[str, float]:
    """Measure the file on held-out images [N, 3, H, W], and its difference from the torch network."""
    x = normalise(images)
    with torch.no_grad():
        torch_logits = np.concatenate([net(torch.from_numpy(x[i : i + 64])).numpy() for i in range(0, len(x), 64)])
    onnx_logits = logits(file, x)
    return {
        "parameters": sum(p.numel() for p in net.parameters()),
        "training_scenes": TRAIN,
        "held_out_scenes": len(images),
        "held_out_accuracy": round(float((onnx_logits.argmax(1) == labels).mean()), 4),
        "torch_accuracy": round(float((torch_logits.argmax(1) == labels).mean()), 4),
        "largest_logit_difference": float(np.abs(onnx_logits - torch_logits).max()),
    }


def write_samples() -> None:
    """Write one held-out scene and its mask for each class: the first with a probability of 0.95 to 0.999."""
    SAMPLES.mkdir(exist_ok=True)
    wanted = set(range(len(CLASSES)))
    for seed in range(HELD_OUT, HELD_OUT + TEST):
        image, mask, label = render(seed)
        p = softmax(logits(FILE, normalise(image.transpose(2, 0, 1)[None])))[0, label]
        if label in wanted and 0.95 <= p <= 0.999:
            wanted.remove(label)
            Image.fromarray(image).save(SAMPLES / f"scene_{CLASSES[label]}.png", optimize=True)
            Image.fromarray(mask).save(SAMPLES / f"scene_{CLASSES[label]}_mask.png", optimize=True)
        if not wanted:
            return


def make(name: str, drawn: Callable[[int, int], tuple[NDArray[np.uint8], NDArray[np.int64]]]) -> None:
    """Train on the scenes of `drawn(first seed, count)`, export NAME.onnx and record its measurements."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    net, file = Net(), HERE / f"{name}.onnx"
    train(net, *drawn(0, TRAIN))
    export(net, file)
    record(name, **exported(net, file, *drawn(HELD_OUT, TEST)))


def main() -> None:
    """Train, export and measure, then write the samples."""
    make("shapes", draw)
    write_samples()


if __name__ == "__main__":
    main()
