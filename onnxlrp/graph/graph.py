"""The layer IR: the forward pass of a model, with all that does not depend on the input folded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy.typing as npt

from ..errors import OnnxLrpError

Array = npt.NDArray[Any]

SUPPRESSION = "onnxlrp.nms"  # of `Graph.metadata`: what a NonMaxSuppression of the file states, as JSON
PAIRS = "onnxlrp.pairs"  # of `Graph.metadata`: the outputs that are logits of pairs (`batching.pairs`), one a line


@dataclass(frozen=True)
class Layer:
    """One operator of the forward pass.

    `op` is the ONNX operator at opset 23 (`domain::Op` outside ai.onnx), `name` the node's name, unique in the graph,
    `path` the module path that users know (`layer4.0.conv2`), "" where the exporter left none.
    `inputs` are tensor names, "" for an absent optional input; constants are among them. A MatMul with a matrix may
    have a bias [K] as third input, as Gemm has. A DynamicQuantizeLinear has one output, the floats that its integers
    stand for, each sample with a scale of its own.
    """

    op: str
    name: str
    path: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The name of this layer in errors, the ledger and `inspect`: its path, or its name without one."""
        return self.path or self.name


# Metadata of a graph: by name the number that the file compares each input with that no number was given for, as JSON.
COMPARED = "onnxlrp.compared"


class Tensor(NamedTuple):
    """An input or output of the model: `shape` is per sample (no batch axis)."""

    name: str
    shape: tuple[int, ...]
    dtype: str


class TextReader(Protocol):
    """The front of a model that counts the words of a text (`graph.text_front`)."""

    @property
    def input(self) -> str:
        """The name of the file's input of text."""
        ...

    def describe(self) -> str:
        """Return what is counted, in words."""
        ...

    def read(self, text: str, origin: str) -> tuple[Array, Any]:
        """Return the counts [1, V] of a text, and its words with the places of their n-grams."""
        ...


class Opaque(Protocol):
    """The untouched file of a model whose layers cannot be read (`graph.opaque`)."""

    @property
    def reason(self) -> OnnxLrpError:
        """Why the layers cannot be read."""
        ...

    @property
    def only_batch(self) -> int | None:
        """The one batch that runs, of a file that states none; None where others run, or may."""
        ...

    @property
    def tensors(self) -> frozenset[str]:
        """Names of the tensors of the file that it computes."""
        ...

    def refusal(self, what: str) -> OnnxLrpError:
        """Return the error for a request that needs layers."""
        ...

    def scores(self, inputs: Mapping[str, Array], tensors: Sequence[str]) -> dict[str, Array]:
        """Compute tensors of the file, each with a row for each sample."""
        ...


@dataclass(frozen=True)
class Head:
    """The end of a model: how the scores of classes are made of logits.

    Attributes:
        logits: The tensor that is explained, before the functions at the end.
        scores: The last tensor with a number for each class, which a decision such as ArgMax has not.
        kind: How scores are read: "Softmax", "LogSoftmax", "Sigmoid" or "LogSigmoid" of the logits; "" for logits of
            classes themselves, or a single value; "Scores" of classes that are shown and explained as they stand;
            "Values" of a regression; "Distances" to the centres of clusters, the smallest best; "Pairs" of decisions
            between two classes each, in the order (0, 1), (0, 2), … (1, 2), ….
        functions: The functions between logits and scores, in the order in which they run.
        decision: The output itself is a decision made of the scores.
        stated: The kind is stated by the user or the file: it is no guess.
        unit: The inner tensor whose unit is the one score (`graph.outputs.unit_output`); "" where classes are scored.
        remark: What the user is told besides: that the output falls where scores rise, say.
        meaning: What the logits are, where they are made for the explanation alone (`Graph.explained`); else "".
        ranking: A number for each class by which the model chooses the best; "" where the logits are those.
        decider: The operator that makes the decision, such as "ArgMax"; "" where none is made.
    """

    logits: str
    scores: str
    kind: str = ""
    functions: tuple[str, ...] = ()
    decision: bool = False
    stated: bool = False
    unit: str = ""
    remark: str = ""
    meaning: str = ""
    ranking: str = ""
    decider: str = ""

    @property
    def needs(self) -> tuple[str, ...]:
        """The tensors that the head is read from: scores, logits and ranking."""
        return tuple(dict.fromkeys(name for name in (self.scores, self.logits, self.ranking) if name))

    @property
    def start(self) -> str:
        """The tensor where relevance starts: the logits, or that of a unit."""
        return self.unit or self.logits


