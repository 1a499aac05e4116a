"""What must hold of every model that is explained, each from an independent computation."""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

import onnxlrp
from onnxlrp.engines.factory import make_engine
from onnxlrp.errors import InputError, UnsupportedError
from onnxlrp.model.programs import Programs

from .random_graphs.graph import Made, session


def untouched(made: Made) -> Any:
    """The scores of the file itself, sample by sample, without any optimisation."""
    own = session(made.model)
    feeds = {"x": made.x, **made.given}
    return np.concatenate(
        [own.run(["y"], {name: value[n : n + 1] for name, value in feeds.items()})[0] for n in range(len(made.x))]
    )


def close(what: str, found: Any, wanted: Any, tolerance: float, least: float = 1e-3) -> None:
    """Raise AssertionError unless the largest difference is below a share of the largest value, or of `least`."""
    found, wanted = np.asarray(found, np.float64), np.asarray(wanted, np.float64)
    assert found.shape == wanted.shape, f"{what}: shape {found.shape}, not {wanted.shape}"
    apart = float(np.abs(found - wanted).max(initial=0)) / max(float(np.abs(wanted).max(initial=0)), least)
    assert apart <= tolerance, f"{what}: {apart:.1e} of the largest value apart"


def judge(made: Made, export: bool = True) -> str:
    """Explain a model, and check what comes out.

    Args:
        made: The model, and what it is judged on.
        export: Whether the exported explainer is checked too, which costs a quarter of it all.

    Returns:
        "explained", or "refused: " and why.

    Raises:
        AssertionError: Something is wrong.
    """
    try:
        wanted = untouched(made)
    except Exception as error:  # onnxruntime's errors share no base: the generator made no valid file
        return f"not run by onnxruntime: {str(error).splitlines()[0][:120]}"
    if not np.isfinite(wanted).all():
        return "not run by onnxruntime: its scores are not finite"
    given: dict[str, Any] = {"given": made.given, "input": "x"} if made.given else {}
    try:
        ort = onnxlrp.load(made.model, engine="ort")
        slope = ort.explain(made.x, target=1, method="gradient", **given)
    except (UnsupportedError, InputError) as error:
        return f"refused: {error.message[:160]}{hidden(made, wanted, given)}"
    # The graph is read once: reading it is most of what a small model costs.
    reference = dataclasses.replace(ort, engine=make_engine("reference"), _programs=Programs(), _chosen={})
    loose = 5e-2 if made.quantized else 1e-4
    close("scores", slope.output, wanted, loose)
    exact = reference.explain(made.x, target=1, method="gradient", **given)
    # Where the slope is zero, as of a norm of equal values, single precision leaves some of what cancels.
    close("gradient, ort and reference", slope.relevance, exact.relevance, loose if made.quantized else 1e-3, 1e-2)
    if not made.quantized:
        finite_differences(reference.choose(**given) if given else reference, made.x, exact.relevance)
    # In float64: beside a logit near zero, what single precision loses of its terms would be a large share. onnx's
    # evaluator interpolates at coordinates of single precision.
    e = reference.explain(made.x, target=1, method="epsilon", ledger=True, **given)
    assert np.isfinite(e.relevance).all(), "epsilon: not finite"
    for row in e.ledger or ():
        assert np.max(row.error) < 1e-5, f"the ledger of {row.layer} is open by {np.max(row.error):.1e}"
    for n in (0, 2):
        alone = ort.explain(made.x[n : n + 1], target=1, method="gradient", **_rows(given, slice(n, n + 1)))
        close("a sample alone", slope.relevance[n], alone.relevance[0], loose)
    if export:
        exported(made, ort, slope.relevance, loose)
    return "explained"


def _rows(given: dict[str, Any], rows: slice) -> dict[str, Any]:
    return {**given, "given": {name: value[rows] for name, value in given["given"].items()}} if given else {}


def hidden(made: Made, wanted: Any, given: dict[str, Any]) -> str:
    """What a method that only hides parts makes of a model whose layers cannot be read: scores are the file's own."""
    try:
        model = onnxlrp.load(made.model)
        found = model.explain(made.x, target=1, method="occlusion", **given)
    except (UnsupportedError, InputError) as error:
        return f"; occlusion: {error.message[:120]}"
    close("scores, hidden parts", found.output, wanted, 1e-4)
    assert np.isfinite(found.relevance).all(), "occlusion: not finite"
    return ""


def exported(made: Made, model: Any, relevance: Any, loose: float) -> None:
    """The exported explainer, in onnxruntime as a user has it, gives the same."""
    with tempfile.TemporaryDirectory() as folder:
        path = model.export(Path(folder) / "e.onnx", method="gradient", target="input", input="x")
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        own = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    size = model.graph.batch or len(made.x)
    feeds = {"x": made.x, **made.given}
    names = [value.name for value in own.get_inputs()]
    feeds |= {name: np.ones(len(made.x), np.int64) for name in names if name not in feeds}
    found = own.run(["relevance"], {name: feeds[name][:size] for name in names})[0]
    close("the exported file", found, relevance[:size], loose)


def finite_differences(model: Any, x: Any, gradient: Any) -> None:
    """The slope along a random direction, by central differences in float64 at two steps.

    Where the two disagree, a kink of the function lies between them, and nothing follows.
    """
    direction = np.random.default_rng(0).normal(size=x.shape)

    steps = (1e-5, -1e-5, 3e-6, -3e-6)
    moved = [x + step * direction for step in steps]
    if model.given or model.graph.batch:
        rows = [model.outputs(one)["logits"] for one in moved]
    else:  # all at once: the reference engine takes as long for one sample as for twelve
        rows = np.split(model.outputs(np.concatenate(moved))["logits"], len(steps))
    values = [row.reshape(len(x), -1)[:, 1] for row in rows]
    one, two = ((values[n] - values[n + 1]) / (2 * steps[n]) for n in (0, 2))
    along = (gradient * direction).reshape(len(x), -1).sum(axis=1)
    size = max(float(np.abs(one).max()), float(np.abs(along).max()), 1e-3)
    smooth = np.abs(one - two) < 1e-5 * size
    apart = np.abs(one - along)[smooth] / size
    assert apart.max(initial=0) < 1e-4, f"gradient and finite differences are {apart.max():.1e} apart"
