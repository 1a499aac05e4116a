"""Libraries that an analysis needs and that are no dependency of the package."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ..errors import UsageError


def library(name: str, what: str) -> Any:
    """Import a library that an extra of the package brings.

    Args:
        name: The module.
        what: What needs it, for the error.

    Raises:
        UsageError: It is not installed.
    """
    try:
        return import_module(name)
    except ImportError:
        package = name.partition(".")[0].replace("sklearn", "scikit-learn")
        raise UsageError(f"{what} needs {package}, which is not installed", f"pip install {package}") from None
