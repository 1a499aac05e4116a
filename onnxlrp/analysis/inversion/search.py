"""Inversion: the picture whose representation in a layer is that of another (Mahendran & Vedaldi 2015)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import UnsupportedError, at_least
from ...graph.outputs.units import Start, Unit
from ...methods.registry import make_composite
from ..ascent.domain import Domain
from ..ascent.optimize import Array, Progress, optimize
from ..ascent.optimizers import Adam
from ..ascent.parameterisations import Pixels
from ..ascent.regularisers import AlphaNorm, KeepInRange, TotalVariation

RATE, LAST_RATE, STAGES = 8 / 255, 0.5 / 255, 5  # of Adam, in pixels from 0 to 1
SOFT_RANGE = 1.3  # B, in standard deviations of the picture: 80 grey levels of a photograph
SMOOTHNESS = 6.5  # B/V


@dataclass(frozen=True)
class Inversion:
    """min over z of ‖Φ(x) - Φ₀‖²/‖Φ₀‖² + C (Σ|z - c|^α/(P B^α) + Σ(Σ_axes Δz²)^(β/2)/(P V^β)), for P places.

    Adam descends with a rate that falls in stages, and z stays in the range of pixels.

    Args:
        steps: Steps of the optimiser.
        restarts: Starts from other noise; the best is kept.
        regularisation: C; None for `strength_at` the layer's depth.
        alpha: α.
        beta: β.
        seed: The seed of the starts.
        batch_size: Samples at a time.

    References:
        Mahendran and Vedaldi, Understanding deep image representations by inverting them, CVPR 2015; Visualizing deep
        convolutional neural networks using natural pre-images, IJCV 2016.
    """

    steps: int = 200
    restarts: int = 1
    regularisation: float | None = None
    alpha: float = 6.0
    beta: float = 2.0
    seed: int = 0
    batch_size: int | None = None

    def __post_init__(self) -> None:
        at_least(1, whole=True, steps=self.steps, restarts=self.restarts)
        at_least(0, whole=True, seed=self.seed)
        if self.batch_size is not None:
            at_least(1, whole=True, batch_size=self.batch_size)
        at_least(1, alpha=self.alpha, beta=self.beta)
        if self.regularisation is not None:
            at_least(0, regularisation=self.regularisation)


@dataclass(eq=False)
class Distance:
    """f(x) = -‖Φ(x) - Φ₀‖²/‖Φ₀‖² at a layer, and its gradient.

    Attributes:
        model: The model.
        layer: The layer.
        target: Φ₀ [N, …].
        batch_size: Samples at a time.
        at: Rows [N] of the model's other inputs that go with each; None for those in order.
    """

    model: Any
    layer: Unit
    target: Array
    batch_size: int | None = None
    at: Array | None = None

    def __post_init__(self) -> None:
        self._composite = make_composite("gradient")
        norm = np.square(self.target.astype(np.float64)).reshape(len(self.target), -1).sum(axis=1)
        if not np.isfinite(norm).all():
            raise UnsupportedError(
                f"values of the layer {self.layer.label} are not finite for a sample", "name an earlier layer: --layer"
            )
        if not norm.all():
            raise UnsupportedError(
                f"all values of the layer {self.layer.label} are 0: there is nothing to invert",
                "name an earlier layer: --layer",
            )
        self._weight = (2 / norm).astype(np.float32)

    def __call__(self, x: Array) -> tuple[Array, Array]:
        """Return the negative error of each x [N], and its gradient [N, …]."""
        start = Start(self.layer.tensor, "difference", self.target, self._weight)
        found = self.model.outputs(x, self._composite, starts=[start], at=self.at, batch_size=self.batch_size)
        return -found["value/0"].reshape(-1).astype(np.float64), -found["relevance"]


@dataclass(frozen=True, eq=False)
class Found:
    """What an inversion found.

    Attributes:
        z: The best pictures [N, C, *space].
        errors: The error of each restart [restarts, N].
        dead: Whether no step of a picture had any gradient [N]: it is noise.
        steps: Steps done.
        stopped: Whether it was ended early.
    """

    z: Array
    errors: Array
    dead: Array
    steps: int
    stopped: bool


def represent(model: Any, layer: Unit, x: Array, batch_size: int | None = None, at: Array | None = None) -> Array:
    """Return the values of a layer for inputs [N, …]: [N, *layer.shape]; `at` as of `Distance`."""
    found = model.outputs(x, activations=[layer], at=at, batch_size=batch_size)
    return np.asarray(found[f"activation/{layer.label}"]).reshape(len(x), *layer.shape)


def error_of(values: Array, target: Array) -> Array:
    """Return ‖Φ - Φ₀‖²/‖Φ₀‖² of each sample [N], in float64."""
    away, norm = (
        np.square(one.astype(np.float64)).reshape(len(target), -1).sum(axis=1)
        for one in (np.subtract(values, target, dtype=np.float64), target)
    )
    return np.asarray(away / np.where(norm > 0, norm, np.nan))


def invert(
    model: Any,
    layer: Unit,
    target: Array,
    where: Domain,
    spread: float,
    how: Inversion,
    progress: Callable[[Progress], bool] | None = None,
) -> Found:
    """Find pictures whose values of a layer are Φ₀.

    Args:
        model: The model.
        layer: The layer.
        target: Φ₀ [N, *layer.shape].
        where: The domain of the pictures.
        spread: σ, the standard deviation of pictures, which the weights are relative to.
        how: The options.
        progress: Called after each step; returns whether to go on.

    Returns:
        The best of the restarts of each, and their errors.
    """
    n, r = len(target), how.restarts
    at = np.tile(np.arange(n), r)
    distance = Distance(model, layer, target[at], how.batch_size, at)
    strength = strength_at(layer, model.graph) if how.regularisation is None else how.regularisation

    def objective(z: Array) -> tuple[Array, Array]:
        values, slope = distance(where.to_input(z))
        return values, where.pullback(slope)

    b = SOFT_RANGE * spread
    penalties: list[Any] = [AlphaNorm(strength * b**-how.alpha, how.alpha)]
    if where.space:
        penalties.append(TotalVariation(strength * (b / SMOOTHNESS) ** -how.beta, how.beta))
    found = optimize(
        objective,
        Pixels(where.shape, 0.5, spread / 4),
        optimizer=Adam(lambda step: rate(step, how.steps)),
        steps=how.steps,
        progress=progress,
        n=n * r,
        penalties=penalties if strength else (),
        operators=[KeepInRange()],
        seed=how.seed,
    )
    reached = represent(model, layer, where.to_input(found.x), how.batch_size, at)
    errors = error_of(reached, distance.target).reshape(r, n)
    best = errors.argmin(axis=0)
    z = found.x.reshape(r, n, *where.shape)[best, np.arange(n)]
    dead = found.dead.reshape(r, n)[best, np.arange(n)]
    return Found(z, errors, dead, found.state.step, found.stopped)


def rate(step: int, steps: int) -> float:
    """Return the rate of a step: it falls by equal factors over `STAGES` equal stages."""
    stage = min(STAGES * step // steps, STAGES - 1)
    return float(RATE * (LAST_RATE / RATE) ** (stage / (STAGES - 1)))


def strength_at(layer: Unit, graph: Any) -> float:
    """Return the weight C of the regularisers for a layer: 10^(1.5 d - 2.5) at the share d of the model's layers.

    Deep layers leave more open, which smoothness has to decide; of .0001, .001, .01 and .1 the error was least
    with .0001 to .001 in the first fire module of SqueezeNet, with .01 in the middle one and with .1 in the last.
    """
    place = next(n for n, one in enumerate(graph.layers, 1) if layer.tensor in one.outputs)
    return float(round(10.0 ** (1.5 * place / len(graph.layers) - 2.5), 4))
