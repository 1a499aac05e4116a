"""CUDA engine: the forward pass by onnxruntime, the program by our kernels, replayed as a CUDA graph.

The same code runs on a GPU (CuPy arrays) and on the emulated kernels (numpy arrays); a `Device` has the differences.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import UnsupportedError
from ...program.program import Activation, Array, Program, Seed
from ...runtime import fork_refused
from .. import Forward, Run
from .kernels.cublas import MATMUL
from .kernels.launch import Argument, InputRef, InstructionRef, Launch, Launcher, Scratch, Table
from .kernels.tiles import Precision
from .planning.schedule import Schedule, Scheduler
from .runtime.device import Device
from .runtime.forward import shared_weight_model


class Cuda:
    """Our kernels on a GPU or on the emulator.

    Args:
        device: Where they run.
        precision: "exact": relevance and forward pass in float32, convolutions on tensor cores as 3xTF32. "fast": both
            in TF32; under z+ relevance alone moves a heatmap by a relative L2 of 3e-4, while the forward pass moves
            heatmaps of the epsilon rule by up to 5e-2, for its denominators come near 0. None: float32 by plain
            gathers, which otherwise serve the shapes that tensor cores do not take.
    """

    def __init__(self, device: Device, precision: Precision | None = "exact") -> None:
        self.name, self.device, self.precision = device.name, device, precision

    def prepare(self, forward: Forward, program: Program) -> Run:
        """Prepare a program over a forward model; each batch size is scheduled at its first run."""
        return CudaRun(self.device, forward, program, self.precision)


@dataclass(eq=False)
class PreparedSchedule:
    """A schedule whose arrays are allocated.

    Args:
        batch: The batch size.
        arrays: Device arrays by instruction.
        inputs: Device arrays that the forward pass and the caller write, by tensor or seed input.
        launches: Launchers, launches and their arguments, in order.
        graph: The CUDA graph that the device has captured of them, if any.
        runs: Number of runs so far.
    """

    batch: int
    arrays: dict[int, Any]
    inputs: dict[str, Any]
    launches: list[tuple[Launcher, Launch, tuple[Any, ...]]]
    graph: Any = None
    runs: int = 0


class CudaRun:
    """A program prepared for the CUDA engine.

    A batch that does not fit into device memory is split here, into parts of one size that share a schedule. This is
    not the batching of `model.batches`, which divides what a user asks for by samples: only the schedule knows how much
    memory a batch takes.
    """

    def __init__(self, device: Device, forward: Forward, program: Program, precision: Precision | None) -> None:
        self.device, self.forward, self.program, self.process = device, forward, program, os.getpid()
        self.scheduler = Scheduler(program, precision)
        self.constants = self.scheduler.constants
        self.seeds = program.seeds
        self.reads = program.tensors
        self.session = device.session(shared_weight_model(forward, self.reads), self.reads, precision == "fast")
        self.constant_arrays: dict[int, Any] = {}  # on the device, by instruction
        self.tables: dict[Table, Any] = {}  # on the device
        self.prepared: dict[int, PreparedSchedule] = {}  # by batch size
        self.part_sizes: dict[int, int] = {}  # for batches that do not fit into memory, the size of their parts

    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Run the program; one thread at a time.

        Raises:
            UsageError: This process was forked since the program was prepared.
        """
        if os.getpid() != self.process:
            raise fork_refused()
        with self.device.exclusive():
            return self._run_batch(inputs)

    def _run_batch(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        batch = len(inputs[self.forward.inputs[0]])
        prepared = self.prepared.get(batch) or self._prepare(batch)
        if prepared is not None:
            return self._run(inputs, prepared)
        size = self.part_sizes[batch]
        parts = []
        for start in range(0, batch, size):
            # The last part takes samples again, so that one schedule serves all of them.
            first = min(start, batch - size)
            outputs = self._run(self._slice_inputs(inputs, first, first + size), self.prepared[size])
            parts.append({name: self._skip_samples(name, array, start - first) for name, array in outputs.items()})
        return {name: self._concatenate(name, [part[name] for part in parts]) for name in parts[0]}

    def _run(self, inputs: Mapping[str, Array], prepared: PreparedSchedule) -> dict[str, Array]:
        self.session.run({name: inputs[name] for name in self.forward.inputs}, prepared.inputs)
        for name in self.seeds.keys() & prepared.inputs.keys():
            self.device.write(prepared.inputs[name], np.asarray(inputs[name]))
        self.device.replay(prepared, lambda: self._launch(prepared))
        return self._download(prepared)

    def _launch(self, prepared: PreparedSchedule) -> None:
        for launcher, launch, arguments in prepared.launches:
            launcher.launch(launch.kernel, launch.grid, launch.block, arguments, launch.shared, self.device.stream)

    def _download(self, prepared: PreparedSchedule) -> dict[str, Array]:
        """Return the program's outputs on the host."""
        instructions, outputs = self.program.instructions, self.program.outputs
        computed = [n for n in dict.fromkeys(outputs.values()) if not instructions[n].constant]
        copies = self.device.download([prepared.arrays[n] for n in computed])
        results = {n: a.reshape(self.scheduler.shape(n, prepared.batch)) for n, a in zip(computed, copies, strict=True)}
        for n in set(outputs.values()) - results.keys():
            results[n] = np.broadcast_to(self.constants[n], instructions[n].shape)
        return {name: results[n] for name, n in outputs.items()}

    # -- batches larger than memory

    def _prepare(self, batch: int) -> PreparedSchedule | None:
        """Prepare a batch size; None where it does not fit, and then a size of parts that do."""
        if batch in self.part_sizes:
            return None
        free, schedule = self.device.free(), self.schedule(batch)
        while free is not None and schedule.bytes > free and schedule.batch not in self.prepared:
            if schedule.batch == 1:
                raise UnsupportedError(
                    f"one sample needs {schedule.bytes / 2**20:.1f} MiB of device memory, {free / 2**20:.1f} MiB are "
                    "free",
                    "free some (nvidia-smi lists the processes that use it), or use --engine ort",
                )
            schedule = self.schedule(-(-schedule.batch // 2))
        if schedule.batch not in self.prepared:
            self.prepared[schedule.batch] = self._allocate(schedule)
        if schedule.batch == batch:
            return self.prepared[batch]
        self.part_sizes[batch] = schedule.batch
        return None

    def _slice_inputs(self, inputs: Mapping[str, Array], start: int, stop: int) -> dict[str, Array]:
        """Return the samples [start, stop) of all inputs; those of a seed with targets have the target axis first."""
        lead = {name: (slice(None),) * step.targets for name, step in self.seeds.items()}
        return {name: array[(*lead.get(name, ()), slice(start, stop))] for name, array in inputs.items()}

    def _skip_samples(self, name: str, array: Array, start: int) -> Array:
        """Return an output without its first samples."""
        step = self.program.instructions[self.program.outputs[name]]
        return array if step.constant else array[(slice(None),) * step.targets + (slice(start, None),)]

    def _concatenate(self, name: str, parts: list[Array]) -> Array:
        """Return an output of all parts."""
        step = self.program.instructions[self.program.outputs[name]]
        return parts[0] if step.constant else np.concatenate(parts, axis=int(step.targets))

    # -- allocation

    def schedule(self, batch: int) -> Schedule:
        """Return the launches for a batch of this size and the memory they take; nothing is allocated."""
        return self.scheduler.schedule(batch)

    def _allocate(self, schedule: Schedule) -> PreparedSchedule:
        """Allocate the arrays of a schedule, compile its kernels and bind their arguments."""
        for a in (a for _, one in schedule.launches for a in one.arguments):
            if isinstance(a, InstructionRef) and a.index in self.constants and a.index not in self.constant_arrays:
                self.constant_arrays[a.index] = self.device.upload(self.constants[a.index])
        arrays: dict[int, Any] = dict(self.constant_arrays)
        inputs = {name: self._array(name, n) for name, n in self.scheduler.input_sizes(schedule.batch).items()}
        for n, step in enumerate(self.program.instructions):
            if isinstance(step.what, Activation):
                arrays[n] = inputs[step.what.tensor]
            elif isinstance(step.what, Seed) and step.what.mode == "relevance":
                arrays[n] = inputs[step.what.name]
        arena = self.device.empty(schedule.arena_bytes)
        for life in schedule.lifetimes:
            if isinstance(life.name, int):
                start = schedule.offsets[life.name]
                arrays[life.name] = arena[start : start + life.size].view(np.float32)
        for n, other in self.scheduler.aliases().items():
            arrays[n] = arrays[other]
        own = [one for _, one in schedule.launches if one.kernel != MATMUL]
        launchers = {MATMUL: self.device.blas, **self.device.kernels.launchers(own)}
        bound = []
        for k, one in schedule.launches:
            arguments = tuple(self._argument(a, k, arrays, inputs, arena, schedule.offsets) for a in one.arguments)
            bound.append((launchers[one.kernel], one, arguments))
        return PreparedSchedule(schedule.batch, arrays, inputs, bound)

    def _array(self, name: str, count: int) -> Any:
        """Return an empty device array for an input: int64 for class ids, float32 for all others."""
        seed = self.seeds[name].what if name in self.seeds else None
        ids = isinstance(seed, Seed) and seed.mode == "index"
        return self.device.empty(count * (8 if ids else 4)).view(np.int64 if ids else np.float32)

    def _argument(
        self,
        a: Argument,
        k: int,
        arrays: Mapping[int, Any],
        inputs: Mapping[str, Any],
        arena: Any,
        offsets: Mapping[object, int],
    ) -> Any:
        """Return the device array, number or null pointer of an argument of item k."""
        if isinstance(a, InstructionRef):
            return arrays[a.index]
        if isinstance(a, InputRef):
            return inputs[a.name]
        if isinstance(a, Table):
            if a not in self.tables:  # weights in another order serve every batch size
                self.tables[a] = self.device.upload(a.array)
            return self.tables[a]
        if isinstance(a, Scratch):
            start = offsets[k, a.number]
            return arena[start : start + a.count * np.dtype(a.dtype).itemsize].view(a.dtype)
        return a
