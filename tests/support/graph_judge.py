"""What must hold of every model that is explained, each from an independent computation."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

import onnxlrp
from onnxlrp.errors import InputError, UnsupportedError


def untouched(model: onnx.ModelProto, x: Any) -> Any:
    """The scores of the file itself, sample by sample, without any optimisation."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    own = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.concatenate([own.run(["y"], {"x": x[n : n + 1]})[0] for n in range(len(x))])


def close(what: str, found: Any, wanted: Any, tolerance: float) -> None:
    """Raise AssertionError unless the largest difference is below a share of the largest value."""
    found, wanted = np.asarray(found, np.float64), np.asarray(wanted, np.float64)
    assert found.shape == wanted.shape, f"{what}: shape {found.shape}, not {wanted.shape}"
    apart = float(np.abs(found - wanted).max(initial=0)) / max(float(np.abs(wanted).max(initial=0)), 1e-3)
    assert apart <= tolerance, f"{what}: {apart:.1e} of the largest value apart"


def judge(model: onnx.ModelProto, x: Any, quantized: bool) -> str:
    """Explain a model, and check what comes out.

    Args:
        model: The model.
        x: Samples [3, …].
        quantized: It rounds: a value at a half may fall to either side, and its gradient is straight through.

    Returns:
        "explained", or "refused: " and why.

    Raises:
        AssertionError: Something is wrong.
    """
    try:
        wanted = untouched(model, x)
    except Exception as error:  # onnxruntime's errors share no base: the generator made no valid file
        return f"not run by onnxruntime: {str(error).splitlines()[0][:120]}"
    try:
        ort, reference = (onnxlrp.load(model, engine=engine) for engine in ("ort", "reference"))
        slope = ort.explain(x, target=1, method="gradient")
    except (UnsupportedError, InputError) as error:
        return f"refused: {error.message[:160]}"
    loose = 5e-2 if quantized else 1e-4
    close("scores", slope.output, wanted, loose)
    exact = reference.explain(x, target=1, method="gradient")
    close("gradient, ort and reference", slope.relevance, exact.relevance, loose if quantized else 1e-3)
    if not quantized:
        finite_differences(reference, x, exact.relevance)
    # In float64: beside a logit near zero, what single precision loses of its terms would be a large share.
    e = reference.explain(x, target=1, method="epsilon", ledger=True)
    for row in e.ledger or ():
        assert np.max(row.error) < 1e-6, f"the ledger of {row.layer} is open by {np.max(row.error):.1e}"
    for n in range(len(x)):
        alone = ort.explain(x[n : n + 1], target=1, method="gradient")
        close("a sample alone", slope.relevance[n], alone.relevance[0], loose)
    with tempfile.TemporaryDirectory() as folder:
        path = ort.export(Path(folder) / "e.onnx", method="gradient", target="input")
        own = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        names = [value.name for value in own.get_inputs()]
        size = ort.graph.batch or len(x)
        found = own.run(["relevance"], {names[0]: x[:size], names[1]: np.ones(size, np.int64)})[0]
        close("the exported file", found, slope.relevance[:size], loose)
    return "explained"


def finite_differences(model: Any, x: Any, gradient: Any) -> None:
    """The slope along a random direction, by central differences in float64 at two steps.

    Where the two disagree, a kink of the function lies between them, and nothing follows.
    """
    direction = np.random.default_rng(0).normal(size=x.shape)

    def slope(step: float) -> Any:
        up, down = (model.outputs(x + sign * step * direction)["logits"].reshape(len(x), -1)[:, 1] for sign in (1, -1))
        return (up - down) / (2 * step)

    one, two = slope(1e-5), slope(3e-6)
    along = (gradient * direction).reshape(len(x), -1).sum(axis=1)
    size = max(float(np.abs(one).max()), float(np.abs(along).max()), 1e-3)
    smooth = np.abs(one - two) < 1e-5 * size
    apart = np.abs(one - along)[smooth] / size
    assert apart.max(initial=0) < 1e-4, f"gradient and finite differences are {apart.max():.1e} apart"
