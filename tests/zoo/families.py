"""The families of image models, small: from transformers where it has them, else written here, all with ten classes.

Additions are modules (`Plus`), so that zennit sees them; what it cannot see stands in the families of `OURS_ALONE`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from golden.nets import Grown, Inverted, Plus

CLASSES = 10


def cbr(
    inner: Any, outer: Any, kernel: Any = 3, stride: int = 1, groups: int = 1, activation: Any = nn.ReLU, **options: Any
) -> Any:
    """Convolution, batch norm, activation."""
    options.setdefault("padding", kernel // 2 if isinstance(kernel, int) else tuple(k // 2 for k in kernel))
    conv = nn.Conv2d(inner, outer, kernel, stride, groups=groups, bias=False, **options)
    return nn.Sequential(conv, nn.BatchNorm2d(outer), activation() if activation else nn.Identity())


def head(width: Any) -> Any:
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, CLASSES))


class Parallel(nn.Module):
    """Branches over the same input, concatenated."""

    def __init__(self, *branches: Any) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Any) -> Any:
        return torch.cat([branch(x) for branch in self.branches], 1)


class Residual(nn.Module):
    """activation(body(x) + shortcut(x))."""

    def __init__(self, body: Any, shortcut: Any = None, activation: Any = nn.ReLU) -> None:
        super().__init__()
        self.body, self.shortcut, self.plus = body, shortcut or nn.Identity(), Plus()
        self.activation = activation() if activation else nn.Identity()

    def forward(self, x: Any) -> Any:
        return self.activation(self.plus(self.body(x), self.shortcut(x)))


class Gate(nn.Module):
    """Squeeze-and-excitation."""

    def __init__(self, width: Any, squeeze: int = 4, inner: Any = nn.ReLU, outer: Any = nn.Sigmoid) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.reduce, self.inner = nn.Conv2d(width, squeeze, 1), inner()
        self.expand, self.outer = nn.Conv2d(squeeze, width, 1), outer()

    def forward(self, x: Any) -> Any:
        return x * self.outer(self.expand(self.inner(self.reduce(self.pool(x)))))


def vgg() -> Any:
    layers, width = [], 3
    for outer in (8, 12, 16, 16):
        layers += [nn.Conv2d(width, outer, 3, padding=1), nn.ReLU(), nn.Conv2d(outer, outer, 3, padding=1), nn.ReLU()]
        layers, width = [*layers, nn.MaxPool2d(2)], outer
    dense = (nn.Linear(16 * 16, 32), nn.ReLU(), nn.Dropout(), nn.Linear(32, CLASSES))
    return nn.Sequential(nn.Sequential(*layers), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Sequential(*dense))


def alexnet() -> Any:
    features = nn.Sequential(
        *(nn.Conv2d(3, 12, 11, 4, 2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(12, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.Conv2d(16, 24, 3, padding=1), nn.ReLU(), nn.Conv2d(24, 16, 3, padding=1), nn.ReLU()),
    )
    dense = (nn.Linear(16 * 25, 24), nn.ReLU(), nn.Linear(24, CLASSES))
    return nn.Sequential(features, nn.Flatten(), nn.Dropout(), nn.Sequential(*dense))


def googlenet() -> Any:
    """Inception v1, with the local response normalisation of the original."""

    def inception(width: Any) -> Parallel:
        conv = partial(nn.Conv2d, padding=0)
        return Parallel(
            nn.Sequential(conv(width, 4, 1), nn.ReLU()),
            nn.Sequential(conv(width, 4, 1), nn.ReLU(), nn.Conv2d(4, 6, 3, padding=1), nn.ReLU()),
            nn.Sequential(conv(width, 2, 1), nn.ReLU(), nn.Conv2d(2, 4, 5, padding=2), nn.ReLU()),
            nn.Sequential(nn.MaxPool2d(3, 1, 1), conv(width, 4, 1), nn.ReLU()),
        )

    stem = (nn.Conv2d(3, 8, 7, 2, 3), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True), nn.LocalResponseNorm(5, 0.5))
    return nn.Sequential(
        *(*stem, nn.Conv2d(8, 12, 3, padding=1), nn.ReLU(), nn.LocalResponseNorm(5, 0.5)),
        *(inception(12), nn.MaxPool2d(3, 2, ceil_mode=True), inception(18), inception(18)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(), nn.Linear(18, CLASSES)),
    )


def inception() -> Any:
    """Inception v3: asymmetric kernels, average pooling that counts its padding, grid reduction."""
    mixed = Parallel(
        cbr(12, 6, 1), nn.Sequential(cbr(12, 4, 1), cbr(4, 6, (1, 7)), cbr(6, 6, (7, 1))),
        nn.Sequential(nn.AvgPool2d(3, 1, 1), cbr(12, 4, 1)),
    )  # fmt: skip
    smaller = Parallel(cbr(16, 8, 3, 2, padding=0), nn.Sequential(cbr(16, 6, 1), cbr(6, 8, 3, 2, padding=0)),
                       nn.MaxPool2d(3, 2))  # fmt: skip
    last = Parallel(cbr(32, 6, 1), nn.Sequential(cbr(32, 6, 1), Parallel(cbr(6, 6, (1, 3)), cbr(6, 6, (3, 1)))))
    stem = (cbr(3, 8, 3, 2, padding=0), cbr(8, 12, 3), nn.MaxPool2d(3, 2))
    return nn.Sequential(*stem, mixed, smaller, last, head(18))


def squeezenet() -> Any:
    def fire(width: Any, squeeze: Any, out: Any) -> Any:
        expand = (nn.Sequential(nn.Conv2d(squeeze, out, 1), nn.ReLU()),
                  nn.Sequential(nn.Conv2d(squeeze, out, 3, padding=1), nn.ReLU()))  # fmt: skip
        return nn.Sequential(nn.Conv2d(width, squeeze, 1), nn.ReLU(), Parallel(*expand))

    pool = partial(nn.MaxPool2d, 3, 2, ceil_mode=True)
    return nn.Sequential(
        *(nn.Conv2d(3, 12, 3, 2), nn.ReLU(), pool(), fire(12, 4, 8), fire(16, 4, 8), pool(), fire(16, 6, 12)),
        *(nn.Dropout(), nn.Conv2d(24, CLASSES, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    )


def _bottleneck(width: Any, inner: Any, outer: Any, stride: int = 1, groups: int = 1) -> Residual:
    body = (cbr(width, inner, 1), cbr(inner, inner, 3, stride, groups), cbr(inner, outer, 1, activation=None))
    shortcut = None if stride == 1 and width == outer else cbr(width, outer, 1, stride, activation=None)
    return Residual(nn.Sequential(*body), shortcut)


def _resnet(inner: Any, outer: Any, groups: int = 1) -> Any:
    stem = (cbr(3, 8, 7, 2), nn.MaxPool2d(3, 2, 1))
    blocks = (_bottleneck(8, inner, outer, 1, groups), _bottleneck(outer, inner, outer, 1, groups),
              _bottleneck(outer, 2 * inner, 2 * outer, 2, groups))  # fmt: skip
    return nn.Sequential(*stem, *blocks, head(2 * outer))


def resnet() -> Any:
    return _resnet(4, 16)


def resnext() -> Any:
    return _resnet(8, 16, groups=4)


def wide_resnet() -> Any:
    return _resnet(16, 16)


def densenet() -> Any:
    layers = [cbr(3, 8, 7, 2), nn.MaxPool2d(3, 2, 1)]
    width = 8
    for _ in range(2):
        for _ in range(3):
            layers.append(Grown(width, 4))
            width += 4
        layers += [nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, width // 2, 1, bias=False), nn.AvgPool2d(2)]
        width //= 2
    return nn.Sequential(*layers, nn.BatchNorm2d(width), nn.ReLU(), head(width))


def mobilenet_v1() -> Any:
    def separable(width: Any, outer: Any, stride: Any) -> Any:
        return nn.Sequential(cbr(width, width, 3, stride, width, nn.ReLU6), cbr(width, outer, 1, activation=nn.ReLU6))

    blocks = (separable(8, 12, 1), separable(12, 16, 2), separable(16, 16, 1), separable(16, 24, 2))
    return nn.Sequential(cbr(3, 8, 3, 2, activation=nn.ReLU6), *blocks, head(24))


def mobilenet_v2() -> Any:
    blocks = (Inverted(8, 8, 1), Inverted(8, 12, 2), Inverted(12, 12, 1), Inverted(12, 16, 2))
    ends = cbr(3, 8, 3, 2, activation=nn.ReLU6), cbr(16, 24, 1, activation=nn.ReLU6)
    return nn.Sequential(ends[0], *blocks, ends[1], head(24))


def _gated(width: Any, inner: Any, outer: Any, kernel: Any, stride: Any, activation: Any, gate: Any) -> Any:
    body = (cbr(width, inner, 1, activation=activation), cbr(inner, inner, kernel, stride, inner, activation),
            gate(inner) if gate else nn.Identity(), cbr(inner, outer, 1, activation=None))  # fmt: skip
    body = nn.Sequential(*body)
    return Residual(body, activation=None) if stride == 1 and width == outer else body


def mobilenet_v3() -> Any:
    gate = partial(Gate, outer=nn.Hardsigmoid)
    blocks = (_gated(8, 16, 8, 3, 1, nn.ReLU, gate), _gated(8, 24, 12, 3, 2, nn.ReLU, None),
              _gated(12, 32, 12, 5, 1, nn.Hardswish, gate), _gated(12, 32, 16, 5, 2, nn.Hardswish, gate))  # fmt: skip
    last = (cbr(16, 24, 1, activation=nn.Hardswish), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 32))
    return nn.Sequential(cbr(3, 8, 3, 2, activation=nn.Hardswish), *blocks, *last, nn.Hardswish(), nn.Linear(32, 10))


def efficientnet() -> Any:
    gate = partial(Gate, inner=nn.SiLU)
    blocks = (_gated(8, 8, 8, 3, 1, nn.SiLU, gate), _gated(8, 24, 12, 5, 2, nn.SiLU, gate),
              _gated(12, 36, 12, 5, 1, nn.SiLU, gate), _gated(12, 36, 16, 3, 2, nn.SiLU, gate))  # fmt: skip
    return nn.Sequential(cbr(3, 8, 3, 2, activation=nn.SiLU), *blocks, cbr(16, 32, 1, activation=nn.SiLU), head(32))


def mnasnet() -> Any:
    blocks = (_gated(8, 24, 12, 3, 2, nn.ReLU, None), _gated(12, 36, 12, 5, 1, nn.ReLU, None),
              _gated(12, 48, 16, 5, 2, nn.ReLU, Gate))  # fmt: skip
    return nn.Sequential(cbr(3, 8, 3, 2), cbr(8, 8, 3, 1, 8), *blocks, cbr(16, 32, 1), head(32))


class Shuffle(nn.Module):
    """ShuffleNet v2's block: half of the channels pass, and the halves are interleaved."""

    def __init__(self, width: Any, stride: Any) -> None:
        super().__init__()
        inner = width // 2 if stride == 1 else width
        self.branch = nn.Sequential(
            cbr(inner, inner, 1), cbr(inner, inner, 3, stride, inner, None), cbr(inner, inner, 1)
        )
        self.side = nn.Sequential(cbr(inner, inner, 3, stride, inner, None), cbr(inner, inner, 1))
        self.stride = stride

    def forward(self, x: Any) -> Any:
        left, right = x.chunk(2, 1) if self.stride == 1 else (self.side(x), x)
        y = torch.cat([left, self.branch(right)], 1)
        n, c, h, w = y.shape
        return y.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)


