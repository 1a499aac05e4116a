"""Quantised networks and their float twins: shares of the logit, equal maps, and what photographs say of methods.

A twin is the quantised graph without its roundings: a quantiser that rectifies becomes a Relu, every other one nothing.
It shows whether a small ΣR is the quantisation's or the network's. Methods are compared by pixels that are removed and
restored, and by masks of the objects. "nobias" is `epsilon_plus_flat` whose z⁺ gives biases nothing.

    python benchmarks/quantised.py --data DATA          # models/, images/NAME.jpg and images/NAME_mask.png; an hour
    python benchmarks/quantised.py --data DATA --pictures 4 --models ShuffleNet -o /tmp/quantised.json

What is done is kept: the same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from PIL import Image
from records import Record, environment, save, words

import onnxlrp
from onnxlrp.evaluation.evaluate import evaluate
from onnxlrp.graph.writing.to_onnx import emit
from onnxlrp.methods.presets import lrp
from onnxlrp.model import Model
from onnxlrp.rules.lrp import Epsilon, Flat, ZPlus

HERE = Path(__file__).parent
FILES: dict[str, tuple[str, Record]] = {
    "ShuffleNet int8": ("shufflenet-v2-12-int8.onnx", {"prep": {"prep": "imagenet"}}),
    "MobileNet int8": ("mobilenet_v1_0.25_128_quant_qdq.onnx", {}),
    "MobileNet": ("mobilenet_v1_0.25_224_imagenet_tf2onnx.onnx", {"prep": {"prep": "-1-1"}}),
    "SqueezeNet": ("squeezenet1.1_mxnet_nchw.onnx", {"prep": {"prep": "imagenet"}}),
}
TINY = 1e-6
NOBIAS = lrp("nobias", ZPlus(TINY, bias=False), Epsilon(TINY), TINY, [("first", Flat(TINY))])
METHODS: dict[str, Any] = {
    "epsilon_plus_flat": "epsilon_plus_flat",
    "nobias": NOBIAS,
    "deep_taylor": "deep_taylor",
    "epsilon_gamma_box": "epsilon_gamma_box",
    "excitation_backprop": "excitation_backprop",
    "gradient_x_input": "gradient_x_input",
    "grad_cam": "grad_cam",
}
METRICS = ("insertion", "deletion", "pixel_flipping")
IN_MASK = ("pointing_game", "energy_in_mask")


def noise(model: Model, x: Any, ids: Any) -> Any:
    """Return relevance that knows nothing."""
    return np.random.default_rng(0).normal(size=x.shape)


def twin(model: Model) -> bytes:
    """Return the file of a quantised model's graph without roundings."""
    written = emit(model.graph, np.float32, [tensor.name for tensor in model.graph.outputs])
    constants = {one.name: numpy_helper.to_array(one) for one in written.graph.initializer}
    unrounded = {*constants, *(value.name for value in written.graph.input)}  # and what is computed of these alone
    nodes: list[onnx.NodeProto] = []
    for node in written.graph.node:
        operator = node.op_type
        if operator == "QuantizeLinear":
            zero = constants[node.input[2]]
            operator = "Relu" if zero.min() <= np.iinfo(zero.dtype).min else "Identity"
        elif operator == "DequantizeLinear" and node.input[0] not in unrounded:
            operator = "Identity"
        elif unrounded.issuperset(node.input):
            unrounded.update(node.output)
        bare = operator in ("Relu", "Identity") and operator != node.op_type
        nodes.append(helper.make_node(operator, node.input[:1], node.output, name=node.name) if bare else node)
    del written.graph.node[:], written.graph.value_info[:]
    written.graph.node.extend(nodes)
    return bytes(written.SerializeToString())


def shares(model: Model, pictures: list[str], options: Record) -> Record:
    """Return ΣR over the logit by method, and the cosine of each map with that of the float twin."""
    quantised = any(layer.op == "QuantizeLinear" for layer in model.graph.layers)
    other = onnxlrp.load(twin(model), **options) if quantised else None
    rows: Record = {}
    for name in ("epsilon_plus_flat", "nobias"):
        own = model.explain(pictures, method=METHODS[name])
        rows[name] = {"share": float(np.median(_share(own)))}
        if other is not None:
            same = other.explain(model.read(pictures).values, target=own.target.reshape(-1), method=METHODS[name])
            rows[name]["share_of_twin"] = float(np.median(_share(same)))
            rows[name]["cosine_with_twin"] = float(np.median(_cosine(own.relevance, same.relevance)))
    return rows


def _share(explanation: Any) -> Any:
    relevance = np.asarray(explanation.relevance, np.float64)
    return relevance.reshape(len(relevance), -1).sum(axis=1) / np.asarray(explanation.logit).reshape(-1)


def _cosine(a: Any, b: Any) -> Any:
    flat_a, flat_b = (np.asarray(one, np.float64).reshape(len(one), -1) for one in (a, b))
    return (flat_a * flat_b).sum(axis=1) / np.linalg.norm(flat_a, axis=1) / np.linalg.norm(flat_b, axis=1)


def judged(model: Model, pictures: list[str], masks: Path) -> Record:
    """Return the mean of every metric by method."""
    methods = {**METHODS, "random": noise}
    whole = evaluate(model, pictures, methods, METRICS, batch_size=16)
    masked = [path for path in pictures if (masks / f"{Path(path).stem}.png").exists()]
    inside = evaluate(model, masked, methods, IN_MASK, masks=masks, batch_size=16)
    return {
        name: {
            metric: found.cell(name, metric).mean
            for found, metrics in ((whole, METRICS), (inside, IN_MASK))
            for metric in metrics
        }
        for name in methods
    }


def main() -> None:
    """Measure every model, and keep what is measured."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="holds models/ and images/")
    parser.add_argument("--models", type=words, default=list(FILES), help=", ".join(FILES))
    parser.add_argument("--pictures", type=int, default=100, help="at most so many")
    parser.add_argument("-o", "--out", type=Path, default=HERE / "results" / "quantised.json")
    given = parser.parse_args()
    images = sorted(path for path in (given.data / "images").iterdir() if path.suffix in (".jpg", ".png"))
    with_mask = {path.stem.removesuffix("_mask") for path in images if path.stem.endswith("_mask")}
    images.sort(key=lambda path: path.stem not in with_mask)  # these first, where not all are taken
    pictures = [str(path) for path in images if not path.stem.endswith("_mask")][: given.pictures]
    known = json.loads(given.out.read_text()) if given.out.exists() else {}
    results = {**known.get("models", {})} if known.get("pictures") == len(pictures) else {}
    with tempfile.TemporaryDirectory() as folder:
        for path in images:
            if path.stem.endswith("_mask"):
                Image.open(path).save(Path(folder) / f"{path.stem.removesuffix('_mask')}.png")
        for name in given.models:
            if name in results:
                continue
            file, options = FILES[name]
            model = onnxlrp.load(given.data / "models" / file, **options)
            results[name] = {
                "relevance": shares(model, pictures, options),
                "methods": judged(model, pictures, Path(folder)),
            }
            facts = environment(("onnxlrp", "onnxruntime", "numpy"))
            save(given.out, {**facts, "pictures": len(pictures), "models": results})
            print(name, json.dumps(results[name], indent=1), flush=True)


if __name__ == "__main__":
    main()
