"""Registries: what a folder of the package and its plugins offer, by name.

A rule, layer, method, metric, check or engine registers itself with a decorator. The modules of the registry's folder
are found there and imported when a name is first looked up; those of other packages come through entry points of the
group `onnxlrp.plugins`.
"""

from __future__ import annotations

import importlib
import inspect
import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from numbers import Integral, Real
from types import MappingProxyType, NoneType
from typing import Any, Generic, NamedTuple, TypeVar

from .errors import UsageError, did_you_mean, of_type

PLUGINS = "onnxlrp.plugins"
T = TypeVar("T")


class UnknownName(UsageError, KeyError):
    """Nothing is registered under this name."""


class NameTaken(UsageError, ValueError):
    """Two classes or functions are registered under one name."""


class _Row(NamedTuple, Generic[T]):
    value: T
    source: tuple[str, str]  # module and qualified name of what was decorated
    place: tuple[int, bool, str, int]  # by this, rows are in order


_ALL: list[Registry[Any]] = []


def has_foreign() -> bool:
    """Return whether anything is registered that is not of this package, or would be when it is looked up."""
    from importlib.metadata import entry_points

    known = any(row.place[1] for registry in _ALL for row in registry._rows.values())
    return known or bool(entry_points(group=PLUGINS))


class Registry(Mapping[str, T]):
    """A mapping from names to what is registered, in a stable order: whoever imports which module first.

    The order is that of `order`, then the package's own modules before those of plugins, then the modules' names, then
    the order within a module.

    Args:
        kind: One of the things, as errors call it: "rule", "check".
        package: The dotted name of the folder whose modules register themselves. A folder inside it counts as a module;
            modules whose names begin with "_" and those called "registry" are left out.
        first: Modules of the folder with the names that most runs ask for, imported in this order before the others,
            as far as it takes to find the name that is looked up.
    """

    def __init__(self, kind: str, package: str, *, first: Sequence[str] = ()) -> None:
        self.kind, self.package = kind, package
        self._first = tuple(first)
        self._rows: dict[str, _Row[T]] = {}
        self._complete = False
        _ALL.append(self)

    def register(self, name: str, value: T, *, source: Any = None, order: int = 0) -> None:
        """Add a row.

        Args:
            name: The name to look it up by.
            value: What the registry gives for the name.
            source: The class or function that was decorated, where `value` only describes it.
            order: Rows with smaller numbers come first.

        Raises:
            NameTaken: Another class or function has the name. (A module that is imported anew may replace its own.)
        """
        origin: Any = value if source is None else source
        found = origin.__module__, origin.__qualname__
        before = self._rows.get(name)
        if before is not None and before.source != found:
            raise NameTaken(
                f"two {self.kind}s are called {name!r}: {'.'.join(before.source)} and {'.'.join(found)}",
                f"give one of the two another name, or take the module {found[0]} away",
            )
        foreign = not f"{found[0]}.".startswith(f"{self.package}.")
        number = before.place[-1] if before else len(self._rows)
        self._rows[name] = _Row(value, found, (order, foreign, found[0], number))

    def __getitem__(self, name: str) -> T:
        """Return what is registered under a name.

        Raises:
            UnknownName: Nothing is; it is a UsageError that names the nearest ones, and a KeyError.
        """
        if name not in self:
            raise self.unknown(name)
        return self._rows[name].value

    def unknown(self, name: str) -> UnknownName:
        """Return the error for a name that is not registered."""
        return UnknownName(f'there is no {self.kind} "{name}"', did_you_mean(name, self))

    def __contains__(self, name: object) -> bool:
        # Modules are imported only as far as the name asks for: a first heatmap is mostly imports.
        if name not in self._rows and not self._complete:
            for module in self._likely(name):
                self._import([module])
                if name in self._rows:
                    return True
            self._import_folder()
        if name not in self._rows:
            load_plugins()
        return name in self._rows

    def __iter__(self) -> Iterator[str]:
        self._import_folder()
        load_plugins()
        return iter(self._sorted())

    def own(self) -> list[str]:
        """Return the names that the package registers itself, without those of plugins."""
        self._import_folder()
        return [name for name in self._sorted() if not self._rows[name].place[1]]

    def _sorted(self) -> list[str]:
        return sorted(self._rows, key=lambda name: self._rows[name].place)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _likely(self, name: object) -> Iterator[str]:
        """Yield the modules that are imported first for a name: those of `first`, then one that is called like it."""
        yield from self._first
        yield from (module for module in self._modules() if module == name)

    def _import_folder(self) -> None:
        self._import(self._modules())
        self._complete = True

    def _import(self, modules: Iterable[str]) -> None:
        for module in modules:
            importlib.import_module(f"{self.package}.{module}")

    def _modules(self) -> list[str]:
        """The names of the folder's modules; none where all of them have been imported."""
        if self._complete:
            return []
        import pkgutil

        path = importlib.import_module(self.package).__path__
        names = [module.name for module in pkgutil.iter_modules(path)]
        return [name for name in names if not name.startswith("_") and name != "registry"]


