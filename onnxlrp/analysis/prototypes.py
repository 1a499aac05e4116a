"""Prototypes: the pictures that a class or a unit of a model prefers to all others, by gradient ascent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import UsageError, at_least, did_you_mean
from ..explanation import targets
from ..preprocessing import labels
from . import colours, domain, evidence, styles
from .domain import Domain
from .objectives import ClassScore, of_pictures
from .optimize import Array, Optimised, Progress, State, optimize
from .prototype_figure import draw
from .prototype_files import write
from .prototype_result import Result

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_PICTURES = 200  # pictures that colours and spectrum are estimated from


@dataclass(frozen=True)
class Asked:
    """What is asked for.

    Attributes:
        target: A class id or label.
        style: A style of `styles.STYLES`.
        steps: Steps of the optimiser; None for the style's own number.
        n: The number of pictures.
        low: The lowest value of the input, where nobody states it: a number, or one for each channel.
        high: The highest value.
        yosinski: The regularisers of the style yosinski: decay, blur, norm, contribution.
        seed: The seed of random numbers.
        batch_size: Samples at a time.
    """

    target: int | str | None = None
    style: str = "fourier"
    steps: int | None = None
    n: int = 1
    low: float | Sequence[float] | None = None
    high: float | Sequence[float] | None = None
    yosinski: Sequence[str] = ("decay", "blur", "norm")
    seed: int = 0
    batch_size: int | None = None

    @classmethod
    def of(cls, target: int | str | None, words: Mapping[str, Any]) -> Asked:
        """Return what keywords ask for. Raises UsageError for one that is none."""
        known = [name for name in cls.__dataclass_fields__ if name != "target"]
        for name in words:
            if name not in known:
                raise UsageError(f"a prototype has no option {name}", did_you_mean(name, known))
        return cls(target, **words)

    def __post_init__(self) -> None:
        styles.style(self.style)
        at_least(1, whole=True, n=self.n)
        at_least(0, whole=True, seed=self.seed)
        if self.steps is not None:
            at_least(1, whole=True, steps=self.steps)
        for name in self.yosinski:
            if name not in styles.YOSINSKI:
                raise UsageError(f'there is no regulariser "{name}"', f"known: {', '.join(styles.YOSINSKI)}")


class Prototype(Result):
    """Prototypes of a class, best first."""

    def save(self, *paths: Any) -> list[Any]:
        """Write .png (the bare picture; several are numbered), .npz or .json files. Raises UsageError, InputError."""
        return [path for named in paths for path in write(self, named)]

    def figure(self) -> Image:
        """Return the captioned figure of all pictures."""
        return draw(self)


def prototype(
    model: Any,
    asked: Asked,
    *,
    images: evidence.Reference | None = None,
    start: Any = None,
    progress: Callable[[Progress], bool] | None = None,
    resume: State | None = None,
    keep: Callable[[State], None] | None = None,
) -> Prototype:
    """Find the pictures that raise a class's score: arg max over z of E_T[f(T z)] under a style's regularisers.

    Args:
        model: The model.
        asked: What is asked for.
        images: The user's pictures: their colours and spectrum, range and scores.
        start: Samples to start from in place of noise, one for all or one for each.
        progress: Called after each step; returns whether to go on.
        resume: The state to go on from.
        keep: Called with the state every few seconds and at the end.

    Raises:
        UsageError: There is no such class, style or option.
        UnsupportedError: A layer has no gradient, or the input is none that can be optimised.
    """
    where = domain.decide(model, images and images.samples, _bound(asked.low), _bound(asked.high))
    raised = resolve(model, asked)
    chosen = styles.style(asked.style)
    if chosen.space and not where.space:
        what = f"style {asked.style} needs axes of space, the input is {where.kind.describe()}"
        raise UsageError(what, "--style pixels")
    score = ClassScore(model, raised.id, asked.batch_size)
    steps, statistics = asked.steps or chosen.steps, _colours(where, images)
    first = None if start is None else where.from_input(start.values)[0]
    plan = chosen.make(styles.Setting(where.shape, statistics, steps, first, asked.yosinski))
    found = optimize(
        of_pictures(score, where),
        plan.parameterisation,
        plan.transformations,
        plan.optimizer,
        steps,
        progress,
        n=asked.n,
        copies=plan.copies,
        penalties=plan.penalties,
        operators=plan.operators,
        normalised=plan.normalised,
        seed=asked.seed,
        resume=resume,
        keep=keep,
    )
    about = {
        "style": asked.style,
        "steps": f"{found.state.step} of {steps}",
        "seed": asked.seed,
        "colours": statistics.source if asked.style in ("fourier", "maco") else None,
        "range": where.source,
        "redirected": score.redirected,
    }
    return _made(model, asked, where, score, found, images, about)


def _made(
    model: Any,
    asked: Asked,
    where: Domain,
    score: ClassScore,
    found: Optimised,
    images: evidence.Reference | None,
    about: Mapping[str, Any],
) -> Prototype:
    """The result, best first, with its evidence."""
    z = relaxed = np.clip(found.x, 0, 1)
    if where.preprocessing is not None:
        z = np.rint(z * 255) / np.float32(255)  # what a file of 8 bits holds
    x = where.to_input(z)
    values = score.values(x)
    order = np.argsort(-values, kind="stable")
    z, relaxed, x, values = z[order], relaxed[order], x[order], values[order]
    facts = evidence.collect(model, where, score, z, relaxed, images, asked.seed)
    name = resolve(model, asked).name
    return Prototype(z, x, where, name, score.id, values, facts, about, found.state, found.stopped, found.dead[order])


@dataclass(frozen=True)
class Raised:
    """What is raised.

    Attributes:
        id: The class id.
        name: What it is called in words.
        word: What it is called in the name of a file.
    """

    id: int
    name: str
    word: str


def resolve(model: Any, asked: Asked) -> Raised:
    """Return the class that is asked for. Raises UsageError."""
    if asked.target is None:
        raise UsageError("nothing is named to make a prototype of", "name a class: -t LABEL")
    found = targets.resolve(targets.parse(asked.target), model.labels, model.classes)
    if found is None:
        raise UsageError(f'target "{asked.target}": a prototype has no scores to choose a class by', "name a class")
    if not model.labels:
        return Raised(found, f"class {found}", f"class{found}")
    label = labels.name(model.labels, found)
    return Raised(found, f"{found} {label}", label)


def identity(model: Any, asked: Asked, start: Any = None, images: Any = None) -> dict[str, Any]:
    """Return what must be the same for a run to go on: model, method, preprocessing."""
    how = {name: value for name, value in vars(asked).items() if name not in ("steps", "batch_size")}
    prep = domain.preprocessing_of(model)
    about = {"model": model.graph.sha256, "input": model.graph.inputs[0].name, "output": model.graph.outputs[0].name}
    about |= {"start": str(start) if start else None, "images": str(images) if images else None, **how}
    return {**about, "preprocessing": None if prep is None else prep.to_dict()}


def _bound(given: float | Sequence[float] | None) -> Array | None:
    return None if given is None else np.asarray(given, np.float64)


def _colours(where: Domain, images: evidence.Reference | None) -> colours.Colours:
    """Statistics of the user's pictures, else those that are assumed."""
    if not where.space:
        return colours.Colours(np.full(where.shape[0], 0.5), np.eye(where.shape[0]), 0.25, np.ones(where.shape), "none")
    if images is None or len(images.samples) < 2:
        return colours.assumed(where.shape[0], where.space, where.order)
    pictures = where.from_input(images.samples.values[:MOST_PICTURES])
    return colours.estimated(pictures, f"estimated from {len(pictures)} pictures")
