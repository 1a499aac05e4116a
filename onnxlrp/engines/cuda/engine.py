"""The CUDA engine: forward by onnxruntime, the program by our kernels, replayed as a CUDA graph.

The same code runs on a GPU (CuPy arrays) and on the emulated kernels (numpy arrays): a device has what differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import UnsupportedError
from ...program.program import Activation, Array, Program, Seed
from .. import Forward, Run
from .kernels.cublas import MATMUL
from .kernels.launch import Argument, InputRef, InstructionRef, Launch, Launcher, Scratch, Table
from .kernels.tiles import Precision
from .planning.schedule import Schedule, Schedules
from .runtime.device import Device
from .runtime.forward import lent


class Cuda:
    """Our kernels on `device`, a GPU or the emulator.

    With precision "exact" relevance and the forward pass are float32: convolutions run on tensor cores as 3xTF32. With
    "fast" both are TF32 (relative L2 of a heatmap 3e-4 by relevance alone under z+; the forward pass moves heatmaps of
    the epsilon rule by up to 5e-2, for its denominators come near 0). None is float32 by plain gathers, which
    otherwise serve the shapes that tensor cores do not take.
    """

    def __init__(self, device: Device, precision: Precision | None = "exact") -> None:
        self.name, self.device, self.precision = device.name, device, precision

    def prepare(self, forward: Forward, program: Program) -> Run:
        """A program over a forward model; what depends on the batch size is planned when it is first met."""
        return _Run(self.device, forward, program, self.precision)


@dataclass(eq=False)
class Planned:
    """A draft with its arrays in place; `graph` is what a device has captured of it."""

    batch: int
    arrays: dict[int, Any]
    fed: dict[str, Any]
    launches: list[tuple[Launcher, Launch, tuple[Any, ...]]]
    graph: Any = None
    runs: int = 0


class _Run:
    def __init__(self, device: Device, forward: Forward, program: Program, precision: Precision | None) -> None:
        self.device, self.forward, self.program = device, forward, program
        self.drafts = Schedules(program, precision)
        self.constants = self.drafts.constants
        seed = program.seed
        top = [seed.tensor] if seed is not None and seed.mode == "top" else []
        self.reads = tuple(dict.fromkeys((*program.reads, *top)))
        self.session = device.session(lent(forward, self.reads), self.reads, precision == "fast")
        self.held: dict[int, Any] = {}  # the constants that a kernel reads
        self.tables: dict[Table, Any] = {}
        self.plans: dict[int, Planned] = {}
        self.parts: dict[int, int] = {}  # batches that memory splits, and into how large ones

    def __call__(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        with self.device.alone():
            return self._whole(inputs)

    def _whole(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        batch = len(inputs[self.forward.inputs[0]])
        planned = self.plans.get(batch) or self._plan(batch)
        if planned is not None:
            return self._run(inputs, planned)
        size = self.parts[batch]
        pieces = []
        for start in range(0, batch, size):
            # The last piece takes samples again, so that one plan serves all of them.
            first = min(start, batch - size)
            found = self._run(self._cut(inputs, first, first + size), self.plans[size])
            pieces.append({name: self._rest(name, array, start - first) for name, array in found.items()})
        return {name: self._joined(name, [piece[name] for piece in pieces]) for name in pieces[0]}

    def _run(self, inputs: Mapping[str, Array], planned: Planned) -> dict[str, Array]:
        self.session.run({name: inputs[name] for name in self.forward.inputs}, planned.fed)
        for name in ("target", "relevance"):
            if name in planned.fed:
                self.device.write(planned.fed[name], np.asarray(inputs[name]))
        self.device.replay(planned, lambda: self._launch(planned))
        return self._results(planned)

    def _launch(self, planned: Planned) -> None:
        for kernels, launch, arguments in planned.launches:
            kernels.launch(launch.kernel, launch.grid, launch.block, arguments, launch.shared, self.device.stream)

    def _results(self, planned: Planned) -> dict[str, Array]:
        instructions, outputs = self.program.instructions, self.program.outputs
        computed = [n for n in dict.fromkeys(outputs.values()) if not instructions[n].constant]
        copies = self.device.download([planned.arrays[n] for n in computed])
        found = {n: a.reshape(self.drafts.shape(n, planned.batch)) for n, a in zip(computed, copies, strict=True)}
        for n in set(outputs.values()) - found.keys():
            found[n] = np.broadcast_to(self.constants[n], instructions[n].shape)
        return {name: found[n] for name, n in outputs.items()}

    # -- batches larger than memory

    def _plan(self, batch: int) -> Planned | None:
        """Arrays for a batch of this size; None where it does not fit, and `parts` has the size that does."""
        if batch in self.parts:
            return None
        free, draft = self.device.free(), self.draft(batch)
        while free is not None and draft.bytes > free and draft.batch not in self.plans:
            if draft.batch == 1:
                raise UnsupportedError(
                    f"one sample needs {draft.bytes / 2**20:.1f} MiB of device memory, {free / 2**20:.1f} MiB are free",
                    "free some (nvidia-smi says who has it), or use --engine ort",
                )
            draft = self.draft(-(-draft.batch // 2))
        if draft.batch not in self.plans:
            self.plans[draft.batch] = self._planned(draft)
        if draft.batch == batch:
            return self.plans[batch]
        self.parts[batch] = draft.batch
        return None

    def _cut(self, inputs: Mapping[str, Array], start: int, stop: int) -> dict[str, Array]:
        lead = (slice(None),) if self.program.targets is not None else ()
        seeds = ("target", "relevance")
        return {
            name: array[(*lead, slice(start, stop))] if name in seeds else array[start:stop]
            for name, array in inputs.items()
        }

    def _rest(self, name: str, array: Array, start: int) -> Array:
        step = self.program.instructions[self.program.outputs[name]]
        return array if step.constant else array[(slice(None),) * step.targets + (slice(start, None),)]

    def _joined(self, name: str, pieces: list[Array]) -> Array:
        step = self.program.instructions[self.program.outputs[name]]
        return pieces[0] if step.constant else np.concatenate(pieces, axis=int(step.targets))

    # -- planning

    def draft(self, batch: int) -> Schedule:
        """What runs for a batch of this size, and the memory that it takes; nothing is allocated."""
        return self.drafts.draft(batch)

    def _planned(self, draft: Schedule) -> Planned:
        for a in (a for _, one in draft.launches for a in one.arguments):
            if isinstance(a, InstructionRef) and a.index in self.constants and a.index not in self.held:
                self.held[a.index] = self.device.upload(self.constants[a.index])
        arrays: dict[int, Any] = dict(self.held)
        fed = {name: self._array(name, count) for name, count in self.drafts.given(draft.batch).items()}
        for n, step in enumerate(self.program.instructions):
            if isinstance(step.what, Activation):
                arrays[n] = fed[step.what.tensor]
            elif isinstance(step.what, Seed) and step.what.mode == "relevance":
                arrays[n] = fed["relevance"]
            elif isinstance(step.what, Seed) and step.what.mode == "top":
                fed["scores"] = fed[step.what.tensor]
        block = self.device.empty(draft.size)
        for life in draft.lives:
            if isinstance(life.name, int):
                start = draft.offsets[life.name]
                arrays[life.name] = block[start : start + life.size].view(np.float32)
        for n, root in self.drafts.roots().items():
            arrays[n] = arrays[root]
        made = [one for _, one in draft.launches if one.kernel != MATMUL]
        ready = {MATMUL: self.device.library, **self.device.kernels.compiled(made)}
        bound = []
        for k, one in draft.launches:
            arguments = tuple(self._argument(a, k, arrays, fed, block, draft.offsets) for a in one.arguments)
            bound.append((ready[one.kernel], one, arguments))
        return Planned(draft.batch, arrays, fed, bound)

    def _array(self, name: str, count: int) -> Any:
        ids = name == "target"
        return self.device.empty(count * (8 if ids else 4)).view(np.int64 if ids else np.float32)

    def _argument(
        self,
        a: Argument,
        k: int,
        arrays: Mapping[int, Any],
        fed: Mapping[str, Any],
        block: Any,
        offsets: Mapping[object, int],
    ) -> Any:
        if isinstance(a, InstructionRef):
            return arrays[a.index]
        if isinstance(a, InputRef):
            return fed[a.name]
        if isinstance(a, Table):
            if a not in self.tables:  # weights in another order serve every batch size
                self.tables[a] = self.device.upload(a.array)
            return self.tables[a]
        if isinstance(a, Scratch):
            start = offsets[k, a.number]
            return block[start : start + a.count * np.dtype(a.dtype).itemsize].view(a.dtype)
        return a
