"""Adapter of models and methods to Quantus (Hedström et al. 2023): `pip install quantus torch`.

    import quantus
    from onnxlrp.evaluation.quantus import adapted, explain_func

    metric = quantus.PixelFlipping()
    metric(model=adapted(model), x_batch=x, y_batch=ids, explain_func=explain_func())

Its metrics of faithfulness, robustness, localisation and complexity need scores of a model alone, and work. Metrics
that randomise weights or read hidden layers need a torch network; `onnxlrp evaluate` has weight randomisation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..errors import UnsupportedError
from ..methods.registry import Array
from ..model import DEFAULT, Model
from ..preprocessing import images
from ..preprocessing.samples import Samples
from .context import Attributor


def adapted(model: Model, batch_size: int | None = 32) -> Any:
    """Wrap a model as a `torch.nn.Module` that returns logits [N, K].

    The module has no weights, and no gradient passes through it.

    Args:
        model: The model.
        batch_size: Samples of a batch.

    Raises:
        UnsupportedError: torch is not installed.
    """
    try:
        import torch
    except ImportError:
        raise UnsupportedError("Quantus needs torch, which is not installed", "pip install quantus torch") from None

    class Adapted(torch.nn.Module):
        onnxlrp = model

        def forward(self, x: Any) -> Any:
            source = model.graph.inputs[0]
            values = images.batched(x.detach().cpu().numpy(), source.shape, source.dtype)
            logits = model.outputs(values, batch_size=batch_size)["logits"].reshape(len(values), -1)
            return torch.from_numpy(np.ascontiguousarray(logits))

        def __deepcopy__(self, memo: Any) -> Any:
            # It is immutable, and its session cannot be copied.
            return self

    return Adapted().eval()


def explain_func(
    method: Any = DEFAULT,
    *,
    summed: bool = True,
    pictures: bool = True,
    batch_size: int | None = 32,
    **options: Any,
) -> Callable[..., Array]:
    """Make the function that Quantus calls as `explain_func(model, inputs, targets)`.

    Args:
        method: A name, a Composite, a Method, or a function as `evaluate` takes it.
        summed: Sum relevance over the channels, which become one.
        pictures: Whether preprocessing made the inputs.
        batch_size: Samples of a batch.
        **options: Options of the method.

    Returns:
        The function; it returns relevance in the inputs' shape.
    """
    attributor = Attributor(str(getattr(method, "name", method)), method, options, batch_size)

    def explain(model: Any, inputs: Any, targets: Any, **_: Any) -> Array:
        found = getattr(model, "onnxlrp", None)
        if found is None:
            raise UnsupportedError(f"a model of type {type(model).__name__}", "give Quantus model=adapted(model)")
        source = found.graph.inputs[0]
        x = images.batched(_array(inputs).reshape(-1, *source.shape), source.shape, source.dtype)
        ids = _array(targets).reshape(-1).astype(np.int64)
        names = [f"sample.{i}" for i in range(len(x))]
        samples = Samples(x, [None] * len(x), [None] * len(x), names, pictures, found.kind)
        relevance = attributor(found, samples, ids).relevance
        return found.kind.expanded(found.kind.summed(relevance)) if summed else relevance

    return explain


def _array(values: Any) -> Array:
    """Convert a tensor or an array to an array."""
    return np.asarray(values.detach().cpu().numpy() if hasattr(values, "detach") else values)
