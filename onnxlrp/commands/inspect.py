"""`onnxlrp inspect`: inputs, outputs and layers of a model, and the rule of each layer."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from ..compile import compile
from ..errors import OnnxLrpError, UsageError
from ..graph.graph import Graph, Opaque, Tensor
from ..graph.outputs.places import BEST_BOX
from ..methods.registry import composites, forward_methods
from ..model import Model
from ..model.options.explain import is_default
from ..rules import described
from . import arguments, ranking, summary, write_preprocessing
from .console import Console
from .inspect_print import print_kernels, print_model, print_probe

WITH_KERNELS = ("cuda", "emulator")


def run(args: argparse.Namespace, console: Console) -> int:
    """Describe a model; return the exit code."""
    if args.coverage:
        return _coverage(args, console)
    if args.model is None:
        raise UsageError("inspect: no model given", "give an .onnx file, or --coverage FOLDER")
    options = arguments.explaining_one(args)
    if args.engine not in (None, *WITH_KERNELS):
        raise UsageError(
            f'the engine "{args.engine}" has no kernels to list', f"give --engine {' or '.join(WITH_KERNELS)}, or none"
        )
    if args.precision and not args.engine:
        raise UsageError(f"--precision {args.precision} is for kernels", f"give --engine {WITH_KERNELS[0]} too")
    if args.batch < 1:
        raise UsageError(f"--batch {args.batch}", "give 1 or more")
    true = _truth(args)
    model = arguments.open_model(args, engine="auto")  # kernels are planned without the engine that runs them
    # Rules are those for pictures; without known bounds of the input, zbox shows none.
    graph = model.graph
    if graph.opaque is not None:
        _refuse_layers(args, graph.opaque)
        composite = None
    elif is_default(options) and model.default_method.name not in composites():
        composite = None
    else:
        composite = model.composite(options)
        arguments.check_matches(model, options)
    whole = model.whole or graph
    layers = [
        {
            "layer": layer.label,
            "node": layer.name,
            "op": layer.op,
            "kind": seen.kind if seen.kind != "unknown" else None,
            "shape": list(graph.shapes[layer.outputs[0]]),
            "rule": None if rule is None else described(rule),
            "decided": composite is not None and composite.falls_back(seen) and rule is not None,
        }
        for layer, seen, rule in (() if composite is None else model.layers(composite))
    ]
    prep = preprocessing(model)
    report: dict[str, Any] = {
        "model": graph.source,
        "sha256": graph.sha256,
        "producer": graph.metadata.get("onnxlrp.producer"),
        "opset": graph.metadata.get("onnxlrp.opset"),
        "batch": graph.batch,
        "inputs": [_tensor(t) for t in whole.inputs],
        "outputs": [_tensor(t) for t in whole.outputs],
        "kind": model.kind.to_dict(),
        "categories": model.categories,
        "text": None if graph.text is None else graph.text.describe(),
        "explained": {"output": model.choice.output if model.choice else None, "input": graph.inputs[0].name},
        "classes": model.classes,
        "head": {"kind": model.head.kind, "functions": list(model.head.functions), "logits": model.head.logits},
        "boxes": _boxes(model),
        "labels": list(model.labels) if model.labels else None,
        "preprocessing": prep,
        "note": "; ".join(filter(None, map(graph.metadata.get, ("onnxlrp.note", "onnxlrp.quantised")))) or None,
        "method": model.default_method.name if composite is None else composite.name,
        "default_for": model.default_method.reason if is_default(options) else None,
        "layers": layers,
        "trees": [] if composite is not None or graph.opaque is not None else _trees(graph),
        "layers_unread": None if graph.opaque is None else graph.opaque.reason.message,
        "methods": None if graph.opaque is None else list(forward_methods()),
        "without_rule": [row["layer"] for row in layers if row["rule"] is None],
    }
    found = None
    if args.engine and composite is not None:
        from ..engines.cuda.listing import listing

        found = listing(compile(graph, composite, mode="top"), graph.batch or args.batch, args.precision)
        report["kernels"] = {"engine": args.engine, **dataclasses.asdict(found)}
    if args.probe:
        report["probe"] = [dataclasses.asdict(row) for row in ranking.rank(model, ranking.pictures(args.probe), true)]
    report["wrote"] = [str(path) for path in _kept(args, model)]
    console.json(report, indent=1)
    print_model(model, report, console)
    if model.faster:
        console.note(*model.faster)
    if args.probe:
        print_probe(report["probe"], console)
    for path in report["wrote"]:
        console.line("wrote", path)
    if found:
        print_kernels(found, args.engine, console)
    return 0


def _refuse_layers(args: argparse.Namespace, opaque: Opaque) -> None:
    """Refuse what needs layers, of a model whose layers cannot be read. Raises UnsupportedError."""
    for flag in ("rule", "engine"):
        if getattr(args, flag, None):
            raise opaque.refusal(f"--{flag}")


def _coverage(args: argparse.Namespace, console: Console) -> int:
    from . import coverage

    if args.model:
        raise UsageError(
            f"--coverage {args.coverage} and the model {args.model} are both given",
            f"leave one out: onnxlrp inspect --coverage '{args.coverage}'",
        )
    return coverage.run(args, console)


def _truth(args: argparse.Namespace) -> dict[Path, str] | None:
    """With --probe, the true classes where --labels names a file of them, which then holds no names of classes."""
    if not (args.probe and args.labels):
        return None
    true = ranking.truth(Path(args.labels), ranking.pictures(args.probe))
    args.labels = None if true else args.labels
    return true


def _kept(args: argparse.Namespace, model: Model) -> list[Path]:
    """The files that --write-prep and --embed ask for."""
    path, made = Path(args.model), []
    if args.write_prep:
        made.append(write_preprocessing.write_sidecar(model.preprocessing, path))
    if args.embed:
        made.append(write_preprocessing.embed(model.preprocessing, path, Path(args.embed)))
    return made


def preprocessing(model: Model) -> dict[str, Any]:
    """Return the preprocessing and its sources, or why there is none."""
    try:
        prep = model.preprocessing
    except OnnxLrpError as error:
        if model.strict:
            raise
        return {"problem": error.message, "fix": error.fix}
    return {
        **prep.to_dict(),
        "source": prep.source,
        "assumed": list(prep.assumed),
        "labels_assumed": prep.labels_assumed,
        "conflicts": [conflict._asdict() for conflict in prep.conflicts],
        "notes": list(prep.notes),
        "doubts": summary.doubts(prep),
        "summary": summary.preprocessing(prep),
    }


def _boxes(model: Model) -> dict[str, Any] | None:
    """How the boxes of a detector are read, and the target that explains the best; None for other models."""
    found = model.detects
    if found == "none":
        return None
    certain = found == "certain"
    detector = model.placed.detector if model.placed else None
    return {"certain": certain, "read": detector.describe() if detector else None, "target": str(BEST_BOX)}


def _trees(graph: Graph) -> list[dict[str, Any]]:
    """The sizes of each ensemble of trees."""
    from ..graph.trees.reading import is_trees, read

    found = [(layer.label, read(layer).trees) for layer in graph.layers if is_trees(layer)]
    return [{"layer": label, "trees": len(t.roots), "leaves": t.leaves, "depth": t.depth} for label, t in found]


def _tensor(tensor: Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "dtype": tensor.dtype, "shape": list(tensor.shape)}
