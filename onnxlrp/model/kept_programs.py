"""Programs that were compiled before: taken from the cache where model, method and engine are the same."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..cache.digests import NoDigest, digest, surroundings
from ..cache.later import later
from ..cache.store import Store
from ..engines import Engine, Forward, Run
from ..errors import OnnxLrpError
from ..graph.graph import Graph
from ..program.program import Program

log = logging.getLogger("onnxlrp")

_PROGRAM = "program.pickle"


def kept_program(
    engine: Engine, graph: Graph, asked: Any, compiled: Callable[[], tuple[Program, Forward]]
) -> tuple[Program, Run]:
    """Return a program and what runs it: from the cache of the engine, if it has one, else compiled and kept there.

    What comes from the cache has of the program what callers read (`Program.interface`).

    Args:
        engine: What runs it.
        graph: The graph.
        asked: What was asked for, with the rules.
        compiled: Compiles the program, and gives the forward model.
    """
    store: Store | None = getattr(engine, "keeps", None)
    key = "" if store is None else _key(engine, graph, asked)
    if store is None or not key:
        program, forward = compiled()
        return program, engine.prepare(forward, program)
    place = store.get(key)
    if place is not None:
        try:
            found: Program = pickle.loads((place / _PROGRAM).read_bytes())
            run = engine.reopen(place)  # type: ignore[attr-defined]
        except (OSError, OnnxLrpError) as error:
            log.info("cache: an entry cannot be used, and is removed: %s", error)
            store.remove(key)
        else:
            log.info("cache: the program is that of an earlier run")
            return found, run
    program, forward = compiled()
    return program, _kept(store, key, engine, forward, program)


def _key(engine: Engine, graph: Graph, asked: Any) -> str:
    try:
        return digest("program", surroundings(), engine.name, graph, asked)
    except NoDigest as error:
        log.info("cache: not used for the program: %s", error)
        return ""


def _kept(store: Store, key: str, engine: Engine, forward: Forward, program: Program) -> Run:
    """Prepare a program; the engine leaves its files in the cache, which become an entry once the answer is given."""
    part = store.begin()
    if part is None:
        return engine.prepare(forward, program)

    def write(folder: Path) -> None:
        try:
            engine.finish(folder, program)  # type: ignore[attr-defined]
            (folder / _PROGRAM).write_bytes(pickle.dumps(program.interface(), protocol=pickle.HIGHEST_PROTOCOL))
        except (pickle.PicklingError, TypeError, AttributeError) as error:
            raise OSError(str(error)) from error

    try:
        run: Run = engine.keep(forward, program, part)  # type: ignore[attr-defined]
    except (OSError, OnnxLrpError) as error:
        store.drop(part)
        log.info("cache: the program is not kept: %s", error)
        return engine.prepare(forward, program)
    except BaseException:
        store.drop(part)
        raise
    later(key, lambda: store.complete(key, part, write), lambda: store.drop(part))
    return run
