"""Last steps of the training scripts: the finished ONNX file, its check and its measured numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray

HERE = Path(__file__).resolve().parent
SAMPLES = HERE / "samples"
PREP_KEY = "onnxlrp.prep"
DECODER_KEY = "onnxlrp.decoder"
SCOPES = "pkg.torch.onnx.name_scopes"

Floats = NDArray[np.float32]


def finish(path: Path, prep: dict[str, Any], key: str = PREP_KEY, **more: Any) -> None:
    """Write the preprocessing into the file's metadata, drop the exporter's stack traces, check and save.

    Of the exporter's metadata on nodes, the module path stays. `key` names other facts than the preprocessing; `more`
    are further facts, by their keys behind `onnxlrp.`.
    """
    model = onnx.load(path)
    del model.metadata_props[:]
    facts = {key: prep} | {f"onnxlrp.{word}": fact for word, fact in more.items()}
    onnx.helper.set_model_props(model, {word: json.dumps(fact) for word, fact in facts.items()})
    # Exporters leave paths of the training machine on nodes and values, which triple the file.
    graph = model.graph
    for item in (graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        item.doc_string = ""
        kept = [entry for entry in item.metadata_props if entry.key == SCOPES]
        del item.metadata_props[:]
        item.metadata_props.extend(kept)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def export_decoder(net: Any, path: Path, codes: Any, name: str, layer: str) -> None:
    """Export a network from codes or features to pictures by torch.export at opset 18, with a symbolic batch.

    Args:
        net: The network.
        path: The file to write.
        codes: Two samples of its input.
        name: The name of its input.
        layer: The layer whose values it takes, for `onnxlrp.decoder` of the metadata; its pictures are of 0..1.
    """
    import torch  # the other scripts that import this module need none

    torch.onnx.export(
        net,
        (codes,),
        str(path),
        dynamo=True,
        external_data=False,
        opset_version=18,
        input_names=[name],
        output_names=["image"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
    )
    finish(path, {"layer": layer, "pixels": [0, 1]}, DECODER_KEY)


def logits(path: Path, images: Floats, batch: int = 64) -> Floats:
    """Run the finished file by onnxruntime: images [N, C, H, W] to logits [N, classes]."""
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    chunks = [session.run(None, {name: images[i : i + batch]})[0] for i in range(0, len(images), batch)]
    return np.concatenate(chunks)


def softmax(scores: Floats) -> Floats:
    """Compute the probabilities of logits along the last axis."""
    exp = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(exp / exp.sum(axis=-1, keepdims=True), dtype=np.float32)


def record(model: str, **numbers: Any) -> None:
    """Merge measured numbers of one model into results.json."""
    file = HERE / "results.json"
    results = json.loads(file.read_text()) if file.exists() else {}
    results[model] = {**results.get(model, {}), **numbers}
    file.write_text(json.dumps(results, indent=2, sort_keys=True) + "\n")
    print(json.dumps({model: numbers}, indent=2))
