"""onnxruntime, asked for in one place: it is no requirement, and every part that uses it has another way or says so."""

from __future__ import annotations

from types import ModuleType

from .errors import UsageError

INSTALL = "pip install onnxruntime"

# Optimisers of onnxruntime that change what a quantised model computes: float weights between quantised activations are
# rounded, two scales in a row become one, roundings are moved, dropped or put where they were not.
INEXACT = (
    "WeightBiasQuantization",
    "DoubleQDQPairsRemover",
    "QDQPropagationTransformer",
    "QDQSelectorActionTransformer",
    "QDQS8ToU8Transformer",
    "ReluQuantRewrite",
    "ClipQuantRewrite",
)


def missing() -> str:
    """Return why onnxruntime cannot be imported; "" where it can."""
    try:
        import onnxruntime  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name == "onnxruntime":
            return "onnxruntime is not installed"
        return f"onnxruntime cannot be imported: {error}"
    except ImportError as error:  # a library of the system that it was built for
        return f"onnxruntime cannot be imported: {error}"
    return ""


def onnxruntime() -> ModuleType:
    """Return the module onnxruntime.

    Raises:
        UsageError: It is not installed, or cannot be imported.
    """
    if why := missing():
        raise UsageError(why, fix(why))
    import onnxruntime as ort

    return ort  # type: ignore[no-any-return]


def fix(why: str) -> str:
    """Return the command that repairs what `missing` says."""
    return INSTALL if why.endswith("not installed") else f"{INSTALL} --force-reinstall; onnxlrp doctor says more"
