"""Texts among samples, as the ids that a model takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError, UnsupportedError
from ..inputs.text import Text
from ..preprocessing.samples import Opened

if TYPE_CHECKING:
    from .loaded import LoadedModel


def encoded(items: Sequence[Opened], model: LoadedModel) -> list[Opened]:
    """Return samples with their texts as token ids [1, L], filled up to the length of the model where it has one.

    Args:
        items: The samples.
        model: The model, which says the vocabulary.

    Raises:
        UnsupportedError: The input is no row of token ids, or nothing says its words.
        InputError: A text that does not fit.
    """
    return [item._replace(content=_ids(item, model)) if isinstance(item.content, Text) else item for item in items]


def _ids(item: Opened, model: LoadedModel) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]]:
    kind, vocabulary, tensor = model.kind, model.vocabulary, model.graph.inputs[0]
    if kind.name != "tokens" or len(kind.shape) != 1:
        raise UnsupportedError(
            f"{item.origin} is a text, and the input is {kind.describe()} [{kind.source}]",
            "give arrays, or name the input of token ids: --input NAME",
        )
    if vocabulary is None:
        raise UnsupportedError(
            f"{item.origin} is a text, and nothing says the words of the model's token ids",
            "give them: --tokenizer FILE, a tokenizer.json or a word on each line; or give ids as an .npy file",
        )
    ids = vocabulary.encode(item.content)
    if not ids:
        raise InputError(f"{item.origin}: the text is empty", "give a text with at least one word")
    if 0 not in model.graph.open_axes.get(tensor.name, {}):
        ids = vocabulary.fit(ids, kind.shape[0], item.origin)
    return np.asarray([ids], np.int64)
