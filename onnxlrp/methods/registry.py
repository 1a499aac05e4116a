"""The registry of methods: composites (`@preset`) and attributions (`@method`), in the modules of this folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import numpy.typing as npt

from .. import registry
from ..composites import Composite
from ..errors import UnsupportedError, UsageError
from ..graph.facts import has_trees
from ..registry import Registry
from .default import ATTENTION, PICTURES

Array = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Attribution:
    """The result of a method.

    Attributes:
        relevance: An array in the shape of the problem's x.
        notes: Values to print with it by name: an array [N] has one for each sample, anything else is for all of them.
    """

    relevance: Array
    notes: Mapping[str, Any] = field(default_factory=dict)


class Method(Protocol):
    """Explains a `methods.problem.Problem`: samples, and a class of each; its fields are its options.

    One that cannot explain every model may have `check(graph, kind)`, which raises before anything is computed.
    """

    def __call__(self, problem: Any) -> Attribution:
        """Explain every sample."""
        ...


@dataclass(frozen=True, eq=False)
class MethodEntry(registry.Entry):
    """A registered method.

    Attributes:
        make: The function that returns its Composite, or the class of the Method.
        is_composite: Whether it is a choice of rules: it walks back through the layers, so that rules, layers,
            conditions and a ledger may be asked of it.
        passes: Its cost, in passes through the model for each sample.
        paper: Authors and year, where `summary` does not end with them.
    """

    make: Callable[..., Any]
    is_composite: bool
    passes: str
    paper: str = ""

    @property
    def summary(self) -> str:
        """A sentence about it, with its paper."""
        text = super().summary
        return f"{text.rstrip('.:')} ({self.paper})." if self.paper else text


# Composites are what most runs ask for: their modules are imported without those of the other methods.
METHODS: Registry[MethodEntry] = Registry(
    "method", __package__ or "", first=("presets", "presets_attention", "presets_gradient")
)
_Class = TypeVar("_Class", bound=type[Any])
_Preset = TypeVar("_Preset", bound=Callable[..., Composite])
_PROPAGATION = "1 + 1 propagation"


def method(name: str, *, paper: str, passes: str) -> Callable[[_Class], _Class]:
    """Register a method that is not a composite: a frozen dataclass whose fields are its options.

    Args:
        name: The name that the command line and `explain` use; the class gets it as its attribute `name`.
        paper: Authors and year.
        passes: Its cost, in passes through the model for each sample: "samples, each with a gradient".

    Returns:
        A decorator for the class, which it gives back.
    """

    def register(cls: _Class) -> _Class:
        cls.name = name
        METHODS.register(name, MethodEntry(cls, False, passes, paper), source=cls, order=1)
        return cls

    return register


def preset(make_composite: _Preset) -> _Preset:
    """Register a function that returns a Composite as the method of the function's name; its arguments are options."""
    entry = MethodEntry(make_composite, True, _PROPAGATION)
    METHODS.register(make_composite.__name__, entry, source=make_composite)
    return make_composite


def composites() -> tuple[str, ...]:
    """Return the names of the methods that are composites."""
    return tuple(name for name, entry in METHODS.items() if entry.is_composite)


def forward_methods() -> tuple[str, ...]:
    """Return the names of the methods that need forward passes alone, which run on any model."""
    backward = ("gradient", "propagation", "trees", "attention")  # or what reads layers
    return tuple(name for name, entry in METHODS.items() if not any(word in entry.passes for word in backward))


def moves(chosen: Method) -> bool:
    """Return whether a method takes gradients, or walks between inputs: it needs numbers that have others between.

    Args:
        chosen: The method.
    """
    return "gradient" in METHODS[name_of(chosen)].passes


def make(name: str, **options: Any) -> Any:
    """Return the Composite or the Method of a name.

    Args:
        name: A name in `METHODS`.
        options: Values of its options.

    Raises:
        UsageError: There is no such method or option, or an option refuses its value.
    """
    return registry.made("method", name, METHODS[name].make, options)


def make_composite(name: str, **options: Any) -> Composite:
    """Return the Composite of a name.

    Args:
        name: A name in `METHODS`.
        options: Values of its options.

    Raises:
        UsageError: There is no such method or option, or the method is not a composite.
    """
    if not METHODS[name].is_composite:
        raise UsageError(
            f"{name} is no composite: it gives layers no rules", f"take a composite: {', '.join(composites())}"
        )
    made: Composite = make(name, **options)
    return made


def asked(chosen: Any, options: Mapping[str, Any]) -> Method | None:
    """Return the Method that a name with its options, or an object, stands for.

    Args:
        chosen: A name in `METHODS`, a Composite or a Method.
        options: The options of a method that is named.

    Returns:
        None for composites and their names, and for objects of classes that are not registered.

    Raises:
        UsageError: There is no such method or option, or options are given beside an object.
    """
    if isinstance(chosen, str):
        made: Method | None = None if METHODS[chosen].is_composite else make(chosen, **options)
        return made
    name = str(getattr(type(chosen), "name", ""))
    if isinstance(chosen, Composite) or name not in METHODS or METHODS[name].make is not type(chosen):
        return None
    if options:
        raise UsageError("options belong to methods named by a word", "set them where the method is made")
    found: Method = chosen
    return found


def check(chosen: Method, graph: Any, kind: Any) -> None:
    """Raise what a method has against a model, before anything is computed.

    Args:
        chosen: The method.
        graph: The model.
        kind: The kind of its input.

    Raises:
        UsageError: The method cannot explain this model.
        UnsupportedError: The method needs layers that cannot be read.
    """
    name = name_of(chosen)
    if name in METHODS and name not in forward_methods():
        if graph.opaque is not None:
            raise graph.opaque.refusal(f'the method "{name}"')
        if "trees" not in METHODS[name].passes and has_trees(graph):
            raise UnsupportedError(
                f"{name} takes gradients, and trees have none",
                "-m tree_shap with --background, or what hides columns: -m occlusion, lime, kernel_shap",
            )
    if name in METHODS and moves(chosen):
        refuse_words(name, graph)
    if hasattr(chosen, "check"):
        chosen.check(graph, kind)


def refuse_words(name: str, graph: Any) -> None:
    """Raise UnsupportedError where columns of the input are words, of which a method would take slopes.

    Args:
        name: The method.
        graph: The model.
    """
    if graph.categories.get(graph.inputs[0].name):
        raise UnsupportedError(
            f"{name} takes slopes, and columns of words have none",
            "-m epsilon gives each column its relevance; -m occlusion, lime and kernel_shap hide columns",
        )


def name_of(chosen: Method) -> str:
    """Return the name that a method is registered under."""
    name: str = chosen.name  # type: ignore[attr-defined]
    return name


def refuse_composites_own(chosen: Method, **given: Any) -> None:
    """Raise UsageError where a method is given what only a composite has: rules, layers, a ledger."""
    wrong = [key for key, value in given.items() if value]
    if wrong:
        # Most composites give positions no relevance, and are refused too.
        fix = f"leave it out, or take a composite such as {ATTENTION if wrong[0] == 'positions' else PICTURES}"
        raise UsageError(f"{name_of(chosen)} propagates through no layers: {wrong[0]} is not for it", fix)
