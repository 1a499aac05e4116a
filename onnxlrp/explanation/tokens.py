"""Tokens of an explanation: the word, the id and the relevance of each, and the page that shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..errors import UnsupportedError
from ..inputs import InputKind
from ..pictures.colors import colorize, is_dark, limit
from .result import Array, Result, has_tokens, target_count

_SIGNS = {"\n": "↵", " ": "␣", "\t": "⇥"}
_STYLE = """
body { font: 18px/1.9 system-ui, sans-serif; margin: 2em auto; max-width: 50em; color: #222; background: #fff }
p { margin: 0 0 1em } small { color: #666 } span { border-radius: 4px; padding: 2px 4px; margin: 0 1px }
pre { font: 16px/1.6 ui-monospace, monospace; white-space: pre-wrap; overflow-wrap: anywhere }
pre span { border-radius: 0; padding: 2px 0; margin: 0 }
"""


class Token(NamedTuple):
    """A token of a sample.

    Attributes:
        id: Its id; None where the input holds embeddings.
        text: Its word, or its id, or its place where there is neither.
        relevance: Its relevance.
    """

    id: int | None
    text: str
    relevance: float


def tokens(result: Result, sample: int = 0, target: int = 0) -> list[Token]:
    """Return the tokens of a sample, in their order; [] where the input is no row of tokens, and no counted text.

    Of a text whose n-grams a model counts, they are its words (`CountedText.spread`).

    Args:
        result: The explanation.
        sample: Index of the sample.
        target: Index of the target, where several are explained.
    """
    if not has_tokens(result, sample):
        return []
    values = result.relevance[target, sample] if result.target.ndim == 2 else result.relevance[sample]
    text = result.texts[sample] if result.texts else None
    if text is not None:
        return [Token(None, word, r) for word, r in zip(text.words, text.spread(values).tolist(), strict=True)]
    x = None if result.inputs is None else result.inputs[sample]
    return named(result.kind, values, x, result.feature_names)


def named(kind: InputKind, relevance: Array, x: Array | None, words: Sequence[str] | None) -> list[Token]:
    """Return the tokens of a sample, in their order.

    Args:
        kind: The kind of the input.
        relevance: Relevance in the shape of the sample.
        x: The sample; None where it is not known.
        words: Words by token id; None without any.
    """
    r = kind.to_maps(relevance[np.newaxis])[0].ravel().tolist()
    if x is None or x.size != len(r) or x.dtype.kind not in "iu":
        return [Token(None, f"#{n}", value) for n, value in enumerate(r)]
    known, ids = words or (), x.ravel().tolist()
    texts = [known[n] if 0 <= n < len(known) else str(n) for n in ids]
    return [Token(*found) for found in zip(ids, texts, r, strict=True)]


def colors(found: list[Token], cmap: str, clip: float) -> list[tuple[int, int, int]]:
    """Return the background of each token, by its relevance. Raises UsageError for an unknown colour map."""
    r = np.array([token.relevance for token in found])
    made = colorize(r[np.newaxis], cmap, v=limit(r, clip))[0]
    return [(int(red), int(green), int(blue)) for red, green, blue in made]


def sign(text: str) -> str:
    """Return a token as it is named in a list: without blanks around it, and one that is all blank by a sign."""
    return text.strip() or _SIGNS.get(text, "·")


def page(result: Result, cmap: str = "RdBu_r", clip: float = 99.5) -> str:
    """Return an HTML page of the samples of an explanation: each token on a background of its relevance.

    Args:
        result: The explanation.
        cmap: Name of the colour map.
        clip: Percentile of |R| that the colours span.

    Raises:
        UnsupportedError: The input is no row of tokens.
    """
    if not all(has_tokens(result, n) for n in range(len(result))):
        raise UnsupportedError(
            f"html shows tokens, and the input is {result.kind.describe()}", "write a picture: --format png"
        )
    from ..pages.markup import Markup, tag
    from ..pictures import letters  # a page is rarely asked for

    parts: list[Any] = []
    for n in range(len(result)):
        for t in range(target_count(result)):
            found = tokens(result, n, t)
            logit, total = (float(np.atleast_2d(np.asarray(a))[t, n]) for a in (result.logit, result.total))
            words = [result.title(n, t), result.method, f"ΣR {total:.4g} of {logit:.4g}"]
            parts.append(tag("p", tag("small", " · ".join(filter(None, words)))))
            shown, in_lines = [], letters.is_letters([token.text for token in found])
            for token, color in zip(found, colors(found, cmap, clip), strict=True):
                ink = "#fff" if is_dark(color) else "#222"
                said = f"{token.relevance:.4g}" if token.id is None else f"{token.relevance:.4g} · id {token.id}"
                look = f"background:rgb({color[0]},{color[1]},{color[2]});color:{ink}"
                text = token.text.strip() or "·"
                if in_lines:
                    text = "↵" if token.text == "\n" else token.text
                end = "\n" if token.text == "\n" else "" if in_lines else " "
                shown += [tag("span", text, style=look, title=said), Markup(end)]
            parts.append(tag("pre" if in_lines else "p", shown))
    title = result.method or "relevance"
    head = tag("head", tag("meta", charset="utf-8"), tag("title", title), tag("style", Markup(_STYLE)))
    return f"<!doctype html>\n{tag('html', head, tag('body', parts), lang='en')}\n"
