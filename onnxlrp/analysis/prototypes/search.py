"""Prototypes: the pictures that a class or a unit of a model prefers to all others, by gradient ascent."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import UsageError, at_least, did_you_mean, one_of
from ...explanation import targets
from ...preprocessing import labels
from ..ascent import colours, domain
from ..ascent.domain import Domain
from ..ascent.objectives import OBJECTIVES, Score, has_probabilities, of_pictures
from ..ascent.optimize import Optimised, Progress, State, optimize
from ..ascent.transparency import opacity
from . import evidence, generator, styles
from .diversity import Diverse, layer_of
from .figure import draw
from .files import write
from .generator import Generator
from .result import Result

if TYPE_CHECKING:
    from PIL.Image import Image

MOST_PICTURES = 200  # pictures that colours and spectrum are estimated from


@dataclass(frozen=True)
class Asked:
    """What is asked for.

    Attributes:
        target: A class id or label.
        unit: A unit inside of the model, such as "layer4:12", in the place of a class.
        style: A style of `styles.STYLES`.
        steps: Steps of the optimiser; None for the style's own number.
        objective: What is raised of a class, of `objectives.OBJECTIVES`; None for the style's own, and the logit where
            classes do not compete for a probability.
        n: The number of pictures.
        diversity: How much the pictures are to differ: the weight of the likeness of their features.
        low: The lowest value of the input, where nobody states it: a number, or one for each channel.
        high: The highest value.
        yosinski: The regularisers of the style yosinski: decay, blur, norm, contribution.
        seed: The seed of random numbers.
        batch_size: Samples at a time.
    """

    target: int | str | None = None
    unit: str | None = None
    style: str = "fourier"
    steps: int | None = None
    objective: str | None = None
    n: int = 1
    diversity: float = 0.0
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
        at_least(0, diversity=self.diversity)
        if self.diversity and self.n < 2:
            raise UsageError(f"diversity={self.diversity:g} of one picture", "make several: -n 4")
        if self.steps is not None:
            at_least(1, whole=True, steps=self.steps)
        if self.objective is not None:
            one_of(OBJECTIVES, objective=self.objective)
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
    through: Generator | None = None,
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
        through: A generator, whose codes are optimised in the place of a style.
        progress: Called after each step; returns whether to go on.
        resume: The state to go on from.
        keep: Called with the state every few seconds and at the end.

    Raises:
        UsageError: There is no such class, style or option.
        UnsupportedError: A layer has no gradient, or the input is none that can be optimised.
    """
    raised = resolve(model, asked)
    where = domain.decide(raised.model, images and images.samples, asked.low, asked.high)
    score = Score(raised.model, raised.id, asked.batch_size, _objective(raised, asked, through is not None))
    if through is None:
        plan, steps, how = _plan(raised, asked, where, images, start)
    else:
        plan, steps, how = _through(model, asked, images, start, through)
    objective = score if not asked.diversity else Diverse(score, layer_of(raised.model), asked.diversity, asked.n)
    found = optimize(
        of_pictures(objective, where),
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
        **how,
        "steps": f"{found.state.step} of {steps}",
        "seed": asked.seed,
        "range": where.source,
        "objective": "activation" if asked.unit is not None else score.objective,
        "redirected": score.redirected,
    }
    return _made(raised, asked, where, score, found, images, about)


def _objective(raised: Raised, asked: Asked, through: bool) -> str:
    """What is raised of a class, "logit" of a unit. Raises UsageError for a probability where there is none."""
    stated = asked.objective
    possible = asked.unit is None and has_probabilities(raised.model)
    if stated is not None and "probability" in stated and not possible:
        what = "a unit has" if asked.unit is not None else "the scores of this output are"
        raise UsageError(f"objective {stated}: {what} no probability among classes", "leave out --objective")
    # The weight of diversity is a share of the logit, and was chosen for it.
    chosen = stated or ("logit" if through or asked.diversity else styles.style(asked.style).objective)
    return chosen if possible else "logit"


