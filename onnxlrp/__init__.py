"""onnxlrp explains any exported ONNX model from the file alone.

>>> model = onnxlrp.load("model.onnx")
>>> model.explain("cat.jpg").save("cat.png")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import OnnxLrpError
from .version import __version__

if TYPE_CHECKING:
    from .composites import Composite
    from .explanation import Explanation
    from .model import Model, load


__all__ = ["Composite", "Explanation", "Model", "OnnxLrpError", "__version__", "explain", "export", "load", "rule"]

_HOMES = {"load": "model", "Model": "model", "Composite": "composites", "Explanation": "explanation"}


def __getattr__(name: str) -> Any:
    # Nothing heavy is imported before it is used: `import onnxlrp` loads no onnx, onnxruntime, Pillow or CuPy.
    if name not in _HOMES:
        raise AttributeError(f"module 'onnxlrp' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_HOMES[name]}", __name__), name)


def explain(model: Any, x: Any, **options: Any) -> Explanation:
    """Load and explain in one call: `explain("model.onnx", "cat.jpg", target=281)`. Keep the `load` for more."""
    from .model import load

    return load(model).explain(x, **options)


def export(model: Any, path: Any, **options: Any) -> Any:
    """Load and export in one call: `export("model.onnx", "explainer.onnx", method="gamma")`."""
    from .model import load

    return load(model).export(path, **options)


def rule(text: str) -> Any:
    """A rule from its text: `rule("gamma(0.25)")`."""
    from .rules import parse

    return parse(text)
