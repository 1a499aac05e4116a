"""The networks of the benchmarks: ResNet-50, VGG-16 and MobileNetV2 at 224x224, with random but sane weights.

    python benchmarks/networks.py --cache /tmp/onnxlrp-bench        # writes one .onnx and one .pt for each

The architectures are the papers' (He et al. 2016 with the stride in the 3x3 convolution; Simonyan and Zisserman 2015;
Sandler et al. 2018). Weights come from a fixed seed (He initialisation), and BatchNorm statistics are calibrated on a
few synthetic images, so that activations stay of order one and relevance neither vanishes nor explodes.
"""

# mypy: disallow-subclassing-any=False

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import types
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from inputs import images

CLASSES, SEED = 1000, 0


def stub_torchvision() -> None:
    """Let zennit be imported without torchvision: it asks it only for the classes that its canonizers look for."""
    try:
        import torchvision  # noqa: F401
    except ImportError:
        wanted = {"models.resnet": ("Bottleneck", "BasicBlock"), "models": (), "ops": ("FrozenBatchNorm2d",), "": ()}
        for path, names in wanted.items():
            module = types.ModuleType(f"torchvision.{path}".rstrip("."))
            for name in names:
                setattr(module, name, type(name, (nn.Module,), {}))
            sys.modules[module.__name__] = module


class Sum(nn.Module):
    """A residual sum as a module, for zennit sees modules only; without gradients it is a plain addition."""

    def __init__(self) -> None:
        super().__init__()
        try:
            stub_torchvision()
            from zennit.layer import Sum as Visible

            self.visible = Visible(-1)
        except ImportError:
            self.visible = None

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """Return the block's result."""
        if self.visible is None or not torch.is_grad_enabled():
            return a + b
        total: torch.Tensor = self.visible(torch.stack([a, b], -1))
        return total


def conv_norm(cin: int, cout: int, size: int, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    """Return a convolution and its batch normalisation."""
    return [nn.Conv2d(cin, cout, size, stride, size // 2, groups=groups, bias=False), nn.BatchNorm2d(cout)]


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 with a shortcut; the stride is in the 3x3."""

    def __init__(self, cin: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv_norm(cin, width, 1)
        self.relu1 = nn.ReLU()
        self.conv2, self.bn2 = conv_norm(width, width, 3, stride)
        self.relu2 = nn.ReLU()
        self.conv3, self.bn3 = conv_norm(width, 4 * width, 1)
        shortcut = stride > 1 or cin != 4 * width
        self.downsample = nn.Sequential(*conv_norm(cin, 4 * width, 1, stride)) if shortcut else nn.Identity()
        self.sum, self.relu3 = Sum(), nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the block's result."""
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.relu2(self.bn2(self.conv2(y)))
        out: torch.Tensor = self.relu3(self.sum(self.bn3(self.conv3(y)), self.downsample(x)))
        return out


def resnet50() -> nn.Module:
    """Return ResNet-50 (He et al. 2016)."""
    stem = nn.Sequential(*conv_norm(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
    stages, cin = [], 64
    for width, blocks, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        made = []
        for i in range(blocks):
            made.append(Bottleneck(cin, width, stride if i == 0 else 1))
            cin = 4 * width
        stages.append(nn.Sequential(*made))
    return nn.Sequential(stem, *stages, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(cin, CLASSES))


def vgg16() -> nn.Module:
    """Return VGG-16 (Simonyan and Zisserman 2015)."""
    layers: list[nn.Module] = []
    cin = 3
    for width, convs in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(convs):
            layers += [nn.Conv2d(cin, width, 3, padding=1), nn.ReLU()]
            cin = width
        layers.append(nn.MaxPool2d(2))
    head = [nn.Linear(512 * 49, 4096), nn.ReLU(), nn.Linear(4096, 4096), nn.ReLU(), nn.Linear(4096, CLASSES)]
    return nn.Sequential(nn.Sequential(*layers), nn.Flatten(), nn.Sequential(*head))


class InvertedResidual(nn.Module):
    """Expand, depthwise, project; with a shortcut where the shapes agree."""

    def __init__(self, cin: int, cout: int, stride: int, expand: int) -> None:
        super().__init__()
        width = cin * expand
        wider = [*conv_norm(cin, width, 1), nn.ReLU6()] if expand > 1 else []
        self.conv = nn.Sequential(
            *wider, *conv_norm(width, width, 3, stride, width), nn.ReLU6(), *conv_norm(width, cout, 1)
        )
        self.sum = Sum() if stride == 1 and cin == cout else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the block's result."""
        y: torch.Tensor = self.conv(x)
        return y if self.sum is None else self.sum(y, x)


def mobilenetv2() -> nn.Module:
    """Return MobileNetV2 (Sandler et al. 2018)."""
    layers: list[nn.Module] = [*conv_norm(3, 32, 3, 2), nn.ReLU6()]
    cin = 32
    table = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    for expand, cout, repeats, stride in table:
        for i in range(repeats):
            layers.append(InvertedResidual(cin, cout, stride if i == 0 else 1, expand))
            cin = cout
    layers += [*conv_norm(cin, 1280, 1), nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, CLASSES)]
    return nn.Sequential(*layers)


NETWORKS: dict[str, Callable[[], nn.Module]] = {"resnet50": resnet50, "vgg16": vgg16, "mobilenetv2": mobilenetv2}


def build(name: str) -> nn.Module:
    """A network with its weights, in eval mode."""
    torch.manual_seed(SEED)
    model = NETWORKS[name]()
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_in", nonlinearity="relu")
            with torch.no_grad():  # filters of mean 0: else the biases, which cancel it, absorb all relevance
                module.weight -= module.weight.mean((1, 2, 3), keepdim=True)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=(2 / module.in_features) ** 0.5)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.7, 1.3)
            nn.init.normal_(module.bias, std=0.1)
            module.momentum = None  # the statistics are the mean over the calibration batches
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.normal_(module.bias, std=0.02)
    if any(isinstance(module, nn.BatchNorm2d) for module in model.modules()):
        model.train()
        with torch.no_grad():
            for seed in (101, 102):
                model(torch.from_numpy(images(8, seed)))
    return model.eval()


def export(name: str, directory: str | Path) -> tuple[nn.Module, Path]:
    """The torch model and its ONNX file (opset 17, free batch), made once and kept in `directory`."""
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    path, weights = folder / f"{name}.onnx", folder / f"{name}.pt"
    made = Path(__file__).stat().st_mtime
    if all(p.exists() and p.stat().st_mtime >= made for p in (path, weights)):
        model = NETWORKS[name]()
        model.load_state_dict(torch.load(weights))
        return model.eval(), path
    model = build(name)
    with torch.no_grad():
        part = path.with_suffix(".part")
        torch.onnx.export(
            model,
            (torch.from_numpy(images(2)),),
            str(part),
            dynamo=False,
            opset_version=17,
            input_names=["input"],
            output_names=["logits"],
            dynamic_axes={"input": {0: "N"}, "logits": {0: "N"}},
        )
    os.replace(part, path)
    torch.save(model.state_dict(), weights)
    return model, path


def default_cache() -> Path:
    """Return the folder of exported networks."""
    return Path(tempfile.gettempdir()) / "onnxlrp-bench"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--cache", type=Path, default=default_cache())
    for network in NETWORKS:
        print(export(network, parser.parse_args().cache)[1])
