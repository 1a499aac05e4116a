"""What explains a kernel machine, a clustering or a mixture: a branch of layers with the same decision.

Of it every rule can be asked; what the file computes is left as it is.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...graph import Head, Layer
from ...operators import COMPARISONS, COPIES, SOFTMAXES, SQUARES
from ...rewriting.mutable_graph import MutableGraph
from . import svm
from .branch import Branch
from .quadratic import distances
from .votes import votes_of

_WIDEST = 1 << 26  # numbers of one sample that a branch may hold


def neuralize(graph: MutableGraph) -> None:
    """Add to each support vector machine, clustering and mixture the layers that explain it.

    Args:
        graph: Has the shapes of all activations, the batch on axis 0. Gets `explained`.
    """
    layers: list[Layer] = []
    for layer in graph.layers:
        layers += _added(graph, layer)
    graph.layers = layers
    squares = any(layer.op in SQUARES | {"Mul"} for layer in layers)
    for layer in [*layers] if squares else []:
        if layer.op == "ArgMin" or layer.op in SOFTMAXES:
            graph.layers += _of_distances(graph, layer)


def is_explained(graph: MutableGraph) -> bool:
    """Return whether no support vector machine is left that `neuralize` would add layers to."""
    return not any(_machine(graph, layer) for layer in graph.layers)


def _machine(graph: MutableGraph, layer: Layer) -> svm.Machine | None:
    """The machine of a layer that has no branch yet; None for any other layer."""
    machine = svm.read(layer)
    if machine is None or any(name in graph.explained for name in layer.outputs):
        return None
    weights = np.concatenate([machine.coefficients, machine.intercepts[:, None]], axis=1)
    if machine.kernel == "RBF" and not ((weights > 0).any(axis=1) & (weights < 0).any(axis=1)).all():
        return None  # a decision that no sample changes: nothing stands against it
    functions, (count, width) = len(machine.coefficients), machine.vectors.shape
    fits = graph.shapes.get(layer.inputs[0]) == (graph.batch, width)
    return machine if fits and count * max(width, 2 * functions) <= _WIDEST else None


def _added(graph: MutableGraph, layer: Layer) -> list[Layer]:
    machine = _machine(graph, layer)
    if machine is None:
        return [layer]
    branch, x = Branch(graph, layer), layer.inputs[0]
    if graph.dtypes.get(x, "float32") != "float32":
        x = branch.add("Cast", x, word="floats", shape=machine.vectors.shape[1:], to=1, saturate=1)
    (_classes if machine.classes else _value)(branch, machine, x)
    return [layer, *branch.layers]


def _classes(branch: Branch, machine: svm.Machine, x: str) -> None:
    """Explain the decisions of each class against its rivals."""
    graph, classes = branch.graph, machine.classes
    label, scores = (*branch.layer.outputs, "")[:2]
    decisions = svm.log_ratios(branch, machine, x) if machine.kernel == "RBF" else svm.values(branch, machine, x)
    what = _WHAT[machine.kernel]
    turned = branch.add("Neg", decisions, word="turned", shape=machine.intercepts.shape)
    both = branch.add("Concat", decisions, turned, word="both", shape=(2 * len(machine.intercepts),), axis=1)
    row = {pair: n for n, pair in enumerate(svm.pairs_of(classes))}
    mine = [[row[i, j] if i < j else row[j, i] + len(row) for j in range(classes) if j != i] for i in range(classes)]
    places = np.array(mine)
    if classes == 2:
        logits = branch.take(both, places.reshape(-1), "logits", (2,))
        heads = [Head(logits, scores, "Scores", meaning=f"{what}, of the class against the other")]
    else:
        against = branch.take(both, places, "against_rivals", places.shape)
        won = branch.add("Greater", against, branch.constant(np.array(0.0), "none"), word="won", shape=places.shape)
        graph.dtypes[won] = "bool"
        counted = branch.add("Cast", won, word="won_as_numbers", shape=places.shape, to=1, saturate=1)
        votes = branch.reduce("ReduceSum", counted, 2, "votes", (classes,))
        heads = [
            Head(logits, scores, "Scores", meaning=f"{what}, of the class against {rival}", ranking=votes)
            for logits, rival in (
                (branch.reduce("ReduceMin", against, 2, "logits", (classes,)), "its strongest rival"),
                (branch.reduce("ReduceMean", against, 2, "mean_logits", (classes,)), "the mean of its rivals"),
            )
        ]
    pairwise = scores and classes > 2 and graph.shapes[scores] == (graph.batch, len(row))
    probable = bool(branch.layer.attributes.get("prob_a"))
    voted = votes_of(graph, scores, classes) if pairwise and not probable else []
    for name in filter(None, (label, scores, *voted)):
        shown = name if name in voted else scores or heads[0].logits
        kind = "Pairs" if pairwise and name not in voted and not probable else "Scores"
        made = (replace(head, scores=shown, kind=kind, decision=name == label) for head in heads)
        graph.explained[name] = tuple(made)


def _of_distances(graph: MutableGraph, layer: Layer) -> list[Layer]:
    """Explain the nearest centre, or the likeliest component, of squared distances."""
    tensor = layer.inputs[0]
    nearest = layer.op == "ArgMin"
    if layer.attributes.get("axis") not in (1, -1) or len(graph.shapes.get(tensor, ())) != 2:
        return []
    made = None if tensor in graph.explained else distances(graph, tensor)
    if made is None or made.sign != (1 if nearest else -1) or (nearest and not made.plain):
        return []
    count, width = made.centres.shape
    if count < 2 or made.scales.size > _WIDEST:
        return []
    branch = Branch(graph, layer)
    row = branch.unsqueeze(made.root, 1, "row", (1, width))
    apart = branch.add("Sub", row, branch.constant(made.centres, "centres"), word="differences", shape=(count, width))
    if made.scales.ndim == 3:
        rows = branch.unsqueeze(apart, 2, "rows", (count, 1, width))
        scales = branch.constant(made.scales.transpose(0, 2, 1), "scales")
        scaled = branch.add("MatMul", rows, scales, word="scaled_rows", shape=(count, 1, width))
        axis = branch.constant(np.array([2]), "axis")
        apart = branch.add("Squeeze", scaled, axis, word="scaled", shape=(count, width))
    elif not np.allclose(made.scales, 1):
        apart = branch.add("Mul", apart, branch.constant(made.scales, "scales"), word="scaled", shape=(count, width))
    squares = branch.reduce("ReduceSumSquare", apart, 2, "distances", (count,))
    others = np.array([[k for k in range(count) if k != c] for c in range(count)])
    if nearest:
        rivals = branch.reduce("ReduceMin", branch.take(squares, others, "rivals", others.shape), 2, "rival", (count,))
        logits = branch.add("Sub", rivals, squares, word="logits", shape=(count,))
        head = Head(logits, tensor, "Distances", meaning=_NEAREST)
    else:
        turned = branch.add("Neg", squares, word="turned", shape=(count,))
        own = branch.constant(made.constants, "constants")
        densities = branch.add("Add", turned, own, word="densities", shape=(count,))
        rivals = branch.take(densities, others, "rivals", others.shape)
        rest = branch.reduce("ReduceLogSumExp", rivals, 2, "rest", (count,))
        logits = branch.add("Sub", densities, rest, word="logits", shape=(count,))
        head = Head(logits, tensor, "Scores", meaning=_LIKELIEST)
    roots = [reader.outputs[0] for reader in graph.layers if reader.op == "Sqrt" and reader.inputs[0] == tensor]
    for name in (tensor, *(roots if nearest else ())):
        graph.explained[name] = (replace(head, scores=name),)
    if nearest:
        graph.explained[layer.outputs[0]] = (replace(head, decision=True),)
    return branch.layers


def _value(branch: Branch, machine: svm.Machine, x: str) -> None:
    """Explain one value."""
    graph, out = branch.graph, branch.layer.outputs[0]
    decisions, meaning = _decisions(graph, out), _WHAT[machine.kernel]
    if machine.kernel != "RBF":
        logits = svm.values(branch, machine, x)
    elif machine.one_class or decisions or not _of_two_signs(machine):
        meaning += ", for a decision above 0"
        logits = svm.log_ratios(branch, machine, x)
    else:
        meaning += f", for a value above {float(machine.intercepts[0]):.4g}, its intercept"
        logits = svm.log_ratios(branch, machine._replace(intercepts=np.zeros(1)), x)
    head = Head(logits, out, "Values", stated=True, meaning=meaning)
    graph.explained[out] = (head,)
    graph.explained |= {name: (replace(head, decision=True),) for name in decisions}


def _of_two_signs(machine: svm.Machine) -> bool:
    return bool((machine.coefficients > 0).any() and (machine.coefficients < 0).any())


def _decisions(graph: MutableGraph, value: str) -> list[str]:
    """The comparisons of a value with a number: decisions, as of one class."""
    values, found = {value}, []
    for layer in graph.layers:
        if values.intersection(layer.inputs):
            if layer.op in COMPARISONS:
                found.append(layer.outputs[0])
            elif layer.op in COPIES:
                values.update(layer.outputs)
    return found


_NEAREST = "how much farther the nearest other centre is than the cluster's own, in squared distances"
_LIKELIEST = "the log-odds of the component, ln p − ln (1 − p)"
_WHAT = {
    "LINEAR": "the decision function w·x + b",
    "RBF": "the evidence ln Σ₊ a k − ln Σ₋ |a| k of the support vectors",
    "POLY": "the decision function, along the path from the mean of the support vectors",
    "SIGMOID": "the decision function, along the path from the mean of the support vectors",
}
