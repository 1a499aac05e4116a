"""Model: what `load` returns."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..composites import Composite
from ..errors import UsageError
from ..explanation import Explanation
from ..methods.registry import Method
from . import describing, reopening
from .compiled import CompiledModel
from .explaining import prepared
from .options.explain import DEFAULT, ExplainOptions, own_options

if TYPE_CHECKING:
    from ..analysis import Cells
    from ..analysis.bilrp import Lines
    from ..analysis.inversion.invert import Inverted
    from ..analysis.prototypes.search import Prototype
    from .options.explain import Rules


@dataclass(eq=False, repr=False)
class Model(CompiledModel):
    """A model that explains itself: what `load` returns.

    It has one output and one explained input; `choose` takes others. Pickled, it is its path or bytes, its hash and its
    options: another process loads it again.
    """

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
            target: A class id, a label, "top1", "top3", or one id or label for each sample; of an output with scores at
                many positions with the place, such as "dog@40,25", (40, 25) and a class as a pair, or "box:3"
                (`explanation.targets.parse`). Without a place a detector is explained at its best box, "box:1", where
                its graph shows boxes (`detects`).
            method: A method's name, a Composite or a Method; "auto" takes one by the kind of input
                (`methods.default`).
            progress: Called as progress(done, of) between the passes of a method that takes many; returning False ends
                them.
            **keywords: Further fields of `ExplainOptions` (targets, seed, similar_to, output, input, kind, task, head,
                given, rules, on_unsupported, conditions, record, ledger, batch_size), and options of the method by
                name. A whole number as `seed` is the method's own, of random numbers.

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
        model = model.at(samples.kind.shape, samples.own_size)
        model = model.fixed(samples.values, options.batch_size, samples.names)
        if options.similar_to is None:
            model = model.put_in(options.seed, samples.values, options.batch_size)
        else:
            model = model.compared(model.read(options.similar_to), len(samples), options.batch_size)
        return prepared(model, options, samples.pictures, len(samples)).run(samples, progress)

    def explain_each(
        self,
        x: Any,
        target: Any = "top1",
        method: str | Composite | Method = DEFAULT,
        *,
        progress: Callable[[int, int], bool] | None = None,
        **keywords: Any,
    ) -> list[Explanation]:
        """Explain samples of any sizes, where the file leaves sizes open; those of one size run together.

        Args:
            x: As of `explain`; samples of a list may differ in size.
            target: As of `explain`; a list has one id or label for each sample.
            method: As of `explain`.
            progress: As of `explain`, told of each size anew.
            **keywords: As of `explain`, but for `seed` as relevance that is put in.

        Returns:
            An explanation of each sample, in their order.

        Raises:
            UsageError: An option, method or target that does not exist or does not fit.
            InputError: Samples that cannot be read.
            UnsupportedError: A layer without a rule, or preprocessing that is not stated under `strict`.
        """
        from .interface.several_sizes import explain_each

        options = ExplainOptions.of(target, method, **keywords)
        asked = self._asked(options)
        return explain_each(asked, x, options, partial(asked.explain, progress=progress))

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

    def export(
        self,
        path: str | os.PathLike[str],
        method: str | Composite = DEFAULT,
        target: str = "input",
        *,
        output: str | None = None,
        input: str | None = None,
        task: str | None = None,
        head: str | None = None,
        rules: Rules = (),
        on_unsupported: str = "error",
        embed_preprocessing: bool = False,
        overlay: bool = False,
        ledger: bool = False,
        opset: int | None = None,
        precision: str = "fp32",
        **options: Any,
    ) -> Path:
        """Save the explainer: one plain ONNX graph that takes the image and gives scores and "relevance".

        It has standard operators only and takes any batch size; what the model takes besides the explained input, the
        file takes too.

        Args:
            path: The file to write.
            method: The name of a composite, or a Composite; "auto" takes one by the kind of input.
            target: "input" adds an input "target" (int64 class ids, [N]); "top1" or "topK" explains the model's own
                best classes. Of an output with scores at many positions with the place, such as "input@40,25".
            output: The model's output to explain, as of `choose`.
            input: The model's input to explain it at, as of `choose`.
            task: "classification" or "regression", as of `explain`.
            head: "logits" or "as-is", as of `explain`.
            rules: Entries (match, rule) that come before the composite's own.
            on_unsupported: For layers without a rule: "error", "gradient" or "pass".
            embed_preprocessing: The file takes "picture", uint8 [height, width, 3] of any size, resizes and cuts it as
                the model's preprocessing states, and gives "heatmap" [1, h, w] (several targets: [T, 1, h, w]), the
                relevance summed over channels, in the place of "relevance".
            overlay: So does it, and gives "overlay", uint8 [h, w, 3]: the heatmap over the grey picture.
            ledger: The file also gives the ledger, one number [N] of each sample: "ledger/NODE/out" is the relevance of
                the result of a node, "ledger/NODE/in" that of its operands, "ledger/NODE/bias" what its bias absorbed,
                and so on for what it has absorbed; from output to input.
            opset: The opset of the file, from 13 on, for runtimes that do not know the newest operators.
            precision: "fp16" stores weights in half precision: the file takes half, and all is computed in float32.
            **options: Options of the method.

        Returns:
            The path.

        Raises:
            UsageError: No such target, method, option or opset.
            UnsupportedError: A layer without a rule; an operator that needs a newer opset; or with
                `embed_preprocessing` an input that is no picture, or an interpolation other than bilinear, bicubic and
                lanczos.
        """
        own = own_options(options, "export(path")
        asked = ExplainOptions(
            target=target, method=method, options=own, output=output, input=input, task=task, head=head,
            rules=rules, on_unsupported=on_unsupported, ledger=ledger,
        )  # fmt: skip
        from .export import export  # which alone of all writes a model

        return export(self._asked(asked), path, asked, target, embed_preprocessing, overlay, opset, precision)

    def prototype(
        self,
        target: int | str | None = None,
        *,
        images: Any = None,
        start: Any = None,
        generator: Any = None,
        code_layer: str | None = None,
        pixels: tuple[float, float] | None = None,
        progress: Callable[[Any], bool] | None = None,
        **asked: Any,
    ) -> Prototype:
        """Find the pictures that raise a class's score, by gradient ascent.

        >>> model.prototype("goose", style="maco", n=4).save("goose.png")

        Args:
            target: A class id or label.
            images: A folder of pictures that the model is for, with subfolders of classes or without, or samples as
                `explain` takes them: colours, spectrum and range are taken from them, and the prototype is compared
                with them.
            start: What `explain` takes: a picture to start from, in place of noise.
            generator: A model from codes to pictures, or its path or bytes: its codes are optimised, in place of a
                style (Nguyen et al. 2016).
            code_layer: The layer that its codes are values of, whose statistics over `images` bound them.
            pixels: What black and white are in its pictures, where its metadata does not say so; else they are in the
                values that this model takes.
            progress: Called with an `analysis.ascent.optimize.Progress` after each step; returns whether to go on.
            **asked: Fields of `analysis.prototypes.search.Asked`: style, steps, n, seed, low, high, batch_size, …

        Returns:
            The prototypes, best first, with what they are evidence of.

        Raises:
            UsageError: There is no such class, style or option.
            InputError: A picture cannot be read.
            UnsupportedError: A layer has no gradient, or the input is none that can be optimised.
        """
        from ..analysis.ascent.domain import decide
        from ..analysis.prototypes import evidence
        from ..analysis.prototypes import search as prototypes
        from ..analysis.prototypes.generator import open_generator

        self.refuse_maps()
        chosen, through = prototypes.Asked.of(target, asked), None
        found = None if images is None else evidence.read(self, images)
        if generator is not None:
            where = decide(self, found and found.samples, chosen.low, chosen.high)
            through = open_generator(self, *self._network(generator), code_layer, where, pixels)
        return prototypes.prototype(
            self,
            chosen,
            through=through,
            images=found,
            start=None if start is None else self.read(start),
            progress=progress,
        )

    def invert(
        self,
        x: Any,
        layer: str | None = None,
        *,
        decoder: Any = None,
        pixels: tuple[float, float] | None = None,
        images: Any = None,
        low: Any = None,
        high: Any = None,
        progress: Callable[[Any], bool] | None = None,
        **how: Any,
    ) -> Inverted:
        """Find pictures that a layer cannot tell from samples: what of them the layer keeps.

        >>> model.invert("photo.jpg", "layer3").save("inverted.png")

        Args:
            x: Samples, as `explain` takes them.
            layer: The layer: a module path, or the name of a node or a tensor. A decoder may know it.
            decoder: A model from the layer's values to pictures, or its path or bytes, in place of the search.
            pixels: What black and white are in the decoder's pictures, where its metadata does not say so; else they
                are in the values that this model takes.
            images: Samples, or a folder of pictures, whose mean is the picture to be better than.
            low: The lowest value of an input that is no picture: a number, or one for each channel.
            high: The highest value.
            progress: Called with an `analysis.ascent.optimize.Progress` after each step; returns whether to go on.
            **how: Fields of `analysis.inversion.search.Inversion`: steps, restarts, regularisation, alpha, beta, seed,
                batch_size.

        Returns:
            The pictures, with the errors of their representation and in pixels.

        Raises:
            UsageError: There is no such layer or option, or the decoder is of another layer or shape.
            InputError: A picture or the decoder cannot be read.
            UnsupportedError: A layer has no gradient, or the input is none that can be optimised.
        """
        from ..analysis.inversion import invert as inverting
        from ..analysis.prototypes import evidence

        samples = self.read(x)
        model = self.at(samples.kind.shape, samples.own_size)
        mean = None if images is None else evidence.read(model, images).samples
        asked = inverting.options(how)
        known: dict[str, Any] = {"mean": mean, "low": low, "high": high}
        if decoder is not None:
            return inverting.by_decoder(
                model, samples, layer, *self._network(decoder), pixels=pixels, batch_size=asked.batch_size, **known
            )
        return inverting.by_optimisation(model, samples, layer, asked, progress=progress, **known)

    def bilrp(
        self,
        x: Any,
        other: Any,
        method: str | Composite | Method = DEFAULT,
        *,
        similarity: str = "cosine",
        grid: int = 8,
        projections: int = 0,
        seed: int = 0,
        batch_size: int | None = None,
        **keywords: Any,
    ) -> Lines:
        """Share the similarity of two pictures among pairs of their parts (BiLRP).

        >>> model.bilrp("a.jpg", "b.jpg", output="layer4").save("lines.png")

        Args:
            x: A picture, as `explain` takes it.
            other: The other picture.
            method: The name of a composite, or a Composite.
            similarity: "cosine" or "dot", as `explain` takes it.
            grid: Parts on the longer side of each picture.
            projections: So many random sums of the layer's values in the place of all of them, each with a backward
                pass; 0 for all.
            seed: Seed of these sums.
            batch_size: Values at a time.
            **keywords: Further fields of `ExplainOptions` (output, input, given, rules, on_unsupported), and options of
                the method by name.

        Returns:
            The relevance of every pair, with a figure of lines.

        Raises:
            UsageError: There is no such output or method, or the method is no composite of rules.
            InputError: Several samples, or a picture that cannot be read.
            UnsupportedError: The samples are no pictures, or a layer has no rule.
        """
        from ..analysis.bilrp import bilrp

        options = ExplainOptions.of("top1", method, similar_to=other, similarity=similarity, **keywords)
        if idle := [name for name in ("conditions", "record", "ledger", "positions") if getattr(options, name)]:
            raise UsageError(
                f"BiLRP shares the whole similarity among pairs of parts: {idle[0]} is not for it", "leave it out"
            )
        model = self._asked(options)
        first = model.read(x)
        model = model.at(first.kind.shape, first.own_size)
        second, seeded = model.read(other), model.seeded
        assert seeded is not None
        composite = model.composite(options, pictures=first.pictures)
        ones = np.ones((1, *seeded.shape), np.float32)
        model = replace(model, given={**model.given, seeded.input: ones})
        pairs = bilrp(
            model, seeded.tensor, seeded.shape, composite, (first, second), cosine=similarity == "cosine", grid=grid,
            projections=projections, seed=seed, batch_size=batch_size,
        )  # fmt: skip
        return replace(
            pairs, provenance={"model": model.graph.source, "sha256": model.graph.sha256, **pairs.provenance}
        )

    def cells(self, x: Any, properties: Sequence[str] | None = None, **asked: Any) -> Cells:
        """Show what the cells of a recurrent model do along texts, and which of them track properties of the text.

        >>> model.cells("text.txt").save("cells.html")

        Args:
            x: The path of a text, a Text, token ids or values [steps, …], or a list of them.
            properties: Names of "quotes", "column", "indentation" and "brackets", and paths of tables with a row for
                each step. All four by default, for models that read characters.
            **asked: Further arguments of `analysis.Cells.find`: shown, level, window, excerpt, start, progress.

        Returns:
            The cells, their gates, and for each property the cell that tracks it best, beside what chance gives.

        Raises:
            UsageError: There is no such property or cell.
            InputError: A text or table that cannot be read, or does not fit.
            UnsupportedError: The model has no recurrent layer, or nothing says how texts become its input.
        """
        from ..analysis import Cells

        return Cells.find(self, x, properties, **asked)

    def _network(self, source: Any) -> tuple[Model, str]:
        """Open a network that draws on this model's engine, its output as it is; and what messages call it."""
        from . import load

        network = source if isinstance(source, Model) else load(source, self.engine)
        name = network.path.name if network.path is not None else "the network"
        return network.choose(head="as-is"), name

    def __repr__(self) -> str:
        return describing.one_line(self)

    def _repr_html_(self) -> str:
        return describing.table(self)

    def __reduce__(self) -> tuple[Any, ...]:
        later = {**self._stated._asdict(), "given": dict(self.given), "kind": self.kind_word}
        return reopening.reduce(self._opened, self.whole or self.graph, later)

    def _asked(self, options: ExplainOptions) -> Model:
        """The model that a call is about, at the place of its target."""
        named = (options.output, options.input, options.given, options.kind, options.task, options.head)
        model = self
        if options.boxes not in (None, self._stated.boxes) or any(value is not None for value in named):
            model = self.choose(*named, boxes=options.boxes)
        kind = options.put_in
        model = model.for_target(options.target, options.targets) if kind is None else model.for_seed(kind)
        model.refuse_idle_boxes(options.boxes)
        return model
