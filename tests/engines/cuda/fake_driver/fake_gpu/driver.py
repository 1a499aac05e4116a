"""CUDA's driver as CuPy calls it: modules, and launches of the kernels that the emulator has in their place."""

from __future__ import annotations

import itertools
from ctypes import POINTER, c_char_p, c_int, c_uint, c_void_p
from typing import Any

from . import errors
from .device import DEVICE
from .errors import Failure, function, text
from .images import Function, Image, from_file, from_memory

TABLE: dict[str, Any] = {}
LAUNCHED: list[str] = []  # names of kernels, in the order in which they ran
DYNAMIC_SHARED, OPTED_IN = 8, 232448  # the one function attribute that is set; its largest value on an H100
_handles = itertools.count(1)


def offered(name: str, *arguments: Any) -> Any:
    def add(call: Any) -> Any:
        TABLE[name] = function(call, *arguments)
        return call

    return add


def _name(code: int, at: Any) -> None:
    at[0] = text(errors.NAMES.get(code, f"CUDA_ERROR_{code}").replace("cudaError", "CUDA_ERROR_"))


def _string(code: int, at: Any) -> None:
    at[0] = text(errors.said.get(code, ""))


offered("cuGetErrorName", c_int, POINTER(c_void_p))(_name)
offered("cuGetErrorString", c_int, POINTER(c_void_p))(_string)


@offered("cuInit", c_uint)
def init(flags: int) -> None: ...


@offered("cuDriverGetVersion", POINTER(c_int))
def version(at: Any) -> None:
    at[0] = DEVICE.version


def _keep(thing: object) -> int:
    handle = next(_handles)
    DEVICE.loaded[handle] = thing
    return handle


def _loaded(handle: int, kind: type) -> Any:
    found = DEVICE.loaded.get(handle)
    if not isinstance(found, kind):
        raise Failure(errors.INVALID_VALUE, f"{handle} is no {kind.__name__}")
    return found


@offered("cuModuleLoad", POINTER(c_void_p), c_char_p)
def module_load(at: Any, path: bytes) -> None:
    at[0] = _keep(from_file(path.decode()))


@offered("cuModuleLoadData", POINTER(c_void_p), c_void_p)
def module_load_data(at: Any, image: int) -> None:
    at[0] = _keep(from_memory(image))


@offered("cuModuleUnload", c_void_p)
def module_unload(handle: int) -> None:
    DEVICE.streams.drain_all()
    del DEVICE.loaded[handle]


@offered("cuModuleGetFunction", POINTER(c_void_p), c_void_p, c_char_p)
def get_function(at: Any, module: int, name: bytes) -> None:
    at[0] = _keep(_loaded(module, Image).function(name.decode()))


@offered("cuFuncSetAttribute", c_void_p, c_int, c_int)
def set_attribute(handle: int, which: int, value: int) -> None:
    if which != DYNAMIC_SHARED or not 0 <= value <= OPTED_IN:
        raise Failure(errors.INVALID_VALUE, f"attribute {which} = {value}")
    _loaded(handle, Function).dynamic = value


@offered("cuFuncGetAttribute", POINTER(c_int), c_int, c_void_p)
def get_attribute(at: Any, which: int, handle: int) -> None:
    at[0] = _loaded(handle, Function).dynamic if which == DYNAMIC_SHARED else 0


@offered("cuLaunchKernel", c_void_p, *[c_uint] * 7, c_void_p, POINTER(c_void_p), c_void_p)
def launch(handle: int, *given: Any) -> None:
    kernel: Function = _loaded(handle, Function)
    grid, block, shared, stream, values, extra = given[:3], given[3:6], given[6], given[7], given[8], given[9]
    if extra:
        raise Failure(errors.INVALID_VALUE, "arguments by extra")
    if shared > kernel.dynamic:
        raise Failure(errors.INVALID_VALUE, f"{kernel.name}: {shared} bytes of shared memory that nobody asked for")
    arguments = kernel.arguments(values, DEVICE.memory)

    def run() -> None:
        LAUNCHED.append(kernel.name)
        kernel.image.library.launch(kernel.name, grid, block, arguments, shared, False, len(LAUNCHED))

    DEVICE.streams.enqueue(stream, run)
