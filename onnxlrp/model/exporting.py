"""Export of the explainer: a model and a method as one ONNX file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from .. import runtime
from ..compile import compile
from ..errors import UnsupportedError, UsageError, of_type
from ..explanation import targets
from ..explanation.targets import Wanted
from .compiled import CompiledModel
from .explainer import save
from .open_sizes import require_numbers, require_sizes
from .options import ExplainOptions, is_default
from .programs import forward_of
from .provenance import provenance, resolved

_EQUAL = 1e-4  # the same operators in another notation: what is above is another meaning


def export(
    model: CompiledModel,
    path: str | os.PathLike[str],
    options: ExplainOptions,
    target: str,
    embed_preprocessing: bool = False,
    overlay: bool = False,
    opset: int | None = None,
) -> Path:
    """Compile a method for a model, and save both as one graph: see `Model.export`.

    Args:
        model: The model, its output and inputs chosen.
        path: The file to write.
        options: The method with its options and rules.
        target: "input", "top1" or "topK", with a place where the model has one.
        embed_preprocessing: The file takes a picture of any size (`picture_graph`).
        overlay: It also draws the heatmap over it.
        opset: The opset of the file (`opset.convert`); None: that of the graph.

    Returns:
        The path.

    Raises:
        UsageError: No such target, method or option.
        UnsupportedError: A layer without a rule, a size that is open, or an operator that needs a newer opset.
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
    metadata, picture = dict(graph.metadata), None
    if embed_preprocessing or overlay:
        from .picture_graph import check, with_preprocessing

        prep = model.preprocessing
        check(prep, model.kind)
        metadata.pop("onnxlrp.prep", None)  # the file does it itself
        about |= {"preprocessing": {**prep.to_dict(), "source": prep.source, "assumed": list(prep.assumed)}}
        if prep.labels and not prep.labels_assumed:
            about |= {"labels": list(prep.labels)}
        best = "ArgMin" if model.head.kind == "Distances" else "ArgMax"
        picture = partial(with_preprocessing, prep=prep, kind=model.kind, overlay=overlay, best=best)

    def write(to: Path, *changes: Callable[[Any], Any], **more: Any) -> Path:
        made = forward_of(graph, portable=True)
        return save(made, program, to, metadata, about | more, [*([picture] if picture else []), *changes])

    if opset is None:
        return write(Path(path))
    from .opset import convert

    change = partial(convert, opset=opset)
    apart = _compared(model, write, change)
    if apart is not None and not apart <= _EQUAL:
        raise UnsupportedError(
            f"the explainer at opset {opset} would differ by {apart:.1e} from the one without --opset",
            "leave opset out, or take a newer one",
            "leave --opset out, or take a newer one",
        )
    return write(Path(path), change, opset=opset, compared=apart)


def _compared(model: CompiledModel, write: Callable[..., Path], change: Callable[[Any], Any]) -> float | None:
    """Return the relative difference of relevance that a change of the file makes; None where that cannot be run.

    Raises:
        UnsupportedError: The changed file does not run where the other one does.
    """
    with tempfile.TemporaryDirectory() as folder:
        changed = write(Path(folder) / "changed.onnx", change)  # first of all: it may be refused
        if runtime.missing():
            return None
        from . import side_by_side

        plain = write(Path(folder) / "plain.onnx")
        wanted, feed = side_by_side.outputs(plain, _bounds(model))
        if wanted is None:
            return None
        found, _ = side_by_side.outputs(changed, feed=feed)
        if found is None:
            raise UnsupportedError(
                "the explainer so converted does not run in onnxruntime, where the plain one does",
                "leave opset and precision out",
                "leave --opset and --precision out",
            )
        return max(side_by_side.relative(found[name], wanted[name]) for name in wanted)


def _bounds(model: CompiledModel) -> tuple[Any, Any] | None:
    return model.preprocessing.bounds() if model.kind.is_image else None
