"""CUDA's runtime as CuPy calls it, over the fake GPU."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import POINTER, c_char_p, c_float, c_int, c_size_t, c_uint, c_ulonglong, c_void_p
from typing import Any

from . import errors
from .device import DEVICE, attribute
from .errors import Failure, function, text
from .streams import Event, Stream

HOST_TO_DEVICE, DEVICE_TO_HOST, DEVICE_TO_DEVICE, DEFAULT = 1, 2, 3, 4
TABLE: dict[str, Any] = {}
memory, streams = DEVICE.memory, DEVICE.streams


def offered(name: str, *arguments: Any, result: Any = c_int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def add(call: Callable[..., Any]) -> Callable[..., Any]:
        TABLE[name] = function(call, *arguments, result=result)
        return call

    return add


# -- errors and devices

offered("cudaGetErrorName", c_int, result=c_void_p)(lambda code: text(errors.NAMES.get(code, f"cudaError{code}")))
offered("cudaGetErrorString", c_int, result=c_void_p)(lambda code: text(errors.said.get(code, "")))
offered("cudaGetLastError")(lambda: 0)


def gives(name: str, value: Callable[..., int], *arguments: Any, kind: Any = c_int) -> None:
    """A function whose first parameter is where its result goes."""

    def call(at: Any, *given: Any) -> None:
        at[0] = value(*given)

    offered(name, POINTER(kind), *arguments)(call)


gives("cudaDriverGetVersion", lambda: DEVICE.version)
gives("cudaGetDeviceCount", lambda: DEVICE.count())
gives("cudaGetDevice", lambda: DEVICE.current())
gives("cudaDeviceGetAttribute", attribute, c_int, c_int)
gives("cudaDeviceCanAccessPeer", lambda a, b: 0, c_int, c_int)


@offered("cudaSetDevice", c_int)
def set_device(number: int) -> None:
    if not 0 <= number < DEVICE.count():
        raise Failure(errors.INVALID_DEVICE)
    DEVICE.use(number)


offered("cudaDeviceSynchronize")(lambda: streams.drain_all())


# -- memory


@offered("cudaMemGetInfo", POINTER(c_size_t), POINTER(c_size_t))
def mem_get_info(free: Any, total: Any) -> None:
    free[0], total[0] = memory.limit - memory.used, memory.limit


gives("cudaMalloc", lambda size: memory.allocate(size), c_size_t, kind=c_void_p)
gives("cudaHostAlloc", lambda size, flags: memory.allocate(size, pinned=True), c_size_t, c_uint, kind=c_void_p)


def free(at: int | None) -> None:
    streams.drain_all()  # as the real one does
    if at:
        memory.free(at)


offered("cudaFree", c_void_p)(free)
offered("cudaFreeHost", c_void_p)(free)


@offered("cudaMemcpyAsync", c_void_p, c_void_p, c_size_t, c_int, c_void_p)
def memcpy_async(to: int, source: int, count: int, kind: int, stream: int | None) -> None:
    if not count:
        return
    if kind == DEFAULT:
        kind = {(0, 1): HOST_TO_DEVICE, (1, 0): DEVICE_TO_HOST, (1, 1): DEVICE_TO_DEVICE}[
            not memory.is_host(source), not memory.is_host(to)
        ]
    capturing = streams.stream(stream).captured is not None
    if kind == HOST_TO_DEVICE:
        memory.view(to, count)
        # Pageable memory is staged before the call returns; pinned memory, and a captured copy's, is read when it runs.
        staged = None if capturing or memory.is_pinned(source) else ctypes.string_at(source, count)
        streams.enqueue(stream, lambda: ctypes.memmove(to, source if staged is None else staged, count) and None)
    elif kind == DEVICE_TO_HOST:
        memory.view(source, count)
        streams.enqueue(stream, lambda: ctypes.memmove(to, source, count) and None)
        if not capturing and not memory.is_pinned(to):
            streams.drain(streams.stream(stream))
    elif kind == DEVICE_TO_DEVICE:
        memory.view(source, count), memory.view(to, count)
        streams.enqueue(stream, lambda: ctypes.memmove(to, source, count) and None)
    else:
        raise Failure(errors.INVALID_VALUE, f"a copy of kind {kind}")


@offered("cudaMemcpy", c_void_p, c_void_p, c_size_t, c_int)
def memcpy(to: int, source: int, count: int, kind: int) -> None:
    memcpy_async(to, source, count, kind, None)
    streams.drain(streams.default)


@offered("cudaMemsetAsync", c_void_p, c_int, c_size_t, c_void_p)
def memset_async(to: int, value: int, count: int, stream: int | None) -> None:
    memory.view(to, count)
    streams.enqueue(stream, lambda: ctypes.memset(to, value, count) and None)


offered("cudaMemset", c_void_p, c_int, c_size_t)(lambda to, value, count: memset_async(to, value, count, None))


class Attributes(ctypes.Structure):
    """cudaPointerAttributes: its type is 0 for what CUDA does not know, 1 for pinned memory, 2 for the device's."""

    _fields_ = [
        ("type", c_int), ("device", c_int), ("device_pointer", c_void_p), ("host_pointer", c_void_p),
        ("reserved", ctypes.c_long * 8),
    ]  # fmt: skip


