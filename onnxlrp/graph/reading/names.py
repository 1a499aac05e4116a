"""Names in a file, checked before anything reads them."""

from __future__ import annotations

from collections.abc import Iterable

from onnx import NodeProto

from ...errors import InputError
from .printable import printable

MAX_NAME = 4096

_AGAIN = "export or download the model again"
_EXPORT = "export the model again"


def distinct_names(names: Iterable[str], what: str, name: str) -> set[str]:
    """Return the set of names that must be distinct and not empty.

    Args:
        names: The names.
        what: Their kind in the singular, for errors.
        name: The name of the file, for errors.

    Raises:
        InputError: A name is empty, or occurs twice.
    """
    seen: set[str] = set()
    for one in names:
        check_names((one,), name)
        if one in seen or not one:
            raise InputError(f'{name}: two {what}s are called "{printable(one)}", or one has no name', _EXPORT)
        seen.add(one)
    return seen


def check_names(names: Iterable[str], name: str, limit: int = MAX_NAME) -> None:
    """Check that names are text of at most `limit` characters.

    Protobuf hands names out as bytes, or refuses, where they are no UTF-8.

    Raises:
        InputError: A name is no text, or too long.
    """
    try:
        for one in names:
            if not isinstance(one, str):
                raise InputError(f"{name} holds names that are no text: it is damaged", _AGAIN)
            if len(one) > limit:
                raise InputError(f"{name} holds a name of {len(one)} characters ({printable(one, 40)})", _EXPORT)
    except UnicodeError:
        raise InputError(f"{name} holds names that are no text: it is damaged", _AGAIN) from None


def node_label(node: NodeProto) -> str:
    """Return how errors call a node: its operator, and its name or that of its first output."""
    return f'the {printable(node.op_type, 60)} node "{printable(node.name or next(iter(node.output), ""))}"'
