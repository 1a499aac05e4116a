"""A graph as bytes, without its large constants: these are read from the model's file when they are asked for."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from ..graph import Array, Graph

LARGE = 1 << 16  # bytes of a constant from which on it stays in the model's file


class FileConstants(Mapping[str, Array]):
    """The constants of a graph that was read from a file, the large ones only when they are asked for.

    Args:
        content: The digest of the files and of how they were read: what the values follow from.
        small: The values that are at hand.
        shapes: The shapes of all constants, in order.
        read: Reads all values.
    """

    def __init__(
        self,
        content: str,
        small: Mapping[str, Array],
        shapes: Mapping[str, tuple[int, ...]],
        read: Callable[[], Mapping[str, Array]],
    ) -> None:
        self.content, self.shapes = content, shapes
        self._known, self._read = small, read

    def __getitem__(self, name: str) -> Array:
        if name not in self._known and name in self.shapes:
            self._known = self._read()
        return self._known[name]

    def __contains__(self, name: object) -> bool:
        return name in self.shapes

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)

    def cache_key(self) -> tuple[Any, ...]:
        """Return what tells these constants from others, without the values."""
        return (self.content, tuple(self.shapes))


def of_file(graph: Graph, content: str) -> Graph:
    """Return a graph whose constants are known by the content of the files that it was read from.

    Args:
        graph: The graph as it was read.
        content: The digest of the files and of how they were read.
    """
    values = graph.constants
    shapes = {name: value.shape for name, value in values.items()}
    return replace(graph, constants=FileConstants(content, values, shapes, lambda: values))


def _fixed(mapping: dict[Any, Any]) -> Mapping[Any, Any]:
    """A mapping that cannot be changed; its class has no name to pickle it by."""
    return MappingProxyType(mapping)


def pack(graph: Graph) -> bytes:
    """Return a graph as bytes, without its large constants.

    Raises:
        TypeError: The graph holds what cannot be written, such as a session.
    """
    if graph.opaque is not None:
        raise TypeError("layers that cannot be read are run by the file itself")
    values = graph.constants
    small = {name: value for name, value in values.items() if value.nbytes < LARGE}
    shapes = {name: value.shape for name, value in values.items()}
    written = io.BytesIO()
    pickler = pickle.Pickler(written, protocol=pickle.HIGHEST_PROTOCOL)
    pickler.dispatch_table = {MappingProxyType: lambda proxy: (_fixed, (dict(proxy),))}
    try:
        pickler.dump((replace(graph, constants={}), small, shapes))
    except (pickle.PicklingError, AttributeError) as error:
        raise TypeError(str(error)) from None
    return written.getvalue()


def unpack(data: bytes, content: str, read: Callable[[], Mapping[str, Array]]) -> Graph:
    """Return the graph that `pack` has written.

    Args:
        data: What `pack` returned.
        content: The digest of the files and of how they were read.
        read: Reads all constants.
    """
    graph, small, shapes = pickle.loads(data)
    made: Graph = replace(graph, constants=FileConstants(content, small, shapes, read))
    return made
