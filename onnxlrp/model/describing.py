"""A loaded model in a line, and as a table for notebooks."""

from __future__ import annotations

from pathlib import Path

from ..errors import OnnxLrpError
from ..graph.graph import Tensor
from .loaded import LoadedModel


def one_line(model: LoadedModel) -> str:
    """Return the file, the explained input and output, and the engine: what `repr` shows."""
    graph = model.graph
    name = Path(graph.source).name if model.path else "from memory"
    ends = f"{_tensor(model, graph.inputs[0])} -> {_tensor(model, graph.outputs[0])}"
    return f"<onnxlrp.Model {name}: {ends}, {len(graph.layers)} layers, engine {model.engine.name}>"


def table(model: LoadedModel) -> str:
    """Return an HTML table of the model: what `inspect` says of it in short."""
    from html import escape

    graph, whole = model.graph, model.whole or model.graph
    rows = [("model", str(model.path or "from memory"))]
    rows += [("input", _tensor(model, tensor)) for tensor in whole.inputs]
    rows += [("output", _tensor(model, tensor)) for tensor in whole.outputs]
    try:
        rows.append(("kind", f"{model.kind.describe()} [{model.kind.source}]"))
        rows.append(("preprocessing", model.preprocessing.describe()))
    except OnnxLrpError as error:
        rows.append(("preprocessing", f"none: {error.message}"))
    rows.append(("layers", str(len(graph.layers))))
    rows.append(("engine", model.engine.name))
    cells = "".join(
        f'<tr><th style="text-align:left">{key}</th><td style="text-align:left">{escape(text)}</td></tr>'
        for key, text in rows
    )
    return f"<table>{cells}</table>"


def _tensor(model: LoadedModel, tensor: Tensor) -> str:
    sizes = ", ".join(map(str, (model.graph.batch or "N", *tensor.shape)))
    return f"{tensor.name} {tensor.dtype} [{sizes}]"
