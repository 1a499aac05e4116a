"""A layer that concepts are looked for in: its activations and the gradients of a class, batch by batch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import InputError, UnsupportedError, one_of
from ...graph.outputs import units
from ...graph.outputs.units import Unit
from ...methods.registry import make_composite
from ...preprocessing.samples import Samples
from ...streaming.batches import joined
from ...streaming.sources import Source
from ..reading import Progress, Reject, go_on, read, refuse

Array = npt.NDArray[Any]
SPACES = ("flat", "mean")


@dataclass(frozen=True, eq=False)
class Reader:
    """Reads samples for a model, batch by batch.

    Attributes:
        model: The model.
        batch_size: Samples of a batch.
        progress: Told of the items done.
        reject: Told of items that cannot be read.
    """

    model: Any
    batch_size: int = 8
    progress: Progress = go_on
    reject: Reject = refuse

    def __call__(self, source: Source) -> Iterator[Samples]:
        """Yield the samples of a source, some at a time."""
        for batch in read(self.model, source, self.batch_size, self.progress, self.reject):
            yield joined(batch, [self.model])[0]


@dataclass(frozen=True, eq=False)
class LayerView:
    """A layer of a model as vectors or as maps of channels.

    Attributes:
        model: The model.
        unit: The layer.
        space: "flat" takes all values of the layer as one vector, "mean" the mean of each channel over positions.
    """

    model: Any
    unit: Unit
    space: str = "flat"

    @classmethod
    def of(cls, model: Any, layer: str, space: str = "flat") -> LayerView:
        """Find a layer by its name, as `graph.outputs.units.layer` does.

        Raises:
            UsageError: There is no such layer or space.
        """
        one_of(SPACES, space=space)
        return cls(model, units.layer(model.graph, layer), space)

    @property
    def size(self) -> int:
        """The length of a vector."""
        return self.unit.channels if self.space == "mean" else math.prod(self.unit.shape)

    def activations(self, x: Array) -> Array:
        """Compute the activations of samples as maps [n, channels, positions] (float32)."""
        self._check(x)
        return self._maps(self.model.outputs(x, activations=[self.unit])[f"activation/{self.unit.label}"])

    def vectors(self, maps: Array) -> Array:
        """Reduce maps [n, channels, positions] to vectors [n, d]."""
        return np.asarray(maps.mean(axis=2) if self.space == "mean" else maps.reshape(len(maps), -1))

    def gradients(self, x: Array, class_id: int) -> tuple[Array, Array]:
        """Compute ∂logit/∂vector [n, d] of a class, and the logits [n, K].

        The vector of "mean" is added at all positions alike: its gradient is the sum over positions.
        """
        self._check(x)
        ids = np.full(len(x), class_id)
        found = self.model.outputs(x, make_composite("gradient"), ids=ids, record=[self.unit])
        maps = self._maps(found[f"record/{self.unit.label}"])
        slope = maps.sum(axis=2) if self.space == "mean" else maps.reshape(len(maps), -1)
        return slope, found["logits"].reshape(len(x), -1)

    def grid(self) -> tuple[int, int]:
        """Return height and width of the layer's maps; of tokens that are patches of a square picture, their grid.

        Raises:
            UnsupportedError: The layer has neither.
        """
        space = self.unit.space
        if len(space) == 2:
            return space[0], space[1]
        tokens = space[0] if len(space) == 1 else 0
        for extra in (0, 1):  # with or without a token for the class
            side = math.isqrt(max(tokens - extra, 0))
            if side > 1 and side * side == tokens - extra:
                return side, side
        raise UnsupportedError(
            f"{self.unit.label} has no height and width (its shape is {list(self.unit.shape)}), which masks need",
            "name a convolution, or give labels in the place of masks: --labels-from folders",
        )

    def images(self, maps: Array) -> Array:
        """Return maps [n, channels, positions] as [n, channels, height, width], without a token for the class."""
        height, width = self.grid()
        return maps[:, :, maps.shape[2] - height * width :].reshape(len(maps), -1, height, width)

    def _check(self, x: Array) -> None:
        """Refuse samples of another size than the model was read at, where the file leaves it open."""
        shape = self.model.graph.inputs[0].shape
        if x.shape[1:] != shape:
            said, at = (" x ".join(map(str, one)) for one in (x.shape[1:], shape))
            raise InputError(
                f"samples of {said}, and the layer is read for {at}: concepts are looked for at one size",
                "state the size: load(path, size=(224, 224))",
                "bring all samples to one size: --size 224x224",
            )

    def _maps(self, values: Array) -> Array:
        moved = (
            np.moveaxis(values.reshape(len(values), *self.unit.shape), 1 + self.unit.axis, 1)
            if self.unit.shape
            else values
        )
        return np.asarray(moved, np.float32).reshape(len(values), self.unit.channels, -1)
