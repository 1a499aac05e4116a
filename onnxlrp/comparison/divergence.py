"""Divergence of two models: the distance of their activations on the same samples, layer by layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Any

import numpy as np
import numpy.typing as npt

from ..graph import facts, operators
from ..graph.graph import Graph, Layer
from ..graph.outputs import heads
from ..graph.outputs.units import of_tensor
from ..model import Model

Array = npt.NDArray[Any]

INPUT = "input"  # the name of the first row
FLOOR = 1e-4  # difference of two runtimes on one deep float32 network
_CHUNK_BYTES = 256 << 20  # bytes of activations


@dataclass(frozen=True)
class Pair:
    """A layer of A and the layer of B that computes the same.

    Attributes:
        path: The path of the layer in A.
        a: The name of its node in A.
        b: The name of its node in B.
    """

    path: str
    a: str
    b: str


@dataclass(frozen=True)
class LayerDivergence:
    """The drift of a layer.

    Attributes:
        layer: The path of the layer in A.
        drift: The relative L2 distance |a - b| / |a| of its activations over all samples; 1 where A's are all zero and
            B's are not.
    """

    layer: str
    drift: float


@dataclass(frozen=True)
class Divergence:
    """The drift of every layer that both models have.

    Attributes:
        rows: The layers, from the input on.
        floor: Drift up to which layers count as equal.
    """

    rows: Sequence[LayerDivergence]
    floor: float

    @property
    def first(self) -> LayerDivergence | None:
        """The first layer whose drift is above the floor."""
        return next((row for row in self.rows if not row.drift <= self.floor), None)

    @property
    def before(self) -> LayerDivergence | None:
        """The layer before the first one that diverges."""
        first = self.first
        at = self.rows.index(first) if first else 0
        return self.rows[at - 1] if at else None

    @property
    def steepest(self) -> tuple[LayerDivergence, float] | None:
        """The layer whose drift rises most above all layers before it, and the largest drift of those."""
        best: tuple[LayerDivergence, float] | None = None
        highest = 0.0
        for n, row in enumerate(self.rows):
            if n and row.drift > highest and (best is None or row.drift - highest > best[0].drift - best[1]):
                best = row, highest
            highest = max(highest, row.drift)
        return best


@dataclass(eq=False)
class DivergenceMeter:
    """Accumulates squares of activations and of their differences, batch by batch.

    Attributes:
        a: The first model, which the other is measured against.
        b: The second model.
        batch_size: Samples of a batch of activations; None for all.
        squares: Σ|a - b|² and Σ|a|² by layer.
        noise: The largest relative difference between A's activations alone and in a batch; None before it is measured.
    """

    a: Model
    b: Model
    batch_size: int | None = None
    squares: dict[str, Array] = field(default_factory=dict)  # layer → (Σ|a - b|², Σ|a|²)
    noise: float | None = None

    def __post_init__(self) -> None:
        self._sized: dict[tuple[tuple[int, ...], tuple[int, ...]], tuple[Model, Model, list[Pair]]] = {}

    def add(self, x: Array, y: Array, at: Array | None = None) -> None:
        """Add a batch of samples.

        Args:
            x: The samples [N, …] as A takes them.
            y: The same samples as B takes them.
            at: Their rows [N] in the models' other inputs; None for 0, 1, ….
        """
        at = np.arange(len(x)) if at is None else at
        a, b, found = self._at(x.shape[1:], y.shape[1:])
        if x.shape == y.shape:
            self._accumulate(INPUT, x, y)
        unmeasured = self.noise is None and self.a.graph.batch is None
        for part in _chunks(found, a.graph, len(x)):
            left, right = (_activations(m, z, names, at, self.batch_size) for m, z, names in (
                (a, x, [p.a for p in part]), (b, y, [p.b for p in part])))  # fmt: skip
            for pair in part:
                self._accumulate(pair.path, left[pair.a], right[pair.b])
            if unmeasured:
                # The runtime computes a sample alone and in a batch in different orders: noise, not divergence.
                alone = _activations(a, x[:1], [p.a for p in part], at[:1], 1)
                self.noise = max(self.noise or 0.0, *(_relative(*_squares(left[p.a][:1], alone[p.a])) for p in part))

    def result(self, floor: float | None = None) -> Divergence:
        """Compute the drift of every layer over all samples added.

        Args:
            floor: Drift that counts as none; None for 10 times A's own noise, at least FLOOR.
        """
        order = dict.fromkeys([INPUT, *(pair.path for *_, found in self._sized.values() for pair in found)])
        rows = [LayerDivergence(path, _relative(*self.squares[path])) for path in order if path in self.squares]
        return Divergence(rows, max(FLOOR, 10 * (self.noise or 0.0)) if floor is None else floor)

    def _at(self, *shapes: tuple[int, ...]) -> tuple[Model, Model, list[Pair]]:
        """The models at the sizes of a batch, where files leave these open, and the pairs of their layers."""
        key = (shapes[0], shapes[1])
        if key not in self._sized:
            a, b = self.a.at(shapes[0]), self.b.at(shapes[1])
            self._sized[key] = a, b, pairs(a.graph, b.graph)
        return self._sized[key]

    def _accumulate(self, path: str, a: Array, b: Array) -> None:
        self.squares[path] = self.squares.get(path, np.zeros(2)) + _squares(a, b)


def pairs(a: Graph, b: Graph) -> list[Pair]:
    """Match the layers of two graphs, in A's order: by path and shape, else by the order of operators and shapes.

    The result of a module is that of its last layer. Some files fold a BatchNormalization into the convolution before
    it: its result counts as the convolution's.
    """
    left, right = _modules(a), _modules(b)
    shared = [
        Pair(path, layer.name, right[path].name)
        for path, layer in left.items()
        if path in right and _shape(a, layer) == _shape(b, right[path])
    ]
    if len(shared) >= 2:
        return shared
    first, second = ([layer for layer in _layers(g) if layer.op not in operators.ROUNDINGS] for g in (a, b))
    tokens = [[(layer.op, _shape(g, layer)) for layer in layers] for g, layers in ((a, first), (b, second))]
    blocks = SequenceMatcher(None, tokens[0], tokens[1], autojunk=False).get_matching_blocks()
    return [
        Pair(first[block.a + n].label, first[block.a + n].name, second[block.b + n].name)
        for block in blocks
        for n in range(block.size)
    ]


def _modules(graph: Graph) -> dict[str, Layer]:
    """Return the last layer of each path, in the order of the graph."""
    last: dict[str, Layer] = {}
    for layer in _layers(graph):
        source = _normalized(graph, layer)
        for label in (layer.label, *([source.label] if source else [])):
            last.pop(label, None)
            last[label] = layer
    return last


def _layers(graph: Graph) -> list[Layer]:
    """Return the layers between the explained input and the logits whose results are floats."""
    logits = heads.head(graph, graph.outputs[0].name)
    relevant = facts.relevant(graph, (graph.inputs[0].name,), logits)
    return [
        layer
        for layer in graph.layers
        if layer.name in relevant and "float" in graph.dtypes.get(layer.outputs[0], "float32")
    ]


def _normalized(graph: Graph, layer: Layer) -> Layer | None:
    """Return the layer with weights that a BatchNormalization normalizes, None for any other layer."""
    if layer.op != "BatchNormalization":
        return None
    source = graph.producer(layer.inputs[0])
    while source is not None and source.op in operators.ROUNDINGS:
        source = graph.producer(source.inputs[0])
    return source if source is not None and source.op in operators.WEIGHTED else None


def _shape(graph: Graph, layer: Layer) -> tuple[int, ...]:
    return graph.shapes[layer.outputs[0]]


def _chunks(pairs: Sequence[Pair], graph: Graph, samples: int) -> Iterator[list[Pair]]:
    """Split the pairs into as few chunks as keep their activations within memory."""
    shapes = {layer.name: _shape(graph, layer) for layer in graph.layers}
    piece: list[Pair] = []
    size = 0
    for pair in pairs:
        wanted = 4 * samples * int(np.prod(shapes[pair.a]))
        if piece and size + wanted > _CHUNK_BYTES:
            yield piece
            piece, size = [], 0
        piece.append(pair)
        size += wanted
    if piece:
        yield piece


def _activations(
    model: Model, x: Array, names: Sequence[str], at: Array, batch_size: int | None
) -> Mapping[str, Array]:
    x = x.astype(model.graph.inputs[0].dtype, copy=False)
    results = {layer.name: layer.outputs[0] for layer in model.graph.layers}
    asked = [of_tensor(model.graph, results[name], name) for name in dict.fromkeys(names)]
    found = model.outputs(x, activations=asked, at=at, batch_size=batch_size)
    return {name: found[f"activation/{name}"] for name in names}


def _squares(a: Array, b: Array) -> Array:
    a, b = a.astype(np.float64), b.astype(np.float64)
    return np.array([np.square(a - b).sum(), np.square(a).sum()])


def _relative(difference: float, size: float) -> float:
    if not difference:
        return 0.0
    return float(np.sqrt(difference / size)) if size else 1.0
