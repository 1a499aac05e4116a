"""Model: a loaded model and the programs that explain it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..compile import rules_of
from ..composites import Composite, Matched
from ..engines import Run
from ..errors import UnsupportedError
from ..explanation import Explanation
from ..explanation.targets import Wanted
from ..graph.graph import Array, Layer
from ..methods.registry import Method
from ..program.program import Program
from ..rules import Rule
from .batches import in_batches
from .explaining import prepared
from .exporting import export
from .loaded import LoadedModel
from .options import DEFAULT, ExplainOptions
from .programs import Programs
from .resolve_composite import resolve_composite

if TYPE_CHECKING:
    from .options import Rules


@dataclass(eq=False)
class Model(LoadedModel):
    """A model that explains itself: what `load` returns.

    It has one output and one explained input; `choose` takes others. Programs are compiled when first asked for and
    kept.
    """

    _programs: Programs = field(default_factory=Programs, repr=False)

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
        model = self._asked(options)
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
        prepared(self._asked(options), options, pictures)

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
        """Run inputs through the forward pass, and back by a composite if there is one: what methods ask for.

        Args:
            x: Values [N, …] of the explained input.
            composite: The rules of a backward pass; None for the forward pass alone.
            ids: The class [N] that each sample is explained for.
            seed: Relevance [N, …] of the logits that is propagated, in the place of `ids`.
            record: Module paths whose result's relevance is kept.
            activations: Tensors whose values are kept.
            at: Rows [N] of the given inputs that go with x, where these have a row for each of other samples.
            batch_size: Samples at a time; None for all at once.

        Returns:
            "logits" and "scores"; with a composite "relevance", "record/PATH" and "activation/NAME".

        Raises:
            UsageError: An input that is not given, or a path that does not exist.
            UnsupportedError: A layer without a rule.
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
        """Return the layers between input and output in order, what a match sees of each, and its rule, if any.

        Args:
            composite: The rules.
        """
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
        asked = ExplainOptions(
            method=method, options=options, output=output, input=input, rules=rules, on_unsupported=on_unsupported
        )
        return export(self._asked(asked), path, asked, target)

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

    def _asked(self, options: ExplainOptions) -> Model:
        """The model that a call is about, refused where its output has no score for each class."""
        named = (options.output, options.input, options.given, options.kind)
        model = self if all(value is None for value in named) else self.choose(*named)
        model.refuse_maps()
        return model

    def _bounds(self, pictures: bool) -> tuple[Array, Array] | None:
        """The box of the pixels; an assumed preprocessing counts only where it made the input."""
        try:
            prep = self.preprocessing
        except UnsupportedError:  # the input is no picture
            return None
        return prep.bounds() if pictures or not prep.assumed else None
