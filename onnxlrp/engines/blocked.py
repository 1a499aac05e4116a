"""Elementwise nodes in the blocked layout of onnxruntime's convolutions, which saves reordering tensors around them.

On CPUs onnxruntime's optimiser gives convolutions and poolings a layout in which 8 or 16 channels lie side by side, and
puts ReorderInput and ReorderOutput around what has none: of elementwise operators it knows few. A graph that it has
optimised is edited here: each elementwise node whose operands have one shape runs in the layout that costs the least in
all, which is a minimum cut. So does a Reshape that makes one axis of targets and samples, or two of it. The values stay
the same bit by bit, for the operators that are moved compute each element alone, and exactly rounded.

Where the number of channels is no multiple of the block, a blocked tensor has lanes behind the last channel. Filters
have zeros there, so that a convolution ignores them, unless one holds NaN or an infinity. What they hold is therefore
followed through the graph, and a node that would leave there what is no finite number (0 / 0) stays plain.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import onnx
from onnx import helper, numpy_helper

from .cut import Network

DOMAIN = "com.microsoft.nchwc"
# Exactly rounded, element by element; operands beside the first may be numbers.
ELEMENTWISE = frozenset({"Abs", "Add", "Clip", "Div", "HardSigmoid", "Max", "Min", "Mul", "Neg", "Relu", "Sub"})
BLOCK = 16  # what channels are padded to, for costs; processors without AVX-512 have half of it

# What it costs to reorder an element, in accesses of an elementwise node.
REORDER = 3.0


class _Tensor:
    """A tensor in one or both layouts.

    Attributes:
        plain: Its name in the plain layout, "" where it has none.
        blocked: Its name in the blocked layout, "" where it has none.
        channels: How many channels a blocked tensor has, 0 where no reorder and no shape says so.
        shape: [C, H, W], the last of its axes; None where it is not known to have these and one or two before.
        targets: How many tensors of this shape each sample has: 1, or the targets of the program.
        leads: Whether the targets have an axis of their own: [T, N, C, H, W], which no reorder takes.
        maker: The node that computes it, None for inputs and initialisers.
        home: Whether that node computes it blocked.
        readers: The nodes that read it, and whether they read it blocked. None is what must stay: outputs, subgraphs.
    """

    def __init__(self) -> None:
        self.plain = self.blocked = ""
        self.channels = 0
        self.shape: tuple[int, ...] | None = None
        self.targets, self.leads = 1, False
        self.maker: int | None = None
        self.home = False
        self.readers: list[tuple[int | None, bool]] = []

    @property
    def size(self) -> int:
        """Elements of a sample, for all targets."""
        return self.targets * math.prod(self.shape or ())

    @property
    def padding(self) -> int:
        """Elements of a sample in lanes behind the last channel, for all targets."""
        channels, *inner = self.shape or (0,)
        return self.targets * (-channels % BLOCK) * math.prod(inner)


class Saved(NamedTuple):
    """What has been done to a graph.

    Attributes:
        moved: How many nodes have another layout than before.
        before: How many nodes reorder tensors before.
        after: How many do afterwards.
    """

    moved: int
    before: int
    after: int


def move_elementwise(graph: Any, shapes: Mapping[str, tuple[int, ...]]) -> Saved:
    """Move elementwise nodes to the layout that costs the least, and put reorders where they are needed then.

    Args:
        graph: A GraphProto that onnxruntime has optimised. It is changed.
        shapes: The shapes of tensors, without the first axis, beside those that the graph states.
    """
    reorders = sum(map(_is_reorder, graph.node))
    if not reorders:
        return Saved(0, 0, 0)
    return _Layouts(graph, shapes).apply(reorders)


def _is_reorder(node: Any) -> bool:
    return node.domain == DOMAIN and node.op_type in ("ReorderInput", "ReorderOutput") and not _channels_last(node)


def _channels_last(node: Any) -> bool:
    return any(a.name == "channels_last" and a.i for a in node.attribute)


class _Layouts:
    """The tensors of a graph, and the layout of each of its nodes."""

    def __init__(self, graph: Any, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self.graph = graph
        self.vectors = {
            t.name: t for t in graph.initializer if t.data_type == onnx.TensorProto.INT64 and not t.external_data
        }
        self.numbers = {t.name: t for t in graph.initializer if math.prod(t.dims) == 1 and len(t.dims) <= 4}
        filters = {node.input[1] for node in graph.node if node.domain == DOMAIN and node.op_type == "Conv"}
        self.divisor = math.gcd(*(t.dims[0] for t in graph.initializer if t.name in filters and t.dims))
        self.tensors: dict[str, _Tensor] = {}  # by each name
        self.kept: list[int] = []  # nodes but for the reorders that may go
        self.reordered: set[str] = set()  # what those that are put in their place make
        self._find_tensors()
        self._find_shapes(shapes)
        self.movable = {n: self._is_blocked(n) for n in self.kept if self._fits(n)}

    # -- what there is

    def _find_tensors(self) -> None:
        nodes = self.graph.node
        for n, node in enumerate(nodes):
            given, result = (node.input[0], node.output[0]) if _is_reorder(node) else ("", "")
            out = node.op_type == "ReorderOutput"
            tensor = self._tensor(given) if given else None
            if tensor is None or (tensor.plain if out else tensor.blocked):  # a second reorder of a tensor stays
                self.kept.append(n)
                continue
            tensor.plain, tensor.blocked = (result, given) if out else (given, result)
            tensor.home, tensor.channels = out, next((a.i for a in node.attribute if a.name == "channels"), 0)
            self.tensors[result] = tensor
        made = {name for node in nodes for name in node.output}
        for n in self.kept:
            node = nodes[n]
            inside = node.domain == DOMAIN or any(map(self._reads_blocked, node.input))
            for name in filter(None, node.output):
                tensor = self._tensor(name)
                tensor.maker, tensor.home = n, inside and node.op_type != "ReorderOutput"
                if tensor.home:
                    tensor.blocked = name
                else:
                    tensor.plain = name
            reads: list[tuple[int | None, str]] = [(n, name) for name in node.input if name]
            for reader, name in (*reads, *((None, name) for name in _inner_reads(node))):
                self._note_reader(name, reader, name in made)
        for value in self.graph.output:
            self._note_reader(value.name, None, value.name in made)

    def _note_reader(self, name: str, reader: int | None, made: bool) -> None:
        tensor = self._tensor(name)
        if not made:  # an input, an initialiser, or a name of a subgraph's own
            tensor.plain = name
        tensor.readers.append((reader, self._reads_blocked(name)))

    def _tensor(self, name: str) -> _Tensor:
        return self.tensors.setdefault(name, _Tensor())

    def _reads_blocked(self, name: str) -> bool:
        tensor = self.tensors.get(name)
        return tensor is not None and bool(name) and tensor.blocked == name

    def _is_blocked(self, n: int) -> bool:
        return self._result(n).home

    def _find_shapes(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        stored = {t.name for t in self.graph.initializer}
        for name, shape in shapes.items():
            if name in self.tensors and name not in stored and self.tensors[name].plain == name and len(shape) == 3:
                self.tensors[name].shape = shape
        for value in (*self.graph.value_info, *self.graph.input, *self.graph.output):
            tensor = self.tensors.get(value.name)
            if tensor is not None and value.name not in stored and tensor.plain == value.name:
                dims, tensor.shape = value.type.tensor_type.shape.dim, _shape(value)
                if tensor.shape and len(dims) == 5:
                    tensor.leads, tensor.targets = True, max(1, dims[0].dim_value)
        # The operands of what onnxruntime has put into the blocked layout itself have one shape.
        same = [n for n in self.kept if self.graph.node[n].op_type in ELEMENTWISE and self._is_blocked(n)]
        for order in (same, same[::-1]):
            for n in order:
                around = [*self._operands(n), self._result(n)]
                known = {t.shape for t in around if t.shape}
                for tensor in around if len(known) == 1 else ():
                    (tensor.shape,) = known
        for n in self.kept:
            if self.graph.node[n].op_type in ELEMENTWISE and not (result := self._result(n)).shape:
                operands = self._operands(n)
                if operands and all(t.shape == operands[0].shape for t in operands):
                    result.shape = operands[0].shape
                    result.leads = any(t.leads for t in operands)
                    result.targets = max(t.targets for t in operands)

    def _result(self, n: int) -> _Tensor:
        return self.tensors[self.graph.node[n].output[0]]

    def _operands(self, n: int) -> list[_Tensor]:
        """Return the tensors of a node that have its layout: neither numbers nor shapes."""
        node = self.graph.node[n]
        return [self.tensors[name] for name in node.input if self._has_layout(node, name)]

    def _has_layout(self, node: Any, name: str) -> bool:
        return bool(name) and (name == node.input[0] if node.op_type == "Reshape" else name not in self.numbers)

    def _fits(self, n: int) -> bool:
        """Return whether a node may have either layout."""
        node = self.graph.node[n]
        if node.domain or len(node.output) != 1 or not (node.op_type in ELEMENTWISE or self._folds(node)):
            return False
        shape, operands = self._result(n).shape, self._operands(n)
        return bool(shape and operands) and all(t.shape == shape for t in operands)

    def _folds(self, node: Any) -> bool:
        """Return whether a Reshape makes one axis of targets and samples, or two of it; then it knows the targets."""
        if node.op_type != "Reshape" or node.input[1] not in self.vectors:
            return False
        given, result = (self.tensors[name] for name in (node.input[0], node.output[0]))
        numbers = numpy_helper.to_array(self.vectors[node.input[1]]).tolist()
        if not result.shape or self._lanes(result) or tuple(numbers[-3:]) != result.shape:
            return False
        given.targets = result.targets = max(given.targets, result.targets)
        return True

    # -- which layout each gets

    def apply(self, before: int) -> Saved:
        """Choose the layouts, and change the graph."""
        fixed: set[int] = set()  # stay plain
        while True:
            chosen = self._cheapest(fixed)
            if not (unsafe := self._unsafe(chosen)):
                break
            fixed |= unsafe
        moved = sum(chosen[n] != now for n, now in self.movable.items())
        if not moved:
            return Saved(0, before, before)
        self._rewrite(chosen)
        return Saved(moved, before, sum(map(_is_reorder, self.graph.node)))

    def _cheapest(self, plain: set[int]) -> dict[int, bool]:
        """Return for each node that may have either layout whether it is blocked, at the least cost of all."""
        chosen: dict[int, bool] = {}
        for part in self._parts():
            network = Network()
            around: dict[int, _Tensor] = {}
            for n in part:
                near = [*self._operands(n), self._result(n)]
                around |= {id(t): t for t in near}
                wider = near[-1].padding * len(near)
                network.edge(n, network.sink, math.inf if n in plain else float(wider))
            for key, tensor in around.items():
                self._add_reorders(network, key, tensor)
            side = network.source_side()
            chosen |= {n: n in side for n in part}
        return chosen

    def _add_reorders(self, network: Network, key: int, tensor: _Tensor) -> None:
        """Add what it costs that a tensor is read in the layout that it is not made in: once, for all readers."""

        def vertex(n: int | None, blocked: bool) -> Any:
            return n if n in self.movable else network.source if blocked else network.sink

        maker = vertex(tensor.maker, tensor.home)
        cost = math.inf if tensor.leads else REORDER * (tensor.size + tensor.padding)
        network.edge(maker, ("out", key), cost)
        network.edge(("in", key), maker, cost)
        for n, blocked in tensor.readers:
            network.edge(("out", key), vertex(n, blocked))
            network.edge(vertex(n, blocked), ("in", key))

    def _parts(self) -> list[list[int]]:
        """Return the nodes that may have either layout, in groups that share tensors."""
        leader = {n: n for n in self.movable}

        def find(n: int) -> int:
            while leader[n] != n:
                leader[n] = leader[leader[n]]
                n = leader[n]
            return n

        by_tensor: dict[int, int] = {}
        for n in self.movable:
            for tensor in (*self._operands(n), self._result(n)):
                leader[find(n)] = find(by_tensor.setdefault(id(tensor), n))
        parts = defaultdict(list)
        for n in self.movable:
            parts[find(n)].append(n)
        return list(parts.values())

    def _unsafe(self, chosen: Mapping[int, bool]) -> set[int]:
        """Return the nodes that would leave in a lane what is no finite number, or is not known.

        What they leave there is taken as zero then: a node behind one of them is judged when it has moved.
        """
        held: dict[int, float] = {}  # what lanes hold, of blocked tensors whose maker is known
        causes: dict[int, set[int]] = {}  # the nodes that could stay plain, and have had a part in it
        unsafe: set[int] = set()
        for n in self.kept:
            node = self.graph.node[n]
            if not node.output or not chosen.get(n, self._is_blocked(n)):
                continue
            value = self._lane(node, chosen, held)
            sums = node.input[3:] if node.domain == DOMAIN and node.op_type == "Conv" else node.input
            cause = set().union(*(causes.get(id(self.tensors[name]), ()) for name in sums if name))
            cause |= {n} if chosen.get(n) else set()
            tensor = self.tensors[node.output[0]]
            if cause and not math.isfinite(value) and self._lanes(tensor):
                unsafe |= {n} if chosen.get(n) else cause
                value = 0.0
            held[id(tensor)], causes[id(tensor)] = value, cause
        return unsafe

    def _lanes(self, tensor: _Tensor) -> bool:
        """Return whether there may be lanes behind the last channel: the block divides the rows of all filters."""
        return tensor.shape is None or not self.divisor or bool(tensor.shape[0] % self.divisor)

    def _lane(self, node: Any, chosen: Mapping[int, bool], held: Mapping[int, float]) -> float:
        """Return what a blocked node leaves in lanes behind the last channel; NaN where it is not known."""

        def lane(name: str) -> float:
            tensor = self.tensors[name]
            if id(tensor) in held:
                return held[id(tensor)]
            made_blocked = tensor.home if tensor.maker is None else chosen.get(tensor.maker, tensor.home)
            return math.nan if made_blocked else 0.0  # what is reordered has zeros there

        if node.domain == DOMAIN and node.op_type == "Conv":
            total = lane(node.input[3]) if len(node.input) > 3 and node.input[3] else 0.0
            return _activated(node, total)
        if node.domain == DOMAIN and node.op_type == "ReorderInput":
            return 0.0
        if node.domain == DOMAIN and node.op_type in ("MaxPool", "GlobalMaxPool"):
            return lane(node.input[0])
        if node.domain == DOMAIN:  # means and interpolations of the same value
            return 0.0 if lane(node.input[0]) == 0 else math.nan
        given = [self._number(name) if name in self.numbers else lane(name) if name else None for name in node.input]
        return _element(node, given)

    def _number(self, name: str) -> float:
        tensor = self.numbers[name]
        if tensor.external_data:
            return math.nan
        return float(numpy_helper.to_array(tensor).reshape(()))

    # -- the graph with them

    def _rewrite(self, chosen: Mapping[int, bool]) -> None:
        for n, blocked in chosen.items():
            self.tensors[self.graph.node[n].output[0]].home = blocked
        made: list[Any] = []
        for n in self.kept:
            node = self.graph.node[n]
            if n in chosen:
                given = [self._name(name, chosen[n]) if self._has_layout(node, name) else name for name in node.input]
                result = self._name(node.output[0], chosen[n])
                del node.input[:], node.output[:]
                node.input.extend(given)
                node.output.append(result)
            self._reorder(made, (*node.input, *_inner_reads(node)))
            made.append(node)
        self._reorder(made, (value.name for value in self.graph.output))
        nodes = [type(node).FromString(node.SerializeToString()) for node in made]
        left = {name for node in nodes for name in node.output}
        known = [value for value in self.graph.value_info if value.name in left and self._is_plain(value.name)]
        del self.graph.node[:], self.graph.value_info[:]
        self.graph.node.extend(nodes)
        self.graph.value_info.extend(known)

    def _name(self, name: str, blocked: bool) -> str:
        """Return the name of a tensor in a layout."""
        tensor = self.tensors[name]
        if not (tensor.blocked if blocked else tensor.plain):
            wish = f"{tensor.plain or tensor.blocked}/{'blocked' if blocked else 'plain'}"
            fresh, k = wish, 1
            while fresh in self.tensors:
                fresh, k = f"{wish}_{k}", k + 1
            self.tensors[fresh] = tensor
            if blocked:
                tensor.blocked = fresh
            else:
                tensor.plain = fresh
        return tensor.blocked if blocked else tensor.plain

    def _reorder(self, made: list[Any], names: Iterable[str]) -> None:
        """Append the nodes that give tensors another layout than that they are made in, unless they are there."""
        for name in names:
            tensor = self.tensors.get(name)
            if tensor is None or name in self.reordered or name == self._name(name, tensor.home):
                continue
            self.reordered.add(name)
            given = self._name(name, tensor.home)
            if tensor.home:
                channels = tensor.channels or (tensor.shape or (0,))[0]
                made.append(helper.make_node("ReorderOutput", [given], [name], domain=DOMAIN, channels=channels))
            else:
                made.append(helper.make_node("ReorderInput", [given], [name], domain=DOMAIN))

    def _is_plain(self, name: str) -> bool:
        return name not in self.tensors or self.tensors[name].blocked != name


def _shape(value: Any) -> tuple[int, ...] | None:
    kind = value.type.tensor_type
    inner = kind.shape.dim[-3:]
    if kind.elem_type != 1 or len(kind.shape.dim) not in (4, 5) or not all(d.dim_value > 0 for d in inner):
        return None
    return tuple(d.dim_value for d in inner)


def _inner_reads(node: Any) -> Iterator[str]:
    """Yield the names that the subgraphs of a node read."""
    for attribute in node.attribute:
        for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            for step in inner.node:
                yield from filter(None, step.input)
                yield from _inner_reads(step)
            yield from (value.name for value in inner.output)


# -- single elements


def _activated(node: Any, x: float) -> float:
    """Return the activation of a convolution of a number."""
    found = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    kind: str = found.get("activation", b"").decode()
    given: list[float] = found.get("activation_params", [])
    if kind in ("", "Relu", "LeakyRelu", "Tanh") and x == 0:
        return 0.0
    if kind == "":
        return x
    if kind == "Relu":
        return max(x, 0.0)
    if kind == "Clip" and len(given) == 2:
        return min(max(x, given[0]), given[1])
    if kind == "HardSigmoid" and len(given) == 2:
        return min(max(given[0] * x + given[1], 0.0), 1.0)
    return math.nan


def _element(node: Any, x: list[float | None]) -> float:
    """Return what an elementwise operator makes of numbers, None for an operand that is left out; NaN: not known."""
    if any(value is not None and math.isnan(value) for value in x):
        return math.nan
    a = np.array([0.0 if value is None else value for value in x], np.float32)
    found = {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}
    with np.errstate(all="ignore"):
        match node.op_type:
            case "Add":
                return float(a[0] + a[1])
            case "Sub":
                return float(a[0] - a[1])
            case "Mul":
                return float(a[0] * a[1])
            case "Div":
                return float(a[0] / a[1])
            case "Abs":
                return float(abs(a[0]))
            case "Neg":
                return float(-a[0])
            case "Relu":
                return float(max(a[0], np.float32(0)))
            case "Max":
                return float(a.max())
            case "Min":
                return float(a.min())
            case "HardSigmoid":
                alpha, beta = found.get("alpha", 0.2), found.get("beta", 0.5)
                return float(min(max(np.float32(alpha) * a[0] + np.float32(beta), np.float32(0)), np.float32(1)))
            case "Clip":
                low = a[1] if len(x) > 1 and x[1] is not None else -math.inf
                high = a[2] if len(x) > 2 and x[2] is not None else math.inf
                return float(min(max(a[0], low), high))
    return math.nan
