"""Engines run programs. They know the program and their runtime, never a rule, a layer or a composite."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..errors import UsageError, did_you_mean
from ..program.program import Array, Program


@dataclass(frozen=True)
class Forward:
    """The forward model, opaque: `model(dtype, tensors)` is an ONNX ModelProto whose outputs are those tensors.

    `light`, where there is one, gives the same with its large weights beside it by name, which the model only names.
    """

    model: Callable[[type, Sequence[str]], Any]
    inputs: tuple[str, ...]
    light: Callable[[type, Sequence[str]], tuple[Any, Mapping[str, Array]]] | None = None


class Run(Protocol):
    """A prepared program: model inputs by name, and "target" (int64 ids) or "relevance" (an array) as the seed asks."""

    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Array]: ...


class Engine(Protocol):
    """Prepares a program over a forward model once, then runs it many times."""

    name: str

    def prepare(self, forward: Forward, program: Program) -> Run: ...


log = logging.getLogger("onnxlrp")

ENGINES = ("reference", "ort", "cuda", "emulator")
WITH_PRECISIONS = ("cuda", "emulator")


def engine(name: str = "auto", providers: Sequence[Any] | None = None, precision: str | None = None) -> Engine:
    """An engine by name; "auto" is ort, on a GPU where onnxruntime has one: cuda's kernels have not run on hardware.

    `providers` are onnxruntime's, of ort; `precision` is of cuda and emulator: "exact" (float32, their default) or
    "fast" (TF32). Raises UsageError.
    """
    if name not in ("auto", *ENGINES):
        raise UsageError(f'there is no engine "{name}"', did_you_mean(name, ("auto", *ENGINES)))
    if precision is not None and name not in WITH_PRECISIONS:
        chosen = "ort" if name == "auto" else name
        fix = f"give --engine {' or '.join(WITH_PRECISIONS)}, or leave --precision out"
        raise UsageError(f'precision "{precision}": the engine {chosen} has no precisions', fix)
    if providers and name not in ("auto", "ort"):
        raise UsageError(f"onnxruntime's providers: the engine {name} chooses its own", "give none, or --engine ort")
    if name == "reference":
        from .reference import Reference

        return Reference()
    if name in WITH_PRECISIONS:
        from .cuda.engine import Cuda
        from .cuda.kernels.tiles import precision_of
        from .cuda.runtime.device import Emulated, Gpu

        wanted = precision_of(precision)
        return Cuda(Gpu() if name == "cuda" else Emulated(), wanted)
    from .ort import Ort

    if name == "auto" and log.isEnabledFor(logging.INFO):
        log.info("engine ort, by auto: %s", _why_not_cuda())
    return Ort(providers)


def _why_not_cuda() -> str:
    from .cuda.runtime.loaders import absent

    why = absent()
    if why:
        return f"cuda cannot run here ({why})"
    return "cuda can run here, but only by --engine cuda: its kernels have not run on hardware yet"


def seed_mask(program: Program, logits: Array, inputs: Mapping[str, Array]) -> Array:
    """The seed as an array, for engines that run Python between the forward pass and the program."""
    import numpy as np

    seed = program.seed
    assert seed is not None
    if seed.mode == "relevance":
        return np.asarray(inputs["relevance"], logits.dtype)
    n, shape = len(logits), logits.shape[1:]
    flat = logits.reshape(n, -1)
    if seed.mode == "top":
        order = np.argsort(-flat, axis=1, kind="stable")[:, : seed.targets or 1].T
        ids = order if seed.targets is not None else order[0]
    else:
        ids = np.asarray(inputs["target"])
    mask = np.asarray(np.arange(flat.shape[1]) == ids[..., None], logits.dtype)
    return mask.reshape(*ids.shape, *shape)
