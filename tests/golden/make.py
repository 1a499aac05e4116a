"""Makes the golden files of test_zennit.py: small networks as ONNX, and zennit's relevance for them in float64.

    pip install -e '.[golden]' && PYTHONPATH=tests python tests/golden/make.py [NET...]

Writes NET.onnx (float32 weights) and NET.npz beside this script: `x`, a batch of three; `target`; `logits`; for each
composite its `relevance/NAME`, rounded to 2⁻³⁶ of its largest (so that it compresses; the tests ask for 1e-9), and
`error/NAME`, how far zennit in float32 is off that. Same versions, same files: everything starts from fixed seeds.
"""

from __future__ import annotations

import copy
import importlib.util
import io
import logging
import sys
import types
import warnings
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from golden import nets

HERE = Path(__file__).parent
# Each net: the shape of its input, the exporter, the seed (one for which every case below says something), and
# whether zennit's canonizer folds its batch norms.
NETS = {
    "vgg": ((3, 16, 16), "dynamo", 0, True),
    "resnet": ((3, 16, 16), "legacy", 0, True),
    "mobilenet": ((3, 16, 16), "legacy", 2, True),
    "squeezenet": ((3, 18, 18), "dynamo", 2, True),
    "pooling": ((2, 17, 17), "legacy", 0, True),
    "signal": ((2, 64), "legacy", 0, True),
    "dense": ((40,), "legacy", 0, True),
    "mixer": ((2, 16, 16), "legacy", 0, True),
    "densenet": ((2, 16, 16), "dynamo", 1, False),
}
GRADIENTS = ("gradient", "guided_backprop", "deconvnet")  # start from 1, the others from the logit
LOW, HIGH = -3.0, 3.0  # of the inputs, for the box rule


def main(names: Any) -> None:
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    _import_zennit()
    for name in names or NETS:
        make(name)


def make(name: Any) -> None:
    shape, exporter, seed, fold = NETS[name]
    torch.manual_seed(seed)
    x = pictures(256, shape)
    net = nets.initialise(getattr(nets, name)(), x)
    x = x[:3].clone()
    with torch.no_grad():
        logits = net(x).double()
        exact = copy.deepcopy(net).double()(x.double())
    assert (logits - exact).abs().max() < 1e-4 * exact.abs().max()
    export(net, x, HERE / f"{name}.onnx", exporter)
    target, results = choose(name, net, x, exact, fold)
    arrays = {"x": x.numpy(), "target": target.numpy(), "logits": exact.numpy()}
    for composite, (relevance, error) in results.items():
        arrays[f"relevance/{composite}"] = rounded(relevance.numpy())
        arrays[f"error/{composite}"] = np.float64(error)
        share = (relevance.flatten(1).sum(1) / exact.gather(1, target[:, None])[:, 0]).tolist()
        shares = " ".join(f"{s:7.3f}" for s in share)
        print(f"{name:10} {composite:26} ΣR/logit {shares}   zennit's float32 error {error:.1e}")
    np.savez_compressed(HERE / f"{name}.npz", **arrays)
    sizes = [f"{(HERE / f'{name}.{kind}').stat().st_size / 1024:.0f} KB" for kind in ("onnx", "npz")]
    print(f"{name:10} {exporter}, target {target.tolist()}, {' and '.join(sizes)}")


def pictures(count: Any, shape: Any) -> Any:
    """Smooth noise of both signs in [LOW, HIGH], different for each sample."""
    x = torch.randn(count, *shape)
    if len(shape) > 1:
        kernel = torch.ones(shape[0], 1, *[3] * (len(shape) - 1))
        convolution = torch.nn.functional.conv1d if len(shape) == 2 else torch.nn.functional.conv2d
        x = x + convolution(x, kernel, padding=1, groups=shape[0]) / 2
    return x.clamp(LOW, HIGH)


def choose(name: Any, net: Any, x: Any, logits: Any, fold: Any) -> tuple[Any, Any]:
    """Targets, and the relevance for them: the first class of each sample that says something under every composite.

    Where ΣR is not of the logit's size, relevance exploded or vanished, and parity of what is left shows nothing. The
    last sample starts from its lowest logit, so that negative relevance is propagated too.
    """
    order = logits.argsort(1, descending=True)
    order[-1] = order[-1].flip(0)
    chosen, done = order[:, 0], torch.zeros(len(x), dtype=torch.bool)
    for target in order.T:
        results = everything(net, x, target, fold)
        seeds = logits.gather(1, target[:, None])[:, 0]
        shares = torch.stack([r.flatten(1).sum(1) / seeds for c, (r, _) in results.items() if c not in GRADIENTS])
        good = ((shares > 0.1) & (shares < 2)).all(0)
        chosen, done = torch.where(done, chosen, target), done | good
        if done.all():
            return chosen, everything(net, x, chosen, fold)
    raise SystemExit(f"{name}: no target of some sample keeps 0.1 < ΣR/logit < 2; take another seed")


