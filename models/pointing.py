"""Measure with zennit whether heatmaps of shapes.onnx hit the shape: the pointing game and the energy in the mask.

Run `python models/pointing.py` after shapes.py; zennit and torch are needed only here. EpsilonPlusFlat with batch
normalisation merged into the convolutions, seeded with the true class's logit, summed over colour channels.
"""

from __future__ import annotations

import importlib.util
import sys
import types

import numpy as np
import onnx
import torch
from finish import Floats, record
from onnx import numpy_helper
from scenes import HELD_OUT, normalise, render
from shapes import FILE, Block, Net
from torch import Tensor, nn

SCENES = 200


def stub_torchvision() -> None:
    """Provide empty classes in place of torchvision, of which zennit needs only the names."""
    if importlib.util.find_spec("torchvision"):
        return
    names = {"torchvision.models.resnet": ("Bottleneck", "BasicBlock"), "torchvision.ops": ("FrozenBatchNorm2d",)}
    for module in ("torchvision", "torchvision.models", *names):
        sys.modules[module] = types.ModuleType(module)
        for name in names.get(module, ()):
            setattr(sys.modules[module], name, type(name, (nn.Module,), {}))


stub_torchvision()

from zennit.attribution import Gradient  # noqa: E402
from zennit.canonizers import SequentialMergeBatchNorm  # noqa: E402
from zennit.composites import EpsilonPlusFlat  # noqa: E402
from zennit.layer import Sum  # noqa: E402


class ZennitAdd(nn.Module):
    """The residual sum in the form that zennit has a rule for."""

    def __init__(self) -> None:
        super().__init__()
        self.sum = Sum()

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Add x and y."""
        out: Tensor = self.sum(torch.stack([x, y], dim=-1))
        return out


def load() -> Net:
    """Load the network with the weights of the ONNX file, ready for zennit."""
    graph = onnx.load(FILE).graph
    stored = {tensor.name: torch.tensor(numpy_helper.to_array(tensor)) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Identity":
            # A shortcut's bias gets its neighbour's gradients, stays equal, and the exporter stores the two as one.
            stored[node.output[0]] = stored[node.input[0]]
    net = Net()
    net.load_state_dict({name: stored.get(name, counter) for name, counter in net.state_dict().items()})
    for module in net.modules():
        if isinstance(module, Block):
            module.add = ZennitAdd()
    return net.eval()


def heatmaps(net: Net, images: Floats, labels: list[int]) -> Floats:
    """Compute the relevance [N, H, W] of the true class's logit."""
    composite = EpsilonPlusFlat(canonizers=[SequentialMergeBatchNorm()])
    seeds = torch.eye(net.head.out_features)[labels]
    with Gradient(model=net, composite=composite, attr_output=lambda out: out * seeds) as attributor:
        _, relevance = attributor(torch.from_numpy(images))
    return np.asarray(relevance.detach().numpy().sum(axis=1), dtype=np.float32)


def main() -> None:
    """Measure, and record the numbers."""
    torch.set_num_threads(1)
    drawn = [render(seed) for seed in range(HELD_OUT, HELD_OUT + SCENES)]
    images = normalise(np.stack([image.transpose(2, 0, 1) for image, _, _ in drawn]))
    masks = np.stack([mask for _, mask, _ in drawn])
    maps = heatmaps(load(), images, [label for *_, label in drawn])

    peak = np.zeros_like(masks)
    peak.reshape(SCENES, -1)[np.arange(SCENES), maps.reshape(SCENES, -1).argmax(1)] = True
    energy = np.abs(maps)
    energy /= energy.sum(axis=(1, 2), keepdims=True)
    share = masks.mean(axis=(1, 2))
    ratio = (energy * masks).sum(axis=(1, 2)) / share
    record(
        "shapes",
        pointing_scenes=SCENES,
        pointing_game=round(float((peak & masks).any(axis=(1, 2)).mean()), 4),
        energy_in_mask=round(float((energy * masks).sum(axis=(1, 2)).mean()), 4),
        mask_share_of_area=round(float(share.mean()), 4),
        energy_over_share_mean=round(float(ratio.mean()), 3),
        energy_over_share_lowest=round(float(ratio.min()), 3),
    )


if __name__ == "__main__":
    main()