def shufflenet() -> Any:
    blocks = (Shuffle(8, 2), Shuffle(16, 1), Shuffle(16, 2), Shuffle(32, 1))
    return nn.Sequential(cbr(3, 8, 3, 2), nn.MaxPool2d(3, 2, 1), *blocks, cbr(32, 24, 1), Mean2(), nn.Linear(24, 10))


class Mean2(nn.Module):
    def forward(self, x: Any) -> Any:
        return x.mean([2, 3])


def xception() -> Any:
    def separable(width: Any, outer: Any) -> Any:
        return nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False),
            cbr(width, outer, 1, activation=None),
        )

    def block(width: Any, outer: Any) -> Residual:
        body = (separable(width, outer), nn.ReLU(), separable(outer, outer), nn.MaxPool2d(3, 2, 1))
        return Residual(nn.Sequential(*body), cbr(width, outer, 1, 2, activation=None), None)

    middle = Residual(nn.Sequential(nn.ReLU(), separable(16, 16), nn.ReLU(), separable(16, 16)), None, None)
    exits = (separable(16, 24), nn.ReLU())
    return nn.Sequential(
        cbr(3, 8, 3, 2, padding=0), cbr(8, 8, 3), block(8, 12), block(12, 16), middle, *exits, head(24)
    )


