"""Heads: the functions at the end of a model, found by structure, and the logits before them."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from ...errors import UsageError
from .. import operators
from ..graph import Graph, Head, Layer
from .head_patterns import PATTERNS, Role, Step, number

REVERSED = "the output falls where the score of a class rises: --head as-is explains it itself"
EMBEDDING = (
    "an embedding {why}, and no scores of classes: its largest value is explained; --similar-to FILE explains how "
    "similar it is to another, --task classification takes it for scores"
)
SPANS = (
    "a score of each token, where an answer or a part of the text {ends}, by its name: the classes are positions; -t 3 "
    "explains the token at 3, --output the other end"
)
MARGINS = "margins of a linear classifier: explained, and shown, as they stand"

_AS_LOGARITHM = {"Softmax": "LogSoftmax", "Sigmoid": "LogSigmoid"}
_OF_LOGARITHM = {logarithm: kind for kind, logarithm in _AS_LOGARITHM.items()}
# Names that exporters and authors give to outputs that are no scores of classes.
_VALUES = re.compile(
    r"(?i)(^|[^a-z])(variable|regress\w*|box(es)?|bbox\w*|landmarks?|keypoints?|coord\w*|depths?|disparit\w*|flow|"
    r"forecasts?|quantiles?|recon(struct\w*)?|denoised|upscaled|restored)([^a-z]|$)"
)
_EMBEDDINGS = re.compile(
    r"(?i)embed(?!ded)|(^|[^a-z])(latents?|pooler_output|x_?vectors?|d_?vectors?|features?)([^a-z]|$)"
)
_SPANS = re.compile(r"(?i)(?:^|[^a-z])(start|end)_?(?:logits?|scores?|probs?|probabilities|positions?)(?:[^a-z]|$)")
_OWN_SCORES = operators.ops("ai.onnx.ml::TreeEnsembleClassifier ai.onnx.ml::SVMClassifier")
_OWN_VALUES = operators.ops("ai.onnx.ml::TreeEnsembleRegressor ai.onnx.ml::SVMRegressor")


def head(graph: Graph, output: str) -> str:
    """Return the logit tensor of an output: the one before Softmax, Sigmoid, ArgMax and similar functions."""
    return head_of(graph, output).logits


def head_of(graph: Graph, output: str) -> Head:
    """Return the head of an output: what the user states (`Graph.head`), else what its structure and name tell.

    Args:
        graph: The graph.
        output: A tensor, such as an output of the model.
    """
    if graph.head is not None and graph.head.scores == output:
        return graph.head
    known: dict[str, Head] = graph.__dict__.setdefault("_head_table", {})  # it never changes, and methods ask often
    if output not in known:
        found = _walk(graph, output)
        found = found if found.functions or found.kind or found.meaning else _unscored(graph, found)
        known[output] = found if found.remark or found.decision else replace(found, remark=_of_a_span(graph, output))
    return known[output]


def decide(
    graph: Graph, output: str, task: str | None = None, as_it_stands: bool = False, mean_rivals: bool = False
) -> Head:
    """Return the head of an output under what the user states of it.

    Args:
        graph: The graph.
        output: The output's name.
        task: "classification" or "regression"; None for what the head, the metadata or a guess say.
        as_it_stands: Explain the output itself, whatever its last function is.
        mean_rivals: Explain a class of a support vector machine against the mean of its rivals, not the strongest.

    Raises:
        UsageError: `mean_rivals` of an output that has no such classes.
    """
    found = head_of(graph, output)
    if mean_rivals:
        found = _against_the_mean(graph, output, found)
    if as_it_stands or (task == "regression" and found.functions):
        found = Head(output, output, "Scores", stated=True)
    if task == "regression":
        return replace(found, kind="Values", stated=True, remark="")
    if task == "classification" and found.kind in ("Values", ""):
        return replace(found, kind="", stated=True, remark="")
    return found


def _walk(graph: Graph, output: str) -> Head:
    """The head as far as layers tell it, by walking back from the output."""
    found, tensor = Head(output, output), output
    behind: list[str] = []  # functions that belong to the head if a scoring or a decision stands before them
    turned, before_turn = False, ""  # whether the output falls where the tensor rises; what stands before the last turn
    separate = False
    while tensor not in graph.explained and (layer := graph.producer(tensor)) is not None:
        step = next((s for pattern in PATTERNS if (s := pattern(graph, layer)) is not None), None)
        if step is None or step.operand not in graph.shapes:
            break
        tensor, turned = step.operand, turned != step.reverses
        if step.role is Role.BEHIND and step.reverses:
            behind, before_turn = [], tensor
        elif step.role is Role.BEHIND:
            behind += [step.function] if step.function else []
            if layer.op == "QuantizeLinear" and graph.dtypes.get(found.scores) in ("uint8", "int8"):
                found = Head(
                    tensor, tensor, decision=found.decision, decider=found.decider
                )  # the scores are what the integers stand for
        elif step.role is Role.COPY:
            found = found if behind or before_turn else replace(found, logits=tensor)
        elif step.role in (Role.DECISION, Role.THRESHOLD):
            found = Head(tensor, tensor, decision=True, remark=REVERSED * turned, decider=layer.op)
            behind, before_turn, separate = [], "", step.role is Role.THRESHOLD
        else:
            if before_turn:
                found = replace(found, scores=before_turn, remark=REVERSED * turned)
            found, behind, before_turn = _scored(found, step, behind[::-1]), [], ""
    if tensor in graph.explained:
        return _explained(found, graph.explained[tensor][0])
    if separate and not found.functions and int(np.prod(graph.shapes.get(found.logits, ()))) > 1:
        return replace(found, kind="Scores")
    return found


def _explained(found: Head, made: Head) -> Head:
    """The head that was made for an explanation, with the scores of the output that is asked for."""
    decision = found.decision or made.decision
    scores = made.scores if decision else found.scores
    return replace(made, scores=scores, decision=decision, decider=found.decider or made.decider)


def _against_the_mean(graph: Graph, output: str, found: Head) -> Head:
    for heads in graph.explained.values():
        if len(heads) > 1 and found.logits == heads[0].logits:
            return _explained(found, heads[1])
    raise UsageError(
        f'output "{output}" has no rivals of which a mean is explained',
        "leave out --head mean-rivals: it is for support vector machines of three classes or more",
    )


def _scored(found: Head, step: Step, behind: list[str]) -> Head:
    """The head with a scoring function before what is found already."""
    kind = found.kind or step.function
    if not found.functions:
        for function in behind:
            if function == "Log":
                kind = _AS_LOGARITHM.get(kind, kind)
            elif function != "Clip":
                kind = _OF_LOGARITHM.get(kind, kind)
    functions = (step.function, *behind, *found.functions)
    return replace(found, logits=step.operand, kind=kind, functions=functions)


def _unscored(graph: Graph, found: Head) -> Head:
    """The head of scores that no known function makes of logits: their kind, stated by the file or guessed."""
    if int(np.prod(graph.shapes.get(found.logits, ()))) < 2:
        return found
    task = next((graph.metadata[key].lower() for key in ("onnxlrp.task", "task") if key in graph.metadata), "")
    layer = graph.producer(found.logits)
    if found.logits in graph.metadata.get("onnxlrp.margins", "").splitlines():
        return replace(found, kind="Scores", stated=True, remark=MARGINS)
    if "regress" in task or (layer is not None and layer.op in _OWN_VALUES):
        return replace(found, kind="Values", stated=True)
    classified = found.logits in graph.metadata.get("onnxlrp.classifiers", "").splitlines()
    own = classified or _decides_itself(graph, found.logits) or (layer is not None and _opposites(graph, layer))
    if own or _of_probabilities(graph, found.logits, {}):
        return replace(found, kind="Scores")
    if "classif" in task:
        return replace(found, stated=True)
    if found.decision:
        return found
    if why := _of_an_embedding(graph, found.logits):
        return replace(found, kind="Values", remark=EMBEDDING.format(why=why))
    of_values = _VALUES.search(found.logits) or _is_a_picture(graph, found.logits)
    return replace(found, kind="Values") if of_values else found


def _is_a_picture(graph: Graph, tensor: str) -> bool:
    """Whether an output [1 or 3, H, W] is a picture: bounded by Tanh or Clip, or larger than a picture that goes in."""
    shape = graph.shapes.get(tensor, ())
    if len(shape) != len("CHW") or shape[0] not in (1, 3) or min(shape[1:]) < 2:
        return False
    layer = graph.producer(tensor)
    while layer is not None and layer.op in operators.COPIES:
        layer = graph.producer(layer.inputs[0])
    inputs = [t.shape for t in graph.inputs if len(t.shape) == len(shape) and t.shape[0] == shape[0]]
    larger = any(all(n > m and n % m == 0 for n, m in zip(shape[1:], at[1:], strict=True)) for at in inputs)
    return larger or (layer is not None and layer.op in ("Tanh", "Clip"))


def _of_a_span(graph: Graph, output: str) -> str:
    """What is said of scores of the first or last token of an answer, one for each token of a text; "" of others."""
    word = _SPANS.search(output)
    shape = graph.shapes.get(output, ())
    if word is None or len(shape) != 1 or not any(t.shape == shape and "int" in t.dtype for t in graph.inputs):
        return ""
    return SPANS.format(ends="begins" if word[1].lower() == "start" else "ends")


def _of_an_embedding(graph: Graph, tensor: str) -> str:
    """What tells that an output, one vector for each sample, is an embedding; "" where nothing does."""
    if sum(n != 1 for n in graph.shapes.get(tensor, ())) != 1:
        return ""
    return embedding(graph, tensor)


def embedding(graph: Graph, tensor: str) -> str:
    """Return what tells that a tensor is an embedding: "by its name", "by its division by its norm", or "".

    Args:
        graph: The graph.
        tensor: The tensor.
    """
    layer = graph.producer(tensor)
    if layer is not None and layer.op in operators.ENDS_OF_A_NORMALISATION:
        from .embedding_output import is_normalised  # which plain logits do without

        if is_normalised(graph, tensor):
            return "by its division by its norm"
    return "by its name" if _EMBEDDINGS.search(tensor) else ""


def _opposites(graph: Graph, layer: Layer) -> bool:
    """Whether a layer gives a decision function twice, as [-d, d]: two columns of scikit-learn."""
    if layer.op != "Concat" or len(layer.inputs) != 2:
        return False

    def turned(name: str, other: str) -> bool:
        before = graph.producer(name)
        if before is None or before.op not in ("Neg", "Mul") or other not in before.inputs:
            return False
        return before.op == "Neg" or any(number(graph, factor) == -1 for factor in before.inputs)

    return turned(*layer.inputs) or turned(*layer.inputs[::-1])


def _decides_itself(graph: Graph, tensor: str) -> bool:
    """Whether a classifier that gives scores of its own stands before a tensor."""
    needed = {tensor}
    for layer in reversed(graph.layers):
        if needed.intersection(layer.outputs):
            if layer.op in _OWN_SCORES:
                return True
            needed.update(layer.inputs)
    return False


def _of_probabilities(graph: Graph, tensor: str, known: dict[str, bool]) -> bool:
    """Whether a tensor is arithmetic on probabilities alone, such as the mean of two Softmaxes."""
    if tensor not in known:
        known[tensor] = False
        layer = graph.producer(tensor)
        if layer is not None and layer.op in operators.BOUNDED_SCORES:
            known[tensor] = True
        elif layer is not None and layer.op in operators.MIXES_SCORES:
            live = [name for name in layer.inputs if name and name not in graph.constants]
            known[tensor] = bool(live) and all(_of_probabilities(graph, name, known) for name in live)
    return known[tensor]
