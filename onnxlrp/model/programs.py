"""Programs of a model on its engine: compiled when first asked for, and kept while they are in use."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..compile import StartForm
from ..composites import Composite
from ..engines import Engine, Forward, Run
from ..graph.graph import Graph, Opaque, Tensor
from ..graph.outputs import heads
from ..program.program import Program
from ..runtime import ForkLock
from .kept_programs import kept_program

if TYPE_CHECKING:
    from ..graph.outputs.units import Unit

# As many as the methods of a long run, so that each batch finds what the one before has compiled. Each has threads of
# its own: a pool that all share, onnxruntime's global one, would refuse every other session of the user's process.
KEPT, KEPT_BYTES = 32, 4 << 30


@dataclass(eq=False)
class Programs:
    """The prepared programs of one graph: those that were last used, at most `KEPT`, and `KEPT_BYTES` of weights.

    The last two are always kept: a method that reads the model's scores too finds both.

    Attributes:
        kept: Programs and what runs them, by what was asked for, the one used last at the end.
        sizes: The bytes of weights that each holds, as `weight_bytes` counts them.
    """

    kept: OrderedDict[Any, tuple[Program, Run]] = field(default_factory=OrderedDict)
    sizes: dict[Any, int] = field(default_factory=dict)
    _lock: ForkLock = field(default_factory=ForkLock, repr=False)

    def prepared(
        self,
        engine: Engine,
        graph: Graph,
        composite: Composite | None,
        *,
        mode: str = "index",
        targets: int | None = None,
        record: Sequence[str | Unit] = (),
        activations: Sequence[str | Unit] = (),
        ledger: bool = False,
        conditions: Mapping[str, Sequence[int]] | None = None,
        starts: Sequence[StartForm] = (),
        reduce: Sequence[str] = (),
    ) -> tuple[Program, Run]:
        """Return a program, compiled if it was not before, and what runs it.

        Args:
            engine: What runs it.
            graph: The graph.
            composite: The rules of the backward pass; None for the forward pass alone.
            mode: What says which class is explained: "index" (ids), "top" or "relevance" (a seed), as of `compile`.
            targets: The length of the target axis, None without one.
            record: Units whose relevance is an output.
            activations: Units whose activation is an output.
            ledger: Keep what every layer absorbs.
            conditions: Channels by layer that relevance runs through alone.
            starts: Where relevance starts, in the place of a class.
            reduce: What of each unit is an output; () for all of it.

        Raises:
            UnsupportedError: A layer without a rule.
            UsageError: A unit that does not exist.
        """
        record, activations = tuple(record), tuple(activations)
        where = tuple((path, tuple(channels)) for path, channels in (conditions or {}).items())
        inner = tuple(identity(word) for word in (*record, *activations))
        key = (identity(composite), mode, targets, len(record), inner, ledger, where, tuple(starts), tuple(reduce))
        with self._lock:
            if key in self.kept:
                self.kept.move_to_end(key)
                return self.kept[key]

        def compiled() -> tuple[Program, Forward]:
            from ..compile import compile, forward  # which a program from the cache does without

            if composite is None:
                return forward(graph, activations=activations, reduce=reduce), forward_of(graph)
            how: dict[str, Any] = {"mode": mode, "targets": targets, "conditions": conditions, "starts": starts}
            what: dict[str, Any] = {"record": record, "activations": activations, "ledger": ledger, "reduce": reduce}
            return compile(graph, composite, **how, **what), forward_of(_stopped(graph, starts))

        if graph.opaque is not None:
            made = _opaque(graph, graph.opaque, composite, (*record, *activations))
        else:
            made = kept_program(engine, graph, key, compiled)
        with self._lock:
            self.kept[key], self.sizes[key] = made, weight_bytes(graph, composite)
            while len(self.kept) > KEPT or (len(self.kept) > 2 and sum(self.sizes.values()) > KEPT_BYTES):
                del self.sizes[self.kept.popitem(last=False)[0]]
        return made


def weight_bytes(graph: Graph, composite: Composite | None) -> int:
    """Return how many bytes of weights a program holds: the model's in single precision, and as many made by rules.

    This is an estimate, known before anything runs: rules that share a W⁺ hold less, engines that keep a second layout
    of the model's weights more.

    Args:
        graph: The graph.
        composite: The rules; None for the forward pass alone.
    """
    elements = sum(math.prod(graph.constant_shape(name)) for name in graph.constants)  # values are not read for it
    return 4 * elements * (1 if composite is None else 2)


def _stopped(graph: Graph, starts: Sequence[StartForm]) -> Graph:
    """Return the graph up to the tensors where relevance starts: nothing behind them is computed."""
    if not starts:
        return graph
    names = dict.fromkeys(form.tensor for form in starts)
    ends = (Tensor(name, graph.shapes[name], graph.dtypes.get(name, "float32")) for name in names)
    return replace(graph, outputs=tuple(ends), head=None)


def _opaque(
    graph: Graph, opaque: Opaque, composite: Composite | None, inner: Sequence[str | Unit]
) -> tuple[Program, Run]:
    """Return the forward pass of a graph whose layers cannot be read. Raises UnsupportedError for anything else."""
    if composite is not None:
        raise opaque.refusal(f'the method "{composite.name}"')
    head = heads.head_of(graph, graph.outputs[0].name)
    tensors = {"logits": head.logits, "scores": head.scores}
    for unit in inner:
        label = unit if isinstance(unit, str) else unit.label
        if isinstance(unit, str) or unit.tensor not in opaque.tensors or unit.channel is not None:
            raise opaque.refusal(f'"{label}", a result inside of the model,')
        tensors[f"activation/{label}"] = unit.tensor
    from ..compile import forward
    from ..graph.writing.evaluated import layers_behind

    program = forward(graph, activations=inner)
    wanted = list(dict.fromkeys(tensors.values()))
    own = [tensor for tensor in wanted if tensor in opaque.tensors]
    behind = [tensor for tensor in wanted if tensor not in own]
    read, compute = layers_behind(graph, opaque.tensors, behind) if behind else ((), None)

    def run(inputs: Mapping[str, Any]) -> dict[str, Any]:
        found = opaque.scores(inputs, list(dict.fromkeys((*own, *read))))
        if compute is not None:
            found |= compute({**inputs, **found})
        return {name: found[tensor] for name, tensor in tensors.items()}

    return program, run


def forward_of(graph: Graph, portable: bool = False) -> Forward:
    """Return the graph as engines take it; `portable` for sessions that are not ours."""
    from ..graph.writing.to_onnx import emit, light

    inputs = tuple(t.name for t in graph.inputs)
    return Forward(
        lambda dtype, tensors: emit(graph, dtype, tensors, portable=portable),
        inputs,
        lambda dtype, tensors: light(graph, dtype, tensors, portable),
    )


def identity(value: Any) -> Any:
    """Return a hashable key for a composite: its rules by their fields, arrays by their numbers."""
    if isinstance(value, Composite):
        rules = tuple((m, identity(r)) for m, r in value.entries)
        return (value.name, value.seed, value.on_unsupported, value.model, rules)
    if isinstance(value, np.ndarray):
        return (value.shape, value.tobytes())
    if hasattr(value, "digest"):
        return (type(value), value.digest)
    if hasattr(value, "__dataclass_fields__"):
        return (type(value), tuple(identity(getattr(value, name)) for name in value.__dataclass_fields__))
    return value