class UNet(nn.Module):
    """An encoder, a decoder by transposed convolution and by interpolation with skip connections, a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2, self.bottom = cbr(3, 8), cbr(8, 12), cbr(12, 16)
        self.pool, self.up = nn.MaxPool2d(2), nn.ConvTranspose2d(16, 12, 2, 2)
        self.join2, self.join1, self.head = cbr(24, 12), cbr(20, 8), head(8)

    def forward(self, x: Any) -> Any:
        a = self.down1(x)
        b = self.down2(self.pool(a))
        c = self.join2(torch.cat([self.up(self.bottom(self.pool(b))), b], 1))
        d = F.interpolate(c, scale_factor=2, mode="bilinear", align_corners=False)
        return self.head(self.join1(torch.cat([d, a], 1)))


class Logits(nn.Module):
    """A model of transformers that gives the logits alone."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Any) -> Any:
        return self.model(x).logits


def _hugging(family: Any, attention: str = "eager", **config: Any) -> Callable[..., Any]:
    def build() -> Logits:
        import transformers

        made = getattr(transformers, f"{family}Config")(num_labels=CLASSES, **config)
        if hasattr(made, "_attn_implementation"):
            made._attn_implementation = attention
        return Logits(getattr(transformers, f"{family}ForImageClassification")(made))

    return build


