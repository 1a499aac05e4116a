"""Small torch networks, one for each family of image models; `twin` rewrites one into what zennit can see.

zennit attaches rules to modules alone. So what exported models do with functions (`a + b`, `x.mean`) stands here in
modules of its own (`Plus`, `Mean`), which `twin` replaces by the modules that zennit has rules for.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import Any

import numpy as np
import torch
from torch import nn


class Plus(nn.Module):
    """A residual addition, a plain `Add` in the file."""

    def forward(self, a: Any, b: Any) -> Any:
        return a + b


class Mean(nn.Module):
    """The mean over height and width, a `ReduceMean` in the file."""

    def forward(self, x: Any) -> Any:
        return x.mean((2, 3))


class Block(nn.Module):
    """ResNet's basic block."""

    def __init__(self, width: Any, out: Any, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.downsample = nn.Identity()
        if stride != 1 or width != out:
            self.downsample = nn.Sequential(nn.Conv2d(width, out, 1, stride, bias=False), nn.BatchNorm2d(out))
        self.plus = Plus()
        self.relu2 = nn.ReLU()

    def forward(self, x: Any) -> Any:
        y = self.bn2(self.conv2(self.relu1(self.bn1(self.conv1(x)))))
        return self.relu2(self.plus(y, self.downsample(x)))


class Inverted(nn.Module):
    """MobileNetV2's inverted residual: expand, depthwise, project, with no activation behind."""

    def __init__(self, width: Any, out: Any, stride: Any, expand: int = 2) -> None:
        super().__init__()
        inner = width * expand
        self.conv = nn.Sequential(
            *(nn.Conv2d(width, inner, 1, bias=False), nn.BatchNorm2d(inner), nn.ReLU6()),
            *(nn.Conv2d(inner, inner, 3, stride, 1, groups=inner, bias=False), nn.BatchNorm2d(inner), nn.ReLU6()),
            *(nn.Conv2d(inner, out, 1, bias=False), nn.BatchNorm2d(out)),
        )
        self.plus = Plus() if stride == 1 and width == out else None

    def forward(self, x: Any) -> Any:
        return self.conv(x) if self.plus is None else self.plus(x, self.conv(x))


class Fire(nn.Module):
    """SqueezeNet's fire module: a squeeze, two expansions, concatenated."""

    def __init__(self, width: Any, squeeze: Any, out: Any) -> None:
        super().__init__()
        self.squeeze, self.relu = nn.Conv2d(width, squeeze, 1), nn.ReLU()
        self.expand1, self.relu1 = nn.Conv2d(squeeze, out, 1), nn.ReLU()
        self.expand3, self.relu3 = nn.Conv2d(squeeze, out, 3, padding=1), nn.ReLU()

    def forward(self, x: Any) -> Any:
        x = self.relu(self.squeeze(x))
        return torch.cat([self.relu1(self.expand1(x)), self.relu3(self.expand3(x))], 1)


class Mixed(nn.Module):
    """An MLP-Mixer layer without its norms: over the tokens, then over the channels; linear layers of many rows."""

    def __init__(self, tokens: Any, width: Any) -> None:
        super().__init__()
        self.over_tokens = nn.Sequential(nn.Linear(tokens, 12), nn.ReLU(), nn.Linear(12, tokens))
        self.plus1 = Plus()
        self.over_channels = nn.Sequential(nn.Linear(width, 16), nn.ReLU(), nn.Linear(16, width))
        self.plus2 = Plus()

    def forward(self, x: Any) -> Any:
        x = self.plus1(x, self.over_tokens(x.transpose(1, 2)).transpose(1, 2))
        return self.plus2(x, self.over_channels(x))


class Tokens(nn.Module):
    """[N, C, H, W] to [N, H·W, C]."""

    def forward(self, x: Any) -> Any:
        return x.flatten(2).transpose(1, 2)


class Channels(nn.Module):
    """[N, L, C] to [N, C, L]."""

    def forward(self, x: Any) -> Any:
        return x.transpose(1, 2)


class Grown(nn.Module):
    """A DenseNet layer whose batch norm stands before its convolution, and can be folded into nothing."""

    def __init__(self, width: Any, growth: Any) -> None:
        super().__init__()
        self.norm, self.relu = nn.BatchNorm2d(width), nn.ReLU()
        self.conv = nn.Conv2d(width, growth, 3, padding=1, bias=False)

    def forward(self, x: Any) -> Any:
        return torch.cat([x, self.conv(self.relu(self.norm(x)))], 1)


def _sequence(**modules: Any) -> Any:
    return nn.Sequential(OrderedDict(modules))


def vgg() -> Any:
    features = nn.Sequential(
        *(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 12, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
    )
    head = nn.Sequential(nn.Linear(192, 20), nn.ReLU(), nn.Dropout(), nn.Linear(20, 10))
    return _sequence(features=features, flatten=nn.Flatten(), classifier=head)


def resnet() -> Any:
    return _sequence(
        conv1=nn.Conv2d(3, 8, 3, 1, 1, bias=False), bn1=nn.BatchNorm2d(8), relu=nn.ReLU(),
        layer1=nn.Sequential(Block(8, 8)), layer2=nn.Sequential(Block(8, 12, 2), Block(12, 12)),
        mean=Mean(), fc=nn.Linear(12, 10),
    )  # fmt: skip


def mobilenet() -> Any:
    stem = (nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6())
    head = (nn.Conv2d(12, 24, 1, bias=False), nn.BatchNorm2d(24), nn.ReLU6())
    blocks = (Inverted(8, 8, 1), Inverted(8, 12, 2))
    return _sequence(
        features=nn.Sequential(*stem, *blocks, *head),
        pool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), dropout=nn.Dropout(), classifier=nn.Linear(24, 10),
    )  # fmt: skip


def squeezenet() -> Any:
    features = nn.Sequential(
        *(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True)),
        *(Fire(8, 4, 6), Fire(12, 4, 8)),
    )
    head = nn.Sequential(nn.Dropout(), nn.Conv2d(16, 10, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    return _sequence(features=features, classifier=head, flatten=nn.Flatten())


def pooling() -> Any:
    """Every window that overlaps, is padded or hangs over the edge."""
    features = nn.Sequential(
        *(nn.Conv2d(2, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)),
        *(nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2, 2, ceil_mode=True)),
        *(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.AvgPool2d(3, 1, padding=1)),
        *(nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.AvgPool2d(3, 2, padding=1, count_include_pad=False)),
    )
    return _sequence(features=features, flatten=nn.Flatten(), classifier=nn.Linear(72, 10))


def signal() -> Any:
    """One dimension; dilated, grouped and strided."""
    features = nn.Sequential(
        *(nn.Conv1d(2, 8, 5, padding=2, bias=False), nn.BatchNorm1d(8), nn.ReLU(), nn.MaxPool1d(2)),
        *(nn.Conv1d(8, 12, 3, padding=2, dilation=2), nn.BatchNorm1d(12), nn.ReLU(), nn.AvgPool1d(2)),
        *(nn.Conv1d(12, 12, 3, stride=2, groups=3), nn.ReLU()),
    )
    return _sequence(features=features, flatten=nn.Flatten(), classifier=nn.Linear(84, 6))


def dense() -> Any:
    """Inputs of both signs in every layer, a batch norm behind a linear layer, a slope that float32 holds exactly."""
    return nn.Sequential(
        *(nn.Linear(40, 32), nn.Tanh(), nn.Linear(32, 24, bias=False), nn.BatchNorm1d(24), nn.Tanh()),
        *(nn.Linear(24, 16), nn.LeakyReLU(0.125), nn.Linear(16, 8)),
    )


def mixer() -> Any:
    """Linear layers on tokens: a MatMul and an Add in the file, whose bias belongs to the MatMul."""

    return _sequence(
        embed=nn.Conv2d(2, 10, 4, 4), relu=nn.ReLU(), tokens=Tokens(), mix1=Mixed(16, 10), mix2=Mixed(16, 10),
        relu2=nn.ReLU(), channels=Channels(), mean=nn.AdaptiveAvgPool1d(1), flatten=nn.Flatten(), fc=nn.Linear(10, 8),
    )  # fmt: skip


def densenet() -> Any:
    """Batch norms on the input, behind pooling and behind concatenation: none is folded, relevance passes them."""
    return _sequence(
        norm=nn.BatchNorm2d(2), conv=nn.Conv2d(2, 8, 5, 2, 2), relu=nn.ReLU(), pool=nn.MaxPool2d(3, 2, 1),
        grown1=Grown(8, 6), grown2=Grown(14, 6), norm2=nn.BatchNorm2d(20), relu2=nn.ReLU(),
        average=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), fc=nn.Linear(20, 10),
    )  # fmt: skip