@offered("cudaPointerGetAttributes", POINTER(Attributes), c_void_p)
def pointer_attributes(at: Any, address: int) -> None:
    pinned, known = memory.is_pinned(address), memory.owner(address or 0) is not None
    at[0] = Attributes(1 if pinned else 2 if known else 0, 0, address if known else None, address if pinned else None)


# -- streams, events, graphs

gives("cudaStreamCreateWithPriority", lambda flags, _: streams.add(Stream(flags)), c_uint, c_int, kind=c_void_p)
gives("cudaStreamCreateWithFlags", lambda flags: streams.add(Stream(flags)), c_uint, kind=c_void_p)
gives("cudaStreamCreate", lambda: streams.add(Stream(0)), kind=c_void_p)
gives("cudaEventCreateWithFlags", lambda flags: streams.add(Event()), c_uint, kind=c_void_p)
gives("cudaEventCreate", lambda: streams.add(Event()), kind=c_void_p)


@offered("cudaStreamDestroy", c_void_p)
def stream_destroy(handle: int) -> None:
    streams.drain(streams.stream(handle))
    streams.remove(handle)


@offered("cudaStreamGetFlags", c_void_p, POINTER(c_uint))
def stream_flags(handle: int | None, flags: Any) -> None:
    flags[0] = streams.stream(handle).flags


@offered("cudaStreamIsCapturing", c_void_p, POINTER(c_int))
def stream_is_capturing(handle: int | None, state: Any) -> None:
    state[0] = streams.stream(handle).captured is not None


@offered("cudaStreamSynchronize", c_void_p)
def stream_synchronize(handle: int | None) -> None:
    if streams.stream(handle).captured is not None:
        raise Failure(errors.CAPTURE_UNSUPPORTED)
    streams.drain(streams.stream(handle))


@offered("cudaStreamQuery", c_void_p)
def stream_query(handle: int | None) -> int:
    return errors.NOT_READY if streams.stream(handle).queue else 0


def event(handle: int) -> Event:
    found: Event = streams.thing(handle, Event)
    return found


@offered("cudaStreamWaitEvent", c_void_p, c_void_p, c_uint)
def stream_wait(handle: int | None, which: int, _: int) -> None:
    found = event(which)
    streams.enqueue(handle, lambda: streams.wait(found))


offered("cudaEventDestroy", c_void_p)(lambda handle: streams.remove(handle))
offered("cudaEventRecord", c_void_p, c_void_p)(lambda handle, stream: streams.record(event(handle), stream))
offered("cudaEventSynchronize", c_void_p)(lambda handle: streams.wait(event(handle)))
offered("cudaEventQuery", c_void_p)(lambda handle: errors.NOT_READY if event(handle).pending else 0)


@offered("cudaEventElapsedTime", POINTER(c_float), c_void_p, c_void_p)
def elapsed(at: Any, start: int, stop: int) -> int:
    if event(start).pending or event(stop).pending:
        return errors.NOT_READY
    at[0] = 1e3 * (event(stop).time - event(start).time)
    return 0


offered("cudaStreamBeginCapture", c_void_p, c_int)(lambda handle, mode: streams.begin(handle))


@offered("cudaStreamEndCapture", c_void_p, POINTER(c_void_p))
def end_capture(handle: int, at: Any) -> None:
    at[0] = streams.end(handle)


gives("cudaGraphInstantiate", lambda graph, flags: streams.add(streams.thing(graph, tuple)), c_void_p, c_ulonglong,
      kind=c_void_p)  # fmt: skip
offered("cudaGraphDestroy", c_void_p)(lambda handle: streams.remove(handle))
offered("cudaGraphExecDestroy", c_void_p)(lambda handle: streams.remove(handle))
offered("cudaGraphUpload", c_void_p, c_void_p)(lambda handle, stream: streams.thing(handle, tuple) and None)


@offered("cudaGraphLaunch", c_void_p, c_void_p)
def graph_launch(handle: int, stream: int | None) -> None:
    for work in streams.thing(handle, tuple):
        streams.enqueue(stream, work)


@offered("cudaDeviceGetPCIBusId", c_char_p, c_int, c_int)
def pci_bus_id(at: Any, length: int, device: int) -> None:
    raise Failure(errors.INVALID_DEVICE)
