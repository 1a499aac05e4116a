"""CompiledModel: a loaded model with the programs that run it, which methods ask."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np

from ..composites import Composite, Matched
from ..engines import Run
from ..errors import InputError, UnsupportedError, one_of
from ..explanation.targets import Wanted
from ..graph.graph import Array, Graph, Layer, Tensor
from ..graph.outputs.places import LAST, PREDICTED
from ..methods.default import Default, default_method
from ..methods.registry import Method
from ..program.program import SEED, Program
from ..rules import Rule
from .batches import in_batches
from .interface.companions import last_tokens, mask_of, single_text, tokens_of
from .interface.extra_inputs import rows as rows_of
from .interface.relaxing import relaxed
from .loaded import LoadedModel
from .options.explain import DEFAULT, ExplainOptions, is_default
from .programs import Programs
from .resolve_composite import resolve_composite
from .tuned import read_tuned

if TYPE_CHECKING:
    from ..graph.outputs.detections import Detections
    from ..graph.outputs.units import Start, Unit
    from ..preprocessing.samples import Samples
    from .interface.starting import Placed
    from .options.explain import Rules

Asked = TypeVar("Asked", bound=ExplainOptions)


@dataclass(eq=False)
class CompiledModel(LoadedModel):
    """A loaded model whose programs are compiled when first asked for, and kept."""

    _programs: Programs = field(default_factory=Programs, repr=False)
    _of_all: Programs = field(default_factory=Programs, repr=False)

    def apart(self) -> Self:
        """Return the same model with programs of its own, which are let go with it: for one of many layers."""
        return replace(self, _programs=Programs())

    def with_log_softmax(self) -> tuple[Self, str]:
        """Return the model with log softmax of its logits as a further output, and the tensor of it.

        Its output has a score for each class.
        """
        from ..graph.outputs.heads import head_of
        from ..graph.outputs.log_softmax_output import with_log_softmax

        graph, tensor = with_log_softmax(self.graph, head_of(self.graph, self.graph.outputs[0].name))
        return replace(self, graph=graph).apart(), tensor

    def outputs(
        self,
        x: Array,
        composite: Composite | None = None,
        *,
        ids: Array | None = None,
        seed: Array | None = None,
        starts: Sequence[Start] = (),
        record: Sequence[str | Unit] = (),
        activations: Sequence[str | Unit] = (),
        reduce: Sequence[str] = (),
        at: Array | None = None,
        batch_size: int | None = None,
    ) -> dict[str, Array]:
        """Run inputs through the forward pass, and back by a composite if there is one: what methods ask for.

        Args:
            x: Values [N, …] of the explained input.
            composite: The rules of a backward pass; None for the forward pass alone.
            ids: The class [N] that each sample is explained for; None for its best.
            seed: Relevance [N, …] of the logits that is propagated, in the place of `ids`.
            starts: Where relevance starts inside of the model, in the place of a class; what several give is added up.
                Nothing behind their tensors is computed.
            record: Units (`graph.outputs.units`) whose relevance is kept.
            activations: Units whose activation is kept.
            reduce: What of each unit is kept in the place of all its values, each a number of every channel, computed
                inside the program: of "sum", "max", "argmax" (the place of the first largest among the positions, in
                their order) and "abssum" (Σ|R|).
            at: Rows [N] of the given inputs that go with x, where these have a row for each of other samples.
            batch_size: Samples at a time; None for all at once.

        Returns:
            "logits" and "scores", or with `starts` "value/K" [N]: Σ values ⊙ a of the K-th, ½‖a − values‖² of a
            difference, whose gradient its relevance is. With a composite "relevance" and "record/UNIT"; and
            "activation/UNIT". With `reduce` "record/UNIT/sum" [N, channels] and its like; of a channel or a direction
            [N].

        Raises:
            UsageError: An input that is not given, a unit that does not exist, or a start that does not fit.
            UnsupportedError: A layer without a rule.
        """
        if x.shape[1:] != self.graph.inputs[0].shape and (model := self.at(x.shape[1:])) is not self:
            what: dict[str, Any] = {"seed": seed, "starts": starts, "reduce": reduce}
            what |= {"record": model._units(record), "activations": model._units(activations)}
            return model.outputs(x, composite, ids=ids, at=at, batch_size=batch_size, **what)
        own_best = composite is not None and ids is None and not starts
        wanted = Wanted("relevance" if seed is not None else "top" if own_best else "index")
        placed: list[Placed] = []
        if starts:
            from .interface.starting import placed_starts

            placed = placed_starts(self.graph, starts, len(x), composite, ids is not None or seed is not None)
        if reduce:
            from ..compile import REDUCTIONS

            for word in reduce:
                one_of(REDUCTIONS, reduce=word)
        inner: dict[str, Any] = {"record": record, "activations": activations, "reduce": reduce}
        program, run = self.program(composite, wanted, starts=tuple(one.form for one in placed), **inner)
        seeds = {} if ids is None else {SEED: ids}
        if seed is not None:
            shape = program.instructions[program.outputs["logits"]].shape
            seeds = {SEED: seed.reshape(len(x), *shape).astype(np.float32)}
        for names, one in zip(program.notes.get("starts", ()), placed, strict=True):
            seeds |= {name: numbers for name, numbers in zip(names, (one.values, one.weight), strict=True) if name}
        found = in_batches(run, program, self.feeds(x, at), seeds, batch_size, self.graph.batch)
        places = "argmax" in reduce
        return {k: v.astype(np.int64) if places and k.endswith("/argmax") else v for k, v in found.items()}

    def feeds(self, x: Array, at: Array | None = None) -> dict[str, Array]:
        """Return the arrays of all inputs, by name; where classes are predicted is computed from x, if it is not fixed.

        Args:
            x: Values [N, …] of the explained input.
            at: Rows [N] of the given inputs that go with x, where these have a row for each of other samples.

        Raises:
            UsageError: An input that is not given.
            InputError: A given input of another number of samples.
        """
        if not (name := self._open_place):
            return super().feeds(x, at)
        found = self._positions(x, at, None)
        return {**self._with_place(found[:1]).feeds(x, at), name: found}

    def _units(self, found: Sequence[str | Unit]) -> list[str | Unit]:
        """Units that were found in the model of another size, in this one."""
        shapes = self.graph.shapes
        return [one if isinstance(one, str) else replace(one, shape=shapes.get(one.tensor, one.shape)) for one in found]

    def fixed(self, x: Array, batch_size: int | None = None, names: Sequence[Any] = ()) -> Self:
        """Return the model whose place stays where classes are predicted for these samples, while parts are hidden.

        Of a place that is a box it is the box that is found in these samples.

        Of a place that is the same for all samples, and of one that is fixed already, it is the model itself.

        Args:
            x: Values [N, …] of the explained input.
            batch_size: Samples at a time; None for all at once.
            names: What errors call the samples.

        Raises:
            UsageError: A sample has no such box.
        """
        if not self._open_place:
            return self
        if self.placed and self.placed.detector:
            model = self._told_by_values(x, batch_size)
            found = model._detected(x, None, batch_size, names)
            return replace(model._with_place(model._of_boxes(found)), detected=tuple(found))
        return self._with_place(self._positions(x, None, batch_size))

    def put_in(self, seed: Any, x: Array, batch_size: int | None = None) -> Self:
        """Return the model with a seed for each of these samples.

        Args:
            seed: An array [*shape] or [N, *shape] of the shape of the output, or a function of the output [N, *shape]
                that returns one.
            x: Values [N, …] of the explained input.
            batch_size: Samples at a time; None for all at once.

        Raises:
            InputError: The seed has another shape, or is not finite.
        """
        if (seeded := self.seeded) is None:
            return self
        if callable(seed):
            seed = seed(self.seeded_values(x, batch_size).copy())
        from .interface.starting import seed_rows

        return replace(self, given={**self.given, seeded.input: seed_rows(seed, seeded.shape, len(x))})

    def seeded_values(self, x: Array, batch_size: int | None = None) -> Array:
        """Return the values [N, *shape] of samples where a seed is put in.

        Args:
            x: Values [N, …] of the explained input.
            batch_size: Samples at a time; None for all at once.
        """
        seeded = self.seeded
        assert seeded is not None
        unit, source = _unit(self.graph, seeded.tensor), self._source(seeded.input)
        idle = replace(self, given={**self.given, seeded.input: np.ones((1, *source.shape), source.dtype)})
        return idle.outputs(x, activations=[unit], batch_size=batch_size)[f"activation/{unit.label}"]

    def compared(self, other: Samples, samples: int, batch_size: int | None = None) -> Self:
        """Return the model that gives the similarity to other samples: one, or one for each of `samples`.

        Args:
            other: The samples that it is the similarity to.
            samples: The number of samples that are explained.
            batch_size: Samples at a time; None for all at once.

        Raises:
            InputError: Another number of samples.
        """
        seeded = self.seeded
        assert seeded is not None
        w = self.seeded_values(other.values, batch_size)
        if len(w) not in (1, samples):
            raise InputError(f"{len(w)} samples to compare with {samples}", "give one, or one for each")
        name = str(other.names[0]) if len(w) == 1 and other.names[0] else "the other"
        word = "cosine" if seeded.kind == "cosine" else "product"
        given = {**self.given, seeded.input: np.broadcast_to(w, (samples, *w.shape[1:]))}
        return replace(self, given=given, _labels=((f"{word} with {name}",), False))

    def placed_as(self, other: CompiledModel) -> Self:
        """Return the model whose place is where another model, as `fixed` gives it, predicts classes.

        Where their outputs have other positions, it is the model itself.

        Args:
            other: A model of the same samples.
        """
        ours, theirs = self.placed, other.placed
        if not (ours and theirs and self._open_place) or other._open_place or ours.space != theirs.space:
            return self
        if (ours.place.of_each or theirs.place.of_each) and ours.place.kind != theirs.place.kind:
            return self
        rows = other.given[theirs.input]
        if ours.separate != theirs.separate or rows.shape[1:] != self._source(ours.input).shape:
            return self
        return replace(self._with_place(rows), detected=other.detected)

    def ranked(self, logits: Array) -> Array:
        """Return what the best classes of samples are the best by, [N, K].

        That is the logits; where the place is that of the predicted class, it is how many positions are predicted as
        each class of these samples (as of `fixed`), but for a class that is called background, and for the one that
        fills a line of text (`filler`) where others are predicted.

        Args:
            logits: The logits [N, K] of the samples.
        """
        areas = self.areas
        if self.detected:
            return np.stack([one.ranking for one in self.detected])
        if areas is None:
            return logits
        plain = [name.strip(" _").casefold() for name in self.labels or ()]
        ranked = areas.copy()
        if len(plain) > 1 and plain[0] == "background":
            ranked[:, 0] = -1
        for row, k in zip(ranked, self.filler(areas), strict=True):
            if k >= 0:
                row[k] = -1
        return ranked

    def filler(self, areas: Array) -> Array:
        """Return the class that stands between the characters of a line of text, [N]; −1 for none.

        A recogniser gives classes at positions along a picture: characters, and the blank of CTC or the end of the
        text, which is the first or the last class. It is taken for such where most positions hold it, and some do not.

        Args:
            areas: How many positions are predicted as each class, [N, K].
        """
        best, rows = areas.argmax(axis=1), np.arange(len(areas))
        if not self.reads_a_line:
            return np.full(len(areas), -1)
        ends = (best == 0) | (best == areas.shape[1] - 1)
        return np.where(ends & (areas[rows, best] < areas.sum(axis=1)), best, -1)

    @property
    def areas(self) -> Array | None:
        """How many positions are predicted as each class of the samples of `fixed`, [N, K]; None for other places."""
        placed = self.placed
        if placed is None or placed.place != PREDICTED or placed.input not in self.given:
            return None
        return placed.areas(self.given[placed.input])

    @property
    def _open_place(self) -> str:
        """The input that says where classes are predicted, while nothing fixes it; else ""."""
        return self.placed.input if self.placed and self.placed.input not in self.given else ""

    def _source(self, name: str) -> Tensor:
        return next(t for t in self.graph.inputs if t.name == name)

    def _with_place(self, rows: Array) -> Self:
        assert self.placed is not None
        return replace(self, given={**self.given, self.placed.input: rows})

    def _positions(self, x: Array, at: Array | None, batch_size: int | None) -> Array:
        """Return where classes are predicted for x, as the input of the place takes it."""
        placed = self.placed
        assert placed is not None
        if placed.detector is not None:
            return self._of_boxes(self._detected(x, at, batch_size, ()))
        if placed.place == LAST:
            return last_tokens(self._tokens(x, at))
        source = self._source(placed.input)
        logits = _unit(self.graph, placed.tensor)
        idle = self._with_place(np.zeros((1, *source.shape), source.dtype))
        found = idle.outputs(x, activations=[logits], at=at, batch_size=batch_size)
        seen = self._tokens(x, at) if placed.place.kind == "peak" and self._may_be_filled_up else None
        return placed.positions(found[f"activation/{logits.label}"], seen)

    def _tokens(self, x: Array, at: Array | None) -> Array:
        """Return which tokens of each sample are no padding, bool [N, L]."""
        whole = self.whole or self.graph
        given = self.given if at is None else {**self.given, **rows_of(self.given, at)}
        text = single_text(whole)
        assert text is not None
        mask = mask_of(whole, text)
        ids = x if text.name == self.graph.inputs[0].name else given.get(text.name)
        if ids is None:  # a model that is explained beside its text, which is needed for nothing
            ids = np.zeros((len(x), *text.shape), np.int64)
        ids = np.broadcast_to(ids, (len(x), *ids.shape[1:]))
        return tokens_of(ids, None if mask is None else given.get(mask.name), self._padding)

    def _told_by_values(self, x: Array, batch_size: int | None) -> Self:
        """Return the model with its boxes read as their values tell, where they contradict what was assumed."""
        assert self.placed is not None
        detector = self.placed.detector
        if detector is None or not detector.guesses:
            return self
        from ..graph.outputs.boxes_by_values import told

        found = self._of_whole(x, dict.fromkeys((detector.boxes, detector.scores)), None, batch_size)
        words = told(detector, found[detector.boxes], found[detector.scores])
        if not words:
            return self
        stated = ",".join([*filter(None, [self._stated.boxes]), *(f"{name}={value}" for name, value in words.items())])
        told_so = ",".join(f"{name}={value}" for name, value in words.items())
        return replace(self.choose(boxes=stated), _default_box=self._default_box, told_by_values=told_so)

    def _detected(self, x: Array, at: Array | None, batch_size: int | None, names: Sequence[Any]) -> list[Detections]:
        """Find the boxes of samples, and the one of each that the place names."""
        from ..graph.outputs.detections import chosen, class_scores, detections

        placed = self.placed
        assert placed is not None
        assert placed.detector is not None
        detector = placed.detector
        boxes, scores = detector.boxes, detector.scores
        found = self._of_whole(x, dict.fromkeys((boxes, scores)), at, batch_size)
        spatial = self.kind.spatial_axes
        size = tuple(self.kind.shape[axis] for axis in spatial[:2]) if self.kind.is_image else (1, 1)
        rows = []
        for n in range(len(x)):
            own = detections(detector, found[boxes][n], found[scores][n], (size[0], size[1]), self._default_box)
            name = str(names[n]) if n < len(names) and names[n] else f"sample {n}" if len(x) > 1 else "the sample"
            rows.append(
                chosen(own, placed.place, name, detector.score).ranked(
                    class_scores(detector, found[scores][n]), detector
                )
            )
        return rows

    def _of_whole(self, x: Array, tensors: Iterable[str], at: Array | None, batch_size: int | None) -> dict[str, Array]:
        """Compute tensors of all of the model, which the explained number may not need itself."""
        assert self.whole is not None
        source = self.graph.inputs[0]
        ordered = replace(self.whole, inputs=(source, *(t for t in self.whole.inputs if t.name != source.name)))
        model = replace(self, graph=ordered, choice=None, _programs=self._of_all)
        units = {name: _unit(ordered, name) for name in tensors}
        found = model.outputs(x, activations=list(units.values()), at=at, batch_size=batch_size)
        return {name: found[f"activation/{unit.label}"] for name, unit in units.items()}

    def _of_boxes(self, found: Sequence[Detections]) -> Array:
        """Return what the input of the place takes, [N, …]: 1 at the box of each sample."""
        assert self.placed is not None
        source = self._source(self.placed.input)
        rows = np.zeros((len(found), int(np.prod(source.shape))), source.dtype)
        rows[np.arange(len(found)), [one.anchors[one.chosen] for one in found]] = 1
        return rows.reshape(len(found), *source.shape)

    def composite(
        self,
        method: str | Composite | Method | ExplainOptions = DEFAULT,
        *,
        rules: Rules = (),
        pictures: bool = True,
        on_unsupported: str = "error",
        **options: Any,
    ) -> Composite:
        """Return the composite that a method's name and options stand for, zBox bounded by the preprocessing.

        Args:
            method: A name, a composite, or ExplainOptions in the place of all but `pictures`.
            rules: Entries (match, rule) that come first; a rule may be its text.
            pictures: Preprocessing makes the inputs; an assumed one bounds zBox only then.
            on_unsupported: For layers without a rule: "error", "gradient" or "pass".
            **options: Options of the method.

        Raises:
            UsageError: No such method or option, or a method that is no composite.
        """
        if not isinstance(method, ExplainOptions):
            method = ExplainOptions(method=method, rules=rules, on_unsupported=on_unsupported, options=options)
        if self.graph.opaque is not None:
            asked = "a method of rules" if is_default(method) else f'the method "{method.method}"'
            raise self.graph.opaque.refusal(asked)
        return resolve_composite(self.graph, self.kind, self.decided(method), lambda: self._bounds(pictures))

    def relaxed(self) -> Self | None:
        """Return a model of whole numbers for real ones; None where its layers need whole ones."""
        return relaxed(self)

    @property
    def default_method(self) -> Default:
        """The method that "auto" stands for, and why: that of `onnxlrp tune` beside the file, else by kind of input."""
        return read_tuned(self.path, self.graph.sha256) or default_method(self.kind, self.graph)

    def decided(self, options: Asked) -> Asked:
        """Return the options with the method that "auto" stands for.

        Args:
            options: ExplainOptions, or a class of them.
        """
        if not is_default(options):
            return options
        default = self.default_method
        return replace(options, method=default.name, options={**default.options, **options.options})

    def layers(self, composite: Composite) -> list[tuple[Layer, Matched, Rule | None]]:
        """Return the layers between input and output in order, what a match sees of each, and its rule, if any.

        Args:
            composite: The rules.
        """
        from ..compile import rules_of

        return rules_of(self.graph, composite)

    def program(self, composite: Composite | None, wanted: Wanted, **what: Any) -> tuple[Program, Run]:
        """Return a compiled program and what runs it.

        Args:
            composite: The rules; None for the forward pass alone.
            wanted: The classes that are explained.
            **what: What is recorded, and where relevance may run: see `Programs.prepared`.

        Raises:
            UnsupportedError: A layer without a rule.
            UsageError: A path that does not exist.
        """
        asked = {"mode": wanted.mode, "targets": wanted.count, **what}
        return self._programs.prepared(self.engine, self.graph, composite, **asked)

    def _bounds(self, pictures: bool) -> tuple[Array, Array] | None:
        """The box of the pixels; an assumed preprocessing counts only where it made the input."""
        try:
            prep = self.preprocessing
        except UnsupportedError:  # the input is no picture
            return None
        return prep.bounds() if pictures or not prep.values_assumed else None


def _unit(graph: Graph, tensor: str) -> Unit:
    from ..graph.outputs.units import of_tensor

    return of_tensor(graph, tensor)
