"""Names and functions whose modules are imported when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def names(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """Return the `__getattr__` of a package that imports a module when one of its names is first asked for.

    Args:
        package: The package's `__name__`.
        homes: The module of each name, relative to the package: {"load": ".loading"}.

    Returns:
        A function from a name to what it stands for; an AttributeError for other names.
    """

    def __getattr__(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(homes[name], package), name)

    return __getattr__


def function(package: str, module: str, name: str) -> Callable[..., Any]:
    """Return a function that imports its module when it is first called: for tables of what few models need.

    Args:
        package: The package that the module is relative to.
        module: The module: ".resize".
        name: The function's name there.
    """

    def call(*words: Any, **named: Any) -> Any:
        return getattr(import_module(module, package), name)(*words, **named)

    call.__name__ = call.__qualname__ = name
    return call
