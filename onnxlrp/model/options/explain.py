"""ExplainOptions: all that can be asked of an explanation, each thing declared once.

The metadata of a field tells how the command line and a settings file state it, and whether the provenance names it:
parsers, TOML keys, settings of checks and the options of a comparison are made from this declaration. Importing it
imports nothing heavy, for `--help` reads it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from numbers import Integral
from types import NoneType
from typing import TYPE_CHECKING, Any, Self

from ...errors import UsageError, of_type, one_of
from . import values as values
from .declaration import Flag, declared, stated

if TYPE_CHECKING:
    from ...composites import Composite, Match
    from ...methods.registry import Method
    from ...rules import Rule

    Rules = Iterable[tuple[Match, Rule | str]] | Mapping[str, Rule | str]

DEFAULT = "auto"  # by the kind of input: see `methods.default`
UNSUPPORTED = ("error", "gradient", "pass")
TASKS = ("classification", "regression")
HEADS = ("logits", "as-is", "mean-rivals")
SIMILARITIES = ("cosine", "dot")

# Commands that take a method and its rules.
PROPAGATING = ("explain", "view", "inspect", "export", "compare", "evaluate", "clusters", "atlas")
READING = ("explain", "view", "compare", "evaluate", "patterns", "clusters", "atlas")  # commands that read samples
ANALYSING = ("prototype", "invert", "concepts")  # commands that say what a model has learned
MEASURING = (*ANALYSING, "tune")


# Fields that do not say how to explain: what is explained, what is kept, how it runs.
_NOT_HOW = (
    "target",
    "targets",
    "seed",
    "similar_to",
    "similarity",
    "boxes",
    "output",
    "input",
    "kind",
    "task",
    "head",
    "given",
    "method",
    "options",
    "feature_names",
    "record",
    "ledger",
    "batch_size",
)
REPEATED = {"action": "append", "default": []}  # arguments of `add_argument`
SWITCH = {"action": "store_true"}


@dataclass(frozen=True, kw_only=True)
class ExplainOptions:
    """What `Model.explain` is asked for.

    Attributes:
        target: A class id, a label, "top1", "top3", or one id or label for each sample; with the place of an output
            with scores at many positions (`explanation.targets.parse`).
        targets: Several classes of every sample over one forward pass; relevance then has a leading axis.
        seed: What is put in at the output, in the place of a class: an array [*shape] or [N, *shape], the
            shape of the logits, or a function of them [N, *shape]. Rules start with this relevance, gradients with this
            gradient; methods that hide parts explain Σ seed ⊙ output.
        similar_to: Another sample, or one for each: what of the samples makes their values at the output similar to its
            values is explained, in the place of a class. At a layer: `output`.
        similarity: "cosine", Σ z z' / (‖z‖ ‖z'‖), or "dot", Σ z z'.
        boxes: How boxes of a detector are read and chosen, for targets such as "box:1": text of
            "score=0.25,iou=0.45,layout=4+C,format=xyxy,background=0,activation=sigmoid,boxes=NAME,scores=NAME", each
            where the model does not tell it, or tells it wrongly.
        output: The model's output to explain, or a unit inside of it, such as "layer4:12"; None for the first output
            with a score for each of several classes.
        input: The model's input to explain it at; None for the first that is like a picture.
        kind: What that input is: image, signal, volume, tokens or vector, with a layout where the graph does not tell
            it ("image:NHWC"); None for what the graph reads it as.
        task: "classification" or "regression" where the output does not tell: scores of classes are shown as their
            softmax, values of a regression as they are. None for the metadata, or a guess that is said.
        head: "logits" explains the scores before a final Softmax, Sigmoid or the like; "as-is" the output itself;
            "mean-rivals" a class of a support vector machine against the mean of its rivals, not the strongest.
        given: Values of the model's other inputs by name: a number, an array, or the path of an .npy file.
        feature_names: Names of the features of a table or the channels of a signal, or words by token id, for figures:
            a list, a text with commas, or a file.
        method: A method's name, a Composite or a Method; "auto" takes one by the kind of input.
        options: Options of the method by name.
        rules: Entries (match, rule) that come before the composite's own; a rule may be its text.
        on_unsupported: For layers that the method has no rule for: "error", "gradient" or "pass".
        conditions: Channels by module path: relevance runs through these channels of the module's result alone.
        record: Module paths whose result's relevance is kept in `Explanation.layers`.
        ledger: Keep the balance of every layer in `Explanation.ledger`.
        positions: Explain the position embeddings in the place of the input: the heatmap shows what their addition
            absorbs at each place, and the notes which share of the logit it is, and that of a class token.
        batch_size: Samples at a time; None for all at once.
    """

    target: Any = field(
        default="top1",
        metadata=stated(
            Flag(
                ("-t", "--target"),
                "class id, label or top1; of an output with scores at many positions with the place: CLASS@predicted, "
                "@y,x, @y0,x0,y1,x1, @mask.png, @all; of a detector a box: box:N, box@y,x, with :CLASS or :x, :y, :w, "
                ":h, :size behind (default: top1)",
                ("explain", "view", "check", "compare", "evaluate", "export", "prototype", "clusters", "atlas", "tune"),
                argparse={"metavar": "CLASS"},
                read=values.target_words,
            ),
            values.TARGET,
        ),
    )
    targets: Sequence[int | str] | None = None
    seed: Any = None
    similar_to: Any = field(
        default=None,
        metadata=stated(
            Flag(
                ("--similar-to",),
                "explain what makes the output, such as an embedding, or a layer by --output, similar to that of this "
                "picture or array, in the place of a class",
                ("explain",),
                argparse={"metavar": "FILE"},
            ),
        ),
    )
    similarity: str = field(
        default="cosine",
        metadata=stated(
            Flag(
                ("--similarity",),
                "of --similar-to: the cosine of both, or their dot product (default: cosine)",
                ("explain",),
                argparse={"choices": SIMILARITIES},
            ),
            recorded=True,
        ),
    )
    boxes: str | None = field(
        default=None,
        metadata=stated(
            Flag(
                ("--boxes",),
                "how boxes of a detector are read and chosen: score=0.25, iou=0.45, layout=4+C|5+C, "
                "format=cxcywh|xyxy|yxyx, background=CLASS|none, activation=sigmoid|softmax|as-is, boxes=OUTPUT, "
                "scores=OUTPUT, with commas (default: found in the graph; what is assumed is said)",
                ("explain", "view", "compare", "evaluate"),
                argparse={"metavar": "LIST"},
            ),
            recorded=True,
        ),
    )
    output: str | None = field(
        default=None,
        metadata=stated(
            Flag(
                ("--output",),
                "the model's output to explain, or a unit inside, such as layer4:12 or layer4:12@3,4 (default: the "
                "first output with one score per class)",
                (*PROPAGATING, *MEASURING, "cells", "check", "patterns"),
                argparse={"metavar": "NAME"},
            ),
            values.TEXT,
        ),
    )
    input: str | None = field(
        default=None,
        metadata=stated(
            Flag(
                ("--input",),
                "the model's input to explain it at (default: the first that looks like a picture)",
                (*PROPAGATING, *MEASURING, "cells", "check", "patterns"),
                argparse={"metavar": "NAME"},
            ),
            values.TEXT,
        ),
    )
    kind: str | None = field(
        default=None,
        metadata=stated(
            Flag(
                ("--kind",),
                "kind of that input: image, signal, volume, tokens or vector, with a layout if needed, such as "
                "image:NHWC (default: from the graph)",
                (*PROPAGATING, *MEASURING, "cells", "check", "patterns"),
                argparse={"metavar": "KIND"},
            ),
            values.INPUT_KIND,
        ),
    )
    task: str | None = field(
        default=None,
        metadata=stated(
            Flag(
                ("--task",),
                "what several outputs without a final Softmax are: scores of classes, or values (default: guessed, and "
                "said)",
                (*PROPAGATING, *MEASURING, "check", "patterns"),
                argparse={"choices": TASKS},
            ),
            values.word_of(TASKS),
            recorded=True,
        ),
    )
    head: str | None = field(
        default=None,
        metadata=stated(
            Flag(
                ("--head",),
                "what is explained: the logits before a final Softmax, Sigmoid or the like, the output as it is, or a "
                "class of a support vector machine against the mean of its rivals (default: logits)",
                (*PROPAGATING, *MEASURING, "check", "patterns"),
                argparse={"choices": HEADS},
            ),
            values.word_of(HEADS),
            recorded=True,
        ),
    )
    given: Mapping[str, Any] | None = field(
        default=None,
        metadata=stated(
            Flag(
                ("--given",),
                "value of another input: a number, or an .npy file of one sample or one per sample; repeatable",
                (*READING, *MEASURING, "cells"),
                argparse={**REPEATED, "metavar": "NAME=VALUE"},
                read=values.input_values,
            ),
            values.table("a table of numbers and .npy files by the names of inputs"),
        ),
    )
    feature_names: Sequence[str] | str | None = field(
        default=None,
        metadata=stated(
            Flag(
                ("--names",),
                "names of the features of a table or the leads of a signal, or the words of token ids, for figures: a "
                "file, one per line, or a,b,c (default: the header of a .csv, the metadata)",
                ("explain",),
                "written",
                argparse={"metavar": "FILE|LIST"},
            ),
        ),
    )
    method: str | Composite | Method = field(
        default=DEFAULT,
        metadata=stated(
            Flag(
                ("-m", "--method"),
                "`onnxlrp methods` lists them (default: auto, by the kind of input)",
                (*PROPAGATING, "check"),
                argparse={"metavar": "NAME"},
            ),
            values.TEXT,
        ),
    )
    options: Mapping[str, Any] = field(
        default_factory=dict, metadata=stated(toml=values.table("a table, such as [options] epsilon = 1e-6"))
    )
    rules: Rules = field(
        default=(),
        metadata=stated(
            Flag(
                ("--rule",),
                "rule of layers, before the method's own: 'features.0=zbox(-2.1,2.6)', 'Conv=gamma(0.25)'; LAYER is a "
                "path, a regular expression for it, an operator or a kind; repeatable, the first match counts",
                ("explain", "view", "inspect", "export", "compare", "clusters", "atlas"),
                argparse={**REPEATED, "metavar": "LAYER=RULE"},
                read=values.rule_entries,
            ),
            values.RULES,
            composites=True,
        ),
    )
    on_unsupported: str = field(
        default="error",
        metadata=stated(
            Flag(
                ("--on-unsupported",),
                "for layers without a rule: stop, take the gradient, or pass relevance unchanged; these layers are "
                "reported (default: error)",
                PROPAGATING,
                argparse={"choices": UNSUPPORTED},
            ),
            values.word_of(UNSUPPORTED),
        ),
    )
    conditions: Mapping[str, Sequence[int]] | None = field(
        default=None,
        metadata=stated(
            Flag(
                ("--condition",),
                "relevance through these channels of a layer's result alone, such as 'layer3:12,45'; repeatable",
                ("explain",),
                argparse={**REPEATED, "metavar": "LAYER:CHANNELS"},
                read=values.channels,
            ),
            composites=True,
            recorded=True,
        ),
    )
    record: Sequence[str] = field(default=(), metadata=stated(composites=True))
    ledger: bool = field(
        default=False,
        metadata=stated(
            Flag(
                ("--ledger",),
                "print the relevance that each layer absorbs",
                ("explain",),
                "written",
                argparse=SWITCH,
            ),
            composites=True,
        ),
    )
    positions: bool = field(
        default=False,
        metadata=stated(
            Flag(
                ("--positions",),
                "of a transformer, the relevance of its position embeddings in the place of that of the input, and the "
                "shares of both and of a class token",
                ("explain",),
                argparse=SWITCH,
            ),
            composites=True,
            recorded=True,
        ),
    )
    batch_size: int | None = field(
        default=None,
        metadata=stated(
            Flag(
                ("--batch-size",),
                "inputs at a time (default: 8)",
                (*READING, *MEASURING, "check"),
                "run",
                argparse={"type": int, "default": 8, "metavar": "N"},
                read=values.samples_at_a_time,
            ),
            values.COUNT,
        ),
    )

    def __post_init__(self) -> None:
        of_type((str, NoneType), "a name", output=self.output, input=self.input, kind=self.kind)
        of_type((str, NoneType), "a name", task=self.task, head=self.head)
        of_type((str, NoneType), "text", boxes=self.boxes)
        if not (callable(self.method) or hasattr(self.method, "entries")):  # a Method, a Composite
            of_type(str, "a method's name, a Composite or a Method", method=self.method)
        of_type((Mapping, NoneType), "values by the names of inputs", given=self.given)
        of_type((Mapping, NoneType), "channels by module path", conditions=self.conditions)
        channels = dict(self.conditions or {}).items()
        of_type((Integral, Iterable), "channels", **{f"conditions[{path!r}]": value for path, value in channels})
        of_type(Iterable, "pairs (match, rule)", rules=self.rules)
        of_type(Sequence, "a list of module paths", record=self.record)
        of_type(str, "module paths", **{f"record[{n}]": path for n, path in enumerate(self.record)})
        if self.targets is not None and not hasattr(self.targets, "__len__"):
            of_type(Sequence, "a list of classes", targets=self.targets)
        if isinstance(self.seed, Integral | str):
            raise UsageError(
                f"seed={self.seed!r} is neither an array nor a function of the output",
                f'the seed of random numbers is an option of the method: options={{"seed": {self.seed!r}}}',
            )
        default = isinstance(self.target, str) and self.target == "top1"
        one_of(SIMILARITIES, similarity=self.similarity)
        if self.similarity != "cosine" and self.similar_to is None:
            raise UsageError(
                f'similarity="{self.similarity}" without similar_to', "name the other sample: similar_to=..."
            )
        if self.seed is not None and self.similar_to is not None:
            raise UsageError("a seed beside similar_to", "give one of them: both say what is explained")
        if self.put_in is not None and (self.targets is not None or not default):
            what = "a seed" if self.similar_to is None else "another sample to be similar to"
            raise UsageError(f"{what} beside a target", "leave out the target: the other says what is explained")
        of_type((Integral, NoneType), "a whole number", batch_size=self.batch_size)
        of_type(Mapping, "options of the method by name", options=self.options)
        of_type((Integral, NoneType), "True or False", ledger=self.ledger, positions=self.positions)
        of_type((Iterable, os.PathLike, NoneType), "names, or a file of them", feature_names=self.feature_names)
        one_of(UNSUPPORTED, on_unsupported=self.on_unsupported)
        if not isinstance(self.rules, Mapping):
            object.__setattr__(self, "rules", tuple(self.rules))  # read more than once
        for entry in self.entries:
            if isinstance(entry, str) or not hasattr(entry, "__len__") or len(entry) != 2:
                raise UsageError(f"rules: {repr(entry)[:80]} is no pair", "give (match, rule) pairs, or a mapping")

    @classmethod
    def of(cls, first: Any = "top1", method: str | Composite | Method = DEFAULT, **keywords: Any) -> Self:
        """Return the options that arguments of `Model.explain` state.

        Args:
            first: The target, or options that are ready.
            method: The method.
            **keywords: Fields by name; what is no field is an option of the method, as a whole number as `seed` is.

        Raises:
            UsageError: Keywords beside options that are ready, or options of the method in a dict.
        """
        if isinstance(first, ExplainOptions):
            if keywords or method != DEFAULT:
                raise UsageError(
                    "ExplainOptions beside other arguments", "set them in the options: dataclasses.replace(options, …)"
                )
            return first  # type: ignore[return-value]
        own_options(keywords, "explain(x")
        known = {f.name for f in fields(cls)}
        if isinstance(keywords.get("seed"), Integral):  # of random numbers
            known.discard("seed")
        own = {name: value for name, value in keywords.items() if name not in known}
        asked = {name: value for name, value in keywords.items() if name in known}
        return cls(target=first, method=method, options=own, **asked)

    def at(self, given: Mapping[str, Any] | None = None, **changes: Any) -> Self:
        """Return the options for a model whose output and input are chosen already.

        Args:
            given: The rows of its other inputs that belong to the samples, if not its own.
            **changes: Other values of further fields.
        """
        none: dict[str, Any] = dict.fromkeys(("output", "input", "kind", "task", "head"))
        return replace(self, **none, given=given or None, **changes)

    @property
    def put_in(self) -> Any:
        """What is put in at the output in the place of a class (`seed_output.Seeded.kind`); None for a class."""
        return "seed" if self.seed is not None else self.similarity if self.similar_to is not None else None

    @property
    def entries(self) -> list[tuple[Match, Rule | str]]:
        """The rules as (match, rule) pairs, in their order."""
        return list(self.rules.items() if isinstance(self.rules, Mapping) else self.rules)

    def keywords(self) -> dict[str, Any]:
        """Return how to explain as keywords of `Model.explain`: options of the method, and stated fields such as rules.

        The target, the inputs, what is kept and the batch size are not among them.
        """
        how = {f.name: f.default for f in fields(ExplainOptions) if f.name not in _NOT_HOW}
        stated = {name: getattr(self, name) for name, default in how.items() if getattr(self, name) != default}
        return {**self.options, **{name: value for name, value in stated.items() if value}}

    def for_composites(self) -> dict[str, Any]:
        """Return the stated fields that composites alone take, by name."""
        stated = {f.name: getattr(self, f.name) for f, said in declared(type(self)) if said.composites}
        return {name: value for name, value in stated.items() if value}

    def recorded(self) -> dict[str, Any]:
        """Return what the provenance names beside the method: fields that are recorded, where they are stated."""
        recorded = [(f, getattr(self, f.name)) for f, said in declared(type(self)) if said.recorded]
        return {f.name: value for f, value in recorded if value != f.default and value not in (None, (), [], {})}


def own_options(keywords: Mapping[str, Any], call: str) -> Mapping[str, Any]:
    """Return the options of a method, given as keywords of a call. Raises UsageError for a dict of them."""
    if "options" in keywords:
        raise UsageError(
            "options of the method are keywords of their own, not a dict",
            f"{call}, epsilon=1e-6), or {call}, **options); ExplainOptions(options={{…}}) takes a dict",
        )
    return keywords


def is_default(options: ExplainOptions) -> bool:
    """Return whether no method is named, so that the kind of input decides."""
    return isinstance(options.method, str) and options.method == DEFAULT


def flags(command: str, group: str | None = None) -> Iterator[tuple[str, Flag]]:
    """Yield the fields that a command takes, of one group or all, with their flags."""
    for f, said in declared(ExplainOptions):
        if said.flag and command in said.flag.commands and group in (None, said.flag.group):
            yield f.name, said.flag
