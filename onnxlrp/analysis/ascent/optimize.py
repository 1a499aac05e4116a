"""The optimiser loop: ascent of an objective over pictures, codes or other arrays, under random transformations."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ...errors import UsageError, at_least
from .optimizers import Adam, Optimizer

Array = npt.NDArray[Any]
Objective = Callable[[Array], tuple[Array, Array]]
"""x [M, …] → values [M], which are raised, and ∂(sum of values)/∂x [M, …]."""
Pullback = Callable[[Array], Array]
Operator = Callable[[int, Array, Array], None]
"""Changes parameters in place after a step: (step, parameters, gradient of the objective)."""

_START = 1 << 62  # stands for no step, among the seeds
_STORE_EVERY = 10.0  # seconds
_SMOOTHING = 0.9  # decay of the mean of values that random transformations make noisy


class Parameterisation(Protocol):
    """What is optimised, and the array x that it stands for."""

    def start(self, n: int, rng: np.random.Generator) -> Array:
        """Return the parameters of n arrays before the first step, axis 0 that of the arrays."""
        ...

    def image(self, parameters: Array) -> tuple[Array, Pullback]:
        """Return x [N, …], and the map from ∂f/∂x to ∂f/∂parameters."""
        ...


class Transformation(Protocol):
    """A random transformation that is affine in x: T(x) = A x + b."""

    def draw(self, n: int, rng: np.random.Generator) -> tuple[Callable[[Array], Array], Pullback]:
        """Draw one transformation of each of n arrays: x → A x + b, and its adjoint s → Aᵀ s."""
        ...


Transformations = Sequence[Transformation] | Callable[[float], Sequence[Transformation]]


class Penalty(Protocol):
    """What is subtracted from the objective: a function of x, before transformations."""

    def __call__(self, x: Array) -> tuple[Array, Array]:
        """Return the penalty of each x [N], and its gradient [N, …]."""
        ...


@dataclass(frozen=True)
class Direct:
    """x is optimised itself: codes of a generator, vectors.

    Attributes:
        first: x before the first step […], from which all start; with `each` that of each [N, …].
        each: Whether `first` has an array for each.
    """

    first: Array
    each: bool = False

    def start(self, n: int, rng: np.random.Generator) -> Array:
        """Return copies of `first`."""
        first = np.asarray(self.first, np.float32)
        return np.array(first if self.each else np.broadcast_to(first, (n, *first.shape)))

    def image(self, parameters: Array) -> tuple[Array, Pullback]:
        """Return the parameters themselves."""
        return parameters, lambda gradient: gradient


@dataclass(frozen=True)
class Progress:
    """Where an optimisation is.

    Attributes:
        done: Steps done.
        total: Steps asked for.
        values: The objective of each array at the last step [N].
        seconds_left: The time that the other steps take, by the mean of those done.
    """

    done: int
    total: int
    values: Array
    seconds_left: float


@dataclass
class State:
    """All that another step depends on: `resume` takes it, files hold it.

    Attributes:
        step: Steps done.
        parameters: The parameters [N, …].
        optimizer: The state of the optimiser.
        best: The parameters of each array with the best value.
        best_values: That value [N]: the running mean of the objective, less the penalties.
        means: The running mean of each array [N].
        history: The objective of each array at each step [steps, N].
        slopes: Σ over the steps of |∂f/∂x|, x before its transformations [N, …].
    """

    step: int
    parameters: Array
    optimizer: dict[str, Array]
    best: Array
    best_values: Array
    means: Array
    history: Array
    slopes: Array

    def arrays(self) -> dict[str, Array]:
        """Return the state as arrays by name, for an .npz file."""
        own = {name: np.asarray(value) for name, value in vars(self).items() if name != "optimizer"}
        return {**own, **{f"optimizer/{name}": value for name, value in self.optimizer.items()}}

    @classmethod
    def of(cls, arrays: Mapping[str, Array]) -> State:
        """Return the state that `arrays` was made of."""
        own: dict[str, Any] = {name: np.array(arrays[name]) for name in cls.__dataclass_fields__ if name != "optimizer"}
        moments = {name[10:]: np.array(value) for name, value in arrays.items() if name.startswith("optimizer/")}
        return cls(**{**own, "step": int(own["step"])}, optimizer=moments)


@dataclass(frozen=True, eq=False)
class Optimised:
    """The result of an optimisation.

    Attributes:
        x: The arrays with the best value [N, …], untransformed.
        values: The running mean of the objective of each, less the penalties, when it was best [N].
        state: What `resume` takes to go on.
        stopped: Whether `progress` ended it early.
    """

    x: Array
    values: Array
    state: State = field(repr=False)
    stopped: bool

    @property
    def history(self) -> Array:
        """The objective of each array at each step [steps, N]."""
        return self.state.history

    @property
    def slopes(self) -> Array:
        """Σ over the steps of |∂f/∂x|, x before its transformations [N, …]."""
        return self.state.slopes

    @property
    def dead(self) -> Array:
        """Whether no step of an array had any gradient [N]: it is as it started."""
        return ~np.asarray(self.slopes.reshape(len(self.slopes), -1).any(axis=1))


def optimize(
    objective: Objective,
    parameterisation: Parameterisation,
    transformations: Transformations = (),
    optimizer: Optimizer | None = None,
    steps: int = 128,
    progress: Callable[[Progress], bool] | None = None,
    *,
    n: int = 1,
    copies: int = 1,
    penalties: Sequence[Penalty] = (),
    operators: Sequence[Operator] = (),
    normalised: bool = False,
    seed: int = 0,
    resume: State | None = None,
    keep: Callable[[State], None] | None = None,
) -> Optimised:
    """Maximise an objective: arg max over x of E_T[f(T x)] - Σ penalties(x), by gradient ascent.

    The result is for each array the parameters with the best running mean, so that a run that is stopped early keeps
    the best so far. Random numbers depend on the seed and the step alone: a resumed run ends in the same numbers.

    Args:
        objective: f, which takes a batch [N · copies, …]; x and its transformations have the type float32.
        parameterisation: x as a function of what is optimised.
        transformations: Random transformations of x, drawn anew at each step, applied in order; or a function from
            the share of steps done, 0 to 1, to these.
        optimizer: The optimiser; Adam of rate .05 by default. It is used for this run alone.
        steps: The number of steps, those of `resume` included.
        progress: Called after each step; returns whether to go on.
        n: The number of arrays that are optimised side by side.
        copies: Transformed copies of each array at each step; the objective is their mean.
        penalties: What is subtracted from the objective; one may look at all arrays together (diversity).
        operators: Changes of parameters after each step: decay, blur, clipping.
        normalised: Divide the gradient of each array by its mean absolute value.
        seed: The seed of all random numbers.
        resume: The state to go on from.
        keep: Called with the state every few seconds and at the end, to store it.

    Returns:
        The best arrays, their values, and the state.

    Raises:
        UsageError: A number is out of its range, or the state is not of this run.
    """
    at_least(1, whole=True, steps=steps, n=n, copies=copies)
    optimizer = Adam() if optimizer is None else optimizer
    state = resume or _first(parameterisation, n, seed)
    if len(state.parameters) != n:
        raise UsageError(f"the state is of {len(state.parameters)} arrays, not {n}", f"give n={len(state.parameters)}")
    if resume is not None:
        optimizer.restore(state.optimizer)
    step = _Step(objective, parameterisation, transformations, steps, penalties, copies, normalised, seed)
    clock, stopped = _Clock(state.step, steps), False
    while state.step < steps and not stopped:
        values, gradient = step(state)
        optimizer.step(state.parameters, -gradient)
        for operator in operators:
            operator(state.step, state.parameters, gradient)
        state.step += 1
        stopped = progress is not None and not progress(Progress(state.step, steps, values, clock.left(state.step)))
        if keep is not None and state.step < steps and clock.due():
            state.optimizer = optimizer.state()
            keep(state)
    state.optimizer = optimizer.state()
    if keep is not None:
        keep(state)
    x = parameterisation.image(state.best)[0]
    return Optimised(np.array(x), state.best_values.copy(), state, stopped)


def _first(parameterisation: Parameterisation, n: int, seed: int) -> State:
    """The state before the first step."""
    parameters = parameterisation.start(n, np.random.default_rng((seed, _START)))
    nothing = np.full(n, -np.inf)
    slopes = np.zeros_like(parameterisation.image(parameters)[0])
    return State(0, parameters, {}, parameters.copy(), nothing, np.full(n, np.nan), np.zeros((0, n)), slopes)


@dataclass(frozen=True)
class _Step:
    """The gradient of one step by the parameters; it notes values in the state."""

    objective: Objective
    parameterisation: Parameterisation
    transformations: Transformations
    steps: int
    penalties: Sequence[Penalty]
    copies: int
    normalised: bool
    seed: int

    def __call__(self, state: State) -> tuple[Array, Array]:
        """Return the objective of each array [N] and the gradient by the parameters [N, …]."""
        x, pull = self.parameterisation.image(state.parameters)
        n, rng = len(x), np.random.default_rng((self.seed, state.step))
        y = np.repeat(x, self.copies, axis=0) if self.copies > 1 else x
        adjoints: list[Pullback] = []
        drawn = self.transformations
        for transformation in drawn(state.step / self.steps) if callable(drawn) else drawn:
            apply, adjoint = transformation.draw(len(y), rng)
            y = apply(y)
            adjoints.append(adjoint)
        values, slope = self.objective(y)
        for adjoint in reversed(adjoints):
            slope = adjoint(slope)
        values = np.asarray(values, np.float64)
        if self.copies > 1:
            values = values.reshape(n, self.copies).mean(axis=1)
            slope = slope.reshape(n, self.copies, *x.shape[1:]).mean(axis=1)
        state.slopes += np.abs(slope)
        costs = np.zeros(n)
        for penalty in self.penalties:
            cost, cost_slope = penalty(x)
            costs += cost
            slope = slope - cost_slope
        self._remember(state, values, costs)
        gradient = pull(slope)
        if self.normalised:
            size = np.abs(gradient).reshape(n, -1).mean(axis=1) + 1e-30
            gradient = gradient / size.reshape(n, *[1] * (gradient.ndim - 1)).astype(gradient.dtype)
        return values, gradient

    def _remember(self, state: State, values: Array, costs: Array) -> None:
        """Add to the history, and keep the parameters of arrays that are better than ever."""
        state.history = np.concatenate([state.history, values[None]])
        decay = _SMOOTHING if self.transformations else 0.0
        state.means = np.where(np.isnan(state.means), values, decay * state.means + (1 - decay) * values)
        better = state.means - costs >= state.best_values
        state.best_values = np.where(better, state.means - costs, state.best_values)
        for n in np.flatnonzero(better):
            state.best[n] = state.parameters[n]


class _Clock:
    """The time left, and when the state is stored again."""

    def __init__(self, first: int, total: int) -> None:
        self._began = self._stored = time.monotonic()
        self._first, self._total = first, total

    def left(self, done: int) -> float:
        """Return the seconds that the steps left take, by the mean of those done."""
        return (time.monotonic() - self._began) / max(done - self._first, 1) * (self._total - done)

    def due(self) -> bool:
        """Return whether the state was stored long ago, and take it as stored now."""
        if time.monotonic() - self._stored < _STORE_EVERY:
            return False
        self._stored = time.monotonic()
        return True
