"""Engines run programs. They depend on the program and their runtime, never on rules, layers or composites."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar

from ..program.program import Array, Instruction, Program, Seed
from ..registry import Registry


class Forward(NamedTuple):
    """The forward model, as engines see it.

    Args:
        model: (dtype, tensors) → an ONNX ModelProto of this floating-point type whose outputs are those tensors.
        inputs: Names of the model's inputs, [N, ...] each.
        light: Returns the same model without its large weights, and these weights by name; None where there is none.
    """

    model: Callable[[type, Sequence[str]], Any]
    inputs: tuple[str, ...]
    light: Callable[[type, Sequence[str]], tuple[Any, Mapping[str, Array]]] | None = None


class Run(Protocol):
    """A prepared program."""

    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run the program.

        Args:
            inputs: The model's inputs by name, [N, ...]; under the name of each seed (`Program.seeds`) class ids, int64
                [N] or [T, N], for one of mode "index", or an array [N, *shape] or [T, N, *shape] for one of mode
                "relevance".

        Returns:
            The program's outputs by name: [N, *shape], [T, N, *shape] with targets, [*shape] if constant.
        """
        ...


class Engine(Protocol):
    """Interface of an engine: it prepares a program over a forward model once, to run it many times."""

    name: str

    def prepare(self, forward: Forward, program: Program) -> Run:
        """Prepare a program.

        Args:
            forward: The forward model, whose activations `program.tensors` names.
            program: The program.

        Returns:
            A function that runs it.

        Raises:
            UnsupportedError: The engine cannot run an instruction.
        """
        ...


ENGINES: Registry[Callable[..., Engine]] = Registry("engine", __name__, first=("ort",))
_Make = TypeVar("_Make", bound=Callable[..., Engine])


def engine(name: str, *, order: int = 100) -> Callable[[_Make], _Make]:
    """Register an engine: its class, or a function that returns it and imports its runtime only then.

    Arguments of the class or function are the engine's options; all of them have defaults. The conformance tests run
    on every registered engine.

    Args:
        name: The name that the command line and `load` use; a class gets it as its attribute `name`.
        order: Engines with smaller numbers are listed first.

    Returns:
        A decorator for the class or function, which it gives back.
    """

    def register(make: _Make) -> _Make:
        if isinstance(make, type):
            make.name = name  # type: ignore[attr-defined]
        ENGINES.register(name, make, order=order)
        return make

    return register


def seed_values(step: Instruction, inputs: Mapping[str, Array], dtype: Any, scores: Array | None = None) -> Array:
    """Return a seed as an array, for engines that run Python between the forward pass and the program.

    Args:
        step: The instruction that reads the seed.
        inputs: The inputs of the run, with class ids or relevance under the seed's name as its mode requires.
        dtype: The type of the result.
        scores: For mode "top", the logits [N, *shape].

    Returns:
        [N, *shape], or [T, N, *shape] with several targets.
    """
    import numpy as np

    seed = step.what
    assert isinstance(seed, Seed)
    if seed.mode == "relevance":
        return np.asarray(inputs[seed.name], dtype)
    if seed.mode == "top":
        assert scores is not None
        order = np.argsort(-scores.reshape(len(scores), -1), axis=1, kind="stable")[:, : seed.targets or 1].T
        ids = order if seed.targets is not None else order[0]
    else:
        ids = np.asarray(inputs[seed.name])
    mask = np.asarray(np.arange(math.prod(step.shape)) == ids[..., None], dtype)
    return mask.reshape(*ids.shape, *step.shape)
