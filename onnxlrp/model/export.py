"""Export of the explainer: a model and a method as one ONNX file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from .. import runtime
from ..compile import compile
from ..errors import UnsupportedError, UsageError, of_type
from ..explanation import targets
from ..explanation.targets import Wanted
from ..graph.outputs.places import LAST
from .compiled import CompiledModel
from .exporting.explainer import save
from .interface.open_sizes import require_numbers, require_sizes
from .options.explain import ExplainOptions, is_default
from .programs import forward_of
from .provenance import provenance, resolved

_EQUAL = 1e-4  # the same operators in another notation: what is above is another meaning
HALF = 1e-2  # what half precision may change


def export(
    model: CompiledModel,
    path: str | os.PathLike[str],
    options: ExplainOptions,
    target: str,
    embed_preprocessing: bool = False,
    overlay: bool = False,
    opset: int | None = None,
    precision: str = "fp32",
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
        precision: "fp16" stores weights in half precision (`half_weights.halve`).

    Returns:
        The path.

    Raises:
        UsageError: No such target, method or option.
        UnsupportedError: A layer without a rule, a size that is open, or an operator that needs a newer opset.
    """
    of_type(str, "input, top1 or topK", target=target)
    if precision not in ("fp32", "fp16"):
        raise UsageError(f"export has no precision {precision!r}", "give fp32 or fp16")
    wanted, asked = Wanted("index"), targets.parse(target)
    graph = model.in_the_graph()
    if asked.label != "input":
        if asked.kind != "top":
            raise UsageError(
                f'export has no target "{target}"', "give input, top1 or topK; a class id is an input then"
            )
        if graph is not model.graph and not (model.placed and model.placed.place == LAST):
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
        from .exporting.picture_graph import check, with_preprocessing

        prep = model.preprocessing
        check(prep, model.kind)
        metadata.pop("onnxlrp.prep", None)  # the file does it itself
        about |= {"preprocessing": {**prep.to_dict(), "source": prep.source, "assumed": list(prep.assumed)}}
        if prep.labels and not prep.labels_assumed:
            about |= {"labels": list(prep.labels)}
        best = "ArgMin" if model.head.kind == "Distances" else "ArgMax"
        picture = partial(with_preprocessing, prep=prep, kind=model.kind, overlay=overlay, best=best)

    def write(to: Path, *changes: Callable[[Any], Any], halved: bool = False, **more: Any) -> Path:
        first: list[Callable[[Any], Any]] = [picture] if picture else []
        return save(forward_of(graph, portable=True), program, to, metadata, about | more, [*first, *changes], halved)

    if opset is None and precision == "fp32":
        return write(Path(path))
    from .exporting.opset import convert

    changes = [] if opset is None else [partial(convert, opset=opset)]
    halved = precision == "fp16"
    apart = _compared(model, write, changes, halved)
    if halved and apart is None:
        raise UnsupportedError(
            "half precision is written where its error can be measured, and the explainer could not be run here",
            f"{runtime.INSTALL}, or leave precision out",
            f"{runtime.INSTALL}, or leave --precision out",
        )
    if apart is not None and not apart <= (HALF if halved else _EQUAL):
        form = " and ".join(
            [*([f"opset {opset}"] if opset is not None else []), *(["half precision"] if halved else [])]
        )
        raise UnsupportedError(
            f"scores or relevance of the explainer in {form} would differ by {apart:.1e} from those of the plain "
            f"one, by one random sample; the bound is {HALF if halved else _EQUAL:g}",
            "leave precision and opset out",
            "leave --precision and --opset out",
        )
    more: dict[str, Any] = {"compared": apart} | ({"opset": opset} if opset is not None else {})
    return write(Path(path), *changes, halved=halved, **more | ({"precision": "fp16"} if halved else {}))


def _compared(
    model: CompiledModel, write: Callable[..., Path], changes: Sequence[Callable[[Any], Any]], halved: bool
) -> float | None:
    """Return the largest relative difference that changes make to an output; None where the file cannot be run.

    Raises:
        UnsupportedError: The changed file does not run where the other one does, or a change is refused.
    """
    with tempfile.TemporaryDirectory() as folder:
        changed = write(Path(folder) / "changed.onnx", *changes, halved=halved)  # first of all: it may be refused
        if runtime.missing():
            return None
        from .exporting import side_by_side

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
        main = [name for name in wanted if not name.startswith("ledger/") and name not in ("overlay", "seen")]
        return max(side_by_side.relative(found[name], wanted[name]) for name in main)


def _bounds(model: CompiledModel) -> tuple[Any, Any] | None:
    return model.preprocessing.bounds() if model.kind.is_image else None
