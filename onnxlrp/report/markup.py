"""HTML by construction: what is not Markup is escaped, so that no string of a model can become a tag."""

from __future__ import annotations

import html

from ..errors import printable

_VOID = {"img", "input", "meta", "link", "br"}


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def escaped(text: object) -> Markup:
    """Any text as HTML: `& < > " '` and what a browser would hide or obey (control and bidi characters)."""
    return Markup(html.escape(printable(str(text))))


def tag(element: str, /, *children: object, **attributes: object) -> Markup:
    """An element. `class_` is class, `aria_label` is aria-label; True gives a bare attribute, None and False none."""
    said = []
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        word = key.rstrip("_").replace("_", "-")
        said.append(f" {word}" if value is True else f' {word}="{_safe(value)}"')
    opening = f"<{element}{''.join(said)}>"
    return Markup(opening if element in _VOID else f"{opening}{join(children)}</{element}>")


def join(parts: object) -> Markup:
    """The parts one after the other; lists are taken apart, None is nothing."""
    if parts is None:
        return Markup()
    if isinstance(parts, (list, tuple)):
        return Markup("".join(join(part) for part in parts))
    return _safe(parts)


def number(value: float | None) -> str:
    """Four digits; `–` for what is none, or is no number."""
    if value is None or value != value:
        return "–"
    return f"{value:.4g}".replace("-", "−")


def _safe(value: object) -> Markup:
    return value if isinstance(value, Markup) else escaped(value)
