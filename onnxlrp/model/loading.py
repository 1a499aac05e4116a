"""A file becomes a model on an engine."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..engines import Engine
from ..engines.factory import make_engine
from ..errors import UsageError
from ..preprocessing.find import find_size
from .model import Model


def load(
    source: Any,
    engine: str | Engine = "auto",
    providers: Sequence[Any] | None = None,
    *,
    size: tuple[int, ...] | None = None,
    prep: Mapping[str, Any] | None = None,
    strict: bool = False,
    kind: str | None = None,
    precision: str | None = None,
    max_memory: int | str | None = None,
    allow_linked_data: bool = False,
) -> Model:
    """A model from a path, bytes or a ModelProto, which are never changed.

    `engine` is "auto", "reference", "ort", "cuda", "emulator" or an Engine; `providers` are onnxruntime's, of ort;
    `precision` is of cuda and emulator: "exact" (float32, the default) or "fast" (TF32). `size` fixes open axes of the
    input; `prep` states preprocessing as the command line does (prep, mean, std, scale, color, layout, size, labels),
    and `strict` refuses to assume any. `kind` says what the input is where the graph does not tell: image, signal,
    volume, tokens or vector, with a layout if need be ("image:NHWC", "signal:NLC").

    A model whose shapes need more than `max_memory` (bytes, or "8G"; default: what
    the machine has free) is refused, and weights in files that are hard links or lead out of the model's folder,
    unless `allow_linked_data`. Raises InputError, UnsupportedError, UsageError.
    """
    from ..graph.load import load as read

    path = Path(source) if isinstance(source, str | os.PathLike) else None
    flags = dict(prep or {})
    graph = read(source, size, max_memory, allow_linked_data, lambda metadata: find_size(flags, path, metadata))
    return Model(graph, _on(engine, providers, precision), path, flags, strict, kind_word=kind).choose()


def _on(chosen: str | Engine, providers: Sequence[Any] | None, precision: str | None) -> Engine:
    if isinstance(chosen, str):
        return make_engine(chosen, providers=providers, precision=precision)
    if precision is not None:
        raise UsageError(
            f'precision "{precision}" beside an engine that is made', "give it to the engine: Cuda(device, precision)"
        )
    return chosen
