"""Inputs that stand beside token ids and follow from them: masks of padding, segments and positions.

They are assumed where nobody gives them, by the names that exporters of transformers write; the model says so in its
notes, and `--given NAME=VALUE` overrules it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from ...graph import facts
from ...graph.graph import Array, Graph, Tensor
from ...graph.recognition.past import empty_pasts, is_mask, past_length

_SEGMENTS = re.compile(r"(?i)(token_type|segment|type)_?ids?")
_POSITIONS = re.compile(r"(?i)positions?(_?ids?)?")
_IDS = re.compile(r"(?i)(input|token)s?_?ids?")
_SAID = {"mask": "1 for every token but padding", "segments": "0", "positions": "counted from 0"}


def said(graph: Graph, tensor: Tensor) -> str:
    """Return what is assumed of an input beside token ids, in words.

    Args:
        graph: The graph, its first input explained.
        tensor: Another input of it that has a role.
    """
    word, ids = role(graph, tensor), ids_of(graph)
    if word == "positions" and ids is not None and (past := past_length(graph.inputs, ids)):
        return f"counted from {past}, the length of the past"
    return _SAID[word]


def is_beside_ids(name: str) -> bool:
    """Return whether an input stands beside token ids by its name: a mask, segments or positions."""
    return is_mask(name) or bool(_SEGMENTS.fullmatch(name) or _POSITIONS.fullmatch(name))


def role(graph: Graph, tensor: Tensor) -> str:
    """Return what an input is beside token ids: "mask" (of the past too), "segments", "positions" or "past"; else "".

    Args:
        graph: The graph, its first input explained.
        tensor: Another input of it.
    """
    ids = ids_of(graph)
    if ids is None or tensor == ids:
        return ""
    if tensor in empty_pasts(graph.inputs):
        return "past"
    if is_mask(tensor.name):
        past = past_length(graph.inputs, ids)
        return "mask" if tensor.shape == ids.shape or (past and tensor.shape == (past + ids.shape[0],)) else ""
    words = {"segments": _SEGMENTS, "positions": _POSITIONS} if tensor.shape == ids.shape else {}
    return next((word for word, pattern in words.items() if pattern.fullmatch(tensor.name)), "")


def ids_of(graph: Graph) -> Tensor | None:
    """Return the token ids of a graph: the explained input, else the first one that is looked up; None for no such.

    Args:
        graph: The graph, its first input explained.
    """
    return next(iter(_looked_up(graph)), None)


def companions(
    graph: Graph, given: Mapping[str, Array], x: Array | None = None, padding: int | None = None
) -> dict[str, Array]:
    """Return the inputs beside token ids that nobody gives and that follow from these, by name.

    Args:
        graph: The graph, its first input explained.
        given: What is given.
        x: The samples, ids [N, L] or what the model takes beside given ones; None to ask for the names alone.
        padding: The id that fills up texts, which a mask hides; None where there is none.
    """
    found: dict[str, Array] = {}
    text = ids_of(graph)
    if text is None or (text != graph.inputs[0] and text.name not in given):
        return found
    if text != graph.inputs[0]:
        x = given[text.name]
    for tensor in graph.inputs[1:]:
        word = "" if tensor.name in given else role(graph, tensor)
        if not word:
            continue
        if word == "past":
            found[tensor.name] = np.zeros((1, *tensor.shape), tensor.dtype)
            continue
        ids = np.zeros((1, *text.shape), np.int64) if x is None else x
        past = past_length(graph.inputs, text)
        if word == "mask":
            made = np.ones_like(ids) if padding is None else seen(ids, padding)
            if tensor.shape != text.shape:  # what is before the tokens is seen
                made = np.concatenate([np.ones((len(ids), past), made.dtype), made], axis=-1)
        elif word == "segments":
            made = np.zeros_like(ids)
        else:
            made = np.broadcast_to(past + np.arange(ids.shape[-1]), ids.shape)
        found[tensor.name] = made.astype(tensor.dtype)
    return found


def single_text(graph: Graph) -> Tensor | None:
    """Return the token ids of a graph that looks no others up: what its mask and its positions are of; else None.

    Args:
        graph: The graph.
    """
    found = [tensor for tensor in _looked_up(graph) if not is_beside_ids(tensor.name)]
    return found[0] if len(found) == 1 else None


def _looked_up(graph: Graph) -> list[Tensor]:
    """Return the inputs whose values are numbers of rows of a table; where no layer is read, those of such a name."""
    if graph.opaque is not None:
        return [tensor for tensor in graph.inputs if _IDS.fullmatch(tensor.name) and "int" in tensor.dtype]
    names = {facts.looked_up(graph, layer) for layer in graph.layers}
    return [tensor for tensor in graph.inputs if tensor.name in names]


def mask_of(graph: Graph, text: Tensor) -> Tensor | None:
    """Return the input that masks the tokens of a text, and perhaps what is before them; None where there is none.

    Args:
        graph: The graph.
        text: Its token ids.
    """
    past = past_length(graph.inputs, text)
    shapes = text.shape, (past + text.shape[0],)
    return next((tensor for tensor in graph.inputs if is_mask(tensor.name) and tensor.shape in shapes), None)


def tokens_of(ids: Array, mask: Array | None, padding: int | None) -> Array:
    """Return whether each token is no padding, bool [N, L].

    Args:
        ids: Token ids [N, L].
        mask: The mask [1 or N, L or more] that is given, over what is before the tokens too: above 0 for tokens, or
            added to scores, below 0 for what is hidden; None without one.
        padding: The id that fills up texts, where no mask is given; None where there is none.
    """
    if mask is not None:
        mask = mask[:, -ids.shape[1] :]
        return np.asarray(np.broadcast_to(mask >= 0 if (mask < 0).any() else mask > 0, ids.shape))
    return np.ones(ids.shape, bool) if padding is None else np.asarray(seen(ids, padding) > 0)


def last_tokens(tokens: Array) -> Array:
    """Return whether each token is the last that is no padding, bool [N, L]; of nothing but padding the very last.

    Args:
        tokens: What `tokens_of` returns.
    """
    last = tokens.shape[1] - 1 - np.argmax(tokens[:, ::-1], axis=1)
    return np.asarray(np.arange(tokens.shape[1]) == last[:, np.newaxis])


def seen(ids: Array, padding: int) -> Array:
    """Return 1 for tokens [N, L], 0 for the padding around them.

    A padding between words is a word, and so is all of what is nothing but padding.

    Args:
        ids: Token ids.
        padding: The id that fills up texts.
    """
    last = ids.shape[-1] - np.argmax((ids != padding)[..., ::-1], axis=-1)
    last = np.where((ids != padding).any(axis=-1), last, ids.shape[-1])
    left = np.argmax(ids != padding, axis=-1)  # texts that are filled up in front
    place = np.arange(ids.shape[-1])
    return np.asarray((place < last[..., None]) & (place >= left[..., None]), np.int64)
