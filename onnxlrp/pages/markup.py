"""HTML by construction: anything that is not Markup is escaped, so that no string of a model becomes a tag."""

from __future__ import annotations

import html

from ..errors import printable

_VOID = {"img", "input", "meta", "link", "br"}


class Markup(str):
    """Text that is HTML already, and is not escaped again."""

    __slots__ = ()


def escaped(text: object) -> Markup:
    """Escape text for HTML: `& < > " '`, and characters that browsers hide or obey (control and bidi)."""
    return Markup(html.escape(printable(str(text))))


def tag(element: str, /, *children: object, **attributes: object) -> Markup:
    """Make an element.

    Args:
        element: The name of the tag.
        *children: Markup, text, or lists of them.
        **attributes: Attributes; `class_` is class, `aria_label` is aria-label; True gives a bare attribute, None and
            False none.
    """
    written = []
    for key, value in attributes.items():
        if value is None or value is False:
            continue
        word = key.rstrip("_").replace("_", "-")
        written.append(f" {word}" if value is True else f' {word}="{_safe(value)}"')
    opening = f"<{element}{''.join(written)}>"
    return Markup(opening if element in _VOID else f"{opening}{join(children)}</{element}>")


def join(parts: object) -> Markup:
    """Concatenate parts; lists are flattened, None is empty."""
    if parts is None:
        return Markup()
    if isinstance(parts, (list, tuple)):
        return Markup("".join(join(part) for part in parts))
    return _safe(parts)


def number(value: float | None) -> str:
    """Format a number in four digits, None and NaN as `–`."""
    if value is None or value != value:
        return "–"
    return f"{value:.4g}".replace("-", "−")


def _safe(value: object) -> Markup:
    return value if isinstance(value, Markup) else escaped(value)
