"""Selection of the explained output and input: the graph cut down to what lies between them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ...errors import UnsupportedError, UsageError, did_you_mean
from ...graph import facts
from ...graph.axes.input_axes import input_axes
from ...graph.graph import PAIRS, Array, Graph, Head, Layer, Tensor
from ...graph.names import unique_name
from ...graph.outputs import heads
from ...graph.outputs.place_output import Placed, TokensOf, is_map, with_place
from ...graph.outputs.places import LAST, Place, box_options
from ...graph.recurrence import with_states
from ...inputs import decide
from ...preprocessing import images
from ...preprocessing.fields import COLORS_OF
from ..options.explain import HEADS, TASKS
from .companions import is_beside_ids

if TYPE_CHECKING:
    from ...graph.outputs.detectors import Detector
    from ...graph.outputs.seed_output import Kind, Seeded
    from ...graph.outputs.units import Unit

Note = tuple[str, str]
AS_IS, MEAN_RIVALS = HEADS[1:]


class Stated(NamedTuple):
    """What the user says of output and input; None, and False, leave it open.

    Attributes:
        output: The output's name, or a unit.
        input: The input's name.
        task: "classification" or "regression".
        head: How the end of the model is read, as of `heads.decide`.
        place: Where an output with scores at many positions is explained.
        seeded: What is put in at the output, in the place of a class, as of `seed_output.Seeded`; None for nothing.
        boxes: How boxes are read and chosen (`places.box_options`).
    """

    output: str | None = None
    input: str | None = None
    task: str | None = None
    head: str | None = None
    place: Place | None = None
    seeded: Kind | None = None
    boxes: str | None = None


class Choice(NamedTuple):
    """An output and an input of a model, and what lies between them.

    Attributes:
        graph: A graph with one output, the scores that are explained. Its first input is the explained one; the others
            are those that the scores need too.
        output: The model's name of its output.
        input: The name of the explained input.
        head: How the output ends, such as in a Softmax.
        notes: Choices that the user did not make, each with what to type for another.
        unit: What is explained in the place of an output; None for an output.
        placed: Where an output with scores at many positions is explained; None for another, and where no place is
            asked for.
        seeded: Where a seed is put in, in the place of a class; None without one.
    """

    graph: Graph
    output: str
    input: str
    head: Head
    notes: tuple[Note, ...] = ()
    unit: Unit | None = None
    placed: Placed | None = None
    seeded: Seeded | None = None


def choose(
    graph: Graph,
    stated: Stated = Stated(),  # noqa: B008  # a tuple
    computed: bool = False,
    names: int | None = None,
    tokens: TokensOf | None = None,
) -> Choice:
    """Choose the output and the input to explain.

    Where nothing is said, the output is the first that has a score for each of several classes ([N, K], or
    [N, K, 1, 1]), states that a recurrent layer gives out left aside. The input is the one that is like a picture, else
    the first, of those that the output depends on. Of a unit (`graph.outputs.units`) the graph is what the unit needs.

    Args:
        graph: All of the model.
        stated: What the user says.
        computed: A place that depends on the sample is computed in the graph (`with_place`).
        names: The number of class names that the model states, which may tell how boxes are read.
        tokens: What tells tokens from padding, where the last token is computed in the graph.

    Raises:
        UsageError: A name or a place that is not there, an input on which the output does not depend, or a seed for one
            channel or position.
        UnsupportedError: A seed at an output of a model whose layers cannot be read.
        InputError: The file of a mask cannot be read, or does not fit.
    """
    output, explained, task, head, place, seeded, boxes = stated
    whole = graph
    asked = None if output is None or output in {t.name for t in graph.outputs} else _unit(graph, output)
    if asked is None:
        embedding = _embedding(graph) if output is None and seeded not in (None, "seed") else None
        name, notes = (embedding, _of_embedding(graph, embedding)) if embedding else _output(graph, output)
        found = heads.decide(graph, name, task, head == AS_IS, head == MEAN_RIVALS)
    else:
        from ...graph.outputs.unit_output import with_output

        graph, found = with_output(graph, asked)
        name, notes = found.logits, _of_a_sum(asked)
    if graph.dtypes.get(found.scores, "float32").startswith(("int", "uint", "bool")) and head == AS_IS:
        raise UsageError(f'output "{name}" is a decision, whose gradient is zero', "leave out --head as-is")
    inputs = {tensor.name: tensor for tensor in graph.inputs}
    if explained is not None and explained not in inputs:
        raise UsageError(f'no input is called "{explained}"', did_you_mean(explained, inputs))
    leading = [t for t in graph.inputs if facts.relevant(graph, (t.name,), found.logits)]
    if explained is not None and inputs[explained] not in leading and not facts.depends(graph, explained, name):
        raise UsageError(
            f'output "{name}" does not depend on input "{explained}"',
            f"give --input {' or '.join(t.name for t in leading)}" if leading else "name another output: --output NAME",
        )
    placed = None
    if place is not None and place.kind == "box":
        if asked is not None or computed or graph.opaque is not None:
            raise _no_boxes(graph, place, asked)
        from ...graph.outputs import detectors
        from ...graph.outputs.box_output import with_box

        detector = detectors.find(whole, box_options(boxes), output, names)
        graph, found, placed = with_box(graph, detector, place)
        name, notes = detector.boxes if place.values else detector.scores, _of_boxes(detector)
        if name not in {t.name for t in whole.outputs}:
            name = detector.boxes
    elif place is not None and is_map(graph, found):
        graph, found, placed = with_place(graph, found, place, _mask(place), computed, tokens)
        notes += _of_a_default(name, placed)
    put_in = None
    if seeded:
        from ...graph.outputs.seed_output import with_seed

        _check_seeded(graph, asked)
        graph, found, put_in = with_seed(graph, found, seeded)
        notes = () if asked is not None else notes
    source = inputs[explained] if explained else _most_like_a_picture(graph, leading or graph.inputs)
    if explained is None and len(leading) > 1:
        others = ", ".join(t.name for t in leading if t != source)
        notes += ((f"input {source.name} is explained, of {len(leading)}", f"--input NAME explains another: {others}"),)
    if name in _pairs(graph):
        beside = ", ".join(t.name for t in leading if t != source)
        notes += ((f"output {name} is that of each sample with what is given beside it", f"--given gives {beside}"),)
    between = _in_order_of_classes(_between(graph, found, source))
    if between.outputs[0].name != found.scores:
        turned = between.outputs[0].name
        found = replace(found, scores=turned) if found.meaning else heads.decide(between, turned, task, True)
    if found != heads.head_of(between, found.scores):
        between = replace(between, head=found)
    return Choice(between, asked.label if asked else name, source.name, found, notes, asked, placed, put_in)


def _embedding(graph: Graph) -> str | None:
    """The first output that is an embedding, one vector for each sample if there is one; None for no such."""
    found = [t.name for t in graph.outputs if heads.embedding(graph, t.name)]
    return next((name for name in found if _is_flat(graph.shapes[name])), next(iter(found), None))


def _of_embedding(graph: Graph, chosen: str) -> tuple[Note, ...]:
    if len(graph.outputs) == 1:
        return ()
    others = ", ".join(t.name for t in graph.outputs if t.name != chosen)
    return (
        (
            f"output {chosen} is compared, an embedding {heads.embedding(graph, chosen)}",
            f"--output NAME compares another: {others}, or a layer",
        ),
    )


def _no_boxes(graph: Graph, place: Place, asked: Unit | None) -> Exception:
    if graph.opaque is not None:
        return graph.opaque.refusal(f'a box, "{place}",')
    if asked is not None:
        return UsageError(f"target {place} at {asked.label}, which has no boxes", "leave out --output")
    return UnsupportedError(
        f"target {place}: which box it is differs between samples, and an exported file does not look for it",
        "explain it by onnxlrp, or export a class at a position of the output, -t input@0, or at all, -t input@all",
    )


def _of_boxes(detector: Detector) -> tuple[Note, ...]:
    """What is said of how boxes are read, where neither the structure nor the user tells it."""
    if not detector.guesses:
        return ()
    said = ", ".join(detector.guesses)
    return ((f"boxes are read by assumption: {said}", f"--boxes {','.join(detector.guesses)} states it"),)


def _check_seeded(graph: Graph, asked: Unit | None) -> None:
    """Raise UsageError for a seed of one channel or position, UnsupportedError where no layer can be read."""
    if graph.opaque is not None:
        raise graph.opaque.refusal("a seed at the output")
    if asked is not None and (asked.channel, asked.direction, asked.position) != (None, None, None):
        raise UsageError(
            f"a seed at {asked.label}, which is one number",
            "name the whole layer, and give a seed that is zero elsewhere",
        )


def _mask(place: Place) -> Array | None:
    """Read the mask of a place that is one: above black is inside. Raises InputError."""
    if place.kind != "mask":
        return None
    if place.path.lower().endswith(".npy"):
        return np.asarray(images.read_array(Path(place.path)) > 0)
    return np.asarray(np.asarray(images.read_image(Path(place.path))).max(axis=2) > 0)


def _of_a_default(output: str, placed: Placed) -> tuple[Note, ...]:
    """What is said of a place that the user did not name."""
    if placed.asked:
        return ()
    if placed.place == LAST:
        said = f"output {output} has scores at many places; explained is {placed.describe()}"
        return ((said, "-t CLASS@0 names a position, CLASS@-1 the last of the array"),)
    if placed.place.kind == "peak":
        said, one = f"output {output} has scores at many places; explained is", ",".join("0" * len(placed.space))
        more = f"; if {placed.place.numbers[0]} is a label: -t CLASS@peak" if placed.place.numbers[0] >= 0 else ""
        return ((f"{said} {placed.describe()}", f"-t CLASS explains another class, CLASS@{one} a position{more}"),)
    one, ends = ",".join("0" * len(placed.space)), ",".join(map(str, placed.space))
    more = "" if len(placed.space) == 1 else f", @{one},{ends} a region, @mask.png a mask"
    return (
        (
            f"output {output} has scores at many places; explained is {placed.describe()}",
            f"-t CLASS@{one} names a position{more}",
        ),
    )


def check_words(task: str | None, head: str | None) -> None:
    """Raise UsageError for a task or a head that does not exist."""
    for option, word, words in (("task", task, TASKS), ("head", head, HEADS)):
        if word is not None and word not in words:
            raise UsageError(f'{option} "{word}" does not exist', f"give {' or '.join(words)}")


def refuse_maps(choice: Choice, graph: Graph) -> None:
    """Raise UnsupportedError where the output has no one score for each class, naming outputs of `graph` that do."""
    if choice.placed is not None and choice.placed.detector is not None:
        raise UnsupportedError(f"the box of target {choice.placed.place} differs between samples", "-t CLASS@all")
    if choice.placed is not None and choice.placed.place == LAST:
        raise UnsupportedError(
            f'output "{choice.output}" is scored at the last token that is no padding, which differs between samples',
            "name a place that stays: -t CLASS@-1, CLASS@0",
        )
    if choice.placed is not None and choice.placed.place.kind == "peak":
        raise UnsupportedError(
            f'output "{choice.output}" is scored at the peak of the class, which differs between samples',
            f"name a place that stays: -t CLASS@{','.join('0' * len(choice.placed.space))}, CLASS@all",
        )
    if choice.placed is not None and choice.placed.input:
        raise UnsupportedError(
            f'output "{choice.output}" is scored where the class is predicted, which differs between samples',
            f"name a place that stays: -t CLASS@{','.join('0' * len(choice.placed.space))}, CLASS@all, CLASS@mask.png",
        )
    shape = choice.graph.shapes[choice.head.logits]
    if _is_flat(shape):
        return
    others = [t.name for t in graph.outputs if _is_flat(_logits(graph, t.name))]
    raise UnsupportedError(
        f'output "{choice.output}" is a map of {" x ".join(map(str, shape))} values, not one score for each class',
        f"explain another output: --output {' or '.join(others)}"
        if others
        else "end the model with one score for each class, such as a mean over the positions (GlobalAveragePool)",
    )


def _output(graph: Graph, output: str | None) -> tuple[str, tuple[Note, ...]]:
    names = [tensor.name for tensor in graph.outputs]
    if output is not None:
        return output, ()
    # One whose batch is elsewhere in the file is a state for the next run, beside others that have it on axis 0.
    results = [name for name in names if graph.batch_axes.get(name, 0) <= 0] or names
    # One that hands on a mask or a length tells nothing of the sample.
    sources = [tensor.name for tensor in graph.inputs]
    results = [name for name in results if facts.relevant(graph, sources, heads.head(graph, name))] or results
    flat = [name for name in results if _is_flat(_logits(graph, name))]
    several = [name for name in flat if math.prod(_logits(graph, name)) > 1]
    scored, values = ([n for n in some if not heads.head_of(graph, n).decision] for some in (several, flat))
    scores = [name for name in scored if heads.head_of(graph, name).kind != "Values"] or scored
    chosen = ([name for name in _pairs(graph) if name in names] or scores or several or values or flat or results)[0]
    if len(names) == 1:
        return chosen, ()
    others = ", ".join(name for name in names if name != chosen)
    return chosen, ((f"output {chosen} is explained, of {len(names)}", f"--output NAME explains another: {others}"),)


def _pairs(graph: Graph) -> list[str]:
    """The outputs that are logits of pairs: of each sample of one tower with that of the other beside it."""
    return graph.metadata.get(PAIRS, "").split("\n")


def _unit(graph: Graph, word: str) -> Unit:
    """Find the unit that is asked for as the output. Raises UsageError where there is none, nor an output."""
    if graph.opaque is not None:
        raise graph.opaque.refusal(f'"{word}", a result inside of the model,')
    from ...graph.outputs.units import UNKNOWN, unit

    try:
        return unit(graph, word)
    except UsageError as error:
        if not error.message.startswith(UNKNOWN):
            raise
        names = [tensor.name for tensor in graph.outputs]
        near = did_you_mean(word, names)
        fix = near if near.startswith("did") else f"outputs: {', '.join(names)}; {error.fix}"
        fix = f"{near}; files are named by -o" if _is_file(word) and not word.endswith(".npy") else fix
        raise UsageError(f'no output is called "{word}", and {error.message}', fix) from None


def _of_a_sum(asked: Unit) -> tuple[Note, ...]:
    """What is said of all channels of a layer, which are rarely meant."""
    if not (asked.channel is None and asked.direction is None and asked.channels > 1):
        return ()
    at = "" if asked.position is None else "@" + ",".join(map(str, asked.position))
    path = asked.label.removesuffix(at)
    return ((f"{asked.label}: {asked.describe()} is explained", f"--output {path}:CHANNEL{at} explains one channel"),)


def _is_file(word: str) -> bool:
    return word.lower().endswith((".png", ".npz", ".json", ".onnx", "/"))


def _logits(graph: Graph, output: str) -> tuple[int, ...]:
    return graph.shapes.get(heads.head(graph, output), ())


def _is_flat(shape: Iterable[int]) -> bool:
    """Whether there is one score for each class: no more than one axis is longer than 1."""
    return sum(n != 1 for n in shape) <= 1


def _most_like_a_picture(graph: Graph, inputs: Sequence[Tensor]) -> Tensor:
    return inputs[0] if len(inputs) == 1 else min(inputs, key=lambda t: _unlike_a_picture(graph, t))


def _unlike_a_picture(graph: Graph, tensor: Tensor) -> tuple[int, int]:
    """Smaller for what is explained first: pictures of 1 or 3 channels, token ids, other images, then other numbers.

    Of several ids those of the largest table go first, words, and last those called segments or positions. What is
    an image by its shape alone, as the keys of past tokens are, comes behind ids. One id for a sample is a category
    and no text.
    """
    if tensor.shape and (
        rows := [graph.constant_shape(y.inputs[0])[0] for y in graph.layers if facts.looked_up(graph, y) == tensor.name]
    ):
        return 1, 0 if is_beside_ids(tensor.name) else -max(rows)
    if not (tensor.dtype in ("uint8", "int8") or "float" in tensor.dtype):
        return 5, 0
    kind = decide(tensor.shape, tensor.dtype, graph=input_axes(graph, tensor))
    if not kind.is_image:
        return 4, 0
    return (3 if kind.channels not in COLORS_OF else 0 if kind.is_told else 2), 0


def _between(graph: Graph, head: Head, source: Tensor) -> Graph:
    """The layers and inputs that a head needs, `source` first; the graph itself where that is all of it."""
    scores = head.scores
    layers, names = facts.needed(graph, with_states(graph.layers, head.needs))
    rest = [t for t in graph.inputs if t.name in names and t != source]
    output = Tensor(scores, graph.shapes[scores], graph.dtypes.get(scores, "float32"))
    inputs = (source, *rest)
    if inputs == graph.inputs and graph.outputs == (output,):
        return graph
    return replace(graph, layers=layers, inputs=inputs, outputs=(output,))


def _in_order_of_classes(graph: Graph) -> Graph:
    """The scores in the order of the classes: those of an SVMClassifier of two classes stand the other way round.

    Its columns are d and -d, where d > 0 is the second class (a vote for it is a vote against the first).
    """
    scores = graph.outputs[0]
    layer = graph.producer(scores.name)
    while layer is not None and layer.op in ("Cast", "Identity"):
        layer = graph.producer(layer.inputs[0])
    if layer is None or layer.op != "ai.onnx.ml::SVMClassifier" or scores.shape != (2,):
        return graph
    attributes = layer.attributes
    if attributes.get("prob_a") or not attributes.get("vectors_per_class"):
        return graph
    taken = graph.shapes.keys() | graph.constants.keys() | {layer.name for layer in graph.layers}
    new, order = (unique_name(f"{scores.name}/{word}", taken.__contains__) for word in ("classes", "order"))
    turned = Layer("Gather", new, layer.path, (scores.name, order), (new,), {"axis": 1})
    return replace(
        graph,
        layers=(*graph.layers, turned),
        outputs=(scores._replace(name=new),),
        constants={**graph.constants, order: np.array([1, 0], np.int64)},
        shapes={**graph.shapes, new: scores.shape},
        dtypes={**graph.dtypes, new: scores.dtype},
    )