def everything(net: Any, x: Any, target: Any, fold: Any) -> Any:
    """Composite → (relevance in float64, the largest error of float32)."""
    results = {}
    for name in composites(fold):
        exact, single = (relevance(net, name, x.to(kind), target, fold) for kind in (torch.float64, torch.float32))
        results[name] = exact, float((single.double() - exact).abs().max() / exact.abs().max())
    return results


def relevance(net: Any, name: Any, x: Any, target: Any, fold: Any) -> Any:
    """What zennit gives: the modified gradient of the target's logit, times where it starts."""
    net = nets.twin(copy.deepcopy(net).to(x.dtype))
    with composites(fold)[name].context(net) as hooked:
        x = x.clone().requires_grad_()
        out = hooked(x)
        mask = torch.eye(out.shape[1], dtype=x.dtype)[target]
        start = mask if name in GRADIENTS else mask * out.detach()
        (result,) = torch.autograd.grad(out, x, start)
    return result.detach()


def composites(fold: Any) -> dict[str, Any]:
    """Our preset's name → zennit's composite."""
    from zennit import composites as z
    from zennit import rules
    from zennit.canonizers import SequentialMergeBatchNorm
    from zennit.types import Linear

    def canonizers() -> dict[str, Any]:
        return {"canonizers": [SequentialMergeBatchNorm()] if fold else []}

    def everywhere(rule: Any) -> Any:
        return z.LayerMapComposite([*z.layer_map_base(), (Linear, rule)], **canonizers())

    return {
        "epsilon_plus": z.EpsilonPlus(**canonizers()),
        "epsilon_plus_flat": z.EpsilonPlusFlat(**canonizers()),
        "epsilon_alpha2_beta1": z.EpsilonAlpha2Beta1(**canonizers()),
        "epsilon_alpha2_beta1_flat": z.EpsilonAlpha2Beta1Flat(**canonizers()),
        "epsilon_gamma_box": z.EpsilonGammaBox(low=LOW, high=HIGH, **canonizers()),
        "gamma": everywhere(rules.Gamma()),
        "zplus": everywhere(rules.ZPlus()),
        "epsilon": everywhere(rules.Epsilon()),
        "excitation_backprop": z.ExcitationBackprop(**canonizers()),
        "guided_backprop": z.GuidedBackprop(**canonizers()),
        "deconvnet": z.DeconvNet(**canonizers()),
        "gradient": z.LayerMapComposite([], **canonizers()),
    }


def export(net: Any, x: Any, path: Any, exporter: Any) -> None:
    """The network as it is: batch norms stay in the file, for the tests are about our folding, not the exporter's."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        if exporter == "dynamo":
            torch.onnx.export(
                net, (x[:1],), path, dynamo=True, opset_version=18, external_data=False, input_names=["input"],
                output_names=["logits"],
            )  # fmt: skip
            _without_stack_traces(path)
        else:
            torch.onnx.export(
                net, (x[:1],), path, dynamo=False, opset_version=17, do_constant_folding=False,
                training=torch.onnx.TrainingMode.PRESERVE, input_names=["input"], output_names=["logits"],
                dynamic_axes={"input": {0: "N"}, "logits": {0: "N"}},
            )  # fmt: skip


def _without_stack_traces(path: Any) -> None:
    """What the exporter notes at each node, less where our sources lie."""
    model = onnx.load(path)
    for node in model.graph.node:
        kept = [entry for entry in node.metadata_props if entry.key.endswith(("name_scopes", "class_hierarchy"))]
        del node.metadata_props[:]
        node.metadata_props.extend(kept)
    onnx.save(model, path)


def rounded(array: Any) -> Any:
    """Multiples of 2⁻³⁶ of the largest: the low bytes are zeros and compress."""
    step = 2.0 ** (np.ceil(np.log2(np.abs(array).max())) - 36)
    return np.round(array / step) * step


def _import_zennit() -> None:
    """zennit imports torchvision, for what nothing here uses; without it, import zennit over empty modules."""
    stubs = {
        "torchvision": (),
        "torchvision.models": (),
        "torchvision.models.resnet": ("Bottleneck", "BasicBlock"),
        "torchvision.ops": ("FrozenBatchNorm2d",),
    }
    if importlib.util.find_spec("torchvision") is not None:
        return
    for name, classes in stubs.items():
        sys.modules[name] = types.ModuleType(name)
        for cls in classes:
            setattr(sys.modules[name], cls, type(cls, (torch.nn.Module,), {}))
    import zennit.torchvision  # noqa: F401

    for name in stubs:
        del sys.modules[name]  # torch's exporter looks for it too


if __name__ == "__main__":
    main(sys.argv[1:])
