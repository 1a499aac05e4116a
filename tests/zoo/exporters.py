"""What exporters make of one torch network: torch's own two, and rewriters that write as others do.

Each gets (net, example batch, folder) and gives the path of a model; `None` where it has no way to write this one.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch

from zoo.idioms import caffe, caffe2, cntk, half, keras, paddle, quantised, stored_weights


def _legacy(opset: Any, folded: bool = True) -> Callable[..., Any]:
    def export(net: Any, x: Any, folder: Any) -> Any:
        path = folder / f"legacy{opset}{'' if folded else '-raw'}.onnx"
        mode = torch.onnx.TrainingMode.EVAL if folded else torch.onnx.TrainingMode.PRESERVE
        options = {"do_constant_folding": folded, "training": mode, "opset_version": opset}
        axes = {"input": {0: "N"}, "logits": {0: "N"}}
        _quietly(
            torch.onnx.export, net, (x[:1],), path, dynamo=False, input_names=["input"], output_names=["logits"],
            dynamic_axes=axes, **options,
        )  # fmt: skip
        return path

    return export


def _dynamo(opset: Any, external: Any) -> Callable[..., Any]:
    def export(net: Any, x: Any, folder: Any) -> Any:
        path = folder / f"dynamo{opset}.onnx"
        options = {"opset_version": opset, "external_data": external, "input_names": ["input"]}
        free = {"dynamic_shapes": ({0: torch.export.Dim("N")},)} if external else {}
        _quietly(torch.onnx.export, net, (x[:2] if external else x[:1],), path, dynamo=True, **free, **options)
        return path

    return export


def _quietly(function: Any, *args: Any, **options: Any) -> None:
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.ERROR)
        try:
            function(*args, **options)
        finally:
            logging.disable(logging.NOTSET)


def _optimised(level: Any) -> Callable[..., Any]:
    def export(net: Any, x: Any, folder: Any) -> Any:
        path = folder / f"ort-{level.lower()}.onnx"
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_ENABLE_{level}")
        options.optimized_model_filepath = str(path)
        options.log_severity_level = 4
        onnxruntime.InferenceSession(str(_once(17, True, net, x, folder)), options, providers=["CPUExecutionProvider"])
        return path

    return export


def _rewritten(idiom: Any, opset: Any) -> Callable[..., Any]:
    def export(net: Any, x: Any, folder: Any) -> Any:
        model = onnx.load(_once(opset, False, net, x, folder))
        model = onnx.shape_inference.infer_shapes(model, data_prop=True)
        made = idiom(model)
        if made is None:
            return None
        path = folder / f"{idiom.__name__}.onnx"
        onnx.save(made, path)
        return path

    return export


def _once(opset: Any, folded: Any, net: Any, x: Any, folder: Any) -> Any:
    """A file that other exporters start from is written once."""
    path = folder / f"legacy{opset}{'' if folded else '-raw'}.onnx"
    return path if path.exists() else _legacy(opset, folded)(net, x, folder)


EXPORTERS = {
    "torch 11": _legacy(11),
    "torch 13": _legacy(13),
    "torch 17": _legacy(17),
    "dynamo 18": _dynamo(18, external=False),
    "dynamo 23": _dynamo(23, external=True),
    "ort basic": _optimised("BASIC"),
    "ort extended": _optimised("EXTENDED"),
    "keras": _rewritten(keras, 13),
    "caffe": _rewritten(caffe, 11),
    "caffe2": _rewritten(caffe2, 9),
    "cntk": _rewritten(cntk, 9),
    "paddle": _rewritten(paddle, 11),
    "weights": _rewritten(stored_weights, 17),
    "int8 weights": _rewritten(quantised, 17),
    "fp16": _rewritten(half, 17),
}


def feed(exporter: Any, x: Any) -> Any:
    """The batch as this exporter's model takes it, an array."""
    if exporter == "keras":
        return np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    if exporter == "caffe":
        return np.ascontiguousarray(x[:, ::-1])
    return x.astype(np.float16) if exporter == "fp16" else x


def back(exporter: Any, relevance: Any) -> Any:
    """Relevance of `feed`'s batch in torch's layout."""
    if exporter == "keras":
        return relevance.transpose(0, 3, 1, 2)
    return relevance[:, ::-1] if exporter == "caffe" else relevance
