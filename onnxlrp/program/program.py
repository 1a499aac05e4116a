"""A program: the straight-line code of one backward pass, and nothing of how it was found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from .linear import LinearMap, Shape

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Activation:
    """A tensor of the forward pass, by name."""

    tensor: str


@dataclass(frozen=True, eq=False)
class Constant:
    """A weight (`tensor` names it in the forward model, whose copy is then used) or an array of our own (no name)."""

    array: Array
    tensor: str = ""


@dataclass(frozen=True)
class Seed:
    """The relevance that enters at the logits, [N, K], or [T, N, K] with several targets.

    `mode` "index": 1 at the class ids that the caller gives as `target` (int64, [N] or [T, N]), else 0;
    "top": 1 at each sample's T highest logits; "relevance": the caller's own array, as `relevance`.
    """

    tensor: str
    mode: str
    targets: int | None = None


Source = Activation | Constant | Seed


@dataclass(frozen=True)
class Instruction:
    """One step. `inputs` are indices of earlier instructions.

    kind "read": `what` is a Source. "map": `op` names an elementwise map, `parameter` its number (ε of stabilize).
    "linear": `what` a LinearMap, inputs (x[, weight][, bias]); "adjoint": inputs (s[, weight]).
    `shape` is per sample; an engine holds an array [N, *shape], [T, N, *shape] if `targets`, and *shape if `constant`.
    `origin` is the layer and rule it comes from ("layer1.0.conv2/gamma").
    """

    kind: str
    op: str
    inputs: tuple[int, ...]
    what: Source | LinearMap | None
    shape: Shape
    constant: bool
    targets: bool
    parameter: float = 0.0
    biased: bool = False
    origin: str = ""


@dataclass(frozen=True)
class Program:
    """Instructions in order and the names of the results; `targets` is the length of the target axis, None without."""

    instructions: tuple[Instruction, ...]
    outputs: Mapping[str, int]
    targets: int | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def reads(self) -> tuple[str, ...]:
        """The forward activations that an engine must provide."""
        names = [i.what.tensor for i in self.instructions if isinstance(i.what, Activation)]
        return tuple(dict.fromkeys(names))

    @property
    def seed(self) -> Seed | None:
        """How relevance enters."""
        return next((i.what for i in self.instructions if isinstance(i.what, Seed)), None)

    def listing(self) -> str:
        """The program as text, a line an instruction."""
        lines = []
        for n, i in enumerate(self.instructions):
            what = i.what.tensor if isinstance(i.what, Activation | Constant | Seed) else ""
            name = f"{i.op}ᵀ" if i.kind == "adjoint" else i.op
            operands = " ".join(f"%{j}" for j in i.inputs)
            fixed = " const" if i.constant else ""
            lines.append(f"%{n} = {name} {operands} {what} {list(i.shape)}{fixed}  # {i.origin}")
        lines += [f"{name} -> %{n}" for name, n in self.outputs.items()]
        return "\n".join(lines)


def scalar(value: float) -> Array:
    """A constant of no axes."""
    return np.asarray(value, dtype=np.float64)
