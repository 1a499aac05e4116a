"""Train and export digits_generator.onnx: from codes, values of the layer relu4 of digits.onnx, to digits.

Run `python models/digits_generator.py`. Training takes about two minutes on one processor core; torch is needed only
here. As a prior of preferred inputs (Nguyen et al., Synthesizing the preferred inputs for neurons in neural networks
via deep generator networks, NeurIPS 2016) it must give digits for any code. So the code passes a waist of a few values
with the noise of a variational autoencoder, and pictures are compared in pixels and in the layer.
"""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import torch
import training
from digits import BATCH, augment, normalise, split, trained
from finish import HERE, export_decoder, logits, record
from torch import Tensor, nn
from torch.nn import functional as F

FILE = HERE / "digits_generator.onnx"
LAYER = "relu4"
CODE, WAIST = 64, 8
EPOCHS = 80
KL = 0.02  # the weight of the divergence of the waist from a normal distribution, a nat against a squared pixel


def waist() -> nn.Sequential:
    """Return the network from codes [N, 64] to the waist [N, 8]."""
    layers: list[tuple[str, nn.Module]] = [
        ("dense1", nn.Linear(CODE, 64)),
        ("relu1", nn.ReLU()),
        ("dense2", nn.Linear(64, WAIST)),
        ("clip", nn.Hardtanh(-2.5, 2.5)),
    ]
    return nn.Sequential(OrderedDict(layers))


def painter() -> nn.Sequential:
    """Return the network from the waist [N, 8] to pictures [N, 1, 28, 28] in [0, 1]."""
    layers: list[tuple[str, nn.Module]] = [
        ("dense3", nn.Linear(WAIST, 32 * 7 * 7)),
        ("relu3", nn.ReLU()),
        ("maps", nn.Unflatten(1, (32, 7, 7))),
        ("up4", nn.ConvTranspose2d(32, 32, 4, stride=2, padding=1)),
        ("relu4", nn.ReLU()),
        ("up5", nn.ConvTranspose2d(32, 16, 4, stride=2, padding=1)),
        ("relu5", nn.ReLU()),
        ("conv6", nn.Conv2d(16, 1, 3, padding=1)),
        ("sigmoid", nn.Sigmoid()),
    ]
    return nn.Sequential(OrderedDict(layers))


def train(first: nn.Module, second: nn.Module, encoder: nn.Module, x: Tensor) -> None:
    """Minimise the squared error in pixels and in the layer, and the divergence of the noisy waist."""
    spread = nn.Parameter(torch.full((WAIST,), -2.0))
    scale = encoder(x).square().sum(1).mean()

    def loss(pick: Tensor) -> Tensor:
        picture = augment(x[pick])
        code = encoder(picture)
        mean = first(code)
        painted = second(mean + spread.exp() * torch.randn_like(mean))
        pixels = F.mse_loss(painted, picture, reduction="none").flatten(1).sum(1).mean()
        layer = F.mse_loss(encoder(painted), code, reduction="none").sum(1).mean() / scale
        divergence = 0.5 * (mean.square() + (2 * spread).exp() - 2 * spread - 1).sum(1).mean()
        return pixels + 10 * layer + KL * divergence

    parameters = [*first.parameters(), *second.parameters(), spread]
    training.train(parameters, loss, len(x), epochs=EPOCHS, batch=BATCH, weight_decay=1e-3)


def main() -> None:
    """Train, export, and measure on held-out digits: the error in pixels, and how many keep their class."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    train_images, test_images, _, test_labels = split()
    whole = trained()
    encoder = whole[: list(dict(whole.named_children())).index(LAYER) + 1]
    x, held_out = normalise(train_images), normalise(test_images)
    first, second = waist(), painter()
    train(first, second, encoder, torch.from_numpy(x))
    net = nn.Sequential(OrderedDict([*first.named_children(), *second.named_children()])).eval()
    codes = encoder(torch.from_numpy(held_out))
    export_decoder(net, FILE, codes[:2], "code", LAYER)

    painted = logits(FILE, codes.numpy())
    classes = whole(torch.from_numpy(painted)).numpy().argmax(1)
    record(
        "digits_generator",
        parameters=sum(p.numel() for p in net.parameters()),
        layer=LAYER,
        held_out_pictures=len(held_out),
        mean_squared_error=round(float(np.square(painted - held_out).mean()), 6),
        mean_squared_error_of_the_mean_picture=round(float(np.square(x.mean(axis=0) - held_out).mean()), 6),
        class_kept=round(float((classes == test_labels).mean()), 4),
        largest_difference=float(np.abs(painted - net(codes).detach().numpy()).max()),
    )


if __name__ == "__main__":
    main()
