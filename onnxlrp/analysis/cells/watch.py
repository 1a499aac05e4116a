"""Run a model over long sequences, and keep the states of its cells and how often its gates are saturated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ...errors import InputError, UnsupportedError, at_least
from ..reading import Progress, go_on
from .layers import Recurrent, recurrent_layers

Array = npt.NDArray[Any]
LOW, HIGH = 0.1, 0.9  # a gate is left-saturated below, right-saturated above (Karpathy et al. 2015)
WINDOW = 10_000  # places of a sequence that are run at once
_CONTEXT = 10  # of a window, one part in so many is read for its states alone, on each side that counts


class Window(NamedTuple):
    """A part of a sequence that is run at once.

    Attributes:
        start: Its first place.
        stop: Behind its last place; beyond the end of a sequence that is filled up.
        kept: The first place whose states are kept.
        end: Behind the last one.
    """

    start: int
    stop: int
    kept: int
    end: int


@dataclass(eq=False)
class Run:
    """What is kept of one direction of a recurrent layer.

    Attributes:
        layer: The layer.
        states: The states of its cells [places, cells].
        low: By gate how often each cell's is left-saturated [cells].
        high: By gate how often it is right-saturated.
    """

    layer: Recurrent
    states: Array
    low: dict[str, Array]
    high: dict[str, Array]

    @cached_property
    def limit(self) -> float:
        """What colours reach to: 1, or of a layer without such bounds what its cells seldom exceed."""
        size = np.abs(self.states)
        most = float(size.max(initial=0.0))
        return 1.0 if most <= 1 else float(np.quantile(size, 0.995)) or most

    def shares(self) -> dict[str, tuple[Array, Array]]:
        """Return by gate the shares of places at which each cell's is left-saturated and right-saturated [cells]."""
        count = max(1, len(self.states))
        return {gate: (self.low[gate] / count, self.high[gate] / count) for gate in self.low}


