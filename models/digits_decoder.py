"""Train and export digits_decoder.onnx: from the layer relu3 of digits.onnx back to the picture.

Run `python models/digits_decoder.py`. Training takes about three minutes on one processor core; torch is needed only
here. The decoder is up-convolutional and learns the mean picture of all that have the same features, by squared error
in pixels (Dosovitskiy and Brox, Inverting visual representations with convolutional networks, CVPR 2016).
"""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import torch
import training
from digits import BATCH, augment, normalise, split, trained
from finish import HERE, export_decoder, logits, record
from torch import Tensor, nn

FILE = HERE / "digits_decoder.onnx"
LAYER = "relu3"
EPOCHS = 60


def network() -> nn.Sequential:
    """Return four up-convolutions with ReLUs between: 32×5×5 features to a 1×28×28 picture in [0, 1]."""
    layers: list[tuple[str, nn.Module]] = [
        ("up1", nn.ConvTranspose2d(32, 48, 3)),
        ("relu1", nn.ReLU()),
        ("up2", nn.ConvTranspose2d(48, 32, 4, stride=2, padding=1)),
        ("relu2", nn.ReLU()),
        ("up3", nn.ConvTranspose2d(32, 16, 4, stride=2, padding=1)),
        ("relu3", nn.ReLU()),
        ("conv4", nn.Conv2d(16, 1, 3, padding=1)),
        ("sigmoid", nn.Sigmoid()),
    ]
    return nn.Sequential(OrderedDict(layers))


def train(net: nn.Module, encoder: nn.Module, x: Tensor) -> None:
    """Minimise the squared error of the decoded picture, on pictures that are turned, zoomed and shifted."""

    def loss(pick: Tensor) -> Tensor:
        picture = augment(x[pick])
        return (net(encoder(picture)) - picture).square().mean()

    training.train(net.parameters(), loss, len(x), epochs=EPOCHS, batch=BATCH, weight_decay=1e-3)


def main() -> None:
    """Train, export, and compare the error in held-out pixels with that of the mean training picture."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    train_images, test_images, _, _ = split()
    whole = trained()
    encoder = whole[: list(dict(whole.named_children())).index(LAYER) + 1]
    x, held_out = normalise(train_images), normalise(test_images)
    net = network()
    train(net, encoder, torch.from_numpy(x))
    features = encoder(torch.from_numpy(held_out))
    export_decoder(net.eval(), FILE, features[:2], "features", LAYER)

    decoded = logits(FILE, features.numpy())
    record(
        "digits_decoder",
        parameters=sum(p.numel() for p in net.parameters()),
        layer=LAYER,
        held_out_pictures=len(held_out),
        mean_squared_error=round(float(np.square(decoded - held_out).mean()), 6),
        mean_squared_error_of_the_mean_picture=round(float(np.square(x.mean(axis=0) - held_out).mean()), 6),
        largest_difference=float(np.abs(decoded - net(features).detach().numpy()).max()),
    )


if __name__ == "__main__":
    main()