def shape_in(constants: Mapping[str, Array], name: str) -> tuple[int, ...]:
    """Return the shape of a constant, which is known before its values are read.

    Args:
        constants: Constants of a graph.
        name: The name of one.
    """
    known: Mapping[str, tuple[int, ...]] | None = getattr(constants, "shapes", None)
    return constants[name].shape if known is None else known[name]


class Switch(NamedTuple):
    """An input that chose a branch of the file.

    Attributes:
        value: Which branch was read: True for `then_branch`.
        stated: Somebody gave the value; else it is assumed.
        others: Inputs that the other branch reads alone.
    """

    value: bool
    stated: bool
    others: tuple[str, ...]


@dataclass(frozen=True)
class Graph:
    """A checked, folded, batch-free model.

    `layers` are in topological order, `constants` maps names to arrays (BatchNormalization folded in float64),
    `shapes` gives every activation's shape per sample: the batch is axis 0 of every activation and is not in `shapes`.
    `batch` is None where any batch size runs, else the only size that does.
    `inputs` lists the true inputs alone (no initialisers); `outputs` in the model's order.
    `dtypes` gives the type of every activation, `opsets` the version of each operator domain.
    `batch_axes` names the axis of the batch in the file, of inputs and outputs that have it elsewhere than on axis 0;
    -1 of an input that is one sample, without a batch.
    `data_files` are what the model calls the other files that it has weights in, relative to its own.
    `open_axes` names, for each input, the axes per sample that the file leaves open and nobody fixed: axis → name.
    `head` is how the user states that the output is to be read; None leaves that to `heads.head_of`.
    `scalars` are the inputs of shape [], constants here: name → number, None where it is not given.
    `switches` are the inputs that chose a branch of the file, of which `layers` has this one; `scalars` has those that
    were stated.
    `explained` has, for tensors of scores that no layer-wise rule can begin at (votes of a support vector machine, the
    distances of a clustering), the heads that explain them: that of `head="logits"`, then others by `heads.decide`.
    `categories` has, for columns of words of an input, the code of each word: input → column → word → code; 0 stands
    for words that the model does not know.
    `text` makes the explained input, counts of n-grams, of a text, where the file reads one.
    `opaque` runs the untouched file, where its layers cannot be read: then one layer stands for all of them.
    """

    layers: tuple[Layer, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    constants: Mapping[str, Array]
    shapes: Mapping[str, tuple[int, ...]]
    dtypes: Mapping[str, str] = field(default_factory=dict)
    opsets: Mapping[str, int] = field(default_factory=lambda: {"": 23})
    batch: int | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    source: str = ""
    sha256: str = ""
    data_files: tuple[str, ...] = ()
    open_axes: Mapping[str, Mapping[int, str]] = field(default_factory=dict)
    batch_axes: Mapping[str, int] = field(default_factory=dict)
    head: Head | None = None
    scalars: Mapping[str, float | None] = field(default_factory=dict)
    switches: Mapping[str, Switch] = field(default_factory=dict)
    opaque: Opaque | None = None
    explained: Mapping[str, tuple[Head, ...]] = field(default_factory=dict)
    categories: Mapping[str, Mapping[int, Mapping[str, int]]] = field(default_factory=dict)
    text: TextReader | None = None

    def constant_shape(self, name: str) -> tuple[int, ...]:
        """The shape of a constant, which is known before its values are read."""
        return shape_in(self.constants, name)

    def producer(self, tensor: str) -> Layer | None:
        """The layer that writes a tensor; None for inputs and constants."""
        return self._producers().get(tensor)

    def consumers(self, tensor: str) -> tuple[Layer, ...]:
        """The layers that read a tensor, in order."""
        table: dict[str, tuple[Layer, ...]] | None = self.__dict__.get("_consumer_table")
        if table is None:
            read: dict[str, list[Layer]] = {}
            for layer in self.layers:
                for name in dict.fromkeys(layer.inputs):
                    read.setdefault(name, []).append(layer)
            table = {name: tuple(layers) for name, layers in read.items()}
            object.__setattr__(self, "_consumer_table", table)
        return table.get(tensor, ())

    def _producers(self) -> dict[str, Layer]:
        table: dict[str, Layer] | None = self.__dict__.get("_producer_table")
        if table is None:
            table = {name: layer for layer in self.layers for name in layer.outputs if name}
            object.__setattr__(self, "_producer_table", table)
        return table


# Of names that are looked up: a file's own tensor called OUT/places must not be taken for one of these.
_MARK = "/onnxlrp."


def name_of_places(tensor: str) -> str:
    """Return the name of the tensor that holds where the elements of a result come from (see `canonical.places`)."""
    return f"{tensor}{_MARK}places"


def name_of_condition(tensor: str) -> str:
    """Return the name of the tensor that holds a condition as a number (see `canonical.where_conditions`)."""
    return f"{tensor}{_MARK}chosen"
