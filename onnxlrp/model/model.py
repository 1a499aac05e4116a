"""Model: a loaded graph, an engine, and the programs they have prepared."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..compile import compile, rules_of
from ..composites import Composite, Match, Matched
from ..engines import Engine, Run
from ..errors import UnsupportedError, UsageError
from ..explanation import Explanation, ledger, targets
from ..explanation.targets import Wanted
from ..graph import facts
from ..graph.graph import Array, Graph, Layer
from ..graph.pixel_range import pixel_range
from ..methods.problem import solve
from ..methods.registry import Method, asked, name_of, refuse_composites_own
from ..preprocessing import Preprocessing
from ..preprocessing.find import find, find_labels
from ..preprocessing.samples import Samples
from ..preprocessing.samples import read as read_samples
from ..program.program import Program
from ..rules import Rule
from .batches import in_batches
from .explainer import save
from .extra_inputs import check as check_given
from .extra_inputs import feeds
from .extra_inputs import read as read_given
from .io_selection import Choice, choose, refuse_maps
from .programs import Programs, forward_of
from .provenance import computed, decided, provenance
from .resolve_composite import composed

DEFAULT = "epsilon_plus_flat"
Rules = Iterable[tuple[Match, Rule]]


@dataclass(eq=False)
class Model:
    """What `load` returns: a model of one output and one explained input (`choose` takes others). Programs are compiled
    when first asked for and kept.

    `graph` is what lies between the two, `whole` all of the model; `given` are values of its other inputs.
    """

    graph: Graph
    engine: Engine
    path: Path | None = None
    flags: dict[str, Any] = field(default_factory=dict)
    strict: bool = False
    whole: Graph | None = field(default=None, repr=False)
    choice: Choice | None = field(default=None, repr=False)
    given: Mapping[str, Array] = field(default_factory=dict)
    _stated: tuple[str | None, str | None] = (None, None)
    _chosen: dict[tuple[str | None, str | None], Model] = field(default_factory=dict, repr=False)
    _programs: Programs = field(default_factory=Programs, repr=False)
    _found: Preprocessing | None = field(default=None, repr=False)
    _names: tuple[tuple[str, ...] | None, bool] | None = field(default=None, repr=False)

    # -- what the model says of itself

    @property
    def classes(self) -> int:
        """How many classes the explained output scores."""
        return int(np.prod(self.graph.shapes[facts.head(self.graph, self.graph.outputs[0].name)]))

    @property
    def notes(self) -> tuple[tuple[str, str], ...]:
        """What was chosen where nobody named it, of several outputs and inputs, and what to type for another."""
        return self.choice.notes if self.choice else ()

    def choose(
        self, output: str | None = None, input: str | None = None, given: Mapping[str, Any] | None = None
    ) -> Model:
        """The same model with another output or another input explained, and values for its other inputs.

        Without a name: the first output with a score for each of several classes, the first input like a picture.
        `given` has numbers (every value), arrays or .npy paths, of one sample or a batch.
        Raises UsageError, InputError.
        """
        whole = self.whole or self.graph
        key = output or self._stated[0], input or self._stated[1]
        if key not in self._chosen:
            found = choose(whole, *key)
            self._chosen[key] = Model(
                found.graph, self.engine, self.path, self.flags, self.strict, whole, found, {}, key, self._chosen
            )
        model = self._chosen[key]
        explained = model.graph.inputs[0].name
        kept = {name: array for name, array in self.given.items() if name != explained}
        return replace(model, given={**kept, **read_given(given or {}, whole.inputs, explained)})

    @property
    def labels(self) -> tuple[str, ...] | None:
        """Class names, given or assumed (ImageNet's for 1000 and 1001 outputs)."""
        if self._names is None:
            self._names = find_labels(self.flags, self.path, self.graph.metadata, self.classes)
        return self._names[0]

    @property
    def preprocessing(self) -> Preprocessing:
        """How pictures become inputs: flags, sidecar, metadata, files of Hugging Face and timm beside the model, the
        graph, then assumption (`.assumed` says what, `.conflicts` who contradicts whom)."""
        if self._found is None:
            tensor = self.graph.inputs[0]
            stated = self.flags, self.path, self.graph.metadata
            high = pixel_range(self.graph)
            self._found = find(*stated, tensor.shape, tensor.dtype, self.classes, self.strict, high)
        return self._found

    def refuse_maps(self) -> None:
        """Raise UnsupportedError where the explained output has no score for each class (segmentation)."""
        if self.choice is not None:
            refuse_maps(self.choice, self.whole or self.graph)

    # -- explaining

    def explain(
        self,
        x: Any,
        target: Any = "top1",
        method: str | Composite | Method = DEFAULT,
        *,
        targets: Sequence[int | str] | None = None,
        output: str | None = None,
        input: str | None = None,
        given: Mapping[str, Any] | None = None,
        record: Sequence[str] = (),
        conditions: Mapping[str, Sequence[int]] | None = None,
        ledger: bool = False,
        rules: Rules = (),
        on_unsupported: str = "error",
        batch_size: int | None = None,
        progress: Callable[[int, int], bool] | None = None,
        **options: Any,
    ) -> Explanation:
        """Why the model scores x as it does: the relevance of every input value for a class.

        x is an array in the model's own layout (a sample or a batch), a PIL image, a path, or a list of them.
        `target` is a class id, a label, "top1", "top3", or one id for each sample; `targets` asks for several classes
        of every sample over one forward pass, and gives relevance a leading axis. `method` is a method's name, with
        its `options` by name, or a Composite or Method. Of composites: `rules` are (match, rule) entries that come
        first, `record` names module paths whose result's relevance is kept in `.layers`, `conditions` let relevance
        through these channels of a module's result alone, and `ledger` keeps the balance of every layer. Of methods
        that take many passes: `progress(done, of)` is called between them and ends them by returning False.
        `output`, `input` and `given` are those of `choose`; `on_unsupported` is what layers get that the method has no
        rule for: an "error", the "gradient", or "pass".
        Raises UsageError, InputError, UnsupportedError.
        """
        model = self._asked(output, input, given)
        samples = model.read(x)
        wanted = model._wanted(target, targets, len(samples))
        if (chosen := asked(method, options)) is not None:
            refuse_composites_own(chosen, rules=rules, record=record, conditions=conditions, ledger=ledger)
            how: dict[str, Any] = {"batch_size": batch_size, "on_unsupported": on_unsupported}
            how |= {} if progress is None else {"progress": progress}
            return model._solved(chosen, samples, wanted, how)
        composite = model.composite(
            method, rules=rules, pictures=samples.pictures, on_unsupported=on_unsupported, **options
        )
        inputs = model._inputs(samples.values)
        program, run = model._program(composite, wanted, record=record, ledger=ledger, conditions=conditions)
        outputs = in_batches(run, program, inputs, wanted.ids, batch_size, model.graph.batch)
        about = model._provenance(composite.name, options) | decided(composite, program)
        if conditions:
            about["conditions"] = {path: list(channels) for path, channels in conditions.items()}
        return model._explanation(samples, wanted, outputs, program.notes["ledger"], about)

    def read(self, x: Any) -> Samples:
        """What `explain` takes, read and preprocessed; it takes the result too. Raises InputError, UnsupportedError."""
        tensor = self.graph.inputs[0]
        return read_samples(x, tensor.shape, tensor.dtype, lambda: self.preprocessing)

    def outputs(
        self,
        x: Array,
        composite: Composite | None = None,
        *,
        ids: Array | None = None,
        seed: Array | None = None,
        record: Sequence[str] = (),
        activations: Sequence[str] = (),
        at: Array | None = None,
        batch_size: int | None = None,
    ) -> dict[str, Array]:
        """What methods ask for: x [N, …] through the forward pass, and back by a composite if there is one.

        Gives "logits" and "scores"; with a composite "relevance" for class `ids` [N] or a `seed` [N, …] of the logits,
        "record/PATH" and "activation/PATH". `at` [N] says which rows of the `given` inputs go with x, where these have
        a row for each of other samples. Raises UsageError, UnsupportedError.
        """
        wanted = Wanted("relevance" if seed is not None else "index")
        program, run = self._program(composite, wanted, record=record, activations=activations)
        if seed is not None:
            seed = seed.reshape(len(x), *program.instructions[program.outputs["logits"]].shape).astype(np.float32)
        return in_batches(run, program, self._inputs(x, at), ids, batch_size, self.graph.batch, seed)

    def prepare(
        self,
        target: Any = "top1",
        method: str | Composite | Method = DEFAULT,
        *,
        targets: Sequence[int | str] | None = None,
        output: str | None = None,
        input: str | None = None,
        given: Mapping[str, Any] | None = None,
        pictures: bool = True,
        record: Sequence[str] = (),
        conditions: Mapping[str, Sequence[int]] | None = None,
        ledger: bool = False,
        rules: Rules = (),
        on_unsupported: str = "error",
        **options: Any,
    ) -> None:
        """Compile what `explain` with the same arguments will run, and raise what is wrong with them.

        `pictures` is whether preprocessing makes the inputs (it gives zBox its bounds).
        """
        model = self._asked(output, input, given)
        check_given(model.given, model.graph.inputs)
        wanted = model._wanted(target, targets, 1)
        if (chosen := asked(method, options)) is not None:
            refuse_composites_own(chosen, rules=rules, record=record, conditions=conditions, ledger=ledger)
            return
        composite = model.composite(method, rules=rules, pictures=pictures, on_unsupported=on_unsupported, **options)
        model._program(composite, wanted, record=record, ledger=ledger, conditions=conditions)

    def composite(
        self,
        method: str | Composite | Method = DEFAULT,
        *,
        rules: Rules = (),
        pictures: bool = True,
        on_unsupported: str = "error",
        **options: Any,
    ) -> Composite:
        """The composite that a method's name and options stand for, zBox bounded by the preprocessing."""
        return composed(self.graph, method, tuple(rules), lambda: self._bounds(pictures), on_unsupported, options)

    def layers(self, composite: Composite) -> list[tuple[Layer, Matched, Rule | None]]:
        """The layers between input and output in order, what a match sees of each, and the rule it gets, if any."""
        return rules_of(self.graph, composite)

    def export(
        self,
        path: str | os.PathLike[str],
        method: str | Composite = DEFAULT,
        target: str = "input",
        *,
        output: str | None = None,
        input: str | None = None,
        rules: Rules = (),
        on_unsupported: str = "error",
        **options: Any,
    ) -> Path:
        """Save the explainer: one plain ONNX graph that takes the image and gives scores and "relevance".

        `target` "input" adds an input "target" (int64 class ids, [N]); "top1" or "topK" explains the model's own
        best classes. What the model takes besides the explained input, the file takes too. Standard operators
        only, any batch size. Raises UsageError, UnsupportedError.
        """
        if target != "input" and targets.parse(target).kind != "top":
            raise UsageError(
                f'export has no target "{target}"', "give input, top1 or topK; a class id is an input then"
            )
        model = self._asked(output, input)
        wanted = targets.Wanted("index") if target == "input" else model._wanted(target, None, 0)
        composite = model.composite(method, rules=rules, pictures=False, on_unsupported=on_unsupported, **options)
        program = compile(model.graph, composite, mode=wanted.mode, targets=wanted.count)
        about = model._provenance(composite.name, options) | decided(composite, program) | {"target": target}
        return save(forward_of(model.graph), program, path, self.graph.metadata, about)

    # -- the steps

    def _asked(
        self, output: str | None = None, input: str | None = None, given: Mapping[str, Any] | None = None
    ) -> Model:
        """The model that a call is about, refused where its output has no score for each class."""
        named = output is not None or input is not None or given is not None
        model = self.choose(output, input, given) if named else self
        model.refuse_maps()
        return model

    def _inputs(self, x: Array, at: Array | None = None) -> dict[str, Array]:
        return {self.graph.inputs[0].name: x, **feeds(self.given, self.graph.inputs, len(x), at)}

    def _bounds(self, pictures: bool) -> tuple[Array, Array] | None:
        """The box of the pixels; an assumed preprocessing counts only where it made the input."""
        try:
            prep = self.preprocessing
        except UnsupportedError:  # the input is no picture
            return None
        return prep.bounds() if pictures or not prep.assumed else None

    def _wanted(self, target: Any, several: Sequence[int | str] | None, samples: int) -> Wanted:
        return targets.wanted(target, several, self.labels, self.classes, samples)

    def _program(self, composite: Composite | None, wanted: Wanted, **what: Any) -> tuple[Program, Run]:
        asked = {"mode": wanted.mode, "targets": wanted.count, **what}
        return self._programs.prepared(self.engine, self.graph, composite, **asked)

    def _solved(self, chosen: Method, samples: Samples, wanted: Wanted, how: Mapping[str, Any]) -> Explanation:
        """What a method finds that is no composite."""
        outputs = self.outputs(samples.values, batch_size=how["batch_size"])
        preprocessing = self.preprocessing if samples.pictures else None
        relevance, notes = solve(self, chosen, samples, self._ids(wanted, outputs), preprocessing, **how)
        about = self._provenance(name_of(chosen), vars(chosen))
        return self._explanation(samples, wanted, {**outputs, "relevance": relevance}, (), about, notes)

    def _ids(self, wanted: Wanted, outputs: Mapping[str, Array]) -> Array:
        if wanted.ids is not None:
            return wanted.ids
        logits = outputs["logits"]
        return targets.from_scores(targets.Target("top", k=wanted.count or 1), logits.reshape(len(logits), -1))

    def _explanation(
        self,
        batch: Samples,
        wanted: Wanted,
        outputs: Mapping[str, Array],
        plan: Sequence[Any],
        about: Mapping[str, Any],
        notes: Mapping[str, Any] | None = None,
    ) -> Explanation:
        logits, ids = outputs["logits"].reshape(len(batch.values), -1), self._ids(wanted, outputs)
        return Explanation(
            relevance=outputs["relevance"],
            output=outputs["scores"],
            head=facts.head_of(self.graph, self.graph.outputs[0].name).kind,
            target=ids,
            ledger=ledger.rows(plan, outputs) if plan else None,
            provenance=dict(about) | computed(self.engine),
            labels=self.labels,
            layers={k.removeprefix("record/"): v for k, v in outputs.items() if k.startswith("record/")},
            images=batch.views if batch.pictures else None,
            preprocessing=self.preprocessing if batch.pictures else None,
            logit=np.take_along_axis(logits.T, np.atleast_2d(ids), axis=0).reshape(ids.shape),
            names=batch.names,
            originals=batch.originals if batch.pictures else None,
            notes=notes or {},
        )

    def _provenance(self, method: str, options: Mapping[str, Any]) -> dict[str, Any]:
        return provenance(self.graph, self.engine, self.choice, self.given, method, options)
