"""An explanation, prepared and then run: what `Model.prepare` and `Model.explain` share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..compile import StartForm
from ..composites import Composite
from ..engines import Run
from ..errors import UsageError
from ..explanation import Explanation, ledger, targets
from ..explanation.targets import Wanted
from ..files import to_jsonable
from ..graph import facts
from ..graph.graph import Array
from ..graph.outputs.place_output import AXES, share_of, sizes
from ..graph.outputs.places import OFFSETS
from ..methods.default import Default
from ..methods.registry import Method, asked, name_of, refuse_composites_own, refuse_words
from ..methods.registry import check as check_method
from ..preprocessing import feature_names, labels
from ..preprocessing.samples import Samples
from ..program.program import SEED, Program
from .batches import in_batches
from .compiled import CompiledModel
from .finite import refuse_not_finite
from .interface.extra_inputs import check as check_given
from .interface.open_sizes import require_numbers
from .options.explain import ExplainOptions, is_default
from .provenance import precision_of, provenance, resolved

if TYPE_CHECKING:
    from ..explanation.boxes import Boxes
    from ..graph.outputs.seed_output import Seeded
    from .interface.positions import Positions

Progress = Callable[[int, int], bool]  # (done, of) -> whether to go on


@dataclass(frozen=True, eq=False)
class Prepared:
    """An explanation that is ready to run.

    Attributes:
        model: The model, its output and inputs chosen.
        options: What is asked for.
        wanted: The classes.
        method: A method that is no composite, else None.
        composite: The composite, else None.
        compiled: The program of the composite, on the model's engine.
        default: Why the method is this one, where nobody named it.
        positions: The additions of positions, which are explained in the place of the input; else None.
    """

    model: CompiledModel
    options: ExplainOptions
    wanted: Wanted
    method: Method | None = None
    composite: Composite | None = None
    compiled: tuple[Program, Run] | None = None
    default: Default | None = None
    positions: Positions | None = None

    def run(self, samples: Samples, progress: Progress | None = None) -> Explanation:
        """Explain samples; `progress` is told between the passes of a method that takes many.

        Raises:
            NotFiniteError: The relevance, or the score that is explained, is NaN or infinite.
        """
        with np.errstate(all="ignore"):  # what is not finite is refused in words
            return self._run(samples, progress)

    def _run(self, samples: Samples, progress: Progress | None) -> Explanation:
        if self.compiled is None:
            return self._solved(samples, progress)
        assert self.composite is not None
        program, run = self.compiled
        ids = self._known(samples)
        inputs = self.model.feeds(samples.values)
        seeds = {} if ids is None else {SEED: ids}
        put_in, scores = self._put_in(program, samples)
        seeds |= put_in
        outputs = in_batches(run, program, inputs, seeds, self.options.batch_size, self.model.graph.batch)
        about = self._provenance(self.composite.name, self.options.options) | resolved(self.composite, program)
        if put_in:
            found = outputs["value/0"] if scores is None else scores
            outputs |= dict.fromkeys(("logits", "scores"), found.reshape(-1, 1))
        notes = None
        if self.positions is not None:
            outputs, notes = self._of_positions(outputs, ids)
        made = self._explanation(samples, outputs, ids, about, program.notes["ledger"], notes)
        if not put_in or self.composite.seed == "one" or scores is not None:
            return made
        (seed,) = put_in.values()  # rules start with the seed itself: its sum is what relevance is a share of
        return replace(made, logit=seed.reshape(len(seed), -1).sum(axis=1, dtype=np.float64))

    def _of_positions(self, outputs: Mapping[str, Array], ids: Array | None) -> tuple[dict[str, Array], dict[str, Any]]:
        """The outputs with the relevance of positions in the place of that of the input, and notes of its share."""
        assert self.positions is not None
        logits = outputs["logits"].reshape(len(outputs["logits"]), -1).astype(np.float64)
        chosen = self._best(outputs) if ids is None else ids
        logit = np.take_along_axis(logits.T, np.atleast_2d(chosen), axis=0).reshape(chosen.shape)
        own, notes = self.positions.relevance(outputs, logit)
        inner = {f"{what}/{unit.label}" for what in ("record", "activation") for unit in self.positions.units}
        asked = {f"record/{path}" for path in self.options.record}
        return {**{k: v for k, v in outputs.items() if k not in inner - asked}, "relevance": own}, notes

    def _put_in(self, program: Program, samples: Samples) -> tuple[dict[str, Array], Array | None]:
        """The seeds of the program, where one is put in, and the similarities [N] that it is of; {} for a class."""
        seeded = self.model.seeded
        if seeded is None:
            return {}, None
        name, rows = program.notes["starts"][0][0], self.model.given[seeded.input]
        if seeded.kind == "seed":
            return {name: rows}, None
        assert self.composite is not None
        z = self.model.seeded_values(samples.values, self.options.batch_size)
        scores, weights, slope = seeded.similarities(z, rows)
        return {name: (slope if self.composite.seed == "one" else weights).astype(np.float32)}, scores

    def _solved(self, samples: Samples, progress: Progress | None) -> Explanation:
        """Run a method that is no composite."""
        from ..methods.problem import solve  # which composites, the default, do without

        assert self.method is not None
        model, options = self.model, self.options
        known = self._known(samples)
        outputs = model.outputs(samples.values, batch_size=options.batch_size)
        ids = self._best(outputs) if known is None else known
        preprocessing = model.preprocessing if samples.pictures else None
        how: dict[str, Any] = {"batch_size": options.batch_size, "on_unsupported": options.on_unsupported}
        how |= {} if progress is None else {"progress": progress}
        if samples.kind.name == "tokens" and facts.takes_ids(model.graph):
            from .interface.embedding import solve_tokens

            relevance, notes = solve_tokens(model, self.method, samples, ids, **how)
        else:
            relevance, notes = solve(model, self.method, samples, ids, preprocessing, **how)
        about = self._provenance(name_of(self.method), vars(self.method))
        return self._explanation(samples, {**outputs, "relevance": relevance}, ids, about, notes=notes)

    def _known(self, samples: Samples) -> Array | None:
        """The classes, where they are known before the forward pass; else None.

        Raises:
            UsageError: A class is to be explained where it is predicted, and is predicted nowhere.
        """
        areas, boxes = self.model.areas, self.model.detected
        if boxes and self.wanted.ids is None:
            return targets.from_scores(targets.Target("top", k=self.wanted.count or 1), self.model.ranked(np.zeros(0)))
        if areas is None:
            return self.wanted.ids
        ids = self.wanted.ids
        if ids is None:
            ids = targets.from_scores(targets.Target("top", k=self.wanted.count or 1), self.model.ranked(areas))
        for row in np.atleast_2d(ids):
            for name, k, found in zip(samples.names, row, areas, strict=True):
                if not found[k]:
                    raise _nowhere(self.model, str(name), int(k), found)
        return ids

    def _best(self, outputs: Mapping[str, Array]) -> Array:
        ranked = outputs.get("ranking", outputs["logits"])
        return targets.from_scores(targets.Target("top", k=self.wanted.count or 1), ranked.reshape(len(ranked), -1))

    def _place(self, ids: Array) -> dict[str, Any]:
        """The number of positions that the score of each sample is the mean of, or where its peak is."""
        placed, areas = self.model.placed, self.model.areas
        if placed is None or placed.detector is not None:
            return {}
        if placed.place.kind == "peak" and placed.input in self.model.given:
            names = AXES.get(len(placed.space), tuple(f"axis {n}" for n in range(len(placed.space))))
            at = placed.at(self.model.given[placed.input], ids)
            return {f"peak {name}": row for name, row in zip(names, at, strict=True)}
        counts = np.full(ids.shape, placed.size) if areas is None else areas[np.arange(ids.shape[-1]), ids]
        return {"positions": counts}

    def _boxes(self) -> list[Boxes]:
        """The boxes of each sample, of a detector."""
        placed, found = self.model.placed, self.model.detected
        if placed is None or placed.detector is None or placed.detector.format == OFFSETS:
            return []
        from ..explanation.boxes import Box, Boxes

        names = self.model.class_names(placed.detector)
        made = []
        for one in found:
            boxes = [
                Box(float(y0), float(x0), float(y1), float(x1), float(score), int(k), labels.name(names, int(k)))
                for (y0, x0, y1, x1), score, k in zip(one.corners, one.scores, one.classes, strict=True)
            ]
            made.append(Boxes(tuple(boxes), one.chosen))
        return made

    def _provenance(self, method: str, options: Mapping[str, Any]) -> dict[str, Any]:
        model = self.model
        about = provenance(model.graph, model.engine, model.choice, model.given, method, options)
        if model.placed and (detector := model.placed.detector):
            words = {"told_by_values": model.told_by_values} if model.told_by_values else {}
            about["boxes_read"] = {"read": detector.describe(), "score": detector.score, **words}
        return about if self.default is None else {**about, "default_for": self.default.reason}

    def _explanation(
        self,
        samples: Samples,
        outputs: Mapping[str, Array],
        known: Array | None,
        about: Mapping[str, Any],
        plan: Sequence[Any] = (),
        notes: Mapping[str, Any] | None = None,
    ) -> Explanation:
        model = self.model
        logits, ids = outputs["logits"].reshape(len(samples), -1), self._best(outputs) if known is None else known
        names = feature_names.find(
            self.options.feature_names, samples.columns or model.words, model.graph.metadata, samples.kind
        )
        made = Explanation(
            relevance=outputs["relevance"],
            output=outputs["scores"],
            head=model.head.kind,
            target=ids,
            ledger=ledger.rows(plan, outputs) if plan else None,
            provenance={
                **about,
                **to_jsonable(self.options.recorded()),
                **precision_of(model.engine),
                **_decided(samples, names),
            },
            labels=model.labels,
            layers={k.removeprefix("record/"): v for k, v in outputs.items() if k.startswith("record/")},
            images=samples.views if samples.pictures else None,
            preprocessing=model.preprocessing if samples.pictures else None,
            kind=samples.kind,
            logit=np.take_along_axis(logits.T, np.atleast_2d(ids), axis=0).reshape(ids.shape),
            names=samples.names,
            inputs=_shown(samples),
            feature_names=names,
            originals=samples.originals if samples.pictures else None,
            notes={**(notes or {}), **self._place(ids)},
            boxes=self._boxes() or None,
            texts=samples.texts,
            shares=None if model.areas is None or model.placed is None else share_of(model.placed, model.areas),
        )
        refuse_not_finite(model, samples, made)
        return made


def _decided(samples: Samples, names: Sequence[str] | None) -> dict[str, Any]:
    """What became of missing values and spaces around words, and the words that are unknown, by the column's name."""
    found: dict[str, Any] = {}
    if samples.missing is not None and samples.missing.any():
        found["missing"] = {names[n] if names else f"feature {n}": words for n, words in samples.filled.items()}
    for key, words in (("unknown", samples.unknown), ("trimmed", samples.trimmed)):
        if words:
            found[key] = {names[n] if names else f"feature {n}": list(w) for n, w in words.items()}
    return found


