"""Notes of `onnxlrp explain`, each printed once per run, whatever the number of samples."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CheckFailed, OnnxLrpError, listed
from ..explanation import Explanation
from ..explanation.forms import without_effect
from ..inputs import InputKind
from ..methods.default import PICTURE
from ..methods.registry import METHODS
from ..model import Model
from ..preprocessing import feature_names, images
from ..preprocessing.samples import TEXTS
from ..streaming.archives import Member
from ..streaming.batches import Piece
from ..streaming.sources import Files
from . import summary
from .console import Console


@dataclass
class Tally:
    """The first of some inputs and how many they are; printed, "a.png and 2 more".

    Attributes:
        first: The first.
        count: Their number.
        last: The one that was added last; added once more, it is not counted.
    """

    first: str = ""
    count: int = 0
    last: str = ""

    def add(self, origin: str) -> None:
        """Add an input."""
        if not self.count:
            self.first = origin
        self.count += origin != self.last or not self.count
        self.last = origin

    def __str__(self) -> str:
        return f"{self.first} and {self.count - 1} more" if self.count > 1 else self.first


@dataclass
class Notes:
    """Collects what the notes are about, and prints each once.

    Attributes:
        console: Where notes are printed.
        model: The model that is explained.
        source: The inputs.
        methods: The names of the methods.
        ledger: The ledger is printed: one that does not close is an error.
        auto: A method was chosen by the kind of input, which is said where that is no picture.
    """

    console: Console
    model: Model
    source: Files
    methods: Sequence[str]
    ledger: bool
    auto: bool = False
    rejected: int = 0
    _opened: bool = False
    _kinds: set[bool] = field(default_factory=set)
    _decided: set[str] = field(default_factory=set)
    _skipped: set[str] = field(default_factory=set)
    _idle: set[str] = field(default_factory=set)  # options of drawings without effect
    _bias_dominated: dict[str, dict[str, Tally]] = field(default_factory=dict)  # words → method → the inputs
    _depthwise: bool = False  # depthwise convolutions absorb most of it
    _negative: dict[str, Tally] = field(default_factory=dict)
    _empty: dict[str, Tally] = field(default_factory=dict)
    _off: str = ""  # the first input for which the unit that is explained is zero
    _told_by_values: dict[str, Tally] = field(default_factory=dict)  # how boxes are read → the inputs
    _below: dict[float, Tally] = field(default_factory=dict)  # the threshold that no box passes → the inputs
    _open_rows: Tally = field(default_factory=lambda: Tally())
    _animated: Tally = field(default_factory=lambda: Tally())
    _reordered: Tally = field(default_factory=lambda: Tally())
    _deep: dict[str, Tally] = field(default_factory=dict)  # what is done → the inputs
    _missing: dict[str, str] = field(default_factory=dict)  # column → what became of its missing values
    _unknown: dict[str, dict[str, None]] = field(default_factory=dict)  # column → words that the model does not know
    _trimmed: dict[str, dict[str, None]] = field(default_factory=dict)  # column → cells taken without their spaces
    _renamed: dict[str, str] = field(default_factory=dict)  # column → the feature that it is taken for
    _left_out: dict[str, None] = field(default_factory=dict)  # columns that are no features

    def opening(self, model: Model, pictures: bool, many: bool) -> None:
        """Print what holds for all samples of a kind, before the first of them; about the model, once.

        Args:
            model: The model at the size of these samples.
            pictures: The samples are pictures.
            many: The run has several samples.
        """
        console = self.console
        if not self._opened:
            for note in model.notes:
                console.note(*note)
            head = summary.head(model.head, model.classes, model.labels is not None)
            if model.seeded is not None:
                console.line("similar", model.seeded.describe())
            elif model.unit is not None:
                console.line("unit", f"{model.unit.label}: {model.unit.describe()}")
            elif head:
                console.line("head", head)
            if model.placed is not None:
                console.line("place", f"{model.place}: {model.placed.describe()}")
            default = model.default_method
            if self.auto and default.reason != PICTURE:
                console.line("default", f"{default}, for {default.reason}; -m NAME chooses another")
            self._opened = True
        if pictures in self._kinds:
            return  # of another size only
        self._kinds.add(pictures)
        prep = model.preprocessing if pictures else None
        suffix = next((path for item in self.source if (path := item.path) is not None), Path()).suffix.lower()
        counted = f"input {model.graph.text.input}" if suffix in TEXTS and model.graph.text else ""
        words = model.vocabulary.source if suffix in TEXTS and model.vocabulary else ""
        console.line(
            "prep",
            summary.preprocessing(prep)
            if pictures
            else summary.unchanged(suffix, words, model.reads_whole_texts, counted),
        )
        if many:
            console.line("method", ", ".join(name for name in self.methods if name not in self._skipped))
        if prep is not None and prep.assumed:
            probe = f"; onnxlrp inspect {model.path} --probe {self._picture()} ranks alternatives"
            console.note(*summary.assumed(prep, probe))
        kind = model.kind
        if not pictures and kind.is_assumed and len(kind.shape) > 1:
            console.note(f"input taken for {kind.describe()}: {kind.source}", f"if it is right: --kind {kind.name}")
        for text in summary.doubts(prep):
            console.note(text)
        if model.own_size:
            text = "the model leaves height and width open: pictures are taken as they are, at their own size"
            console.note(text, "--size HxW states one")
        elif pictures and (text := model.graph.metadata.get("onnxlrp.note", "")):
            console.note(text, "--size HxW states it")
        if text := model.graph.metadata.get("onnxlrp.quantised", ""):
            console.note(text)

    def _picture(self) -> str:
        """A picture of the run, to be tried with other preprocessings."""
        return next((str(item.content) for item in self.source if not isinstance(item.content, Member)), "PICTURES")

    def look(self, kind: InputKind, pictures: bool, **asked: Any) -> None:
        """Print, once each, the options of drawings that change nothing for a kind of input.

        Args:
            kind: The kind.
            pictures: The samples are pictures.
            **asked: The options, as `explanation.forms.without_effect` takes them.
        """
        for option, why in without_effect(kind, pictures, **asked):
            if option not in self._idle:
                self._idle.add(option)
                self.console.note(f"{option} has no effect: {why}")

    def reads(self, piece: Piece) -> None:
        """Note an input of several frames."""
        if piece.start:
            return
        origin, content = piece.item.origin, piece.item.content
        if isinstance(content, str | Path):
            if images.frames(content) > 1:
                self._animated.add(origin)
            if depth := images.depth_note(content):
                self._deep.setdefault(depth, Tally()).add(origin)
        if piece.samples[0].reordered:
            self._reordered.add(origin)
        self._left_out |= dict.fromkeys(piece.samples[0].left_out)
        names = feature_names.of_model(self.model.graph.metadata)
        self._renamed |= dict(feature_names.renamed(piece.samples[0].columns or (), names))

    def skipped(self, method: str, error: OnnxLrpError) -> None:
        """Print, once for each method of all, why it cannot explain this model."""
        if method not in self._skipped:
            self._skipped.add(method)
            self.console.note(f"{method} left out: {error.message}")

    def decided(self, whole: Explanation) -> None:
        """Print, once for each method, the layers that --on-unsupported decided."""
        layers = whole.provenance.get("on_unsupported", ())
        if not layers or whole.method in self._decided:
            return
        self._decided.add(whole.method)
        listed = ", ".join(f"{layer['op']} {layer['layer']!r}" for layer in layers)
        self.console.note(
            f"{whole.method} has no rule for {listed}: {layers[0]['rule']}, by --on-unsupported",
            f"to choose a rule: --rule '{layers[0]['op']}=...'; onnxlrp rules lists them",
        )

    def found(self, one: Explanation, origin: str) -> None:
        """Collect the findings of one sample's explanation."""
        self._missing |= one.provenance.get("missing", {})
        for key, collected in (("unknown", self._unknown), ("trimmed", self._trimmed)):
            for name, words in one.provenance.get(key, {}).items():
                collected.setdefault(name, {}).update(dict.fromkeys(words))
        boxes = one.provenance.get("boxes_read", {})
        if words := boxes.get("told_by_values"):
            self._told_by_values.setdefault(words, Tally()).add(origin)
        if one.boxes and one.boxes[0].box.score <= boxes.get("score", 0):
            self._below.setdefault(boxes["score"], Tally()).add(origin)
        if self.model.unit is not None and not np.any(one.logit):
            self._off = self._off or origin
        if not np.any(one.relevance) and np.any(one.logit) and "positive" not in str(one.provenance.get("seed")):
            self._empty.setdefault(one.method, Tally()).add(origin)
        elif how := summary.bias_dominated(one):
            self._bias_dominated.setdefault(how, {}).setdefault(one.method, Tally()).add(origin)
            self._depthwise = self._depthwise or summary.depthwise_absorb_most(one, self.model.graph)
        if any(summary.not_positive(one, t) for t in range(len(np.atleast_2d(one.target)))):
            self._negative.setdefault(one.method, Tally()).add(origin)
        for row in summary.open_rows(one):
            self._open_rows.add(f"{origin}: {row}")

    def _depth_fix(self, depth: str) -> str:
        """What to do where the depth of a picture is read otherwise than in training."""
        if "colour" in depth:
            return "give an .npy file to keep all of them"
        if self.model.preprocessing.highest > 255:
            return "--scale is the factor of its values as they are"
        return "its values are brought to 0..255; --scale 1/65535 or 1/4095 is the factor of the values as they are"

    def _unknown_fix(self, words: Iterable[str]) -> str:
        """What becomes of unknown words; where the model knows one with other spaces around it, that."""
        known = {word.strip(): word for codes in self.model.categories.values() for word in codes}
        meant = [f"{word!r} for {known[word.strip()]!r}" for word in words if word.strip() in known]
        if meant:
            return f"spaces are part of a word: write as the model knows it, not {listed(meant)}"
        return "such a word is what the file makes of an unknown one: no category, or a default"

    def closing(self) -> None:
        """Print what was collected. Raises CheckFailed where the ledger is printed and does not close."""
        note = self.console.note
        if self._off and self.model.unit is not None:
            note(
                f"{self._off}: {self.model.unit.label} is 0, and its heatmap empty",
                "behind a ReLU that is a unit which is off: name the layer before it, or take another unit",
            )
        for read, origins in self._told_by_values.items():
            drawn = ": distances from anchors that the file does not hold, so that none is drawn" * ("offsets" in read)
            note(f"{origins}: the values contradict what was assumed; boxes are read as {read}{drawn}",
                 f"--boxes {read} states it, and whatever you state is taken")  # fmt: skip
        for score, origins in self._below.items():
            note(f"{origins}: no box has a score above {score:g}; the best of all is explained",
                 "--boxes score=0.05 lowers the threshold, and shows more boxes")  # fmt: skip
        for method, origins in self._negative.items():
            note(
                f"{origins}: the output is not positive, and {method} explains max(f, 0): its heatmap is empty",
                "-m epsilon_plus_flat explains negative outputs too",
            )
        for method, origins in self._empty.items():
            note(f"{origins}: no relevance reaches the input under {method}: its heatmap is empty", _empty_fix(method))
        for how, tallies in self._bias_dominated.items():
            origin = max(tallies.values(), key=lambda tally: tally.count)
            note(
                f"{origin}: biases and stabilisers absorb {how.format(', '.join(tallies))} rather than how much",
                f"--ledger shows the layers that absorb it{', depthwise convolutions above all' * self._depthwise}; "
                "compare: -m excitation_backprop,deep_taylor,occlusion --grid",
            )
        for depth, origins in self._deep.items():
            note(f"{origins}: {depth}", self._depth_fix(depth))
        if self._reordered.count:
            note(
                f"{self._reordered}: columns are matched by name with feature_names of the model's metadata, "
                "which stand in another order",
                "without a header they are taken in their order",
            )
        if self._renamed:
            pairs = listed([f'"{column}" for {name}' for column, name in self._renamed.items()])
            note(f"columns are taken as the exporter writes their names: {pairs}", "if they are others, rename them")
        if self._left_out:
            note(f"columns that the model does not read: {listed([*self._left_out])}")
        if self._trimmed:
            each = [f"{name} {listed([repr(word) for word in words])}" for name, words in self._trimmed.items()]
            note(
                f"words are taken without the spaces around them, as the model knows them: {'; '.join(each)}",
                "write words as the model knows them; in the place of one that it is not to know write another word",
            )
        for name, words in self._unknown.items():
            note(f"{name}: the model does not know {listed([repr(word) for word in words])}", self._unknown_fix(words))
        if self._missing:
            columns = listed([f"{name} {words}" for name, words in self._missing.items()])
            note(f"missing values: {columns}", "what the model does not fill in as you mean it, fill in before")
        if self._animated.count:
            note(
                f"{self._animated}: of several frames the first is explained",
                "save the wanted frame as a file",
            )
        if self._open_rows.count:
            more = f" (and {self._open_rows.count - 1} more)" if self._open_rows.count > 1 else ""
            text = f"the ledger does not close: {self._open_rows.first}{more}"
            fix = "compare with --engine reference (float64), or raise --epsilon; report it if it stays open with both"
            if self.ledger:
                raise CheckFailed(text, fix)
            note(text, fix)
        if self.rejected:
            note(f"{self.rejected} of {len(self.source)} inputs were skipped")


def _empty_fix(method: str) -> str:
    """What to do about an empty heatmap of a method, with or without options."""
    known = METHODS.get(method.partition("(")[0])
    if known is not None and known.is_composite:
        return (
            "--ledger shows where it stays: at constants, other inputs, or steps without a slope; "
            "-m occlusion hides parts of the input instead"
        )
    return "the output does not change with what the method changes: take another method, or another baseline"
