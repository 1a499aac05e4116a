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

    `initializers` are the names of its weights, which a program's named constants share.
    """

    model: Callable[[type, Sequence[str]], Any]
    inputs: tuple[str, ...]


class Run(Protocol):
    """A prepared program: model inputs by name, and "target" (int64 ids) or "relevance" (an array) as the seed asks."""

    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Array]: ...


class Engine(Protocol):
    """Prepares a program over a forward model once, then runs it many times."""

    name: str

    def prepare(self, forward: Forward, program: Program) -> Run: ...


log = logging.getLogger("onnxlrp")

ENGINES = ("reference", "ort", "cuda", "emulator")


def engine(name: str = "auto", providers: Sequence[Any] | None = None) -> Engine:
    """An engine by name; "auto" is ort, on a GPU where onnxruntime has one: cuda's kernels have not run on hardware."""
    if name == "reference":
        from .reference import Reference

        return Reference()
    if name in ("ort", "auto"):
        from .ort import Ort

        if name == "auto":
            log.info("engine ort, by auto: cuda runs where it is asked for (--engine cuda) and never by itself yet")
        return Ort(providers)
    if name in ("cuda", "emulator"):
        from .cuda.device import Emulated, Gpu
        from .cuda.engine import Cuda

        return Cuda(Gpu() if name == "cuda" else Emulated())
    raise UsageError(f'there is no engine "{name}"', did_you_mean(name, ("auto", *ENGINES)))


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