def _shown(samples: Samples) -> Array:
    """The samples as they were given: words, and NaN where a value is missing."""
    shown = samples.values if samples.shown is None else samples.shown
    return shown if samples.missing is None else np.where(samples.missing, np.nan, shown)


def _wanted(model: CompiledModel, options: ExplainOptions, samples: int) -> Wanted:
    """Resolve the target. Raises UsageError where it does not exist; a unit has none but itself."""
    try:
        return targets.wanted(options.target, options.targets, model.labels, model.classes, samples, model.place)
    except UsageError as error:
        if model.unit is None:
            raise
        raise UsageError(
            f"{error.message}; {model.unit.label} is explained, which has no classes",
            "leave out the target, or --output",
        ) from None


def _start(seeded: Seeded) -> StartForm:
    """How rules start where something is put in: with a seed itself, with the weights of a similarity times z."""
    return StartForm(seeded.tensor, "seed" if seeded.kind == "seed" else "activation", seeded.shape)


def _nowhere(model: CompiledModel, name: str, k: int, areas: Array) -> UsageError:
    """The error where a class is predicted nowhere, which names those that are."""
    placed = model.placed
    assert placed is not None
    whole, order = max(1, int(np.prod(placed.space))), np.argsort(-areas, kind="stable")
    here = ", ".join(f"{labels.name(model.labels, int(i))} {areas[i] / whole:.1%}" for i in order[:4] if areas[i])
    return UsageError(
        f"{name}: no position of {sizes(placed.space)} is predicted as {labels.name(model.labels, k)}",
        f"predicted are {here or 'no classes'}; or name a place: -t {k}@{','.join('0' * len(placed.space))}, "
        f"{k}@all, {k}@mask.png",
    )


