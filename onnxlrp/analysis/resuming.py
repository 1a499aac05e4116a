"""The state of a run in a file: stored while it runs, read to go on."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .. import files
from ..errors import InputError
from ..files import refuse_other
from .ascent.optimize import State


def store(path: Path, state: State, identity: Mapping[str, Any]) -> None:
    """Write a state with the identity of its run. Raises InputError."""
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {**state.arrays(), "identity": np.array(json.dumps(files.to_jsonable(identity)))}
    np.savez(buffer, **arrays)
    files.replace(path, buffer.getvalue())


def load(path: Path, identity: Mapping[str, Any]) -> State:
    """Read a state.

    Raises:
        InputError: The file cannot be read.
        UsageError: It was stored by a run of another model, method or preprocessing; the message says which.
    """
    files.check(path)
    try:
        with np.load(path, allow_pickle=False) as found:
            stored = json.loads(str(found["identity"]))
            state = State.of(found)
    except Exception as error:  # zipfile, numpy and json raise anything on a damaged file
        fix = "delete it, and run without --resume"
        raise InputError(f"{path}: not the state of a run ({files.reason(error)})", fix) from None
    refuse_other(path, stored, identity, "ask for the same, or run without --resume")
    return state
