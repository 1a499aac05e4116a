"""Model: a loaded graph, an engine, and the programs they have prepared."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..compile import compile, rules_of
from ..composites import Composite, Matched
from ..engines import Engine, Run
from ..errors import UnsupportedError, UsageError
from ..explanation import Explanation, targets
from ..explanation.targets import Wanted
from ..graph import facts
from ..graph.graph import Array, Graph, Layer
from ..graph.input_axes import input_axes
from ..graph.pixel_range import pixel_range
from ..inputs import InputKind, decide
from ..methods.registry import Method
from ..preprocessing import Preprocessing
from ..preprocessing.find import find, find_labels, find_picture
from ..preprocessing.samples import Samples
from ..preprocessing.samples import read as read_samples
from ..program.program import Program
from ..rules import Rule
from .batches import in_batches
from .explainer import save
from .explaining import prepared
from .extra_inputs import feeds
from .extra_inputs import read as read_given
from .io_selection import Choice, choose, refuse_maps
from .options import DEFAULT, ExplainOptions
from .programs import Programs, forward_of
from .provenance import decided, provenance
from .resolve_composite import resolve_composite

if TYPE_CHECKING:
    from .options import Rules


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
    kind_word: str | None = None  # the user's word for the kind of input, as `--kind` takes it
    _stated: tuple[str | None, str | None] = (None, None)
    _chosen: dict[tuple[str | None, str | None], Model] = field(default_factory=dict, repr=False)
    _programs: Programs = field(default_factory=Programs, repr=False)
    _found: Preprocessing | None = field(default=None, repr=False)
    _kind: InputKind | None = field(default=None, repr=False)
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
        self,
        output: str | None = None,
        input: str | None = None,
        given: Mapping[str, Any] | None = None,
        kind: str | None = None,
    ) -> Model:
        """The same model with another output or another input explained, and values for its other inputs.

        Without a name: the first output with a score for each of several classes, the first input like a picture.
        `given` has numbers (every value), arrays or .npy paths, of one sample or a batch; `kind` says what the
        explained input is, as `load` takes it. Raises UsageError, InputError.
        """
        whole = self.whole or self.graph
        key = output or self._stated[0], input or self._stated[1]
        if key not in self._chosen:
            found = choose(whole, *key)
            self._chosen[key] = Model(
                found.graph, self.engine, self.path, self.flags, self.strict, whole, found, {}, None, key, self._chosen
            )
        model = self._chosen[key]
        explained = model.graph.inputs[0].name
        kept = {name: array for name, array in self.given.items() if name != explained}
        chosen = replace(model, given={**kept, **read_given(given or {}, whole.inputs, explained)})
        word = kind or self.kind_word
        if word is not None:
            chosen = replace(chosen, kind_word=word, _found=None, _kind=None)
            _ = chosen.kind  # a word that does not fit is refused here
        return chosen

    @property
    def kind(self) -> InputKind:
        """What the explained input is, with its axes of channels and space: by the user's word (`kind=` of `load`), the
        first layers of the graph, a stated preprocessing, else its shape. Raises UsageError."""
        if self._kind is None:
            source = self.graph.inputs[0]
            axes = input_axes(self.graph, source)
            stated = None
            if axes is None and self.kind_word is None:
                stated = find_picture(self.flags, self.path, self.graph.metadata)
            self._kind = decide(source.shape, source.dtype, word=self.kind_word, graph=axes, stated=stated)
        return self._kind

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
            self._found = find(*stated, tensor.shape, tensor.dtype, self.classes, self.strict, high, self.kind)
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
        progress: Callable[[int, int], bool] | None = None,
        **keywords: Any,
    ) -> Explanation:
        """Explain why the model scores x as it does: the relevance of every input value for a class.

        `model.explain(x, options)` takes ExplainOptions that are ready, in the place of all other arguments.

        Args:
            x: An array in the model's own layout (one sample, or a batch [N, …]), a PIL image, a path, or a list of
                them.
            target: A class id, a label, "top1", "top3", or one id or label for each sample.
            method: A method's name, a Composite or a Method.
            progress: Called as progress(done, of) between the passes of a method that takes many; returning False ends
                them.
            **keywords: Further fields of `ExplainOptions` (targets, output, input, kind, given, rules, on_unsupported,
                conditions, record, ledger, batch_size), and options of the method by name.

        Returns:
            Relevance in x's shape, one class for each sample; with several targets, [T, N, …].

        Raises:
            UsageError: An option, method or target that does not exist or does not fit.
            InputError: Samples that cannot be read.
            UnsupportedError: A layer without a rule, or preprocessing that is not stated under `strict`.
        """
        options = ExplainOptions.of(target, method, **keywords)
        model = self._asked(options.output, options.input, options.given, options.kind)
        samples = model.read(x)
        return prepared(model, options, samples.pictures, len(samples)).run(samples, progress)

    def prepare(
        self,
        target: Any = "top1",
        method: str | Composite | Method = DEFAULT,
        *,
        pictures: bool = True,
        **keywords: Any,
    ) -> None:
        """Compile what `explain` with the same arguments will run, and raise what is wrong with them.

        Args:
            target: As of `explain`; or ExplainOptions that are ready.
            method: As of `explain`.
            pictures: Preprocessing makes the inputs; it gives zBox its bounds.
            **keywords: As of `explain`.

        Raises:
            UsageError: An option, method or target that does not exist or does not fit.
            UnsupportedError: A layer without a rule.
        """
        options = ExplainOptions.of(target, method, **keywords)
        model = self._asked(options.output, options.input, options.given, options.kind)
        prepared(model, options, pictures)

    def read(self, x: Any) -> Samples:
        """What `explain` takes, read and preprocessed; it takes the result too. Raises InputError, UnsupportedError."""
        return read_samples(x, self.kind, self.graph.inputs[0].dtype, lambda: self.preprocessing)

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
        program, run = self.program(composite, wanted, record=record, activations=activations)
        if seed is not None:
            seed = seed.reshape(len(x), *program.instructions[program.outputs["logits"]].shape).astype(np.float32)
        return in_batches(run, program, self.feeds(x, at), ids, batch_size, self.graph.batch, seed)

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
        return resolve_composite(self.graph, self.kind, method, lambda: self._bounds(pictures))

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

        It has standard operators only and takes any batch size; what the model takes besides the explained input, the
        file takes too.

        Args:
            path: The file to write.
            method: The name of a composite, or a Composite.
            target: "input" adds an input "target" (int64 class ids, [N]); "top1" or "topK" explains the model's own
                best classes.
            output: The model's output to explain, as of `choose`.
            input: The model's input to explain it at, as of `choose`.
            rules: Entries (match, rule) that come before the composite's own.
            on_unsupported: For layers without a rule: "error", "gradient" or "pass".
            **options: Options of the method.

        Returns:
            The path.

        Raises:
            UsageError: No such target, method or option.
            UnsupportedError: A layer without a rule.
        """
        if target != "input" and targets.parse(target).kind != "top":
            raise UsageError(
                f'export has no target "{target}"', "give input, top1 or topK; a class id is an input then"
            )
        model = self._asked(output, input)
        wanted = Wanted("index")
        if target != "input":
            wanted = targets.wanted(target, None, model.labels, model.classes, 0)
        composite = model.composite(method, rules=rules, pictures=False, on_unsupported=on_unsupported, **options)
        program = compile(model.graph, composite, mode=wanted.mode, targets=wanted.count)
        about = provenance(model.graph, model.engine, model.choice, model.given, composite.name, options)
        about |= decided(composite, program) | {"target": target}
        return save(forward_of(model.graph), program, path, self.graph.metadata, about)

    # -- the steps

    def _asked(
        self,
        output: str | None = None,
        input: str | None = None,
        given: Mapping[str, Any] | None = None,
        kind: str | None = None,
    ) -> Model:
        """The model that a call is about, refused where its output has no score for each class."""
        named = any(word is not None for word in (output, input, given, kind))
        model = self.choose(output, input, given, kind) if named else self
        model.refuse_maps()
        return model

    def feeds(self, x: Array, at: Array | None = None) -> dict[str, Array]:
        """Return the arrays of all inputs for x [N, …] of the explained one; `at` as of `outputs`."""
        return {self.graph.inputs[0].name: x, **feeds(self.given, self.graph.inputs, len(x), at)}

    def program(self, composite: Composite | None, wanted: Wanted, **what: Any) -> tuple[Program, Run]:
        """Return the compiled program of a composite (None: the forward pass alone), and what runs it."""
        asked = {"mode": wanted.mode, "targets": wanted.count, **what}
        return self._programs.prepared(self.engine, self.graph, composite, **asked)

    def _bounds(self, pictures: bool) -> tuple[Array, Array] | None:
        """The box of the pixels; an assumed preprocessing counts only where it made the input."""
        try:
            prep = self.preprocessing
        except UnsupportedError:  # the input is no picture
            return None
        return prep.bounds() if pictures or not prep.assumed else None
