"""Range of the pixels that a graph takes, read off its layers before the first one with weights."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from .. import operators
from ..graph import Graph, Layer

Vector = npt.NDArray[np.float64]


def pixel_range(graph: Graph) -> float | None:
    """Return 255 or 1 where the graph itself normalises pixels 0..255 or 0..1; None where it does not, or is unclear.

    Its leading Sub, Div, Mul, Add and BatchNormalization with constants are y = (x - centre) / spread. Pixels 0..255
    have a centre of 16 to 240 (or 0 and a spread of 100 to 256), pixels 0..1 a centre of 0.1 to 0.9 and a spread of
    0.05 to 1.5: the statistics of pictures, and not of what is normalised already.
    """
    slope, shift, seen = np.ones(1), np.zeros(1), False
    tensor = graph.inputs[0].name
    while True:
        layers = graph.consumers(tensor)
        if len(layers) != 1 or not layers[0].outputs:
            break
        layer = layers[0]
        if layer.op not in operators.COPIES_OF_PIXELS:
            line = _line(graph, layer, tensor)
            if line is None:
                break
            slope, shift, seen = slope * line[0], shift * line[0] + line[1], True
        tensor = layer.outputs[0]
    if not seen or not np.all(slope) or not np.all(np.isfinite(slope) & np.isfinite(shift)):
        return None
    centre, spread = -shift / slope, np.abs(1 / slope)
    if (centre.min() >= 16 and centre.max() <= 240 and spread.min() >= 0.9) or (
        np.abs(centre).max() < 1e-3 and spread.min() >= 100 and spread.max() <= 256.5
    ):
        return 255.0
    if centre.min() >= 0.1 and centre.max() <= 0.9 and spread.min() >= 0.05 and spread.max() <= 1.5:
        return 1.0
    return None


def _line(graph: Graph, layer: Layer, tensor: str) -> tuple[Vector, Vector] | None:
    """Slope and shift of a layer that is affine with constants of one number in all or for each channel."""
    others = [name for name in layer.inputs if name != tensor]
    if layer.op != "BatchNormalization" and layer.op not in operators.ARITHMETIC:
        return None  # before the weights of a first layer are read
    operands = [graph.constants.get(name) for name in others]
    if any(value is None or value.dtype.kind not in "fiu" for value in operands):
        return None
    values = [np.asarray(value, np.float64).ravel() for value in operands if value is not None]
    if layer.op == "BatchNormalization" and len(values) == 4:
        scale, bias, mean, variance = values
        factor = scale / np.sqrt(variance + float(layer.attributes.get("epsilon", 1e-5)))
        return factor, bias - mean * factor
    if len(values) != 1 or values[0].size not in (1, 3) or layer.op not in operators.ARITHMETIC:
        return None
    (value,), first = values, layer.inputs[0] == tensor
    one, zero = np.ones(1), np.zeros(1)
    if layer.op == "Add":
        return one, value
    if layer.op == "Sub":
        return (one, -value) if first else (-one, value)
    if layer.op == "Mul":
        return value, zero
    return (1 / value, zero) if first and value.all() else None