@cache
def load_plugins() -> None:
    """Import what other packages offer: every entry point of the group `onnxlrp.plugins` names a module.

    Raises:
        UsageError: A module cannot be imported, or registers a name that is taken.
    """
    from importlib.metadata import entry_points

    for point in sorted(entry_points(group=PLUGINS), key=lambda point: (point.name, point.value)):
        try:
            point.load()
        except Exception as error:
            package = point.dist.name if point.dist is not None else point.name
            raise UsageError(
                f"the plugin {point.name!r} ({point.value}, of the package {package}) cannot be loaded: "
                f"{type(error).__name__}: {error}",
                f"pip install --upgrade {package}, or pip uninstall {package} to do without it",
            ) from error


class Option(NamedTuple):
    """An option of what is registered: a field of its dataclass, or an argument of its function.

    `type` is its annotation as it is written, such as "int | None"; `default` is `inspect.Parameter.empty` where it
    must be given.
    """

    name: str
    type: str
    default: Any

    @property
    def types(self) -> tuple[str, ...]:
        """The alternatives of the annotation: ("int", "None")."""
        return tuple(word.strip() for word in self.type.split("|"))


def options_of(make: Callable[..., Any]) -> Mapping[str, Option]:
    """Return the options of a class or function by name, from its signature."""
    return _read_signature(make)


@cache
def _read_signature(make: Hashable) -> Mapping[str, Option]:
    assert callable(make)
    found = {}
    for parameter in inspect.signature(make).parameters.values():
        written = parameter.annotation
        if written is inspect.Parameter.empty:
            written = type(parameter.default)
        kind = written if isinstance(written, str) else inspect.formatannotation(written)
        found[parameter.name] = Option(parameter.name, kind, parameter.default)
    return MappingProxyType(found)


class Entry:
    """What a registry keeps of a class or function; a subclass adds what its registry asks of each.

    Attributes:
        make: The class or function; its fields or arguments are the options.
    """

    make: Callable[..., Any]

    @property
    def summary(self) -> str:
        """The first paragraph of its documentation, on one line."""
        return summary(self.make)

    @property
    def options(self) -> Mapping[str, Option]:
        """Its options by name."""
        return options_of(self.make)


def made(kind: str, name: str, make: Callable[..., T], options: Mapping[str, Any]) -> T:
    """Call `make` with options by name.

    Args:
        kind: What is made, as errors call it: "method", "metric".
        name: The name that it is registered under.
        make: Its class or function.
        options: The options to set.

    Raises:
        UsageError: It has no option of this name, or refuses the value.
    """
    known = options_of(make)
    for key in options:
        if key not in known:
            fix = did_you_mean(key, known) if known else "it has no options"
            raise UsageError(f'{kind} "{name}" has no option "{key}"', fix)
    check_types(known, options)
    return make(**options)


def read_value(option: Option, text: str, shown: str) -> Any:
    """Return the value of an option that a text stands for, by the option's type.

    Args:
        option: The option.
        text: A number, several between commas, true or false, or a word.
        shown: What messages call the option.

    Raises:
        UsageError: The text is no value of the option's type.
    """
    types = option.types
    if "bool" in types:
        if text.lower() not in ("true", "false", "yes", "no", "1", "0"):
            raise UsageError(f'{shown} "{text}" is neither true nor false', f"write {shown} true")
        return text.lower() in ("true", "yes", "1")
    for name, read in (("int", int), ("float", float), ("Sequence[float]", _numbers)):
        if name in types:
            try:
                return read(text)
            except ValueError:
                continue
    if "str" not in types and {"int", "float"} & {*types}:
        kind, example = ("a number", "0.25") if "float" in types else ("a whole number", "8")
        if "," in text:
            raise UsageError(f'{shown} "{text}" is several numbers', f"write {shown} {text.partition(',')[0]}")
        raise UsageError(f'{shown} "{text}" is not {kind}', f"write {shown} {example}")
    return text


def _numbers(text: str) -> list[float]:
    return [float(word) for word in text.split(",")]


_PLAIN: dict[str, type] = {"int": Integral, "float": Real, "str": str, "bool": bool, "None": NoneType}
_LARGEST = (1 << 63) - 1
_STABILIZERS = ("epsilon", "stabilizer")  # what is added away from 0: below 0 it would bring denominators to it


def check_types(known: Mapping[str, Option], values: Mapping[str, Any]) -> None:
    """Refuse values of other types than options of numbers, words and switches are annotated with.

    Args:
        known: The options by name.
        values: Values of some of them.

    Raises:
        UsageError: A value is of another type.
    """
    for name, value in values.items():
        types = known[name].types
        if all(word in _PLAIN for word in types):
            of_type(tuple(_PLAIN[word] for word in types), known[name].type, **{name: value})
        if isinstance(value, float) and not math.isfinite(value):
            raise UsageError(f"{name}={value} is no finite number", "give a finite number")
        if isinstance(value, Integral) and abs(int(value)) > _LARGEST:
            raise UsageError(f"{name}={value} has more than 64 bits", "give a smaller number")
        if name in _STABILIZERS and isinstance(value, Real) and float(value) < 0:
            raise UsageError(f"{name}={value}", "give 0 or more")


def summary(thing: object) -> str:
    """Return the first paragraph of a docstring, on one line."""
    return " ".join((thing.__doc__ or "").split("\n\n")[0].split())
