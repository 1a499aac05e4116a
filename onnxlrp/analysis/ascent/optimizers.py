"""Optimisers that descend: Adam, NAdam and SGD with momentum, in place and in the type of the parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ...errors import at_least

Array = npt.NDArray[np.floating]
Rate = float | Callable[[int], float]  # constant, or a function of the step, which counts from 0


@dataclass
class Optimizer:
    """An optimiser of one array of parameters.

    Args:
        rate: The learning rate, or a function of the step.
    """

    rate: Rate = 0.05
    count: int = field(default=0, init=False)
    moments: dict[str, Array] = field(default_factory=dict, init=False, repr=False)

    def step(self, parameters: Array, gradient: Array) -> None:
        """Change parameters in place against a gradient of the same shape."""
        if not self.moments:
            self.moments = {name: np.zeros_like(parameters) for name in self._names()}
        rate = float(self.rate(self.count) if callable(self.rate) else self.rate)
        self.count += 1
        self._descend(parameters, gradient, rate)

    def state(self) -> dict[str, Array]:
        """Return what `restore` takes: moments, scalars and the number of steps."""
        return {**self.moments, "count": np.array(self.count, float)}

    def restore(self, state: dict[str, Array]) -> None:
        """Continue from the state of an optimiser of the same kind."""
        self.count = int(state["count"])
        self.moments = {name: np.array(state[name]) for name in self._names() if name in state}

    def _names(self) -> tuple[str, ...]:
        raise NotImplementedError

    def _descend(self, parameters: Array, gradient: Array, rate: float) -> None:
        raise NotImplementedError


@dataclass
class Momentum(Optimizer):
    """Gradient descent with momentum: b ← μ b + g, p ← p - η b.

    Args:
        rate: η.
        momentum: μ.

    References:
        Sutskever et al., On the importance of initialization and momentum in deep learning, ICML 2013.
    """

    momentum: float = 0.9

    def __post_init__(self) -> None:
        at_least(0, momentum=self.momentum)

    def _names(self) -> tuple[str, ...]:
        return ("velocity",)

    def _descend(self, parameters: Array, gradient: Array, rate: float) -> None:
        velocity = self.moments["velocity"]
        velocity *= self.momentum
        velocity += gradient
        parameters -= rate * velocity


@dataclass
class Adam(Optimizer):
    """Adam: p ← p - η m̂ / (√v̂ + ε) with the bias-corrected means m̂ of g and v̂ of g².

    Args:
        rate: η.
        beta1: Decay of the mean of g.
        beta2: Decay of the mean of g².
        epsilon: ε.

    References:
        Kingma and Ba, Adam: a method for stochastic optimization, ICLR 2015.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    def _names(self) -> tuple[str, ...]:
        return ("mean", "square", "buffer")

    def _descend(self, parameters: Array, gradient: Array, rate: float) -> None:
        mean, denominator, factor = self._update(gradient)
        np.divide(mean, denominator, out=denominator)
        denominator *= factor * rate / (1 - self.beta1**self.count)
        parameters -= denominator

    def _update(self, gradient: Array) -> tuple[Array, Array, float]:
        """Update both means; return that of g, c (√v̂ + ε) in a buffer, and the number c."""
        mean, square, buffer = (self.moments[name] for name in self._names())
        mean *= self.beta1
        np.multiply(gradient, 1 - self.beta1, out=buffer)
        mean += buffer
        square *= self.beta2
        np.multiply(gradient, gradient, out=buffer)
        buffer *= 1 - self.beta2
        square += buffer
        np.sqrt(square, out=buffer)
        factor = float(np.sqrt(1 - self.beta2**self.count))
        buffer += self.epsilon * factor
        return mean, buffer, factor


@dataclass
class NAdam(Adam):
    """NAdam: Adam whose step looks ahead, as Nesterov's momentum does.

    With μ_t = β₁(1 - .96^(ψ t) / 2) and M_t = Π μ: p ← p - η ((1 - μ_t) g / (1 - M_t) + μ_{t+1} m / (1 - M_{t+1})) /
    (√v̂ + ε).

    Args:
        rate: η.
        decay: ψ.

    References:
        Dozat, Incorporating Nesterov momentum into Adam, ICLR workshop 2016.
    """

    decay: float = 4e-3
    _product: float = field(default=1.0, init=False, repr=False)

    def state(self) -> dict[str, Array]:
        """Return what `restore` takes."""
        return {**super().state(), "product": np.array(self._product)}

    def restore(self, state: dict[str, Array]) -> None:
        """Continue from the state of an optimiser of the same kind."""
        super().restore(state)
        self._product = float(state["product"])

    def _descend(self, parameters: Array, gradient: Array, rate: float) -> None:
        mean, denominator, factor = self._update(gradient)
        rate *= factor
        now, ahead = (self.beta1 * (1 - 0.5 * 0.96 ** ((self.count + n) * self.decay)) for n in (0, 1))
        self._product *= now
        parameters -= (rate * (1 - now) / (1 - self._product)) * gradient / denominator
        parameters -= (rate * ahead / (1 - self._product * ahead)) * mean / denominator