def initialise(net: Any, x: Any, bias: float = 0.1) -> Any:
    """He weights, random biases and batch norms; the statistics are those of batches like `x`."""
    gain = 3 if any(isinstance(module, nn.ReLU6) for module in net.modules()) else 1  # some should reach the 6
    for module in net.modules():
        if isinstance(module, nn.modules.conv._ConvNd | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.normal_(module.bias, std=bias)
        elif isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = None  # a plain average over the batches
            nn.init.uniform_(module.weight, 0.5 * gain, 1.5 * gain)
            nn.init.normal_(module.bias, std=0.1)
    net.train()
    with torch.no_grad():
        for _ in range(4):
            net(x[torch.randperm(len(x))])
    return net.eval()


def twin(net: Any) -> Any:
    """The same function, in modules that zennit has rules for, with exact batch norms."""
    from zennit.layer import Sum

    class Added(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.sum = Sum()

        def forward(self, a: Any, b: Any) -> Any:
            return self.sum(torch.stack([a, b], -1))

    net = copy.deepcopy(net)
    for parent in list(net.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, Plus):
                setattr(parent, name, Added())
            elif isinstance(child, Mean):
                setattr(parent, name, nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()))
            elif isinstance(child, nn.modules.batchnorm._BatchNorm):
                # zennit's merge leaves eps in the batch norm that should be the identity afterwards. The file has it
                # in float32.
                child.running_var += float(np.float32(child.eps))
                child.eps = 0.0
    return net