_STAGES: dict[str, Any] = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 2, 1]}
_TOKENS: dict[str, Any] = {"image_size": 64, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
# Families whose functions zennit cannot see.
OURS_ALONE = {
    "googlenet": googlenet,
    "mobilenet_v3": mobilenet_v3,
    "efficientnet": efficientnet,
    "mnasnet": mnasnet,
    "shufflenet": shufflenet,
    "unet": UNet,
    "regnet": _hugging("RegNet", embedding_size=8, groups_width=8, layer_type="y", **_STAGES),
    "bit": _hugging("Bit", embedding_size=16, hidden_sizes=[32, 32, 64, 64], depths=[1] * 4, num_groups=4),
    "convnext": _hugging("ConvNext", hidden_sizes=[8, 12, 12, 16], depths=[1, 1, 1, 1]),
    "convnext_v2": _hugging("ConvNextV2", **_STAGES),
    "poolformer": _hugging("PoolFormer", hidden_sizes=[8, 16, 24, 32], depths=[1, 1, 1, 1]),
    "focalnet": _hugging("FocalNet", image_size=64, embed_dim=8, depths=[1, 1, 1, 1]),
    "levit": _hugging("Levit", image_size=64, hidden_sizes=[16, 24, 32], num_attention_heads=[2, 3, 4],
                      depths=[1, 1, 1], key_dim=[8, 8, 8]),
    "mobilevit": _hugging("MobileViT", image_size=64, hidden_sizes=[16, 20, 24],
                          neck_hidden_sizes=[8, 8, 12, 16, 20, 24, 64]),
    "mobilevit_v2": _hugging("MobileViTV2", image_size=64, width_multiplier=0.25),
    "segformer": _hugging("Segformer", hidden_sizes=[8, 16, 24, 32], depths=[1] * 4, num_attention_heads=[1, 2, 3, 4]),
    "vit": _hugging("ViT", intermediate_size=64, patch_size=16, **_TOKENS),
    "deit": _hugging("DeiT", intermediate_size=64, patch_size=16, **_TOKENS),
    "dinov2": _hugging("Dinov2", attention="sdpa", patch_size=16, **_TOKENS),
    "swin": _hugging("Swin", image_size=64, embed_dim=16, depths=[2, 2], num_heads=[2, 4], window_size=4),
}  # fmt: skip
# Families that zennit explains, and whether its canonizer folds their batch norms.
ZENNIT = {
    "vgg": (vgg, True),
    "alexnet": (alexnet, True),
    "resnet": (resnet, True),
    "resnext": (resnext, True),
    "wide_resnet": (wide_resnet, True),
    "densenet": (densenet, False),
    "inception": (inception, True),
    "squeezenet": (squeezenet, True),
    "mobilenet_v1": (mobilenet_v1, True),
    "mobilenet_v2": (mobilenet_v2, True),
    "xception": (xception, True),
}
FAMILIES = {name: make for name, (make, _) in ZENNIT.items()} | OURS_ALONE
SIZE = {"alexnet": 96, "googlenet": 96, "inception": 96}


def shape(family: Any) -> tuple[int, Any, Any]:
    side = SIZE.get(family, 64)
    return (3, side, side)