@dataclass(eq=False)
class Watch:
    """Runs a model over sequences.

    Attributes:
        model: The model.
        size: The most places that are run at once, where the file leaves the length open.
        progress: Told of the places that are done.
        notes: What was decided, with what to type for another.
    """

    model: Any
    size: int = WINDOW
    progress: Progress = go_on
    notes: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        at_least(1, whole=True, window=self.size)
        graph = self.model.graph
        kind = self.model.kind
        source = graph.inputs[0]
        if not source.shape or (kind.name not in ("tokens", "signal") and len(source.shape) < 2):
            raise UnsupportedError(
                f"the input is {kind.describe()}, and no sequence", "name the input of the sequence: --input NAME"
            )
        self.is_open = 0 in graph.open_axes.get(source.name, {})

    def __call__(self, sequences: Sequence[Array]) -> list[Run]:
        """Run sequences [places, …], each from its beginning; return the runs of each layer and direction.

        Raises:
            UnsupportedError: The model has no recurrent layer.
            InputError: A sequence is shorter than the length that the model has.
        """
        if any(len(sequence) == 0 for sequence in sequences):
            raise InputError("a sequence without places", "give a text with at least one character")
        longest = max(map(len, sequences))
        self.length = min(longest, self.size) if self.is_open else self.model.graph.inputs[0].shape[0]
        model = self._at(self.length)
        layers = recurrent_layers(model.graph)
        self.directions = {layer.reverse for layer in layers}
        slots = self._slots(model, layers)
        if slots is not None:
            model = replace(model, given={**model.given, **self._beginning(model, slots)})
        kept: list[list[dict[str, Array]]] = [[] for _ in layers]
        total, done = sum(map(len, sequences)), 0
        for sequence in sequences:
            carried = self.model if slots is None else model  # a model of one length takes no other
            for group in self._groups(self._windows(len(sequence), slots is not None), slots is not None):
                found = self._run(carried, sequence, group)
                for n, layer in enumerate(found):
                    kept[n].append(layer.reduced)
                if slots is not None:
                    carried = replace(carried, given={**carried.given, **self._handed(carried, slots, found)})
                done += sum(window.end - window.kept for window in group)
                self.progress(done, total)
        return [self._joined(layer, parts) for layer, parts in zip(layers, kept, strict=True)]

    # -- windows

    def _windows(self, places: int, carries: bool) -> list[Window]:
        """Cut a sequence into parts; each after the first reads places before it, where states are not carried."""
        size = self.length
        if carries:  # forwards alone: what a part is filled up with comes after all that is kept
            return [Window(a, a + size, a, min(a + size, places)) for a in range(0, places, size)]
        if places <= size:
            if not self.is_open and places < size:
                if self.directions != {False}:
                    raise InputError(
                        f"a text of {places} places, the model takes {size} in both directions",
                        f"give at least {size}, or export with an open length",
                    )
                return [Window(0, size, 0, places)]
            return [Window(0, places, 0, places)]
        context = size // _CONTEXT if self.is_open else size // 2 // len(self.directions)
        sides = (
            "before" if self.directions == {False} else "behind" if self.directions == {True} else "before and behind"
        )
        self._note(
            f"the file takes no initial states of all its layers: the text is run in windows of {size} places, each "
            f"with {context} {sides} it that are left out",
            "--window N states another length" if self.is_open else "export with an open length for longer windows",
        )
        found, kept = [], 0
        left, right = (context if False in self.directions else 0), (context if True in self.directions else 0)
        while kept < places:
            start = max(0, min(kept - left, places - size))
            stop = start + size
            end = places if stop >= places else stop - right
            found.append(Window(start, stop, kept, end))
            kept = end
        return found

    def _groups(self, windows: Sequence[Window], carries: bool) -> list[list[Window]]:
        """Put windows of one length into batches; those that hand states on run one by one."""
        batch = 1 if carries else max(1, self.size // self.length)
        groups: list[list[Window]] = []
        for window in windows:
            same = groups and groups[-1][0].stop - groups[-1][0].start == window.stop - window.start
            if same and len(groups[-1]) < batch:
                groups[-1].append(window)
            else:
                groups.append([window])
        return groups

    def _run(self, model: Any, sequence: Array, group: Sequence[Window]) -> list[_Piece]:
        length = group[0].stop - group[0].start
        rows = [np.minimum(np.arange(w.start, w.stop), len(sequence) - 1) for w in group]
        x = sequence[np.stack(rows)]
        model = model.at(x.shape[1:])
        layers = recurrent_layers(model.graph)
        units = {u.label: u for layer in layers for u in (layer.states, *layer.handed.values(), *layer.gates.values())}
        found = model.outputs(x, activations=list(units.values()))
        values = {label: found[f"activation/{label}"].reshape(len(group), length, -1) for label in units}
        cuts = [slice(w.kept - w.start, w.end - w.start) for w in group]
        made = []
        for layer in layers:
            piece = {"states": np.concatenate([values[layer.states.label][n, cut] for n, cut in enumerate(cuts)])}
            for gate, unit in layer.gates.items():
                own = np.concatenate([values[unit.label][n, cut] for n, cut in enumerate(cuts)])
                piece |= {f"low/{gate}": (own < LOW).sum(axis=0), f"high/{gate}": (own > HIGH).sum(axis=0)}
            last = {part: values[unit.label][-1, cuts[-1]][-1] for part, unit in layer.handed.items()}
            made.append(_Piece(layer.label, piece, last))
        return made

    def _joined(self, layer: Recurrent, parts: Sequence[Mapping[str, Array]]) -> Run:
        low, high = (
            {gate: np.sum([part[f"{word}/{gate}"] for part in parts], axis=0) for gate in layer.gates}
            for word in ("low", "high")
        )
        return Run(layer, np.concatenate([part["states"] for part in parts]), low, high)

    def _at(self, length: int) -> Any:
        return self.model.at((length, *self.model.graph.inputs[0].shape[1:]))

    # -- states that are inputs

    def _slots(self, model: Any, layers: Sequence[Recurrent]) -> dict[tuple[str, str], tuple[str, Array]] | None:
        """Find the inputs that are initial states, by running the model on numbers that no two places of them share.

        Returns:
            (layer, "hidden" or "cell") → (the input, the places in a sample of it, flat [cells]); None where a state is
            no input, or a layer runs backwards, so that states cannot be carried from part to part.
        """
        others = [t for t in model.graph.inputs[1:] if t.name not in (*model.own_inputs, *model.assumed_inputs)]
        others = [t for t in others if t.dtype.startswith("float") and t.shape]
        if not others or self.directions != {False}:
            return None
        numbers, names, first = {}, [], 1
        for tensor in others:
            size = int(np.prod(tensor.shape))
            numbers[tensor.name] = np.arange(first, first + size, dtype=tensor.dtype).reshape(1, *tensor.shape)
            names.append((tensor.name, first, size))
            first += size
        source = model.graph.inputs[0]
        units = {u.label: u for layer in layers for u in layer.before.values()}
        probe = replace(model, given={**model.given, **numbers})
        found = probe.outputs(np.zeros((1, *source.shape), source.dtype), activations=list(units.values()))
        slots = {}
        for layer in layers:
            for part, unit in layer.before.items():
                values = found[f"activation/{unit.label}"].reshape(-1, layer.width)[0]
                home = next(((n, a) for n, a, size in names if np.isin(values, np.arange(a, a + size)).all()), None)
                if home is None:
                    return None
                slots[layer.label, part] = (home[0], (values - home[1]).astype(np.int64))
        return slots

    def _beginning(self, model: Any, slots: Mapping[tuple[str, str], tuple[str, Array]]) -> dict[str, Array]:
        """The states at the beginning of a sequence: those that are given, else 0."""
        made = {}
        for tensor in model.graph.inputs:
            if tensor.name in {name for name, _ in slots.values()} and tensor.name not in model.given:
                made[tensor.name] = np.zeros((1, *tensor.shape), tensor.dtype)
        if made:
            self._note(
                f"initial states {', '.join(made)}: 0 at the beginning of a text, then carried on",
                f"--given {next(iter(made))}=FILE.npy states others",
            )
        return made

    def _handed(
        self, model: Any, slots: Mapping[tuple[str, str], tuple[str, Array]], found: Sequence[_Piece]
    ) -> dict[str, Array]:
        """The states that the next part begins with."""
        made = {name: model.given[name][:1].copy() for name in {name for name, _ in slots.values()}}
        for piece in found:
            for part, values in piece.last.items():
                name, places = slots[piece.label, part]
                made[name].reshape(-1)[places] = values
        return made

    def _note(self, text: str, fix: str) -> None:
        if (text, fix) not in self.notes:
            self.notes.append((text, fix))


class _Piece(NamedTuple):
    """What is kept of some windows of a layer, and its states at the last place."""

    label: str
    reduced: dict[str, Array]
    last: dict[str, Array]
