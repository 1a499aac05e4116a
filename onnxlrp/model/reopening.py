"""How a model was opened, so that another process can open it again."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ..errors import InputError, UsageError
from ..graph.graph import Graph


class Opened(NamedTuple):
    """What `load` was called with.

    Attributes:
        load: `load` itself, which this module does not import.
        source: The path, made absolute, or the bytes of the file; None for a ModelProto, which its owner may change.
        options: The other arguments of `load`.
        graph: What it gave, by which a changed copy of the model is told from the model.
    """

    load: Callable[..., Any]
    source: str | bytes | None
    options: Mapping[str, Any]
    graph: Graph

    @classmethod
    def of(cls, load: Callable[..., Any], source: Any, options: Mapping[str, Any], graph: Graph) -> Opened:
        """Return the record of a call of `load`."""
        kept = os.path.abspath(source) if isinstance(source, str | os.PathLike) else source
        return cls(load, kept if isinstance(kept, str | bytes) else None, options, graph)


def reduce(opened: Opened | None, whole: Graph, later: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return what pickle stores of a model: its path or bytes, its hash and its options, never weights or sessions.

    Args:
        opened: How it was opened.
        whole: Its graph, with all outputs.
        later: Arguments of `choose` that lead to the same output, input and given values.

    Raises:
        UsageError: Nothing says how to open the model again.
    """
    if opened is None or opened.graph is not whole:
        raise UsageError(
            "a model whose graph was changed after it was loaded cannot be pickled",
            "pickle the model that load returned, and change it in the other process",
        )
    if opened.source is None:
        raise UsageError(
            "a model loaded from a ModelProto cannot be pickled: its owner may have changed it since",
            "load it from a path, or from proto.SerializeToString()",
        )
    try:
        pickle.dumps(opened.options)
    except Exception as error:
        raise UsageError(
            f"an option of load cannot be pickled: {error}", 'give the engine by its name, such as engine="ort"'
        ) from None
    return reopen, (opened.load, opened.source, opened.graph.sha256, dict(opened.options), later)


def reopen(
    load: Callable[..., Any], source: str | bytes, sha256: str, options: Mapping[str, Any], later: Mapping[str, Any]
) -> Any:
    """Load a model that was pickled.

    Args:
        load: `onnxlrp.load`.
        source: Its path or bytes.
        sha256: Hash of the file when it was pickled.
        options: The other arguments of `load`.
        later: Arguments of `choose`.

    Raises:
        InputError: The file is missing, or another one by now.
    """
    model = load(source, **options)
    if model.graph.sha256 != sha256:
        raise InputError(
            f"{source if isinstance(source, str) else 'the model'}: the file has changed since the model was pickled",
            "load the model again before it is handed to another process",
        )
    return model.choose(**later)
