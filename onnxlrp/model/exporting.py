"""Export of the explainer: a model and a method as one ONNX file."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from ..compile import compile
from ..errors import UsageError, of_type
from ..explanation import targets
from ..explanation.targets import Wanted
from .compiled import CompiledModel
from .explainer import save
from .open_sizes import require_numbers, require_sizes
from .options import ExplainOptions, is_default
from .programs import forward_of
from .provenance import provenance, resolved


def export(
    model: CompiledModel,
    path: str | os.PathLike[str],
    options: ExplainOptions,
    target: str,
    embed_preprocessing: bool = False,
    overlay: bool = False,
) -> Path:
    """Compile a method for a model, and save both as one graph: see `Model.export`.

    Args:
        model: The model, its output and inputs chosen.
        path: The file to write.
        options: The method with its options and rules.
        target: "input", "top1" or "topK", with a place where the model has one.
        embed_preprocessing: The file takes a picture of any size (`picture_graph`).
        overlay: It also draws the heatmap over it.

    Returns:
        The path.

    Raises:
        UsageError: No such target, method or option.
        UnsupportedError: A layer without a rule, or a size that is open.
    """
    of_type(str, "input, top1 or topK", target=target)
    wanted, asked = Wanted("index"), targets.parse(target)
    graph = model.in_the_graph()
    if asked.label != "input":
        if asked.kind != "top":
            raise UsageError(
                f'export has no target "{target}"', "give input, top1 or topK; a class id is an input then"
            )
        if graph is not model.graph:
            raise UsageError(
                f'export has no target "{target}" where classes are predicted',
                "give input@predicted, with the class id as an input, or a place that stays, such as top1@0,0",
            )
        wanted = targets.wanted(target, None, model.labels, model.classes, 0, model.place)
    require_sizes(model.graph)
    require_numbers(model.graph)
    default = {"default_for": model.default_method.reason} if is_default(options) else {}
    options = model.decided(options)
    composite = model.composite(options, pictures=embed_preprocessing or overlay)
    program = compile(graph, composite, mode=wanted.mode, targets=wanted.count, ledger=options.ledger)
    about = provenance(model.graph, model.engine, model.choice, model.given, composite.name, options.options)
    about |= resolved(composite, program) | {"target": target} | default | options.recorded()
    if model.categories:
        about["categories"] = model.categories
    metadata = dict(graph.metadata)
    if not (embed_preprocessing or overlay):
        return save(forward_of(graph, portable=True), program, path, metadata, about)
    from .picture_graph import check, with_preprocessing

    prep = model.preprocessing
    check(prep, model.kind)
    metadata.pop("onnxlrp.prep", None)  # the file does it itself
    about |= {"preprocessing": {**prep.to_dict(), "source": prep.source, "assumed": list(prep.assumed)}}
    if prep.labels and not prep.labels_assumed:
        about |= {"labels": list(prep.labels)}
    best = "ArgMin" if model.head.kind == "Distances" else "ArgMax"
    picture = partial(with_preprocessing, prep=prep, kind=model.kind, overlay=overlay, best=best)
    return save(forward_of(graph, portable=True), program, path, metadata, about, picture)
