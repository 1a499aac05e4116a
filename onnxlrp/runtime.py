"""onnxruntime, asked for in one place: it is no requirement, and every part that uses it has another way or says so."""

from __future__ import annotations

import os
from collections.abc import Callable
from threading import Lock
from types import ModuleType
from typing import Any, TypeVar
from weakref import WeakSet

from .errors import UsageError

CPU = "CPUExecutionProvider"

INSTALL = "pip install onnxruntime"

# Optimisers of onnxruntime that change what a quantised model computes: float weights between quantised activations are
# rounded, two scales in a row become one, roundings are moved, dropped or put where they were not.
INEXACT = (
    "WeightBiasQuantization",
    "DoubleQDQPairsRemover",
    "QDQPropagationTransformer",
    "QDQSelectorActionTransformer",
    "QDQS8ToU8Transformer",
    "ReluQuantRewrite",
    "ClipQuantRewrite",
)


def missing() -> str:
    """Return why onnxruntime cannot be imported; "" where it can."""
    try:
        import onnxruntime  # noqa: F401
    except ModuleNotFoundError as error:
        if error.name == "onnxruntime":
            return "onnxruntime is not installed"
        return f"onnxruntime cannot be imported: {error}"
    except ImportError as error:  # a library of the system that it was built for
        return f"onnxruntime cannot be imported: {error}"
    return ""


def onnxruntime() -> ModuleType:
    """Return the module onnxruntime.

    Raises:
        UsageError: It is not installed, or cannot be imported.
    """
    if why := missing():
        raise UsageError(why, fix(why))
    import onnxruntime as ort

    return ort  # type: ignore[no-any-return]


def fix(why: str) -> str:
    """Return the command that repairs what `missing` says."""
    return INSTALL if why.endswith("not installed") else f"{INSTALL} --force-reinstall; onnxlrp doctor says more"


_Opened = TypeVar("_Opened")
_SESSIONS: WeakSet[Any] = WeakSet()  # of this process
_FORKED: WeakSet[Any] = WeakSet()  # whose `forked` is called in a forked process, before anything else runs there


def opened(session: _Opened) -> _Opened:
    """Return a session of onnxruntime, which is not closed in a process that is forked from this one.

    Its threads are missing there, and closing it waits for them.

    Args:
        session: The session; every one that is opened goes through here.
    """
    _SESSIONS.add(session)
    return session


class ForkLock:
    """A lock that is free in a process that is forked: a thread that is missing there may have held it."""

    def __init__(self) -> None:
        self.forked()
        _FORKED.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *exception: object) -> None:
        self._lock.release()

    def forked(self) -> None:
        """Take another lock."""
        self._lock = Lock()


class Session:
    """A session of onnxruntime, opened again in a process that is forked: there its threads are missing.

    Args:
        first: The session.
        again: Opens it again; None where it cannot be.
    """

    def __init__(self, first: Any, again: Callable[[], Any] | None) -> None:
        self._session, self._again, self._lock = opened(first), again, ForkLock()
        _FORKED.add(self)

    def get(self) -> Any:
        """Return onnxruntime's session.

        Raises:
            UsageError: This process was forked, and the session cannot be opened again: it is on a GPU, or its file is
                not kept.
        """
        if self._session is None:
            with self._lock:
                if self._session is None:
                    if self._again is None:
                        raise fork_refused()
                    self._session = opened(self._again())
        return self._session

    def forked(self) -> None:
        """Let the session of the parent process be."""
        if self._session is not None and set(self._session.get_providers()) != {CPU}:
            self._again = None
        self._session = None


def fork_refused() -> UsageError:
    """Return the error for what a process that was forked cannot go on with."""
    return UsageError(
        "the model was loaded before this process was forked, and what runs it cannot be used in two processes",
        'load it in the process that uses it, or start processes by multiprocessing.get_context("spawn")',
    )


def _in_child() -> None:
    if _SESSIONS:
        import ctypes

        for session in _SESSIONS:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(session))  # never closed
        _SESSIONS.clear()
    for owner in list(_FORKED):
        owner.forked()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_in_child)
