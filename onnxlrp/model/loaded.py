"""LoadedModel: output, inputs, kind, class names and preprocessing of a model, before anything is explained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from ..engines import Engine
from ..engines.factory import faster
from ..errors import OnnxLrpError, UsageError, of_type
from ..explanation import targets
from ..graph.axes.input_axes import input_axes
from ..graph.graph import SUPPRESSION, Array, Graph, Head
from ..graph.operators import TREES
from ..graph.outputs import heads
from ..graph.outputs.place_output import TokensOf, class_axis, is_map
from ..graph.outputs.places import BEST_BOX, DEFAULT, LAST, PEAK, SIZES, Place, box_options
from ..graph.recognition.past import empty_pasts, is_mask, is_past
from ..graph.recognition.pixel_range import pixel_range
from ..inputs import InputKind, decide
from ..preprocessing import Preprocessing, feature_names
from ..preprocessing.find import find, find_labels, find_picture, states_geometry
from ..preprocessing.samples import Samples, made, opened
from ..preprocessing.sources.explicit import OWN_SIZE
from .interface.companions import companions, ids_of, mask_of, said, single_text
from .interface.extra_inputs import feeds, one_number, shown
from .interface.extra_inputs import read as read_given
from .interface.io_selection import Choice, Stated, check_words, choose, refuse_maps
from .interface.open_sizes import (
    OpenSizes,
    at_own_size,
    free_shape,
    given_lengths,
    pictures_tell,
    require_numbers,
    shape_of,
)
from .interface.texts import check_ids, encoded
from .reopening import Opened

if TYPE_CHECKING:
    from ..graph.outputs.detections import Detections
    from ..graph.outputs.detectors import Detector
    from ..graph.outputs.place_output import Placed
    from ..graph.outputs.seed_output import Kind, Seeded
    from ..graph.outputs.units import Unit
    from ..inputs.text import Vocabulary

_OF_THE_BEST = f"-t {BEST_BOX} explains the class of the best box"
_OF_A_LINE = (
    "scores along a line of text, it seems: the best class is that of the most positions, but for a first or last "
    "class that fills the line, as the blank of CTC",
    "-t CLASS explains another",
)
_AS_IT_IS = {OWN_SIZE: True}


@dataclass(eq=False)
class LoadedModel:
    """A graph of one output and one explained input, on an engine.

    Attributes:
        graph: What lies between the explained input, its first, and the output.
        engine: What runs it.
        path: The model's file, where it is one.
        flags: What the user states of the preprocessing.
        strict: Refuse to assume any preprocessing.
        whole: All of the model, with its other outputs.
        choice: Which output and input were taken, and why.
        given: Values of the other inputs by name.
        kind_word: The user's word for the kind of input, as `--kind` takes it.
        sizes: The models of other sizes, where the file leaves sizes open.
        own_size: Pictures are taken as they are, at their own size.
        detected: The boxes of the samples that the model is fixed for, of a detector.
        told_by_values: How its boxes are read by the values of these samples, against what was assumed; "" as assumed.
        fixed_axes: As `Graph.open_axes`, of the axes that the file leaves open and `at` has fixed.
    """

    graph: Graph
    engine: Engine
    path: Path | None = None
    flags: dict[str, Any] = field(default_factory=dict)
    strict: bool = False
    whole: Graph | None = field(default=None, repr=False)
    choice: Choice | None = field(default=None, repr=False)
    given: Mapping[str, Array] = field(default_factory=dict)
    kind_word: str | None = None
    sizes: OpenSizes | None = field(default=None, repr=False)
    own_size: bool = False
    detected: tuple[Detections, ...] = field(default=(), repr=False)
    told_by_values: str = ""
    fixed_axes: Mapping[str, Mapping[int, str]] = field(default_factory=dict, repr=False)
    _default_box: bool = field(default=False, repr=False)  # the target's box is nobody's word
    _said: Mapping[str, Any] = field(default_factory=dict, repr=False)
    _stated: Stated = Stated()  # noqa: RUF009  # a tuple
    _chosen: dict[Stated, Any] = field(default_factory=dict, repr=False)
    _found: Preprocessing | None = field(default=None, repr=False)
    _kind: InputKind | None = field(default=None, repr=False)
    _labels: tuple[tuple[str, ...] | None, bool] | None = field(default=None, repr=False)
    _opened: Opened | None = field(default=None, repr=False)
    _vocabulary: tuple[Vocabulary | None] | None = field(default=None, repr=False)

    @property
    def classes(self) -> int:
        """The number of classes that the explained output scores."""
        return int(np.prod(self.graph.shapes[self.head.logits]))

    @property
    def head(self) -> Head:
        """The end of the model: its logits, and how scores are made of them."""
        return heads.head_of(self.graph, self.graph.outputs[0].name)

    @property
    def faster(self) -> tuple[str, str] | None:
        """Why the engine is slow where onnxruntime is missing, and the command that installs it; else None."""
        return faster(self.engine)

    @property
    def unit(self) -> Unit | None:
        """The unit that is explained in the place of an output; None where an output is."""
        return self.choice.unit if self.choice else None

    @property
    def placed(self) -> Placed | None:
        """Where an output with scores at many positions is explained; None for other outputs."""
        return self.choice.placed if self.choice else None

    @property
    def place(self) -> Place | None:
        """The same as a target names it."""
        return self.placed.place if self.placed else None

    def for_target(self, target: Any = None, several: Sequence[Any] | None = None) -> Self:
        """Return the model that scores classes where targets say, of an output with scores at many positions.

        Of another output it is the model itself, which has one score for each class. Where targets name no place, a
        detector is explained at its best box, if nothing is said of output, task and head (`detectors.evidence`).

        Args:
            target: The target, or the targets of samples, as `explain` takes them.
            several: Several targets of every sample, in place of it.

        Raises:
            UsageError: The targets name different places, or one that the output has not.
            InputError: The file of a mask cannot be read, or does not fit.
        """
        if self.choice is None or self.unit is not None:
            return self
        wanted = targets.place_of(target, several)
        if wanted is None and self.placed is None and self.detects == "certain":
            return replace(self.choose(place=BEST_BOX), _default_box=True)
        boxed = wanted is not None and wanted.kind == "box"
        if self.placed is None and not boxed and not is_map(self.graph, self.head):
            return self
        if self.placed is not None and wanted in (None, self.place):
            return self
        return self.choose(place=wanted or self._default_peak or (LAST if self._may_be_filled_up else DEFAULT))

    @property
    def _default_peak(self) -> Place | None:
        """The peak, where that is explained by default, with the class that means no label (`peaks.has_peaks`)."""
        from ..graph.outputs.peaks import has_peaks

        whole, axis = self.whole or self.graph, class_axis(self.graph, self.head)
        if not has_peaks(whole, self.head, axis):
            return None
        if len(whole.shapes[self.head.logits]) > 2:
            return PEAK._replace(numbers=(-1,))
        names = find_labels(self.flags, self.path, self.graph.metadata, None)[0]
        return PEAK._replace(numbers=((names.index("O") if "O" in names else -1) if names else 0,))

    @property
    def _may_be_filled_up(self) -> bool:
        """Whether samples are texts [L], scored at each token [L, V], whose padding is known or stated by a mask."""
        whole = self.whole or self.graph
        text, shape = single_text(whole), whole.shapes.get(self.head.logits, ())
        if text is None or len(shape) != 2 or text.shape != shape[:1]:
            return False
        return mask_of(whole, text) is not None or self._padding is not None

    @property
    def detects(self) -> Literal["certain", "possible", "none"]:
        """Whether the model is a detector (`detectors.evidence`); "none" where output, task or head are stated.

        Beside an output with one score for each class, which is explained by default, boxes are "possible".
        """
        stated, whole = self._stated, self.whole or self.graph
        if self.unit is not None or any(word is not None for word in (stated.output, stated.task, stated.head)):
            return "none"
        said = stated.boxes is not None or SUPPRESSION in whole.metadata or self.placed is not None
        of_classes = not said and not is_map(self.graph, self.head)
        if of_classes and len(whole.outputs) == 1:
            return "none"
        from ..graph.outputs.detectors import evidence

        found = evidence(whole, box_options(stated.boxes), self._named)
        return "possible" if of_classes and found == "certain" else found

    def refuse_idle_boxes(self, boxes: str | None) -> None:
        """Refuse that it is stated how boxes are read, where none is explained: it would change nothing.

        Args:
            boxes: What is stated; None for nothing.

        Raises:
            UsageError: The target is no box of a detector.
        """
        if boxes is not None and (self.placed is None or self.placed.detector is None):
            raise UsageError(
                f"boxes are stated ({boxes}), and no box is explained",
                'leave it out, or explain a box of a detector: target "box:1"',
                "leave out --boxes, or explain a box of a detector: -t box:1",
            )

    def in_the_graph(self) -> Graph:
        """Return the graph with the place computed in it, of the same sample, where that is an input of `graph`."""
        if not (self.placed and self.placed.input):
            return self.graph
        whole = self.whole or self.graph
        return choose(whole, self._stated, True, self._named, self._tokens_of(whole)).graph

    def _tokens_of(self, whole: Graph) -> TokensOf | None:
        """What tells the tokens of a text from its padding; None where nothing does."""
        text = single_text(whole)
        if text is None:
            return None
        mask = mask_of(whole, text)
        if mask is not None:
            return TokensOf(mask.name)
        return None if self._padding is None else TokensOf(text.name, self._padding)

    @property
    def seeded(self) -> Seeded | None:
        """Where a seed is put in, in the place of a class; None without one."""
        return self.choice.seeded if self.choice else None

    def for_seed(self, kind: Kind = "seed") -> Self:
        """Return the model whose output is what a seed makes of it, Σ seed ⊙ z, or its similarity to another sample.

        Args:
            kind: "seed", "dot" or "cosine".

        Raises:
            UsageError: The output is one channel or position of a layer.
            UnsupportedError: The model's layers cannot be read.
        """
        return self if self.seeded and self.seeded.kind == kind else self.choose(seeded=kind)

    @property
    def own_inputs(self) -> tuple[str, ...]:
        """The inputs of the graph that are made for the explanation, and that the model gives itself."""
        return tuple(filter(None, (self.placed and self.placed.input, self.seeded and self.seeded.input)))

    @property
    def _reading(self) -> Graph:
        """The graph that tells what the input is: all of the model, where a unit cuts it before its first layers."""
        return self.graph if self.unit is None else self.whole or self.graph

    @property
    def _scored(self) -> int:
        """The number of classes that the model scores, whatever is explained: preprocessing is guessed by it."""
        if self.placed and self.placed.detector:  # of coordinates too; a class that means no object may lack a name
            detector = self.placed.detector
            return detector.classes - (detector.background is not None and self._named == detector.classes - 1)
        if self.unit is None and self.seeded is None:
            named = self._named == self.classes - 1 and self.detects == "certain"  # all but the one that means none
            return self.classes - named
        whole = choose(self._reading if self.unit else self.whole or self.graph, self._stated_of_scores)
        return int(np.prod(whole.graph.shapes[whole.head.logits]))

    @property
    def _stated_of_scores(self) -> Stated:
        """What is said of the output that scores classes: nothing where a unit is explained."""
        return Stated() if self.unit else self._stated._replace(place=None, seeded=None)

    @property
    def notes(self) -> tuple[tuple[str, str], ...]:
        """What the user did not choose, with what to type for another: engine, output and input; where the batch is."""
        assumed = [
            (
                f"input {tensor.name}: {said(self.graph, tensor)}, assumed",
                f"--given {tensor.name}=VALUE states it",
            )
            for tensor in self.graph.inputs
            if tensor.name in self.assumed_inputs and 0 not in tensor.shape
        ]
        whole = self.whole or self.graph
        unread = {name for switch in whole.switches.values() for name in switch.others}
        pasts = [t.name for t in empty_pasts(whole.inputs) if t.name not in {*self.given, *unread}]
        if pasts:
            like = f" and {len(pasts) - 1} more are" if pasts[1:] else " is"
            assumed.append((f"no past: {pasts[0]}{like} empty, assumed", f"--given {pasts[0]}=FILE states one"))
        turned = [
            (
                f"input {tensor.name}: the batch is axis {axis} in the file, and axis 0 here"
                if axis > 0
                else f"input {tensor.name}: the file has no batch, its axis 0 are steps; here axis 0 is the batch",
                f"give it as {shown(tensor)}",
            )
            for tensor in self.graph.inputs
            if (axis := self.graph.batch_axes.get(tensor.name))
        ]
        chosen = self.choice.notes if self.choice else ()
        branches: tuple[tuple[str, str], ...] = ()
        if whole.switches:
            from .interface.branches import branch_notes

            branches = branch_notes(whole)
        line = (_OF_A_LINE,) if self.reads_a_line and self.placed is not None and not self.placed.asked else ()
        return (*filter(None, (self.faster,)), *self._of_boxes_by_default, *chosen, *line, *branches, *assumed, *turned)

    @property
    def reads_a_line(self) -> bool:
        """Whether scores of classes stand along one axis of a picture, as a recogniser of text gives characters."""
        placed = self.placed
        if placed is None or placed.separate or placed.axis is None or placed.detector is not None:
            return False
        line = placed.axis == len(placed.shape) - 1 and sum(n > 1 for n in placed.space) == 1
        return line and self.head.kind != "Values" and self.kind.is_image

    @property
    def _of_boxes_by_default(self) -> tuple[tuple[str, str], ...]:
        """What is said of boxes that the user did not ask for."""
        if self._default_box:
            others = "-t box:2 explains another box, -t CLASS@all a class at all boxes"
            return ((f"the model gives boxes; explained is the best, {BEST_BOX}", others),)
        asked = self.placed is not None and self.placed.asked
        if asked or self.seeded is not None or self.detects != "possible":
            return ()
        return (("the outputs may be boxes of a detector, and are explained as scores of classes", _OF_THE_BEST),)

    @property
    def kind(self) -> InputKind:
        """The kind of the explained input, with its axes of channels and space.

        Decided by the user's word (`kind=` of `load`), the first layers of the graph, a stated preprocessing, else the
        shape. Raises UsageError for a word that does not fit.
        """
        if self._kind is None:
            source = self.graph.inputs[0]
            axes = input_axes(self._reading, source)
            stated = None
            if (axes is None or axes.by_product) and self.kind_word is None:
                stated = find_picture(self.flags, self.path, self.graph.metadata)
            # Trees read some of the columns of a table alone, and leave its width open.
            trees = any(layer.op in TREES for layer in self.graph.layers)
            free = 0 in (self.graph.open_axes or self.fixed_axes).get(source.name, {}) and not trees
            self._kind = decide(
                source.shape, source.dtype, word=self.kind_word, graph=axes, stated=stated, open_length=free
            )
        return self._kind

    @property
    def labels(self) -> tuple[str, ...] | None:
        """The class names, given or assumed (ImageNet's for 1000 and 1001 outputs); of a unit or a seed its own.

        Of an output with scores at many positions, and of a detector: those of the classes of each position or box.
        """
        if self.seeded is not None:
            return self._labels[0] if self._labels else ("seed",)
        if self.placed and self.placed.place.values:
            return SIZES
        if self.unit is not None:
            return (self.unit.label,)
        if self._labels is None and self.placed and self.placed.detector:
            self._labels = self.class_names(self.placed.detector), False
        if self._labels is None and self._named == self.classes - 1 and self.detects == "certain":
            from ..graph.outputs.detectors import find as find_boxes

            detector = find_boxes(self.whole or self.graph, box_options(self._stated.boxes), None, self._named)
            self._labels = self.class_names(detector), False
        if self._labels is None and is_map(self.graph, self.head) and (placed := self.for_target()) is not self:
            self._labels = placed.labels, False
        if self._labels is None:
            self._labels = find_labels(self.flags, self.path, self.graph.metadata, self.classes)
        return self._labels[0]

    def class_names(self, detector: Detector) -> tuple[str, ...] | None:
        """Return the names of a detector's classes; None where nothing says them.

        Args:
            detector: How its outputs are read. A class that means no object may have no name of its own.
        """
        stated = (self.flags, self.path, self.graph.metadata)
        none, found = detector.background, find_labels(*stated, None)[0]
        if none is None or found is None or len(found) != detector.classes - 1:
            return find_labels(*stated, detector.classes)[0]
        return (*found[:none], "no object", *found[none:])

    @property
    def _named(self) -> int | None:
        """The number of class names that flags, files or the metadata state; None where they state none."""
        found = find_labels(self.flags, self.path, self.graph.metadata, None)[0]
        return None if found is None else len(found)

    @property
    def vocabulary(self) -> Vocabulary | None:
        """The words of token ids: as the user states (`prep={"tokenizer": FILE}`), the metadata, or a file beside.

        None for other inputs, and where nothing says the words. Raises InputError for a stated file that holds none.
        """
        if self._vocabulary is None:
            found = None
            if self.kind.name == "tokens":
                from ..inputs.text import find

                found = find(self.flags.get("tokenizer"), self.path, self.graph.metadata)
            self._vocabulary = (found,)
        return self._vocabulary[0]

    @property
    def reads_whole_texts(self) -> bool:
        """Whether a file of text is one sample: the model reads characters, and the end of a line is one of them."""
        return self.kind.name == "tokens" and self.vocabulary is not None and self.vocabulary.has_lines

    @property
    def categories(self) -> dict[str, dict[str, int]]:
        """The columns of words of the explained input: column → word → its code in the input; 0 is every other word.

        A column without a name is "feature 3", counted from 0.
        """
        names = feature_names.of_model(self.graph.metadata)
        found = self.graph.categories.get(self.graph.inputs[0].name, {})
        return {names[n] if n < len(names) else f"feature {n}": dict(codes) for n, codes in found.items()}

    @property
    def words(self) -> tuple[str, ...] | None:
        """The words of token ids as they are drawn; None where nothing says them."""
        return None if self.kind.name != "tokens" or self.vocabulary is None else self.vocabulary.shown

    @property
    def preprocessing(self) -> Preprocessing:
        """The preprocessing of pictures, and its sources.

        Taken from flags, the sidecar, the metadata, files of Hugging Face and timm beside the model, the graph, and
        assumption, in this order: `.assumed` names what is assumed, `.conflicts` the sources that contradict each
        other. Raises UnsupportedError for an input that is no picture, and under `strict` for what is not stated.
        """
        if self._found is None:
            self._found = self._find(self.flags)
        return self._found

    @property
    def preprocessing_as_read(self) -> Preprocessing:
        """The preprocessing as `read` has it of a picture: at its own size nothing is resized or cut, nor assumed so.

        Raises as `preprocessing`.
        """
        free = free_shape(self.graph, self.graph.inputs[0].name, self.kind.shape)
        if self.own_size or self.sizes is None or not pictures_tell(self.kind, free) or self.states_geometry:
            return self.preprocessing
        return self._find({**self.flags, **_AS_IT_IS})

    def _find(self, flags: Mapping[str, Any]) -> Preprocessing:
        tensor = self.graph.inputs[0]
        stated, high = (flags, self.path, self.graph.metadata), pixel_range(self._reading)
        found = find(*stated, tensor.shape, tensor.dtype, self._scored, self.strict, high, self.kind)
        unlike = self.unit is not None or self.seeded is not None
        return replace(found, labels=None, labels_assumed=False) if unlike else found

    def choose(
        self,
        output: str | None = None,
        input: str | None = None,
        given: Mapping[str, Any] | None = None,
        kind: str | None = None,
        task: str | None = None,
        head: str | None = None,
        place: Place | None = None,
        seeded: Kind | None = None,
        boxes: str | None = None,
    ) -> Self:
        """Return the same model with another output or input explained, and values for its other inputs.

        Args:
            output: The output's name, or a unit inside of the model, such as "layer4:12" (`graph.outputs.units`); by
                default the first output with a score for each of several classes.
            input: The input's name; by default the first that is like a picture.
            given: Values of other inputs by name: a number (every value), an array or an .npy path, of one sample or of
                a batch.
            kind: What the explained input is, as `load` takes it.
            task: "classification" or "regression", where the output does not tell.
            head: "as-is" explains the output itself, not the logits before its last functions.
            place: Where an output with scores at many positions is explained (`explanation.targets.parse`).
            seeded: What is put in at the output, in the place of a class: "seed", or "dot" or "cosine" for the values
                of another sample.
            boxes: How boxes are read and chosen: "score=0.25,iou=0.45,layout=4+C,format=xyxy,background=0".

        Raises:
            UsageError: There is no such output, input or place, or the output does not depend on the input.
            InputError: A given value does not fit its input.
        """
        of_type((str, NoneType), "a name", output=output, input=input, kind=kind, task=task, head=head)
        of_type((Mapping, NoneType), "values by the names of inputs", given=given)
        whole = self.whole or self.graph
        if whole.switches:
            from .interface.branches import branches_chosen

            if numbers := branches_chosen(whole, given or {}):
                return self._with_numbers(numbers).choose(output, input, given, kind, task, head, place, seeded, boxes)
        if numbers := {n: v for n, v in (given or {}).items() if n in whole.scalars or n in whole.switches}:
            rest = {name: value for name, value in (given or {}).items() if name not in numbers}
            return self._with_numbers(numbers).choose(output, input, rest, kind, task, head, place, seeded, boxes)
        check_words(task, head)
        of_type((str, NoneType), "text", boxes=boxes)
        old = self._stated if output is None else Stated(input=self._stated.input, boxes=self._stated.boxes)
        key = Stated(output or old.output, input or old.input, task or old.task, head or old.head)
        key = key._replace(boxes=boxes or old.boxes)
        key = key._replace(seeded=seeded) if seeded else key._replace(place=place or old.place)
        if key not in self._chosen:
            found = choose(whole, key, names=self._named)
            self._chosen[key] = type(self)(
                found.graph,
                self.engine,
                self.path,
                self.flags,
                self.strict,
                whole,
                found,
                sizes=self.sizes,
                fixed_axes=self.fixed_axes,
                own_size=self.own_size,
                _stated=key,
                _chosen=self._chosen,
                _opened=self._opened,
            )
        model: Self = self._chosen[key]
        explained = model.graph.inputs[0].name
        kept = {name: array for name, array in self.given.items() if name != explained}
        free = {t.name: free_shape(whole, t.name, t.shape) for t in whole.inputs}
        arrays = read_given(given or {}, whole.inputs, explained, free)
        said = {name: value for name, value in {**self._said, **(given or {})}.items() if name != explained}
        chosen = replace(model, given={**kept, **arrays}, _said=said)
        same = self.whole is None or explained == self.graph.inputs[0].name
        word = kind or (self.kind_word if same else None)  # what was said of one input says nothing of another
        if word is not None:
            chosen = replace(chosen, kind_word=word, _found=None, _kind=None)
            _ = chosen.kind  # a word that does not fit is refused here
        return chosen

    def read(self, x: Any, name_column: str | None = None) -> Samples:
        """Read and preprocess what `explain` takes; `explain` takes the result too.

        Args:
            x: An array (one sample, or a batch [N, …]), a PIL image, a path, a Text, Samples, or a list of them. Of a
                file of text (.txt) each line is a sample, or all of it (`reads_whole_texts`).
            name_column: The column of a table (.csv, .parquet) that names its rows.

        Raises:
            InputError: A file or an array that does not fit the input.
            UnsupportedError: Preprocessing that is not stated under `strict`.
        """
        read = opened(x, name_column, self.reads_whole_texts)
        items = encoded(read, self.graph, self.kind, self.vocabulary, self.assumed_inputs)
        model = self
        if self.graph.open_axes:
            free = free_shape(self.graph, self.graph.inputs[0].name, self.kind.shape)
            told = shape_of(items, self.kind, free, lambda: not self.states_geometry)
            model = self if told is None else self.at(*told)
        dtype, features = model.graph.inputs[0].dtype, feature_names.of_model(model.graph.metadata)
        codes = model.graph.categories.get(model.graph.inputs[0].name, {})
        how = features, partial(_filled, model.graph), codes
        samples = made(items, model.kind, dtype, lambda: model.preprocessing, model.own_size, *how)
        check_ids(model.graph, samples, model.given)
        return samples

    def at(self, shape: tuple[int, ...], own_size: bool = False) -> Self:
        """Return the same model for samples of another shape, where the file leaves sizes open; itself elsewhere.

        The graphs of a few sizes are kept.

        Args:
            shape: The shape of a sample.
            own_size: Pictures are taken as they are.

        Raises:
            UnsupportedError: The model does not run at this size.
        """
        graph, free = self.graph, self.graph.open_axes or self.fixed_axes
        if self.sizes is None or not free:
            return self
        inputs = (self.whole or graph).inputs
        current = {(t.name, axis + 1): t.shape[axis] for t in inputs for axis in free.get(t.name, ())}
        explained = graph.inputs[0].name
        wanted = {place: shape[place[1] - 1] for place in current if place[0] == explained}
        numbers = {
            name for name, value in self._said.items() if np.ndim(value) == 0 and not isinstance(value, Path | str)
        }
        if assumed := self.assumed_inputs:
            text = ids_of(graph)
            like = shape if text is None or text.name == explained else np.shape(self.given[text.name])[1:]
            if any(is_past(t.name, len(t.shape) + 1) for t in inputs):  # a mask is as long as past and tokens
                assumed = tuple(name for name in assumed if not is_mask(name))
            wanted |= {(name, axis + 1): like[axis] for name in assumed for axis in free.get(name, ())}
        wanted |= given_lengths(free, {name: array for name, array in self.given.items() if name not in numbers})
        if own_size == self.own_size and all(current.get(place, n) == n for place, n in wanted.items()):
            return self
        flags = {**self.flags, **_AS_IT_IS} if own_size else self.flags
        flags = {key: value for key, value in flags.items() if own_size or key != OWN_SIZE}

        def make(graph: Graph) -> LoadedModel:
            return type(self)(
                graph, self.engine, self.path, flags, self.strict, sizes=self.sizes, own_size=own_size, fixed_axes=free
            ).choose()

        try:
            root: Self = self.sizes.model(tuple(sorted(wanted.items())), graph.scalars, own_size, make)
        except OnnxLrpError as error:
            raise at_own_size(self.kind, shape, error) if own_size else error from None
        return self._again(root)

    def _with_numbers(self, numbers: Mapping[str, Any]) -> Self:
        """The same model with numbers for inputs of shape []."""
        assert self.sizes is not None
        graph = self.graph
        lengths = {(t.name, axis + 1): t.shape[axis] for t in graph.inputs for axis in graph.open_axes.get(t.name, ())}
        fixed = tuple(sorted(lengths.items())) if self.own_size else ()

        def make(graph: Graph) -> LoadedModel:
            return type(self)(
                graph, self.engine, self.path, self.flags, self.strict, sizes=self.sizes, own_size=self.own_size
            ).choose()

        told = {**graph.scalars, **{name: one_number(name, value) for name, value in numbers.items()}}
        root: Self = self.sizes.model(fixed, told, self.own_size, make)
        return self._again(root)

    def _again(self, root: Self) -> Self:
        """Another root, with all that this model was told."""
        output, source, task, head, place, seeded, boxes = self._stated
        told = root.choose(output, source, self._said, self.kind_word, task, head, place, seeded, boxes)
        return replace(told, _default_box=True) if self._default_box else told

    @property
    def states_geometry(self) -> bool:
        """Whether a source states how large pictures are, or the class names are ImageNet's by assumption.

        ImageNet's 224 x 224 is assumed with its names.
        """
        if self._labels is None:
            self._labels = find_labels(self.flags, self.path, self.graph.metadata, self._scored)
        return self._labels[1] or states_geometry(self.flags, self.path, self.graph.metadata)

    def feeds(self, x: Array, at: Array | None = None) -> dict[str, Array]:
        """Return the arrays of all inputs, by name.

        Args:
            x: Values [N, …] of the explained input.
            at: Rows [N] of the given inputs that go with x, where these have a row for each of other samples.

        Raises:
            UsageError: An input that is not given.
            InputError: A given input of another number of samples.
        """
        require_numbers(self.graph)
        known = {**companions(self.graph, self.given, x, self._padding), **self.given}
        return {self.graph.inputs[0].name: x, **feeds(known, self.graph.inputs, len(x), at)}

    @property
    def assumed_inputs(self) -> tuple[str, ...]:
        """The names of inputs beside token ids that are made from them, where nobody gives them: masks, positions."""
        return tuple(companions(self.graph, self.given))

    @property
    def _padding(self) -> int | None:
        """The id that fills up texts; None where no word is called so, or the input is no row of tokens."""
        return None if self.kind.name != "tokens" or self.vocabulary is None else self.vocabulary.padding

    def refuse_maps(self) -> None:
        """Raise UnsupportedError where the explained output has no score for each class that stays where it is."""
        if self.choice is not None:
            refuse_maps(self.choice, self.whole or self.graph)


def _filled(graph: Graph, *samples: Any) -> tuple[Array, dict[int, str]]:
    """Replace missing values of samples; see `graph.trees.missing.fill`, which few samples need."""
    from ..graph.trees.missing import fill

    return fill(graph, *samples)
