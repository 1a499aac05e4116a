"""The activation functions that recurrent layers name, as layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from ...errors import UnsupportedError
from ..graph import Layer
from ..reading.printable import printable

# Name → (α, β) where none are stated; None for a function that has none.
_PARAMETERS: dict[str, tuple[float | None, float | None]] = {
    "Relu": (None, None),
    "Tanh": (None, None),
    "Sigmoid": (None, None),
    "Softsign": (None, None),
    "Softplus": (None, None),
    "LeakyRelu": (0.01, None),
    "ThresholdedRelu": (1.0, None),
    "Elu": (1.0, None),
    "Affine": (1.0, 0.0),
    "ScaledTanh": (1.0, 1.0),
    "HardSigmoid": (0.2, 0.5),
}
# Where their numbers are not stated, onnxruntime takes 0, and ONNX says otherwise or nothing.
_UNCLEAR = frozenset({"ThresholdedRelu", "Affine", "ScaledTanh"})
_NAMES = {name.lower(): name for name in _PARAMETERS}


class Activation(NamedTuple):
    """An activation function with its numbers; None for those that it does not have."""

    name: str
    alpha: float | None = None
    beta: float | None = None

    def numbers(self) -> dict[str, Any]:
        """Return α and β by name, those that it has."""
        return {key: value for key, value in (("alpha", self.alpha), ("beta", self.beta)) if value is not None}


def activations_of(layer: Layer, usual: Sequence[str], direction: int) -> list[Activation]:
    """Return the activation functions of one direction of a recurrent layer.

    Numbers are stated in the order of the functions that have them.

    Raises:
        UnsupportedError: A function is not known.
    """
    stated = tuple(layer.attributes.get("activations") or ())
    names = list(stated or usual)
    if len(names) == len(usual):
        names *= 2 if layer.attributes.get("direction") == "bidirectional" else 1
    numbers = {key: list(layer.attributes.get(f"activation_{key}") or ()) for key in ("alpha", "beta")}
    found = []
    for name in names:
        known = _NAMES.get(str(name).lower())
        if known is None:
            raise _refused(layer, str(name), "which is not known")
        if known in _UNCLEAR and not all(numbers[key] for key, usual in _pairs(known) if usual is not None):
            raise _refused(layer, known, "whose numbers the file does not state: runtimes differ in what they take")
        values = [
            None if default is None else float(numbers[key].pop(0)) if numbers[key] else default
            for key, default in _pairs(known)
        ]
        found.append(Activation(known, *values))
    return found[direction * len(usual) :][: len(usual)]


def _pairs(name: str) -> list[tuple[str, float | None]]:
    return list(zip(("alpha", "beta"), _PARAMETERS[name], strict=True))


def _refused(layer: Layer, name: str, why: str) -> UnsupportedError:
    return UnsupportedError(
        f'the {layer.op} node "{printable(layer.name)}" has the activation function {printable(name)}, {why}',
        "methods of forward passes alone need no layers: -m occlusion",
    )
