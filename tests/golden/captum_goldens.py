"""Makes captum.npz of test_captum.py: captum's attributions in float64 for two of the networks of make.py.

    pip install -e '.[golden]' && PYTHONPATH=tests python tests/golden/captum_goldens.py

The weights are those in NET.onnx; `x` and `target` are those of NET.npz. For each network and case there is
`NET/CASE`, rounded to float32 (the tests ask for 1e-6), and `error/NET/CASE`, how far captum in float32 is off it.
`segments` [H, W] are the features of the Shapley values. Same versions, same file: what is random is given.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import onnx
import torch
from captum import attr
from onnx import numpy_helper

from golden import nets
from support.arrays import Array

HERE = Path(__file__).parent
# Each net: the layers of Grad-CAM, the last map first; the second is as wide as the input.
LAYERS = {"vgg": ("features.9", "features.3"), "resnet": ("layer2.1.relu2", "layer1.0.plus")}
STEPS = 32  # of the path: captum's places along it are float32, which has (2k + 1)/64 exactly
SAMPLES, SIGMA = 5, 0.15  # of the noise; sigma is of the range of x


def main() -> None:
    warnings.filterwarnings("ignore", module="captum")
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    arrays: dict[str, Any] = {"segments": segments().astype(np.int8)}
    for name, layers in LAYERS.items():
        with np.load(HERE / f"{name}.npz") as made:
            x, target, logits = (torch.from_numpy(made[key]) for key in ("x", "target", "logits"))
        net = stored(name)
        assert (net.double()(x.double()) - logits).abs().max() < 1e-12 * logits.abs().max(), "run make.py first"
        exact, single = (cases(net.to(kind), x.to(kind), target, layers) for kind in (torch.float64, torch.float32))
        for case, value in exact.items():
            most = largest(value)
            assert (most > 0).all(), f"{name}/{case} says nothing of some sample"
            arrays[f"{name}/{case}"] = value.numpy().astype(np.float32)
            error = (largest(single[case].double() - value) / most).max()
            arrays[f"error/{name}/{case}"] = np.float64(error)
            print(f"{name:8} {case:24} largest {float(most.max()):9.3e}   captum's float32 error {float(error):.1e}")
    np.savez_compressed(HERE / "captum.npz", **arrays)
    print(f"{(HERE / 'captum.npz').stat().st_size / 1024:.0f} KB")


def largest(values: Any) -> Any:
    """Of each sample."""
    return values.abs().reshape(len(values), -1).amax(1)


def stored(name: Any) -> Any:
    """The network of a file, with its weights."""
    net = getattr(nets, name)()
    weights = {t.name: numpy_helper.to_array(t) for t in onnx.load(HERE / f"{name}.onnx").graph.initializer}
    known = {key: torch.from_numpy(weights[key].copy()) for key in net.state_dict() if key in weights}
    missing, _ = net.load_state_dict(known, strict=False)
    assert all(key.endswith("num_batches_tracked") for key in missing), missing
    for module in net.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.eps = float(np.float32(module.eps))  # as the file has it
    return net.eval()


def cases(net: Any, x: Any, target: Any, layers: Any) -> dict[Any, Any]:
    """Case → captum's attribution [3, …]."""
    zero, mean = torch.zeros_like(x), x.mean((2, 3), keepdim=True).expand_as(x)
    grey = ((x.min() + x.max()) / 2).expand_as(x)
    probability = torch.nn.Sequential(net, torch.nn.Softmax(1))
    features = torch.from_numpy(segments()).expand(1, *x.shape[1:]).contiguous()
    found = {
        "saliency": attr.Saliency(net).attribute(x, target),
        "input_x_gradient": attr.InputXGradient(net).attribute(x, target),
        "guided_backprop": attr.GuidedBackprop(net).attribute(x, target),
        "deconvolution": attr.Deconvolution(net).attribute(x, target),
        # The whole value of a segment stands in each of its pixels.
        "shapley": by_segment(attr.ShapleyValues(net).attribute(x, zero, target, feature_mask=features)),
        "occlusion": occlusion(net, x, zero, target, 4, 2),
        "occlusion_probability": occlusion(probability, x, grey, target, 4, 3),
        "occlusion_over_the_edge": occlusion(net, x, mean, target, 5, 4),
    }
    for name, start in (("zero", zero), ("mean", mean)):
        found[f"integrated_{name}"], found[f"integrated_{name}_delta"] = attr.IntegratedGradients(net).attribute(
            x, start, target, n_steps=STEPS, method="riemann_middle", return_convergence_delta=True
        )
    for kind in ("smoothgrad", "vargrad"):
        found[kind] = noisy(attr.Saliency(net), x, target, kind, abs=False)
    for name, layer in zip(("last", "early"), layers, strict=True):
        maps = attr.LayerGradCam(net, net.get_submodule(layer)).attribute(x, target, relu_attributions=True)
        found[f"grad_cam_{name}"] = wide(maps, x)
    parts = attr.LayerGradientXActivation(net, net.get_submodule(layers[0])).attribute(x, target)
    # LayerCAM, max(∂f/∂A, 0) ⊙ A, where A is not negative.
    found["gradient_x_activation"] = wide(parts.clamp(min=0).sum(1, keepdim=True), x)
    return {case: value.detach() for case, value in found.items()}


def wide(maps: Any, x: Any) -> Any:
    """Maps [3, 1, h, w] over the picture, [3, H, W]."""
    return attr.LayerAttribution.interpolate(maps, x.shape[2:], "bilinear")[:, 0]


def occlusion(net: Any, x: Any, baseline: Any, target: Any, window: Any, stride: Any) -> Any:
    """[3, H, W]: captum gives the same for each channel, for a window hides them all."""
    windows, strides = (x.shape[1], window, window), (x.shape[1], stride, stride)
    result = attr.Occlusion(net).attribute(x, windows, strides, baseline, target)
    assert (result == result[:, :1]).all()
    return result[:, 0]


def noisy(method: Any, x: Any, target: Any, kind: Any, **options: Any) -> Any:
    """Captum's statistic of attributions around x, under noise from numpy: of seed 0 and draw k, for every sample."""
    deviation = SIGMA * float(x.max() - x.min())
    drawn = [np.random.default_rng((0, k)).normal(size=x.shape[1:]) for _ in x for k in range(SAMPLES)]
    noise = torch.from_numpy(deviation * np.stack(drawn)).to(x.dtype)
    with patch("torch.normal", lambda mean, deviations: noise.reshape(deviations.shape)):
        return attr.NoiseTunnel(method).attribute(
            x, nt_type=kind, nt_samples=SAMPLES, stdevs=deviation, target=target, **options
        )


def segments() -> Array:
    """Five features of a picture of 16 by 16, none like another."""
    made = np.zeros((16, 16), np.int64)
    made[5:] += 1
    made[:, 9:] += 2
    made[3:11, 6:12] = 4
    return made


def by_segment(result: Any) -> Any:
    """One value for each segment, [3, 5]."""
    labels = segments()
    first = [np.argwhere(labels == label)[0] for label in range(labels.max() + 1)]
    return torch.stack([result[:, 0, row, column] for row, column in first], 1)


if __name__ == "__main__":
    main()
