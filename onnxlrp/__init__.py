"""onnxlrp explains any exported ONNX model from the file alone.

>>> model = onnxlrp.load("model.onnx")
>>> model.explain("cat.jpg").save("cat.png")
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import lazy as _lazy
from .errors import OnnxLrpError
from .version import __version__

if TYPE_CHECKING:
    from .composites import Composite
    from .explanation import Explanation
    from .inputs.text import Text
    from .model import ExplainOptions, Model, load


__all__ = [
    "Composite",
    "ExplainOptions",
    "Explanation",
    "Model",
    "OnnxLrpError",
    "Text",
    "__version__",
    "explain",
    "export",
    "load",
    "rule",
]

# Nothing heavy is imported before it is used: `import onnxlrp` loads no onnx, onnxruntime, Pillow or CuPy.
__getattr__ = _lazy.names(
    __name__,
    {
        "load": ".model",
        "Model": ".model",
        "ExplainOptions": ".model",
        "Composite": ".composites",
        "Explanation": ".explanation",
        "Text": ".inputs.text",
    },
)


def __dir__() -> list[str]:
    return list(__all__)


def explain(model: Any, x: Any, **options: Any) -> Explanation:
    """Load a model and explain it in one call. Keep the result of `load` to explain more than once.

    >>> onnxlrp.explain("model.onnx", "cat.jpg", target=281).save("cat.png")

    Args:
        model: A path, the bytes of a file or a ModelProto.
        x: An array in the model's layout (one sample or a batch), a PIL image, a path, or a list of them.
        options: What `Model.explain` takes by name: `target`, `method`, `ledger`, options of the method, …

    Returns:
        The explanation, one row for each sample.

    Raises:
        OnnxLrpError: The model, the input or an option cannot be used; the error has the fix.
    """
    from .model import load

    return load(model).explain(x, **options)


def export(model: Any, path: Any, **options: Any) -> Any:
    """Load a model and save it together with a method as one ONNX file of standard operators.

    >>> onnxlrp.export("model.onnx", "explainer.onnx", method="gamma", target="top1")

    Args:
        model: A path, the bytes of a file or a ModelProto.
        path: The file to write; it takes the image and gives scores and relevance.
        options: What `Model.export` takes by name: `method`, `target`, options of the method, …

    Returns:
        The path of the file.

    Raises:
        OnnxLrpError: The model or an option cannot be used; the error has the fix.
    """
    from .model import load

    return load(model).export(path, **options)


def rule(text: str) -> Any:
    """Return the rule that a text names, for a `Composite`.

    >>> onnxlrp.rule("gamma(0.25)")

    Args:
        text: A name, with options in brackets if there are any: "zplus", "gamma(0.25)", "alpha_beta(alpha=2, beta=1)".
            `onnxlrp rules` lists the names.

    Returns:
        The rule.

    Raises:
        UsageError: There is no such rule or option.
    """
    from .rules import parse

    return parse(text)
