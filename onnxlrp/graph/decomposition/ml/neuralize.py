"""What explains a kernel machine: a branch of layers with the same decision, of which every rule can be asked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ...graph import Head, Layer
from ...operators import COMPARISONS, COPIES
from ...rewriting.mutable_graph import MutableGraph
from . import svm
from .branch import Branch
from .votes import votes_of

_WIDEST = 1 << 26  # numbers of one sample that a branch may hold


def neuralize(graph: MutableGraph) -> None:
    """Add to each support vector machine the layers that explain it; those of a regression take its place.

    Args:
        graph: Has the shapes of all activations, the batch on axis 0. Gets `explained`.
    """
    layers: list[Layer] = []
    for layer in graph.layers:
        layers += _added(graph, layer)
    graph.layers = layers


def is_explained(graph: MutableGraph) -> bool:
    """Return whether no support vector machine is left that `neuralize` would add layers to."""
    return not any(_machine(graph, layer) for layer in graph.layers)


def _machine(graph: MutableGraph, layer: Layer) -> svm.Machine | None:
    """The machine of a layer that has no branch yet; None for any other layer."""
    machine = svm.read(layer)
    if machine is None or any(name in graph.explained for name in layer.outputs):
        return None
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
    if machine.classes:
        _classes(branch, machine, x)
        return [layer, *branch.layers]
    _value(branch, machine, x)
    return branch.layers


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
    voted = votes_of(graph, scores, classes) if pairwise and not branch.layer.attributes.get("prob_a") else []
    for name in filter(None, (label, scores, *voted)):
        shown = name if name in voted else scores or heads[0].logits
        graph.explained[name] = tuple(replace(head, scores=shown, decision=name == label) for head in heads)


def _value(branch: Branch, machine: svm.Machine, x: str) -> None:
    """Explain one value, which is written in the place of the operator."""
    graph, out = branch.graph, branch.layer.outputs[0]
    value, decisions = svm.values(branch, machine, x), _decisions(graph, out)
    meaning, logits = _WHAT[machine.kernel], value
    if machine.kernel == "RBF":
        decides = machine.one_class or decisions or not _of_two_signs(machine)
        meaning += ", for a decision above 0"
        if not decides:
            level = float(machine.intercepts[0])
            machine = machine._replace(intercepts=np.zeros(1))
            meaning = f"{_WHAT['RBF']}, for a value above {level:.4g}, its intercept"
        logits = svm.log_ratios(branch, machine, x)
    last = branch.layers
    if machine.one_class:
        above = branch.add("Greater", value, branch.constant(np.array(0.0), "zero"), word="above", shape=(1,))
        graph.dtypes[above] = "bool"
        one = branch.add("Cast", above, word="as_number", shape=(1,), to=1, saturate=1)
        twice = branch.add("Mul", one, branch.constant(np.array(2.0), "two"), word="twice", shape=(1,))
        value = branch.add("Sub", twice, branch.constant(np.array(1.0), "one"), word="sign", shape=(1,))
    last.append(Layer("Identity", branch.layer.name, branch.layer.path, (value,), (out,)))
    graph.dtypes[out] = "float32"
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


_WHAT = {
    "LINEAR": "the decision function w·x + b",
    "RBF": "the evidence ln Σ₊ a k − ln Σ₋ |a| k of the support vectors",
    "POLY": "the decision function, along the path from the mean of the support vectors",
    "SIGMOID": "the decision function, along the path from the mean of the support vectors",
}
