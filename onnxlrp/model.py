"""Model: a loaded graph, an engine, and the programs they have prepared."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import images, ledger, targets
from .compile import compile
from .composites import Composite, Match, options_of, preset
from .engines import Engine, Forward, Run, engine
from .errors import InputError, UsageError
from .explanation import Explanation
from .files import replace as write
from .graph.emit import emit
from .graph.graph import Array, Graph
from .preprocessing import Preprocessing, find, find_labels
from .program.program import Program
from .rules import Rule

if TYPE_CHECKING:
    from PIL.Image import Image

DEFAULT = "epsilon_plus_flat"
Rules = Iterable[tuple[Match, Rule]]


def load(
    source: Any,
    engine: str = "auto",
    providers: Sequence[Any] | None = None,
    *,
    size: tuple[int, ...] | None = None,
    prep: Mapping[str, Any] | None = None,
    strict: bool = False,
) -> Model:
    """A model from a path, bytes or a ModelProto, which are never changed.

    `engine` is "auto", "reference" or "ort"; `providers` are onnxruntime's; `size` fixes open axes of the input;
    `prep` states preprocessing as `onnxlrp explain` takes it (prep, mean, std, scale, color, layout, size, labels);
    `strict` refuses to assume any. Raises InputError, UnsupportedError, UsageError.
    """
    from .graph.load import load as read

    path = Path(source) if isinstance(source, str | os.PathLike) else None
    return Model(read(source, size), _engine(engine, providers), path, dict(prep or {}), strict)


def _engine(name: str, providers: Sequence[Any] | None) -> Engine:
    return engine(name, providers)


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
        batch = self._batch(x)
        wanted = self._wanted(target, targets, len(batch.values))
        composite = self._composite(method, options, rules, batch.pictures)
        program, run = self._program(composite, wanted.mode, wanted.count, tuple(record), ledger)
        outputs = self._run(run, program, batch.values, wanted.ids, batch_size)
        return self._explanation(batch, wanted, composite, program, outputs, dict(options))

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
        from .engines.ort import explainer

        wanted = self._wanted(target, None, 0) if target != "input" else _Wanted("index", None, None)
        if target != "input" and wanted.mode != "top":
            raise UsageError(f'export has no target "{target}"', "give input, top1 or topK; a class id is an input then")
        composite = self._composite(method, options, rules, pictures=False)
        program = self._compile(composite, wanted.mode, wanted.count, (), False)
        outputs = {name: program.outputs[name] for name in ("scores", "relevance")}
        model = explainer(self._forward, _with_outputs(program, outputs)).model
        provenance = self._provenance(composite, options) | {"target": target}
        for key, value in {**_user_metadata(self.graph.metadata), **_flat(provenance)}.items():
            entry = model.metadata_props.add()
            entry.key, entry.value = key, value
        return write(Path(path), model.SerializeToString())

    # -- the steps

    @property
    def _forward(self) -> Forward:
        graph = self.graph
        return Forward(lambda dtype, tensors: emit(graph, dtype, tensors), tuple(t.name for t in graph.inputs))

    def _composite(
        self, method: str | Composite, options: Mapping[str, Any], rules: Rules, pictures: bool
    ) -> Composite:
        entries = tuple(rules)
        if isinstance(method, Composite):
            if options:
                raise UsageError("options belong to methods named by a word", "set them in the composite's rules")
            return method.with_rules(entries) if entries else method
        known = options_of(method) if method in _presets() else ()
        given = {name: _bound(value) if name in ("low", "high") else value for name, value in options.items()}
        if "low" in known and not {"low", "high"} <= given.keys():
            stated = self._bounds(pictures)
            if stated is not None:
                given = {"low": stated[0], "high": stated[1], **given}
        composite = preset(method, **given)
        return composite.with_rules(entries) if entries else composite

    def _bounds(self, pictures: bool) -> tuple[Array, Array] | None:
        """The box of the pixels; an assumed preprocessing counts only where it made the input."""
        try:
            prep = self.preprocessing
        except (UsageError, InputError):
            raise
        except Exception:
            return None
        return prep.bounds() if pictures or not prep.assumed else None

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

    def _run(
        self, run: Run, program: Program, x: Array, ids: Array | None, batch_size: int | None
    ) -> dict[str, Array]:
        name, fixed = self.graph.inputs[0].name, self.graph.batch
        step = fixed or batch_size or len(x)
        if step < 1:
            raise UsageError(f"batch_size={batch_size}", "give 1 or more")
        pieces: list[dict[str, Array]] = []
        for start in range(0, len(x), step):
            count = min(step, len(x) - start)
            # A model of one fixed batch size gets its last samples again to fill the batch.
            rows = np.minimum(np.arange(start, start + (fixed or count)), len(x) - 1)
            feeds = {name: x[rows]} | ({} if ids is None else {"target": ids[..., rows]})
            pieces.append({key: _cut(program, key, value, count) for key, value in run(feeds).items()})
        return {key: _joined(program, key, [piece[key] for piece in pieces]) for key in pieces[0]}

    def _batch(self, x: Any) -> _Batch:
        tensor = self.graph.inputs[0]
        items = list(x) if isinstance(x, list | tuple) else [x]
        if items and all(isinstance(item, np.ndarray) and item.ndim == len(tensor.shape) for item in items):
            items = [np.stack(items)]
        if not items:
            raise InputError("nothing to explain: the list is empty", "give at least one sample")
        parts = [self._one(item) for item in items]
        if len(parts) == 1:
            return parts[0]
        return _Batch(
            np.concatenate([p.values for p in parts]),
            [view for p in parts for view in p.views],
            [original for p in parts for original in p.originals],
            [name for p in parts for name in p.names],
            all(p.pictures for p in parts),
        )

    def _one(self, item: Any) -> _Batch:
        tensor = self.graph.inputs[0]
        name = ""
        if isinstance(item, str | os.PathLike):
            name = Path(item).stem
            if str(item).lower().endswith(".npy"):
                values = images.batched(images.read_array(item), tensor.shape, tensor.dtype, str(item))
                return self._array(values, name)
            item = images.read_image(item)
        if hasattr(item, "convert") and hasattr(item, "getbands"):
            prep, picture = self.preprocessing, images.rgb(item)
            return _Batch(prep.apply(picture), [prep.view(picture)], [picture], [name or "image"], True)
        return self._array(images.batched(item, tensor.shape, tensor.dtype), name)

    def _array(self, values: Array, name: str) -> _Batch:
        n = len(values)
        names = [name or "array"] if n == 1 else [f"{name or 'array'}.{i}" for i in range(n)]
        return _Batch(values, [None] * n, [None] * n, names, False)

    def _explanation(
        self,
        batch: _Batch,
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
class _Batch:
    values: Array
    views: Sequence[Image | None]
    originals: Sequence[Image | None]
    names: Sequence[str]
    pictures: bool


@dataclass(frozen=True, eq=False)
class _Wanted:
    mode: str
    count: int | None
    ids: Array | None


def _presets() -> Mapping[str, Any]:
    from .composites import PRESETS

    return PRESETS


def _bound(value: Any) -> Any:
    """A number, or one bound for each channel as an array."""
    return value if np.ndim(value) == 0 else np.asarray(value, np.float64)


def _identity(value: Any) -> Any:
    """A hashable stand-in for a composite: its rules by their fields, arrays by their numbers."""
    if isinstance(value, Composite):
        return (value.name, value.seed, tuple((m, _identity(r)) for m, r in value.entries))
    if isinstance(value, np.ndarray):
        return (value.shape, value.tobytes())
    if hasattr(value, "__dataclass_fields__"):
        return (type(value), tuple(_identity(getattr(value, name)) for name in value.__dataclass_fields__))
    return value


def _batch_axis(program: Program, key: str) -> int | None:
    step = program.instructions[program.outputs[key]]
    return None if step.constant else int(step.targets)


def _cut(program: Program, key: str, value: Array, count: int) -> Array:
    axis = _batch_axis(program, key)
    return value if axis is None else value[(slice(None),) * axis + (slice(0, count),)]


def _joined(program: Program, key: str, pieces: list[Array]) -> Array:
    axis = _batch_axis(program, key)
    return pieces[0] if axis is None or len(pieces) == 1 else np.concatenate(pieces, axis)


def _with_outputs(program: Program, outputs: Mapping[str, int]) -> Program:
    from dataclasses import replace

    from .program.passes import dead_code

    return dead_code(replace(program, outputs=outputs))


def _user_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in metadata.items() if not key.startswith("onnxlrp.") or key == "onnxlrp.prep"}


def _flat(provenance: Mapping[str, Any]) -> dict[str, str]:
    import json

    return {"onnxlrp.explainer": json.dumps(provenance, default=lambda a: np.asarray(a).tolist())}
