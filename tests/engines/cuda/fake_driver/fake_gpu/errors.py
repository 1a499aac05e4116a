"""Codes of errors, which the driver and the runtime share, and how they reach CuPy."""

from __future__ import annotations

import functools
import sys
import traceback
from collections.abc import Callable
from ctypes import CFUNCTYPE, addressof, c_int, create_string_buffer
from typing import Any

INVALID_VALUE, OUT_OF_MEMORY, INVALID_DEVICE = 1, 2, 101
NOT_FOUND, NOT_READY, LAUNCH_FAILURE, CAPTURE_UNSUPPORTED, CAPTURE_INVALIDATED = 500, 600, 719, 900, 901
UNKNOWN = 999

NAMES = {
    0: "cudaSuccess",
    INVALID_VALUE: "cudaErrorInvalidValue",
    OUT_OF_MEMORY: "cudaErrorMemoryAllocation",
    INVALID_DEVICE: "cudaErrorInvalidDevice",
    NOT_FOUND: "cudaErrorSymbolNotFound",
    NOT_READY: "cudaErrorNotReady",
    LAUNCH_FAILURE: "cudaErrorLaunchFailure",
    CAPTURE_UNSUPPORTED: "cudaErrorStreamCaptureUnsupported",
    CAPTURE_INVALIDATED: "cudaErrorStreamCaptureInvalidated",
    UNKNOWN: "cudaErrorUnknown",
}


class Failure(Exception):
    """A call that fails with a code; the last message of a code is what its string says."""

    def __init__(self, code: int, message: str = "") -> None:
        super().__init__(message or NAMES[code])
        self.code = code
        said[code] = message or NAMES[code]


said: dict[int, str] = {}
_kept: dict[bytes, Any] = {}


def text(words: str) -> int:
    """The address of a C string that stays."""
    raw = words.encode()
    return addressof(_kept.setdefault(raw, create_string_buffer(raw)))


def function(call: Callable[..., Any], *arguments: Any, result: Any = c_int) -> Any:
    """A C function that Python carries out: 0, the code of a Failure, or UNKNOWN and a traceback."""

    @functools.wraps(call)
    def guarded(*given: Any) -> int:
        try:
            return call(*given) or 0
        except Failure as failure:
            return failure.code
        except BaseException:
            traceback.print_exc(file=sys.stderr)
            return UNKNOWN

    return CFUNCTYPE(result, *arguments)(guarded)
