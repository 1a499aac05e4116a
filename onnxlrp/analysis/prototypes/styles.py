"""Styles of prototypes: parameterisation, transformations, optimiser and regularisers that go together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ...errors import UsageError, did_you_mean
from ..ascent.colours import Colours
from ..ascent.optimize import Array, Operator, Parameterisation, Penalty, Transformations
from ..ascent.optimizers import Adam, Momentum, NAdam, Optimizer
from ..ascent.parameterisations import Fourier, Maco, Pixels
from ..ascent.regularisers import AlphaNorm, Blur, ClipSmallContribution, ClipSmallNorm, Decay, KeepInRange
from ..ascent.transformations import Affine, Noise

_WIDE = Affine(0.2, (0.6, 1.4), 30)
"""Wider than the published ones (12 + 8 + 4 pixels of 224, .9 to 1.1, 10 degrees): other networks see more in them."""
_MOVES = Affine(24 / 224, (0.8, 1.25), 15)
"""Narrower, for the spectrum that `maco` keeps."""
_STILL = Affine(2 / 224, (0.98, 1.02), 2)
_AGAINST_RIVALS = "logit+log-probability"
"""By it the model sees its class in more of the moved pictures than by the logit (benchmarks/results/prototypes.json).
What other networks see does not differ beyond the intervals."""


@dataclass(frozen=True, eq=False)
class Plan:
    """How a prototype is optimised: arguments of `optimize`."""

    parameterisation: Parameterisation
    optimizer: Optimizer
    transformations: Transformations = ()
    penalties: Sequence[Penalty] = ()
    operators: Sequence[Operator] = ()
    copies: int = 1
    normalised: bool = False


@dataclass(frozen=True, eq=False)
class Setting:
    """What a style is fitted to.

    Attributes:
        shape: (C, *space) of the pictures.
        colours: Statistics of pictures.
        steps: The number of steps.
        first: A picture [C, *space] to start from, if any.
        yosinski: Regularisers of the style yosinski that are on.
        still: What is raised lies at one place, which moves would take from under it.
    """

    shape: tuple[int, ...]
    colours: Colours
    steps: int = 128
    first: Array | None = None
    yosinski: Sequence[str] = ("decay", "blur", "norm")
    still: bool = False

    @property
    def wide(self) -> Affine:
        """The transformations that a picture must survive."""
        return _STILL if self.still else _WIDE

    @property
    def moves(self) -> Affine:
        """The narrower ones."""
        return _STILL if self.still else _MOVES


@dataclass(frozen=True)
class Style:
    """A style.

    Attributes:
        name: Its name.
        steps: The number of steps by default.
        summary: A sentence about it, with its paper.
        make: The plan for a setting.
        space: Whether it needs axes of space: a vector has none.
        objective: What is raised of a class by default, of `objectives.OBJECTIVES`.
    """

    name: str
    steps: int
    summary: str
    make: Callable[[Setting], Plan] = field(repr=False)
    space: bool = True
    objective: str = "logit"


def _pixels(setting: Setting) -> Plan:
    start = 0.5 if setting.first is None else setting.first
    return Plan(
        Pixels(setting.shape, start),
        Adam(0.05),
        penalties=[AlphaNorm(2e-4 * setting.shape[0])] if len(setting.shape) > 1 else [AlphaNorm(1e-3)],
        operators=[KeepInRange()],
    )


YOSINSKI: dict[str, Operator] = {
    "decay": Decay(0.01),
    "blur": Blur(0.5, 4),
    "norm": ClipSmallNorm(20),
    "contribution": ClipSmallContribution(20),
}


def _yosinski(setting: Setting) -> Plan:
    start = 0.5 if setting.first is None else setting.first
    operators: list[Operator] = [YOSINSKI[name] for name in setting.yosinski]
    return Plan(
        Pixels(setting.shape, start, noise=0.04),
        Momentum(0.04, 0.0),
        operators=[*operators, KeepInRange()],
        normalised=True,
    )


def _fourier(setting: Setting) -> Plan:
    return Plan(
        Fourier(setting.shape, setting.colours, first=setting.first),
        Adam(0.05),
        [setting.wide],
    )


def _smooth(setting: Setting) -> Plan:
    return Plan(Fourier(setting.shape, setting.colours, power=1.3, first=setting.first), Adam(0.05), [setting.wide])


def _maco(setting: Setting) -> Plan:
    # The crops of the paper, of half the picture and less, leave parts of other classes that moves bring in.
    return Plan(
        Maco(setting.shape, setting.colours),
        NAdam(lambda step: 0.05 + 0.95 * (1 - step / setting.steps) ** 2),
        [setting.moves, Noise(0.02)],
    )


STYLES = {
    style.name: style
    for style in (
        Style(
            "fourier",
            96,
            "Fourier coefficients scaled by 1/f, colours decorrelated (Olah et al. 2017).",
            _fourier,
            objective=_AGAINST_RIVALS,
        ),
        Style(
            "smooth",
            96,
            "As fourier, scaled by 1/f^1.3: larger parts, less grain.",
            _smooth,
            objective=_AGAINST_RIVALS,
        ),
        Style("maco", 128, "The phases alone, magnitudes as of real pictures (Fel et al. 2023).", _maco),
        Style("yosinski", 128, "Pixels, with decay, blur and clipping after steps (Yosinski et al. 2015).", _yosinski),
        Style("pixels", 64, "Pixels, with an l2 penalty (Simonyan et al. 2013).", _pixels, space=False),
    )
}


def style(name: str) -> Style:
    """Return the style of a name. Raises UsageError."""
    if name not in STYLES:
        raise UsageError(f'there is no style "{name}"', did_you_mean(name, STYLES))
    return STYLES[name]
