"""Contenders. Each prepares itself once and yields `run(x, ids)`; only what it needs is imported.

`forward`  the untouched model in plain onnxruntime              → logits
`ours`     forward and program of this package in one session    → its outputs, "relevance" among them
`explain`  the same through Model.explain, the public face       → relevance
`torch`    the torch model's forward pass                        → logits
`zennit`   zennit's attribution, hooks registered beforehand     → relevance
`reference` our float64 oracle in numpy, for models without torch → relevance
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from inputs import BOX, images

PRESETS = ("epsilon_plus_flat", "epsilon_gamma_box", "epsilon_alpha2_beta1_flat")

Array = np.ndarray[Any, np.dtype[Any]]
Run = Callable[[Array, Array], Any]

# torch's idle threads rest too, as onnxruntime's do (session_options); libgomp reads this when torch is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")


@dataclass(frozen=True)
class Case:
    """One network under one preset; `network` is a name in networks.py, or "" for a file without a torch twin."""

    path: Path
    preset: str = PRESETS[0]
    network: str = ""
    cache: Path = Path()

    @property
    def label(self) -> str:
        """Its name in tables."""
        return self.network or self.path.stem

    @property
    def options(self) -> dict[str, Any]:
        """The options of the preset."""
        return {"low": -BOX, "high": BOX} if "box" in self.preset else {}

    @cached_property
    def graph(self) -> Any:
        """The loaded model."""
        from onnxlrp.graph.load import load

        return load(self.path)

    def inputs(self, batch: int) -> Array:
        """Return synthetic inputs, [batch, ...]."""
        return images(batch, 0, self.graph.inputs[0].shape)


def session_options(**entries: Any) -> Any:
    """Return onnxruntime's options with idle threads at rest: two spinning pools would slow each other."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.force_spinning_stop", "1")
    for name, value in entries.items():
        setattr(options, name, value)
    return options


def program(case: Case) -> tuple[Any, Any]:
    """Return forward model and program of a case; the target is an input, and there is no ledger."""
    from onnxlrp.compile import compile
    from onnxlrp.engines import Forward
    from onnxlrp.graph.writing.to_onnx import emit
    from onnxlrp.methods.registry import make_composite

    graph = case.graph
    forward = Forward(lambda dtype, names: emit(graph, dtype, names), tuple(i.name for i in graph.inputs))
    return forward, compile(graph, make_composite(case.preset, **case.options), mode="index")


@contextmanager
def forward(case: Case) -> Iterator[Run]:
    """Run the untouched model in plain onnxruntime."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(case.path), session_options(), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    yield lambda x, ids: session.run(None, {name: x})[0]


@contextmanager
def ours(case: Case) -> Iterator[Run]:
    """Run forward pass and program of this package in one session."""
    from onnxlrp.engines.ort import Ort
    from onnxlrp.program.program import SEED

    run = Ort(["CPUExecutionProvider"], session_options()).prepare(*program(case))
    name = case.graph.inputs[0].name
    yield lambda x, ids: run({name: x, SEED: ids})


@contextmanager
def alone(case: Case) -> Iterator[Run]:
    """Run `ours` with the engine's own options, which share weights; memory is measured of this one."""
    from onnxlrp.engines.ort import Ort
    from onnxlrp.model.programs import forward_of
    from onnxlrp.program.program import SEED

    run = Ort(["CPUExecutionProvider"]).prepare(forward_of(case.graph), program(case)[1])
    name = case.graph.inputs[0].name
    yield lambda x, ids: run({name: x, SEED: ids})


@contextmanager
def explain(case: Case) -> Iterator[Run]:
    """Run this package through Model.explain."""
    from onnxlrp.engines.ort import Ort
    from onnxlrp.model import Model

    model = Model(case.graph, Ort(["CPUExecutionProvider"], session_options()), case.path)
    yield lambda x, ids: model.explain(x, [int(i) for i in ids], case.preset, **case.options).relevance


@contextmanager
def reference(case: Case) -> Iterator[Run]:
    """Run the reference engine, in float64."""
    from onnxlrp.engines.reference import Reference
    from onnxlrp.program.program import SEED

    run = Reference().prepare(*program(case))
    name = case.graph.inputs[0].name
    yield lambda x, ids: run({name: x.astype(np.float64), SEED: ids})["relevance"]


@contextmanager
def torch_forward(case: Case) -> Iterator[Run]:
    """Run the torch model's forward pass."""
    import networks
    import torch

    model, _ = networks.export(case.network, case.cache)

    def run(x: Array, ids: Array) -> Any:
        with torch.no_grad():
            return model(torch.from_numpy(x)).numpy()

    yield run


@contextmanager
def attributor(case: Case, kind: Any, device: str = "cpu") -> Iterator[Callable[[Any, Any], Any]]:
    """Run zennit on torch tensors; BatchNorm's eps moves into the variance, for zennit's merge does not fold it."""
    import networks
    import torch

    networks.stub_torchvision()
    from zennit.attribution import Gradient
    from zennit.canonizers import SequentialMergeBatchNorm
    from zennit.composites import EpsilonAlpha2Beta1Flat, EpsilonGammaBox, EpsilonPlusFlat

    model = networks.export(case.network, case.cache)[0].to(device, kind).requires_grad_(False)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.get_buffer("running_var").add_(module.eps)
            module.eps = 0.0
    made = {
        "epsilon_plus_flat": EpsilonPlusFlat,
        "epsilon_gamma_box": EpsilonGammaBox,
        "epsilon_alpha2_beta1_flat": EpsilonAlpha2Beta1Flat,
    }[case.preset]
    composite = made(canonizers=[SequentialMergeBatchNorm()], **case.options)
    with Gradient(model=model, composite=composite) as attribute:

        def run(x: Any, ids: Any) -> Any:
            return attribute(x, lambda y: y * torch.nn.functional.one_hot(ids, y.shape[1]))[1].detach()

        yield run


@contextmanager
def zennit(case: Case, double: bool = False) -> Iterator[Run]:
    """Run zennit on the CPU."""
    import torch

    kind = torch.float64 if double else torch.float32
    with attributor(case, kind) as run:
        yield lambda x, ids: run(torch.from_numpy(x).to(kind), torch.from_numpy(ids)).numpy()


CONTENDERS: dict[str, Callable[[Case], Any]] = {
    "forward": forward,
    "ours": ours,
    "alone": alone,
    "explain": explain,
    "torch": torch_forward,
    "zennit": zennit,
    "reference": reference,
}
