"""Graphs of models that were read before: taken from the cache where the files are the same."""

from __future__ import annotations

import logging
import pickle
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..cache.digests import NoDigest, digest, of_file, of_file_beside, surroundings
from ..cache.later import later
from ..cache.store import Store
from ..errors import InputError, OnnxLrpError
from ..graph.graph import Array, Graph
from ..graph.writing import packed

log = logging.getLogger("onnxlrp")

SizeReader = Callable[[Mapping[str, str]], Any]
_FILE = "graph.pickle"


def kept_graph(
    store: Store,
    path: Path,
    how: Mapping[str, Any],
    stated: SizeReader,
    read: Callable[[SizeReader], Graph],
    meanwhile: Callable[[], object] = lambda: None,
) -> Graph:
    """Return the graph of a file: from the cache, where the file, its data files and how it is read are the same.

    Args:
        store: The cache.
        path: The model's file.
        how: The arguments that it is read with.
        stated: Finds height and width for the metadata of the model, from files that may change.
        read: Reads the graph, with such a function.
        meanwhile: Called, at most once, while the file of an entry is hashed.
    """
    try:
        key = digest("graph", surroundings(), str(path), str(path.absolute()), how)
    except NoDigest as error:
        log.info("cache: not used for the graph: %s", error)
        return read(stated)
    place = store.get(key)
    if place is not None:
        found = _unpacked(place / _FILE, path, how, stated, lambda: read(stated), meanwhile)
        if found is not None:
            log.info("cache: the graph is that of an earlier run")
            return found
    began, asked = time.time_ns(), []

    def recorded(metadata: Mapping[str, str]) -> Any:
        answer = stated(metadata)
        asked.append((dict(metadata), answer))
        return answer

    graph = read(recorded)
    try:
        files = [path, *_data_files(path, how, graph.data_files)]
        hashes = (graph.sha256, *map(of_file, files[1:]))
        content = _content(hashes, how)
    except (OSError, OnnxLrpError) as error:
        log.info("cache: the graph is not kept: %s", error)
        return graph
    if graph.opaque is not None:
        log.info("cache: the graph is not kept: layers that cannot be read are run by the file itself")
        return graph

    def write(folder: Path) -> None:
        if any(file.stat().st_mtime_ns >= began for file in files):
            raise OSError(f"{path} has changed since it was read")
        try:
            (folder / _FILE).write_bytes(pickle.dumps((graph.data_files, hashes, asked, packed.pack(graph))))
        except TypeError as error:
            raise OSError(str(error)) from error

    later(key, lambda: store.put(key, write))
    return packed.of_file(graph, content)


def _content(hashes: Sequence[str], how: Mapping[str, Any]) -> str:
    return digest("constants", surroundings(), hashes, how)


def _data_files(path: Path, how: Mapping[str, Any], names: Sequence[str]) -> list[Path]:
    """Return the files that a model has weights in, where it may have them. Raises InputError for others."""
    if not names:
        return []
    from ..graph.reading.external_data import Home

    home = Home(path, bool(how.get("allow_linked_data")))
    return [home.find(name, str(path), "") for name in names]


def _unpacked(
    file: Path,
    path: Path,
    how: Mapping[str, Any],
    stated: SizeReader,
    read: Callable[[], Graph],
    meanwhile: Callable[[], object],
) -> Graph | None:
    """Return the graph of an entry; None where the files are others by now."""
    try:
        own, entry = of_file_beside(path, lambda: (pickle.loads(file.read_bytes()), meanwhile())[0])
        names, hashes, asked, data = entry
        if (own, *map(of_file, _data_files(path, how, names))) != hashes:
            return None
    except (OSError, OnnxLrpError):
        return None  # reading says what is wrong with the file
    if any(stated(metadata) != answer for metadata, answer in asked):
        return None

    def constants() -> Mapping[str, Array]:
        graph = read()
        if (graph.sha256, *map(of_file, _data_files(path, how, graph.data_files))) != hashes:
            raise InputError(f"{path}: the file has changed since it was read", "run the command again")
        return graph.constants

    return packed.unpack(data, _content(hashes, how), constants)
