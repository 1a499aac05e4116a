"""`onnxlrp patterns`: estimate the patterns of pattern_net and pattern_attribution from images."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ..compile import weighted_layers
from ..errors import InputError, UsageError
from ..methods.patterns import ESTIMATORS, estimate
from ..methods.registry import Array
from ..model import Model
from ..streaming.batches import Rejected, batches, joined
from ..streaming.sources import Files
from . import arguments, reading
from .console import Console


def run(args: argparse.Namespace, console: Console) -> int:
    """Estimate the patterns and write them; return the exit code."""
    if args.estimator not in ESTIMATORS:
        raise UsageError(f'there is no estimator "{args.estimator}"', f"give {', '.join(ESTIMATORS)}")
    size = arguments.stated(args)["batch_size"]
    path = _path(args)
    source = reading.files(args, console)
    if path.resolve() in {read.resolve() for read in source.paths}:
        raise UsageError(f"{path}: the patterns would replace an input", "choose another name with -o")
    model = arguments.open_model(args)
    model.refuse_maps()
    _, others = weighted_layers(model.graph)
    if others:
        said = ", ".join(f"{layer.op} {layer.label!r}" for layer in others)
        console.note(
            f"patterns are of Conv, Gemm and MatMul: none for {said}", f"there: --rule '{others[0].name}=gradient'"
        )
    began, rejected = time.perf_counter(), list[str]()
    with console.passes("patterns") as told:
        patterns = estimate(model, _arrays(model, source, size, args.on_error, console, told, rejected), args.estimator)
    patterns.save(path)
    about, silent = patterns.about, sum(patterns.about["silent"].values())
    if silent:
        console.note(
            f"{silent} neurons were never active and have no pattern: relevance ends there", "give more images"
        )
    flag = f"onnxlrp explain {args.model} IMAGE -m pattern_attribution --patterns {path}"
    console.line("patterns", f"{len(patterns.arrays)} layers, {args.estimator}, of {about['samples']} samples", 10)
    console.line("wrote", f"{path}  {path.stat().st_size / 1e6:.2f} MB  {time.perf_counter() - began:.2f} s", 10)
    console.line("then", flag, 10)
    layers = {node: list(array.shape) for node, array in patterns.arrays.items()}
    console.json({"file": str(path), "sha256": patterns.sha256, **about, "rejected": rejected, "layers": layers}, 1)
    return InputError.code if rejected else 0


def _path(args: argparse.Namespace) -> Path:
    """The file of the patterns, checked before the work begins."""
    default = Path(args.model).with_suffix(".patterns.npz")
    path = arguments.out_file(args.out, default.name) if args.out else default
    if path.suffix.lower() != ".npz":
        raise UsageError(f"{path}: patterns are an .npz file", f"-o '{path}.npz'")
    return path


def _arrays(
    model: Model,
    source: Files,
    size: int,
    on_error: str,
    console: Console,
    told: Callable[[int, int], bool],
    rejected: list[str],
) -> Iterator[Array]:
    """Batches of inputs; Ctrl-C ends them early, and the patterns are those of the batches done."""
    positions = {item.name: n for n, item in enumerate(source, 1)}
    for batch in batches(source, [model], size):
        if isinstance(batch, Rejected):
            reading.reject(batch, len(source), on_error, console)
            rejected.append(batch.item.origin)
            continue
        yield joined(batch, [model])[0].values
        if not told(positions[batch[-1].item.name], len(source)):
            return