def prepared(model: CompiledModel, options: ExplainOptions, pictures: bool, samples: int = 1) -> Prepared:
    """Check what is asked for, and compile the program of a composite.

    Args:
        model: The model, its output and inputs chosen.
        options: What is asked for.
        pictures: Preprocessing makes the inputs; it gives zBox its bounds.
        samples: The number of samples, for a target of each.

    Raises:
        UsageError: A target, method or option that does not exist or does not fit.
        UnsupportedError: A layer without a rule.
    """
    require_numbers(model.graph)
    own = model.own_inputs
    check_given(model.given, [t for t in model.graph.inputs if t.name not in own], model.assumed_inputs)
    default = model.default_method if is_default(options) else None
    options = model.decided(options)
    wanted = _wanted(model, options, samples)
    if own and wanted.ids is None and not (model.place and model.place.of_each):
        wanted = replace(wanted, mode="index")  # classes are ranked by the positions where they are predicted
    if (method := asked(options.method, options.options)) is not None:
        refuse_composites_own(method, **options.for_composites())
        check_method(method, model.graph, model.kind)
        return Prepared(model, options, wanted, method, default=default)
    composite = model.composite(options, pictures=pictures)
    # Before what is said of slopes: the methods that it names have no positions.
    positions = None
    if options.positions:
        from .interface.positions import positions_of

        positions = positions_of(model.graph, model.kind, composite)
    if composite.seed == "one" and model.kind.name == "tokens" and facts.takes_ids(model.graph):
        raise UsageError(
            f"{composite.name} gives a slope for each value, and token ids have none",
            "-m gradient_x_input, -m sensitivity and -m integrated_gradients take slopes of their embeddings",
        )
    starts = () if model.seeded is None else (_start(model.seeded),)
    inner: dict[str, Any] = {"record": options.record, "ledger": options.ledger, "conditions": options.conditions}
    if positions is not None:
        inner["record"] = (*options.record, *positions.units)
        inner["activations"] = positions.units
    if composite.takes_slopes:
        refuse_words(composite.name, model.graph)
    program = model.program(composite, wanted, starts=starts, **inner)
    return Prepared(model, options, wanted, composite=composite, compiled=program, default=default, positions=positions)
