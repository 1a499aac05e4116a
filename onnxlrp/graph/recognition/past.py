"""The past of a decoder: keys and values of earlier positions, which stand before those of the tokens it reads.

Exporters of decoders write them as inputs, `past_key_values.0.key` [N, heads, past, width], beside token ids
[N, length] and a mask over both, [N, past + length]. A text that is given whole has no past: its length is 0.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..graph import Tensor

_PAST = re.compile(r"(?i)(^|[^a-z])(past|k?v?_?cache)([^a-z]|$)")
_OF_AN_ENCODER = re.compile(r"(?i)encoder|cross")
_MASK = re.compile(r"(?i)(attention|input|padding|token)?_?mask")


def is_past(name: str, rank: int) -> bool:
    """Return whether an input is a past by its name: keys or values of a decoder's own earlier positions.

    Args:
        name: The name of the input.
        rank: The number of its axes, that of the batch included.
    """
    return rank >= 4 and bool(_PAST.search(name)) and not _OF_AN_ENCODER.search(name)


def is_mask(name: str) -> bool:
    """Return whether an input is a mask of tokens by its name."""
    return bool(_MASK.fullmatch(name))


def past_length(inputs: Sequence[Tensor], ids: Tensor) -> int:
    """Return how many positions are before the first token: as many as a mask has more than there are ids; else 0.

    Args:
        inputs: The inputs of a graph.
        ids: The one of token ids, [length] per sample.
    """
    if len(ids.shape) != 1:
        return 0
    lengths = {n for t in inputs if is_past(t.name, len(t.shape) + 1) for n in t.shape}
    masks = (t.shape[0] for t in inputs if len(t.shape) == 1 and is_mask(t.name))
    return next((n - ids.shape[0] for n in masks if n - ids.shape[0] in lengths), 0)


def empty_pasts(inputs: Sequence[Tensor]) -> list[Tensor]:
    """Return the inputs that are a past without positions."""
    return [t for t in inputs if is_past(t.name, len(t.shape) + 1) and 0 in t.shape]
