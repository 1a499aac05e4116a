"""Texts that a model counts: their words, the n-grams found among them, and relevance of n-grams as that of words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class CountedText(NamedTuple):
    """A text as a model counts it.

    Attributes:
        words: Its tokens in their order, as the model's tokenizer gives them.
        found: Each n-gram that the model counts, where it stands: its feature, and the places of its words.
    """

    words: tuple[str, ...]
    found: tuple[tuple[int, tuple[int, ...]], ...]

    def spread(self, relevance: Array) -> Array:
        """Return the relevance of each word: R_w = Σ_g R_g · (share of g's words that stand at w).

        The relevance of an n-gram is divided evenly among the places where it stands, then among its words. What the
        relevance of n-grams has that are not in the text belongs to no word.

        Args:
            relevance: R of every n-gram, [V].

        Returns:
            R of every word [L], float64.
        """
        times: dict[int, int] = {}
        for feature, _ in self.found:
            times[feature] = times.get(feature, 0) + 1
        values, words = relevance.ravel(), np.zeros(len(self.words))
        for feature, places in self.found:
            for place in places:
                words[place] += float(values[feature]) / times[feature] / len(places)
        return words


def find(words: Sequence[str], features: dict[tuple[str, ...], int], sizes: Sequence[int], skips: int) -> CountedText:
    """Find the n-grams of a text, as the operator TfIdfVectorizer does.

    Args:
        words: The tokens.
        features: The feature of each n-gram.
        sizes: The lengths n that are counted.
        skips: How many tokens may lie between two of an n-gram's, the same number between all of them.
    """
    found = []
    for size in sizes:
        for step in range(1, 2 + (skips if size > 1 else 0)):
            for start in range(len(words) - (size - 1) * step):
                places = tuple(range(start, start + size * step, step))
                feature = features.get(tuple(words[n] for n in places))
                if feature is not None:
                    found.append((feature, places))
    return CountedText(tuple(words), tuple(found))
