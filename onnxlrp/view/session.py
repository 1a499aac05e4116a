"""What the page is answered: explanations of the samples on its shelf, one at a time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from threading import Lock
from time import perf_counter
from typing import Any, NamedTuple

from ..errors import OnnxLrpError, UnsupportedError, UsageError
from ..explanation import Explanation, targets
from ..explanation.maps import cosine, spearman
from ..explanation.result import class_id, label
from ..graph.outputs import units
from ..methods.registry import METHODS
from ..model import ExplainOptions, Model
from ..pictures.colors import colormap
from ..pictures.style import DEFAULT as STYLE
from ..preprocessing import labels
from ..preprocessing.samples import Samples
from ..registry import options_of
from ..rules import RULES
from ..version import __version__
from . import drawn
from .asked import Asked
from .code import Shown, Start, code
from .shelf import Shelf

_LANES = 64  # pages and what they wait for
_SAMPLES = 4  # that were read last


class Superseded(Exception):
    """A later request of the same page has taken the place of this one."""


class Lane(NamedTuple):
    """What a page waits for.

    Attributes:
        turn: The number of its last request.
        done: Passes that are done of the one that runs.
        of: Their number; 0 where nothing runs that takes several.
    """

    turn: int
    done: int = 0
    of: int = 0


class Session:
    """Models, samples and a queue: explanations run one after the other, in the order in which they were asked for.

    Args:
        models: One model, or two that are compared.
        shelf: The samples.
        started: What the command line states of how to explain.
        start: How the page was started, as code says it.
        helps: Descriptions of options of methods, by name.
    """

    def __init__(
        self,
        models: Sequence[Model],
        shelf: Shelf,
        started: ExplainOptions,
        start: Start,
        helps: Mapping[str, str] | None = None,
    ) -> None:
        self.models, self.shelf, self.started, self.start = list(models), shelf, started, start
        self.helps = dict(helps or {})
        self._running = Lock()
        self._lock = Lock()
        self._lanes: OrderedDict[str, Lane] = OrderedDict()
        self._read: OrderedDict[tuple[int, str, int], Samples] = OrderedDict()

    # -- what there is

    def about(self) -> dict[str, Any]:
        """Return what the page shows before anything is explained: models, methods, rules, colours."""
        started = self.started
        return {
            "version": __version__,
            "models": [self._model(model) for model in self.models],
            "methods": [
                {
                    "name": name,
                    "summary": entry.summary,
                    "passes": entry.passes,
                    "rules": entry.is_composite,
                    "options": [
                        {
                            "name": o.name,
                            "type": o.type,
                            "default": _shown(o.default),
                            "help": self.helps.get(o.name, ""),
                        }
                        for o in entry.options.values()
                    ],
                }
                for name, entry in METHODS.items()
            ],
            "rules": [
                {"name": name, "options": {k: _shown(o.default) for k, o in options_of(cls).items()}}
                for name, cls in RULES.items()
            ],
            "started": {
                "method": started.method,
                "target": str(started.target),
                "options": {key: _text(value) for key, value in started.options.items()},
                "rules": [[str(match), _rule(rule)] for match, rule in started.entries],
            },
            "colors": colormap(STYLE.cmap).tolist(),
            "opacity": STYLE.blend,
        }

    def _model(self, model: Model) -> dict[str, Any]:
        graph = model.graph
        default = None if graph.opaque is not None else model.default_method
        model = model.for_target(self.started.target)
        return {
            "name": model.path.name if model.path else "model",
            "path": str(model.path or ""),
            "sha256": graph.sha256,
            "input": model.kind.describe(),
            "kind": model.kind.name,
            "texts": model.kind.name == "tokens" and model.vocabulary is not None,
            "outputs": model.classes,
            "classes": drawn.classes(model),
            "default": {"name": model.default_method.name, "reason": model.default_method.reason},
            "preprocessing": _preprocessing(model),
            "notes": [[text, fix] for text, fix in _notes(model)],
            "layers": len(graph.layers),
            "unread": None if default is not None else graph.opaque and graph.opaque.reason.message,
        }

    def layers(self, asked: Asked) -> dict[str, Any]:
        """Return the layers of each model with the rules that a method gives them, or the error of the second.

        Raises:
            UsageError: No such method, option or rule.
            UnsupportedError: A layer without a rule.
        """
        with self._running:
            found = [self._layers(self.models[0], asked)]
            for model in self.models[1:]:
                try:
                    found.append(self._layers(model, asked))
                except OnnxLrpError as error:
                    found.append({"method": "", "layers": [], "error": _error(error)})
        return {"models": found}

    def _layers(self, model: Model, asked: Asked) -> dict[str, Any]:
        placed = model.for_target(asked.target)
        pictures = model.kind.is_image
        options = asked.explain_options(placed, self.started, pictures, asked.target)
        decided = placed.decided(options)
        composite = None
        if METHODS[str(decided.method)].is_composite:
            composite = placed.composite(options, pictures=pictures)
        return {"method": str(decided.method), "layers": drawn.listing(placed, composite)}

    # -- explanations

    def explain(self, asked: Asked) -> dict[str, Any]:
        """Explain a sample by each model.

        Two models are explained for the class of the first; where an error is that of one model alone, it stands in its
        place.

        Raises:
            OnnxLrpError: The sample or the request does not fit the first model.
            Superseded: A later request has taken the place of this one.
        """
        self._register(asked)
        with self._running:
            self._go_on(asked)
            first = self._explained(0, asked, asked.target)
            results, found = [self._drawn(first, 0, asked)], [first]
            for n in range(1, len(self.models)):
                try:
                    target, said = self._same_class(first.explanation, self.models[n], asked.target)
                    other = self._explained(n, asked, target)
                    results.append({**self._drawn(other, n, asked), "instead": said})
                    found.append(other)
                except OnnxLrpError as error:
                    results.append({"error": _error(error)})
            alike = _alike([one.explanation for one in found]) if len(found) > 1 else None
            return {"results": results, "alike": alike, "rows": first.rows, "code": self._code(asked, first)}

    def inner(self, asked: Asked) -> dict[str, Any]:
        """Return the relevance of a layer's result.

        Raises:
            OnnxLrpError: The request does not fit, or the method has no layers.
            Superseded: A later request has taken the place of this one.
        """
        self._register(asked)
        with self._running:
            self._go_on(asked)
            if asked.model >= len(self.models):
                raise UsageError(f"there is no model {asked.model}", "reload the page")
            target = asked.target
            if asked.model:
                first = self._explained(0, asked, asked.target)
                target = self._same_class(first.explanation, self.models[asked.model], target)[0]
            found = self._explained(asked.model, asked, target, asked.layer)
            unit = units.layer(found.model.graph, asked.layer)
            return {
                **drawn.inner(found.explanation, found.model.graph, unit),
                "code": self._code(asked, found, asked.layer),
            }

    def progress(self, lane: str) -> dict[str, int]:
        """Return how many passes of a lane are done, and of how many; 0 of 0 where that is not known."""
        with self._lock:
            found = self._lanes.get(lane, Lane(0))
        return {"done": found.done, "of": found.of}

    def stop(self, lane: str, turn: int) -> None:
        """Give up what a lane waits for, as far as its method goes from pass to pass."""
        with self._lock:
            if lane in self._lanes:
                self._lanes[lane] = Lane(max(turn, self._lanes[lane].turn))

    # -- inside

    def _register(self, asked: Asked) -> None:
        with self._lock:
            before = self._lanes.pop(asked.lane, Lane(0))
            self._lanes[asked.lane] = Lane(max(before.turn, asked.turn))
            while len(self._lanes) > _LANES:
                self._lanes.popitem(last=False)

    def _go_on(self, asked: Asked, done: int = 0, of: int = 0) -> None:
        """Note what is done. Raises Superseded where a later request has taken the place of this one."""
        with self._lock:
            lane = self._lanes.get(asked.lane, Lane(asked.turn))
            if lane.turn > asked.turn:
                raise Superseded
            self._lanes[asked.lane] = Lane(lane.turn, done, of)

    def _explained(self, n: int, asked: Asked, target: Any, layer: str = "") -> _Explained:
        model = self.models[n]
        placed = model.for_target(target)
        samples = self._samples(n, asked.sample, placed)
        count = len(samples)
        if asked.row >= count:
            raise UsageError(f"there is no row {asked.row}: the sample has {count}", f"choose 0 to {count - 1}")
        samples = samples[asked.row : asked.row + 1]
        placed = placed.at(samples.kind.shape, samples.own_size)
        options = asked.explain_options(placed, self.started, samples.pictures, target)
        if layer:
            if not METHODS[str(placed.decided(options).method)].is_composite:
                raise UnsupportedError(
                    f"{placed.decided(options).method} computes no relevance of layers", "choose a method with rules"
                )
            options = replace(options, record=(units.layer(placed.graph, layer).label,), ledger=False)

        def told(done: int, of: int) -> bool:
            self._go_on(asked, done, of)
            return True

        began = perf_counter()
        explanation = model.explain(samples, options, progress=told)
        seconds = perf_counter() - began
        self._go_on(asked)
        return _Explained(placed, explanation, options, count, seconds)

    def _samples(self, n: int, key: str, model: Model) -> Samples:
        """Read a sample for the model of this number; those that were read last are kept."""
        place = (n, key, self.shelf.stamp(key))
        if place not in self._read:
            self._read[place] = self.shelf.read(key, model)
        self._read.move_to_end(place)
        while len(self._read) > _SAMPLES:
            self._read.popitem(last=False)
        return self._read[place]

    def _drawn(self, found: _Explained, n: int, asked: Asked) -> dict[str, Any]:
        return {
            **drawn.drawn(found.explanation),
            "model": n,
            "seconds": found.seconds,
            "conserving": bool(found.options.ledger),
        }

    def _same_class(self, first: Explanation, other: Model, target: str) -> tuple[Any, str]:
        """Return the target of the other model that is the class of the first, and what is said if it is none."""
        if first.boxes or first.provenance.get("place"):
            return target, ""
        own, name, names = class_id(first, 0), label(first, 0), other.labels
        if names is None or first.labels is None or (own < len(names) and labels.short(names[own]) == name):
            return (own, "") if own < other.classes else ("top1", f"it has no class {own}: its best class")
        try:
            found = targets.resolve(targets.Target("label", label=name), names, other.classes)
        except UsageError:
            return "top1", f"it has no class {name}: its best class"
        return found, ""

    def _code(self, asked: Asked, found: _Explained, layer: str = "") -> dict[str, str]:
        decided = found.model.decided(found.options)
        entry = METHODS[str(decided.method)]
        shown = Shown(
            self.shelf.find(asked.sample),
            asked.row if found.rows > 1 else None,
            asked.target,
            str(decided.method),
            found.options.options,
            entry.options,
            asked.rules if entry.is_composite else (),
            bool(found.options.ledger),
            layer,
        )
        return code(self.start, shown)


class _Explained(NamedTuple):
    """An explanation of one sample, and what it was made by.

    Attributes:
        model: The model at the place of the target and the size of the sample.
        explanation: The explanation.
        options: What was asked for.
        rows: The number of rows of the sample.
        seconds: How long it took.
    """

    model: Model
    explanation: Explanation
    options: ExplainOptions
    rows: int
    seconds: float


def _alike(found: Sequence[Explanation]) -> dict[str, float] | None:
    """How alike the heatmaps of two models are; None where their places differ."""
    a, b = (one.kind.to_maps(one.relevance) for one in found)
    if a.shape != b.shape:
        return None
    return {"cosine": float(cosine(a, b)[0]), "spearman": float(spearman(a, b)[0])}


def _error(error: OnnxLrpError) -> dict[str, str]:
    return {"message": error.message, "fix": error.command}


def _notes(model: Model) -> list[tuple[str, str]]:
    """What nobody has stated of a model, with what to type."""
    found = list(model.notes)
    try:
        prep = model.preprocessing_as_read if model.kind.is_image else None
    except OnnxLrpError as error:  # said again when a picture is explained
        return [*found, (error.message, error.command)]
    if prep is not None and prep.assumed:
        found.append((f"preprocessing assumed, not stated: {', '.join(prep.assumed)}", f"state it: {prep.flags()}"))
    if prep is not None:
        found += [(str(conflict), "") for conflict in prep.conflicts]
        found += [(note, "") for note in prep.notes]
    if not model.kind.is_image and model.kind.is_assumed and len(model.kind.shape) > 1:
        text = f"input taken for {model.kind.describe()}: {model.kind.source}"
        found.append((text, f"if it is right: --kind {model.kind.name}"))
    further = filter(None, map(model.graph.metadata.get, ("onnxlrp.note", "onnxlrp.quantised")))
    return [*found, *((text, "") for text in further)]


def _preprocessing(model: Model) -> str:
    """The preprocessing in words; "" where the input is no picture."""
    if not model.kind.is_image:
        return ""
    try:
        return f"{model.preprocessing.describe()}, {model.preprocessing.source}"
    except OnnxLrpError:
        return ""


def _shown(value: Any) -> Any:
    """A default for the page: numbers and words as they are, lists between commas, anything else as text."""
    if isinstance(value, bool | int | float | str) or value is None:
        return value
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else ""


def _text(value: Any) -> str:
    """The value of an option as it is written on the page."""
    return str(value).lower() if isinstance(value, bool) else str(_shown(value))


def _rule(rule: Any) -> str:
    """A rule as text that gives it again: `gamma(gamma=0.25)`."""
    if isinstance(rule, str):
        return rule
    known = options_of(type(rule)).items()
    values = {key: value for key, option in known if (value := getattr(rule, key)) != option.default}
    said = [f"{key}={float(value)!r}" for key, value in values.items()]
    return f"{rule.name}({', '.join(said)})" if said else str(rule.name)
