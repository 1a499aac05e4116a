"""Load a file as a model on an engine."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import NoneType
from typing import Any

from ..cache.store import Store, of_environment
from ..engines import Engine
from ..engines.factory import make_engine
from ..errors import UsageError, at_least, of_type
from ..graph.graph import Graph
from ..preprocessing.find import find_size
from .interface.open_sizes import OpenSizes
from .kept_graphs import kept_graph
from .model import Model
from .reopening import Opened


def load(
    source: Any,
    engine: str | Engine = "auto",
    providers: Sequence[Any] | None = None,
    *,
    size: int | Sequence[int] | Mapping[Any, int] | None = None,
    prep: Mapping[str, Any] | str | os.PathLike[str] | None = None,
    strict: bool = False,
    kind: str | None = None,
    precision: str | None = None,
    max_memory: int | str | None = None,
    allow_linked_data: bool = False,
    cache: bool = False,
) -> Model:
    """Load a model, which is never changed.

    Args:
        source: A path, bytes or a ModelProto.
        engine: "auto", "reference", "ort", "cuda", "emulator", a plugin's name, or an Engine.
        providers: onnxruntime's execution providers, of ort.
        size: Fixes the axes that the inputs leave open: one length for all, one for each in order, or lengths by name:
            the file's own names, numbers of axes in the file, h and w ({"length": 16000}). What is not fixed is as long
            as in each sample.
        prep: Preprocessing: the name of a preset, a .toml file, or fields as the command line states them: prep, mean,
            std, scale, color, layout, size, labels, …
        strict: Refuse to assume any preprocessing.
        kind: What the input is where the graph does not tell: image, signal, volume, tokens or vector, with a layout
            if need be ("image:NHWC", "signal:NLC").
        precision: Of cuda and emulator: "exact" (float32, the default) or "fast" (TF32).
        max_memory: Refuse a model whose shapes need more, in bytes or as "8G"; by default what the machine has free.
        allow_linked_data: Take weights from files that are hard links or lead out of the model's folder.
        cache: Take the graph and the optimised programs of `ort` on a CPU from the cache of commands, where an earlier
            process has left them for the same files, and leave them there (ONNXLRP_CACHE names its folder).

    Raises:
        InputError: A file that is missing or no model, or one that needs too much memory.
        UnsupportedError: An operator that is not supported.
        UsageError: No such engine, provider, precision or kind.
    """
    asked = {name: value for name, value in locals().items() if name != "source"}
    of_type((str, os.PathLike, Mapping, NoneType), "a preset, a .toml file, or a dict of fields", prep=prep)
    of_type((str, NoneType), "a kind of input: image, signal, volume, tokens or vector", kind=kind)
    _check_size(size)
    path = Path(source) if isinstance(source, str | os.PathLike) else None
    flags = {"prep": os.fspath(prep)} if isinstance(prep, str | os.PathLike) else dict(prep or {})

    store = of_environment() if cache and path is not None else None
    engines: list[Engine] = []

    def make() -> None:
        engines.append(_on(engine, providers, precision, store))

    def graph_at(lengths: Any, numbers: Mapping[str, float] | None = None) -> Graph:
        def fresh(stated: Any) -> Graph:
            from ..graph.load import load as read

            return read(source, lengths, max_memory, allow_linked_data, stated, numbers, untouched=True)

        stated = partial(find_size, flags, path)
        if store is None or path is None:
            return fresh(stated)
        how = {"size": lengths, "numbers": numbers, "max_memory": max_memory, "allow_linked_data": allow_linked_data}
        return kept_graph(store, path, how, stated, fresh, lambda: None if engines else make())

    graph = graph_at(size)
    sizes = None
    if graph.open_axes or graph.scalars:

        def graph_for(lengths: Mapping[Any, int], numbers: Mapping[str, float]) -> Graph:
            fixed = size if isinstance(size, Mapping) or not graph.open_axes else {}
            return graph_at({**fixed, **lengths} if isinstance(fixed, Mapping) else fixed, numbers)

        sizes = OpenSizes(graph_for)
    opened = Opened.of(load, source, asked, graph)
    if not engines:
        make()
    made = Model(graph, engines[0], path, flags, strict, kind_word=kind, sizes=sizes, _opened=opened)
    return made.choose()


def _check_size(size: Any) -> None:
    """Raise UsageError unless every length is a whole number of at least 1."""
    if size is None:
        return
    named = size if isinstance(size, Mapping) else dict(enumerate(size if isinstance(size, tuple | list) else [size]))
    at_least(1, whole=True, **{f"size[{name}]": length for name, length in named.items()})


def _on(chosen: str | Engine, providers: Sequence[Any] | None, precision: str | None, store: Store | None) -> Engine:
    if not hasattr(chosen, "prepare"):
        of_type(str, "the name of an engine, or an Engine", engine=chosen)
    if isinstance(chosen, str):
        made = make_engine(chosen, providers=providers, precision=precision)
        if hasattr(made, "store"):
            made.store = store
        return made
    if precision is not None:
        raise UsageError(
            f'precision "{precision}" beside an engine that is made', "give it to the engine: Cuda(device, precision)"
        )
    return chosen