def _plan(
    raised: Raised, asked: Asked, where: Domain, images: evidence.Reference | None, start: Any
) -> tuple[styles.Plan, int, dict[str, Any]]:
    """How a style is optimised, the number of steps, and what is recorded of both."""
    chosen = styles.style(asked.style)
    if chosen.space and not where.space:
        what = f"style {asked.style} needs axes of space, the input is {where.kind.describe()}"
        raise UsageError(what, "--style pixels")
    steps, statistics = asked.steps or chosen.steps, _colours(where, images)
    first = None if start is None else where.from_input(start.values)[0]
    plan = chosen.make(styles.Setting(where.shape, statistics, steps, first, asked.yosinski, raised.at_a_place))
    source = statistics.source if asked.style in ("fourier", "smooth", "maco") else None
    return plan, steps, {"style": asked.style, "colours": source}


def _through(
    model: Any, asked: Asked, images: evidence.Reference | None, start: Any, through: Generator
) -> tuple[styles.Plan, int, dict[str, Any]]:
    """How codes of a generator are optimised, the number of steps, and what is recorded of both."""
    pictures = None if images is None else images.samples.values
    first = None if start is None else start.values
    codes, steps = through.codes(model, pictures, first, asked.batch_size), asked.steps or generator.STEPS
    facts = {"style": "generator", "colours": None, "generator": through.network.name, "codes": codes.source}
    return generator.plan(codes, steps), steps, facts


def _made(
    raised: Raised,
    asked: Asked,
    where: Domain,
    score: Score,
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
    facts = evidence.collect(raised.model, where, score, z, relaxed, images, asked.seed)
    target = None if asked.unit is not None else score.id
    rest = (found.state, found.stopped, found.dead[order], opacity(found.slopes[order]))
    return Prototype(z, x, where, raised.name, target, values, facts, about, *rest)


@dataclass(frozen=True)
class Raised:
    """What is raised.

    Attributes:
        model: The model whose output it is.
        id: The class id; 0 of a unit.
        name: What it is called in words.
        word: What it is called in the name of a file.
        at_a_place: Whether it is a unit at one position.
    """

    model: Any
    id: int
    name: str
    word: str
    at_a_place: bool = False


def resolve(model: Any, asked: Asked) -> Raised:
    """Return the class or the unit that is asked for. Raises UsageError."""
    if asked.unit is not None and asked.target is not None:
        raise UsageError("a class and a unit are named", "leave out -t or --unit")
    if asked.unit is not None:
        chosen = model.choose(output=asked.unit)
        found = chosen.unit
        name = asked.unit if found is None else f"{found.label} ({found.describe()})"
        return Raised(chosen, 0, name, asked.unit.replace(":", "_"), found is not None and found.position is not None)
    if asked.target is None:
        raise UsageError("nothing is named to make a prototype of", "name a class: -t LABEL; or --unit PATH:CHANNEL")
    found = targets.resolve(targets.parse(asked.target), model.labels, model.classes)
    if found is None:
        raise UsageError(f'target "{asked.target}": a prototype has no scores to choose a class by', "name a class")
    if not model.labels:
        return Raised(model, found, f"class {found}", f"class{found}")
    label = labels.name(model.labels, found)
    if label == str(found):
        return Raised(model, found, f"class {found}", label)
    return Raised(model, found, f"{found} {label}", label)


def identity(model: Any, asked: Asked, start: Any = None, images: Any = None) -> dict[str, Any]:
    """Return what must be the same for a run to go on: model, method, preprocessing."""
    how = {name: value for name, value in vars(asked).items() if name not in ("steps", "batch_size")}
    prep = domain.preprocessing_of(model)
    about = {"model": model.graph.sha256, "input": model.graph.inputs[0].name, "output": model.graph.outputs[0].name}
    about |= {"start": str(start) if start else None, "images": str(images) if images else None, **how}
    return {**about, "preprocessing": None if prep is None else prep.to_dict()}


def _colours(where: Domain, images: evidence.Reference | None) -> colours.Colours:
    """Statistics of the user's pictures, else those that are assumed."""
    if not where.space:
        return colours.Colours(np.full(where.shape[0], 0.5), np.eye(where.shape[0]), 0.25, np.ones(where.shape), "none")
    if images is None or len(images.samples) < 2:
        return colours.assumed(where.shape[0], where.space, where.order)
    pictures = where.from_input(images.samples.values[:MOST_PICTURES])
    return colours.estimated(pictures, f"estimated from {len(pictures)} pictures")
