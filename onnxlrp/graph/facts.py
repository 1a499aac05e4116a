"""Facts about a graph that hold for every input: signs, first layers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from . import operators
from .graph import Array, Graph, Layer, name_of_condition, name_of_places, shape_in
from .recurrence import with_states

INTEGRAL = frozenset({"bool", "int32", "int64"})


def nonnegative(graph: Graph) -> frozenset[str]:
    """Return the activations that are >= 0 whatever the input is."""
    known = {t.name for t in graph.inputs if t.dtype.startswith("uint") or t.dtype == "bool"}
    for layer in graph.layers:
        if _is_nonnegative(graph, layer, known):
            known.update(name for name in layer.outputs if name)
    return frozenset(known)


def _is_nonnegative(graph: Graph, layer: Layer, known: set[str]) -> bool:
    def holds(name: str) -> bool:
        return name in known or (name in graph.constants and bool((graph.constants[name] >= 0).all()))

    op, inputs = layer.op, [name for name in layer.inputs if name]
    if op in operators.NONNEGATIVE:
        return True
    if op == "Clip":
        low = scalar(graph, layer, 1, -np.inf)
        return low is not None and (low >= 0 or (holds(inputs[0]) and (scalar(graph, layer, 2, np.inf) or 0) >= 0))
    if op == "ThresholdedRelu" and layer.attributes.get("alpha", 1.0) >= 0:
        return True
    if op == "Max":
        return any(holds(name) for name in inputs)
    if op == "Mul" and inputs[0] == inputs[1]:
        return True
    if op == "Pow":
        exponent = scalar(graph, layer, 1, None)
        return holds(inputs[0]) or (exponent is not None and exponent % 2 == 0)
    if op == "Pad":
        value = scalar(graph, layer, 2, 0.0)
        return holds(inputs[0]) and (layer.attributes.get("mode") != "constant" or (value is not None and value >= 0))
    if op == "Resize":
        outside = layer.attributes.get("extrapolation_value", 0.0)
        return holds(inputs[0]) and layer.attributes.get("mode") != "cubic" and outside >= 0
    if op == "Where":
        return all(holds(name) for name in inputs[1:])
    if op == "DequantizeLinear":
        zero = graph.constants.get(inputs[2]) if len(inputs) > 2 else np.zeros(1)
        dtype = graph.dtypes.get(inputs[0], "")
        lowest = np.iinfo(dtype).min if dtype in ("uint8", "int8", "uint16", "int16") else None
        return zero is not None and bool((zero == lowest).all()) and holds(inputs[1])
    if op in operators.ROUTES or op in operators.AXES_AS_OPERAND:  # axes may be counted from the end
        return holds(inputs[0])
    if op in operators.KEEPS_SIGN:
        return all(holds(name) for name in inputs)
    return False


def scalar(graph: Graph, layer: Layer, position: int, default: float | None) -> float | None:
    """Return a scalar constant operand; the default where it is absent, None where it is no constant."""
    name = layer.inputs[position] if len(layer.inputs) > position else ""
    if not name:
        return default
    value = graph.constants.get(name)
    return None if value is None or value.size != 1 else float(value.reshape(()))


def relevant(graph: Graph, inputs: Iterable[str], target: str, states: bool = True) -> frozenset[str]:
    """Return the names of the layers on a path from the inputs to a tensor.

    A path leads through numbers: a comparison, and the indices that a layer reads, have no relevance. Ids are explained
    at the rows of the table that they look up (`looked_up`): a path leads from them straight to these.

    Args:
        graph: The graph.
        inputs: Tensors where paths begin.
        target: The tensor where they end.
        states: Whether paths lead through the states of recurrent layers too, which go round.
    """
    reached, behind = set(inputs), set()
    for layer in graph.layers:
        if reached.intersection(layer.inputs) or reached.intersection((looked_up(graph, layer),)):
            floats = [name for name in layer.outputs if graph.dtypes.get(name) not in INTEGRAL]
            reached.update(floats)
            behind.update(floats)
    needed, names = with_states(graph.layers, {target}) if states else {target}, set()
    for layer in reversed(graph.layers):
        if needed & behind & set(layer.outputs):
            names.add(layer.name)
            needed.update(layer.inputs)
    return frozenset(names)


def needed(graph: Graph, ends: Iterable[str], without: Layer | None = None) -> tuple[tuple[Layer, ...], set[str]]:
    """Return the layers that tensors need, in order, and all tensors that these read, the first ones among them.

    Args:
        graph: The graph.
        ends: The tensors.
        without: A layer that does not belong to them, nor what it alone reads.
    """
    names: set[str] = set()
    layers: set[int] = set()
    left = list(ends)
    while left:
        name = left.pop()
        if not name or name in names:
            continue
        names.add(name)
        layer = graph.producer(name)
        if layer is None or layer is without or id(layer) in layers:
            continue
        layers.add(id(layer))
        left += [*layer.inputs, *_beside(graph, layer)]
    return tuple(layer for layer in graph.layers if id(layer) in layers), names


def _beside(graph: Graph, layer: Layer) -> list[str]:
    """Return the tensors that the relevance of a layer reads and the layer itself does not."""
    names = [name_of_condition(layer.inputs[0])] if layer.op == "Where" else []
    names += [name_of_places(out) for out in layer.outputs if out]
    return [name for name in names if graph.producer(name) is not None]


def has_trees(graph: Graph) -> bool:
    """Return whether a graph has a layer of trees, which have no gradient and no rules."""
    return any(layer.op in operators.TREES for layer in graph.layers)


def is_recurrent(graph: Graph) -> bool:
    """Return whether a graph is a recurrent network: it has recurrent layers, or cells written step by step."""
    if any(layer.op == operators.PREVIOUS for layer in graph.layers):
        return True
    return applies_again(graph.layers, graph.constants)


def applies_again(layers: Sequence[Layer], constants: Mapping[str, Array]) -> bool:
    """Return whether layers multiply by a matrix again what was made of its product, as cells do at each step.

    Args:
        layers: The layers of a graph, in order.
        constants: The constants of the graph.
    """
    matrices = {layer.name: _matrices(constants, layer) for layer in layers}
    uses = Counter(name for names in matrices.values() for name in names)
    bits = {name: 1 << n for n, name in enumerate(name for name, count in uses.items() if count > 1)}
    if not bits:
        return False
    behind: dict[str, int] = {}  # tensor -> the matrices that it is made with, as bits
    for layer in layers:
        made = 0
        for name in layer.inputs:
            made |= behind.get(name, 0)
        own = 0
        for name in matrices[layer.name]:
            own |= bits.get(name, 0)
        if own & made:
            return True
        if made | own:
            behind.update(dict.fromkeys(layer.outputs, made | own))
    return False


def _matrices(constants: Mapping[str, Array], layer: Layer) -> list[str]:
    """The names of the constant matrices that a layer multiplies by."""
    if layer.op == operators.JOINT:
        return [name for name in layer.inputs[1:-1:2] if name]
    if layer.op not in operators.MATRIX_PRODUCTS:
        return []
    names = [name for name in layer.inputs[:2] if name in constants and len(shape_in(constants, name)) == 2]
    return names if len(names) == 1 else []


def looked_up(graph: Graph, layer: Layer) -> str:
    """Return the input of the model whose ids a layer looks up in a table of embeddings; "" where it is none.

    The table is a constant with a row for each id. Between the input and the layer may stand what keeps each id
    its own and in its place: reshapes, casts, an offset, bounds, and the choice between an id and the same from the
    end. Positions that are counted from ids, or masks made of them, are no ids.

    Args:
        graph: The graph.
        layer: Any layer.
    """
    if layer.op != "Gather" or layer.inputs[0] not in graph.constants or layer.attributes.get("axis", 0) != 0:
        return ""
    if len(graph.constant_shape(layer.inputs[0])) < 2:
        return ""  # one value for each number is a curve of brightness
    return _ids_of(graph, layer.inputs[1])


def takes_ids(graph: Graph) -> bool:
    """Return whether the first input holds numbers of words: integers, or floats that a table is read at."""
    source = graph.inputs[0]
    return "int" in source.dtype or any(looked_up(graph, layer) == source.name for layer in graph.layers)


def _ids_of(graph: Graph, tensor: str) -> str:
    """The input whose ids a tensor holds, in their order; "" where there is no one such input."""
    layer = graph.producer(tensor)
    if layer is None:
        return tensor if tensor in {source.name for source in graph.inputs} else ""
    if (chosen := _chosen_by_products(graph, layer)) is not None:
        found = {_ids_of(graph, name) for name in chosen}
        return found.pop() if len(found) == 1 else ""
    if layer.op not in operators.KEEPS_IDS:
        return ""
    live = [name for name in layer.inputs if name and name not in graph.constants]
    live = live[1:] if layer.op == "Where" and layer.inputs[0] in live else live
    live = live[:1] if layer.op in operators.RESHAPES else live
    found = {_ids_of(graph, name) for name in live}
    return found.pop() if len(found) == 1 else ""


def _chosen_by_products(graph: Graph, layer: Layer) -> list[str] | None:
    """The operands a and b of a choice written as a·m + b·(1 − m) with a condition m as a number; None for another."""
    if layer.op != "Add":
        return None
    chosen, conditions = [], []
    for name in layer.inputs:
        product = graph.producer(name)
        if product is None or product.op != "Mul":
            return None
        found = {n: _condition(graph, n) for n in product.inputs}
        masks = [condition for condition in found.values() if condition is not None]
        if len(masks) != 1 or len(found) != 2:
            return None
        conditions += masks
        chosen += [n for n, condition in found.items() if condition is None]
    (a, turned), (b, back) = conditions
    return chosen if a == b and turned != back else None


def _condition(graph: Graph, name: str) -> tuple[str, bool] | None:
    """The condition that a number 0 or 1 stands for, and whether it is turned round; None for other numbers."""
    layer, turned = graph.producer(name), False
    if layer is None or layer.op != "Cast":
        return None
    name = layer.inputs[0]
    while (layer := graph.producer(name)) is not None and (layer.op == "Not" or layer.op in operators.COPIES):
        turned ^= layer.op == "Not"
        name = layer.inputs[0]
    return (name, turned) if layer is not None and layer.op in operators.INEQUALITIES else None


def cancels(graph: Graph, layer: Layer) -> bool:
    """Return whether a sum may be exactly zero although its terms are not, as x + |x| and x − max x are.

    One term is computed from the other without weights, by elementwise functions, reductions and reshapes.

    Args:
        graph: The model.
        layer: A sum or difference.
    """
    live = [name for name in layer.inputs if name not in graph.constants]
    found = [_without_weights(graph, name) for name in live]
    return any(found[i] & found[j] and live[i] != live[j] for i in range(len(live)) for j in range(i))


def _without_weights(graph: Graph, tensor: str) -> set[str]:
    """The tensor, and those of which it is a function of one operand each, without weights."""
    chain = {tensor}
    while (layer := graph.producer(tensor)) is not None and layer.op in operators.WITHOUT_WEIGHTS:
        live = [name for name in layer.inputs if name and name not in graph.constants]
        if len(live) != 1:
            break
        tensor = live[0]
        chain.add(tensor)
    return chain


def depends(graph: Graph, source: str, target: str) -> bool:
    """Return whether a tensor is computed from another, by numbers, comparisons or indices."""
    reached = {source}
    for layer in graph.layers:
        if reached.intersection(layer.inputs):
            reached.update(layer.outputs)
    return target in reached


def first_layers(graph: Graph, tensor: str) -> frozenset[str]:
    """Return the names of the first layers with weights on the paths from a tensor, past its preprocessing.

    Behind a table of embeddings there is none: rules for first layers are meant for pixels.
    """
    if any(looked_up(graph, layer) == tensor for layer in graph.layers):
        return frozenset()  # nor behind a mask that is made of the ids
    open_tensors, names = {tensor}, set()
    for layer in graph.layers:
        if not open_tensors.intersection(layer.inputs):
            continue
        if is_weighted(graph, layer):
            names.add(layer.name)
        else:
            open_tensors.update(layer.outputs)
    return frozenset(names)


def is_weighted(graph: Graph, layer: Layer) -> bool:
    """Return whether a layer applies a constant kernel or matrix to an activation."""
    if layer.op not in operators.WEIGHTED | operators.RECURRENT | {operators.JOINT}:
        return False
    operands = layer.inputs[:2] if layer.op in ("MatMul", "Einsum") else (layer.inputs[1],)
    return any(name in graph.constants and len(graph.constant_shape(name)) > 1 for name in operands)
