"""Model: a loaded graph, an engine, and the programs they have prepared."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from . import ledger, targets
from .batches import in_batches
from .compile import compile, rules_of
from .composites import PRESETS, Composite, Match, Matched, options_of, preset
from .engines import Engine, Forward, Run, engine
from .errors import UnsupportedError, UsageError
from .explainer import save
from .explanation import Explanation
from .graph import facts
from .graph.emit import emit
from .graph.graph import Array, Graph, Layer
from .preprocessing import Preprocessing, find, find_labels
from .program.program import Program
from .rules import Rule
from .rules.lrp import Pass
from .samples import Samples
from .samples import read as read_samples

DEFAULT = "epsilon_plus_flat"
Rules = Iterable[tuple[Match, Rule]]


def load(
    source: Any,
    engine: str | Engine = "auto",
    providers: Sequence[Any] | None = None,
    *,
    size: tuple[int, ...] | None = None,
    prep: Mapping[str, Any] | None = None,
    strict: bool = False,
) -> Model:
    """A model from a path, bytes or a ModelProto, which are never changed.

    `engine` is "auto", "reference", "ort" or an Engine; `providers` are onnxruntime's; `size` fixes open axes of the
    input; `prep` states preprocessing as the command line does (prep, mean, std, scale, color, layout, size, labels),
    and `strict` refuses to assume any. Raises InputError, UnsupportedError, UsageError.
    """
    from .graph.load import load as read

    path = Path(source) if isinstance(source, str | os.PathLike) else None
    return Model(read(source, size), _engine(engine, providers), path, dict(prep or {}), strict)


def _engine(chosen: str | Engine, providers: Sequence[Any] | None) -> Engine:
    return engine(chosen, providers) if isinstance(chosen, str) else chosen


@dataclass(frozen=True)
class _Key:
    method: Any
    mode: str
    targets: int | None
    record: tuple[str, ...]
    ledger: bool


@dataclass(eq=False)
class Model:
    """What `load` returns. Programs are compiled when first asked for and kept."""

    graph: Graph
    engine: Engine
    path: Path | None = None
    flags: dict[str, Any] = field(default_factory=dict)
    strict: bool = False
    _prepared: dict[_Key, tuple[Program, Run]] = field(default_factory=dict, repr=False)
    _found: Preprocessing | None = field(default=None, repr=False)
    _names: tuple[tuple[str, ...] | None, bool] | None = field(default=None, repr=False)

    # -- what the model says of itself

    @property
    def classes(self) -> int:
        """How many classes the first output scores."""
        return int(np.prod(self.graph.outputs[0].shape))

    @property
    def labels(self) -> tuple[str, ...] | None:
        """Class names, given or assumed (ImageNet's for 1000 and 1001 outputs)."""
        if self._names is None:
            self._names = find_labels(self.flags, self.path, self.graph.metadata, self.classes)
        return self._names[0]

    @property
    def preprocessing(self) -> Preprocessing:
        """How pictures become inputs: flags, sidecar, metadata, then assumption (`.assumed` says what)."""
        if self._found is None:
            tensor = self.graph.inputs[0]
            self._found = find(
                self.flags, self.path, self.graph.metadata, tensor.shape, tensor.dtype, self.classes, self.strict
            )
        return self._found

    # -- explaining

    def explain(
        self,
        x: Any,
        target: Any = "top1",
        method: str | Composite = DEFAULT,
        *,
        targets: Sequence[int | str] | None = None,
        record: Sequence[str] = (),
        ledger: bool = False,
        rules: Rules = (),
        batch_size: int | None = None,
        **options: Any,
    ) -> Explanation:
        """Why the model scores x as it does: the relevance of every input value for a class.

        x is an array in the model's own layout (a sample or a batch), a PIL image, a path, or a list of them.
        `target` is a class id, a label, "top1", "top3", or one id for each sample; `targets` asks for several classes
        of every sample over one forward pass, and gives relevance a leading axis. `method` is a preset's name, with
        its `options` by name, or a Composite; `rules` are (match, rule) entries that come first. `record` names module
        paths whose result's relevance is kept in `.layers`; `ledger` keeps the balance of every layer.
        Raises UsageError, InputError, UnsupportedError.
        """
        samples = self.read(x)
        wanted = self._wanted(target, targets, len(samples))
        composite = self.composite(method, rules=rules, pictures=samples.pictures, **options)
        program, run = self._program(composite, wanted.mode, wanted.count, tuple(record), ledger)
        name, fixed = self.graph.inputs[0].name, self.graph.batch
        outputs = in_batches(run, program, name, samples.values, wanted.ids, batch_size, fixed)
        return self._explanation(samples, wanted, composite, program, outputs, dict(options))

    def read(self, x: Any) -> Samples:
        """What `explain` takes, read and preprocessed; it takes the result too. Raises InputError, UnsupportedError."""
        tensor = self.graph.inputs[0]
        return read_samples(x, tensor.shape, tensor.dtype, lambda: self.preprocessing)

    def prepare(
        self,
        target: Any = "top1",
        method: str | Composite = DEFAULT,
        *,
        targets: Sequence[int | str] | None = None,
        pictures: bool = True,
        record: Sequence[str] = (),
        ledger: bool = False,
        rules: Rules = (),
        **options: Any,
    ) -> None:
        """Compile what `explain` with the same arguments will run, and raise what is wrong with them.

        `pictures` is whether preprocessing makes the inputs (it gives zBox its bounds).
        """
        wanted = self._wanted(target, targets, 1)
        composite = self.composite(method, rules=rules, pictures=pictures, **options)
        self._program(composite, wanted.mode, wanted.count, tuple(record), ledger)

    def composite(
        self, method: str | Composite = DEFAULT, *, rules: Rules = (), pictures: bool = True, **options: Any
    ) -> Composite:
        """The composite that a method's name and options stand for, zBox bounded by the preprocessing."""
        entries = tuple(rules)
        if isinstance(method, Composite):
            if options:
                raise UsageError("options belong to methods named by a word", "set them in the composite's rules")
            return method.with_rules(entries) if entries else method
        known = options_of(method) if method in PRESETS else ()
        given = dict(options)
        if "low" in known and not {"low", "high"} <= given.keys():
            stated = self._bounds(pictures)
            if stated is not None:
                given = {"low": stated[0], "high": stated[1], **given}
        given |= {name: self._laid(given[name]) for name in ("low", "high") if given.get(name) is not None}
        composite = preset(method, **given)
        return composite.with_rules(entries) if entries else composite

    def layers(self, composite: Composite) -> list[tuple[Layer, Matched, Rule | None]]:
        """The layers between input and output in order, what a match sees of each, and the rule it gets, if any."""
        first = facts.first_layers(self.graph, self.graph.inputs[0].name)
        rows: list[tuple[Layer, Matched, Rule | None]] = []
        for layer, kind, rule in rules_of(self.graph, composite):
            seen = Matched(layer.op, layer.path, layer.name, kind or "unknown", layer.name in first)
            if not kind:  # an operator that only `pass` can answer for
                with suppress(UnsupportedError):
                    rule = composite.rule_for(seen)
                rule = rule if isinstance(rule, Pass) else None
            rows.append((layer, seen, rule))
        return rows

    def export(
        self,
        path: str | os.PathLike[str],
        method: str | Composite = DEFAULT,
        target: str = "input",
        *,
        rules: Rules = (),
        **options: Any,
    ) -> Path:
        """Save the explainer: one plain ONNX graph that takes the image and gives scores and "relevance".

        `target` "input" adds an input "target" (int64 class ids, [N]); "top1" or "topK" explains the model's own
        best classes. Standard operators only, any batch size. Raises UsageError, UnsupportedError.
        """
        if target != "input" and targets.parse(target).kind != "top":
            raise UsageError(
                f'export has no target "{target}"', "give input, top1 or topK; a class id is an input then"
            )
        wanted = self._wanted(target, None, 0) if target != "input" else _Wanted("index", None, None)
        composite = self.composite(method, rules=rules, pictures=False, **options)
        program = self._compile(composite, wanted.mode, wanted.count, (), False)
        provenance = self._provenance(composite, options) | {"target": target}
        return save(self._forward, program, path, self.graph.metadata, provenance)

    # -- the steps

    @property
    def _forward(self) -> Forward:
        graph = self.graph
        return Forward(lambda dtype, tensors: emit(graph, dtype, tensors), tuple(t.name for t in graph.inputs))

    def _bounds(self, pictures: bool) -> tuple[Array, Array] | None:
        """The box of the pixels; an assumed preprocessing counts only where it made the input."""
        try:
            prep = self.preprocessing
        except UnsupportedError:  # the input is no picture
            return None
        return prep.bounds() if pictures or not prep.assumed else None

    def _laid(self, bound: Any) -> Any:
        """A bound of the input, a number or an array or one number a channel, as the first layers' operand has it."""
        array, shape = np.asarray(bound, np.float64), self.graph.inputs[0].shape
        if array.size and np.ptp(array) == 0:
            return float(array.flat[0])
        if array.ndim == 1 and len(shape) == 3 and shape[0] == len(array) != shape[2]:
            array = array[:, None, None]
        first = facts.first_layers(self.graph, self.graph.inputs[0].name)
        operand = next((self.graph.shapes.get(y.inputs[0]) for y in self.graph.layers if y.name in first), shape)
        if len(shape) == 3 and operand == (shape[2], *shape[:2]) != shape:  # NHWC, transposed for the convolution
            return np.moveaxis(array.reshape((1,) * (3 - array.ndim) + array.shape), 2, 0)
        return np.broadcast_to(array, shape).reshape(-1) if operand == (int(np.prod(shape)),) else array

    def _wanted(self, target: Any, several: Sequence[int | str] | None, samples: int) -> _Wanted:
        if several is not None:
            ids = [targets.resolve(targets.parse(t), self.labels, self.classes) for t in several]
            if not ids or None in ids:
                raise UsageError(f"targets={list(several)!r}", "list class ids or labels; top3 is target='top3'")
            table = np.repeat(np.asarray(ids, np.int64)[:, None], samples, axis=1)
            return _Wanted("index", len(ids), table)
        found = targets.for_samples(target, self.labels, self.classes, samples)
        if isinstance(found, targets.Target):
            return _Wanted("top", None if found.k == 1 else found.k, None)
        return _Wanted("index", None, found)

    def _program(
        self, composite: Composite, mode: str, count: int | None, record: tuple[str, ...], with_ledger: bool
    ) -> tuple[Program, Run]:
        key = _Key(_identity(composite), mode, count, record, with_ledger)
        if key not in self._prepared:
            program = self._compile(composite, mode, count, record, with_ledger)
            self._prepared[key] = program, self.engine.prepare(self._forward, program)
        return self._prepared[key]

    def _compile(
        self, composite: Composite, mode: str, count: int | None, record: tuple[str, ...], with_ledger: bool
    ) -> Program:
        return compile(self.graph, composite, mode=mode, targets=count, record=record, ledger=with_ledger)

    def _explanation(
        self,
        batch: Samples,
        wanted: _Wanted,
        composite: Composite,
        program: Program,
        outputs: Mapping[str, Array],
        options: Mapping[str, Any],
    ) -> Explanation:
        scores, logits = outputs["scores"], outputs["logits"].reshape(len(batch.values), -1)
        ids = wanted.ids
        if ids is None:
            ids = targets.from_scores(targets.Target("top", k=wanted.count or 1), logits)
        plan = program.notes["ledger"]
        return Explanation(
            relevance=outputs["relevance"],
            output=scores,
            target=ids,
            ledger=ledger.rows(plan, outputs) if plan else None,
            provenance=self._provenance(composite, options),
            labels=self.labels,
            layers={k.removeprefix("record/"): v for k, v in outputs.items() if k.startswith("record/")},
            images=batch.views if batch.pictures else None,
            preprocessing=self.preprocessing if batch.pictures else None,
            logit=np.take_along_axis(logits.T, np.atleast_2d(ids), axis=0).reshape(ids.shape),
            names=batch.names,
            originals=batch.originals if batch.pictures else None,
        )

    def _provenance(self, composite: Composite, options: Mapping[str, Any]) -> dict[str, Any]:
        from . import __version__

        return {
            "onnxlrp": __version__,
            "model": self.graph.source,
            "sha256": self.graph.sha256,
            "method": composite.name,
            "options": dict(options),
            "engine": self.engine.name,
        }


@dataclass(frozen=True, eq=False)
class _Wanted:
    mode: str
    count: int | None
    ids: Array | None


def _identity(value: Any) -> Any:
    """A hashable stand-in for a composite: its rules by their fields, arrays by their numbers."""
    if isinstance(value, Composite):
        return (value.name, value.seed, tuple((m, _identity(r)) for m, r in value.entries))
    if isinstance(value, np.ndarray):
        return (value.shape, value.tobytes())
    if hasattr(value, "__dataclass_fields__"):
        return (type(value), tuple(_identity(getattr(value, name)) for name in value.__dataclass_fields__))
    return value
