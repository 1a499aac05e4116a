"""Names of features, of channels, or of tokens: by the user, the table that samples come from, or the metadata."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..errors import InputError, UsageError, listed
from ..inputs import InputKind
from ..inputs.text import by_id, parsed

METADATA = "feature_names"  # the key of a list as JSON, or between commas

_COUNTED = re.compile(r"(f|x|v|col|column|feature|feat|input)?[ _]?\d+")  # names that state no more than an order


def find(
    said: str | Sequence[str] | None, table: Sequence[str] | None, metadata: Mapping[str, str], kind: InputKind
) -> tuple[str, ...] | None:
    """Return the names of a vector's features, a signal's channels, or the words of token ids; None without any.

    Args:
        said: Names, or a text: names between commas, or a file with a name on each line or a JSON list.
        table: The header of the table that the samples come from.
        metadata: The model's metadata.
        kind: The kind of the input.

    Raises:
        UsageError: Another number of names than the input has features or channels.
        InputError: A file that cannot be read.
    """
    wanted = _wanted(kind)
    if said is not None:
        names = _read(said) if isinstance(said, str) else tuple(map(str, said))
        if wanted is not None and len(names) != wanted:
            what = "channels" if kind.name == "signal" else "features"
            raise UsageError(f"{len(names)} names for {wanted} {what}", f"give {wanted} names, in their order")
        return names
    for names in (tuple(table or ()), of_model(metadata)):
        if names and wanted in (None, len(names)):
            return names
    return None


def of_model(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """Return the names of the features in the model's order, as its metadata state them; () where they do not."""
    return _split(metadata.get(METADATA, ""))


def order(
    columns: Sequence[str], names: Sequence[str], origin: str, source: str = "feature_names in the model's metadata"
) -> list[int] | None:
    """Return the position of each of the model's features among the columns of a table.

    Names are compared without the spaces around them and without case; those that are left, as exporters make
    identifiers of them: the feature `marital_status` is the column "marital-status" (`renamed`).

    Args:
        columns: The header of the table.
        names: The names of the features in the model's order.
        origin: The table, for messages.
        source: Where the names come from, for messages.

    Returns:
        The positions; None where the metadata do not tell the order: names that repeat, or only count and are not all
        among the columns.

    Raises:
        InputError: A feature has no column.
    """
    plain = [_plain(name) for name in names]
    counted = all(_COUNTED.fullmatch(name) for name in plain)
    if len(set(plain)) < len(plain) or (counted and not {*plain} <= {_plain(name) for name in columns}):
        return None
    places: dict[int, int] = {}  # feature → column
    for key in (_plain, _identifier):
        wanted = {n: key(name) for n, name in enumerate(names) if n not in places}
        free = {at: key(name) for at, name in enumerate(columns) if at not in places.values()}
        for n, word in wanted.items():
            at = [at for at, other in free.items() if other == word]
            if len(at) == 1 and [*wanted.values()].count(word) == 1:
                places[n] = at[0]
    lacking = [name for n, name in enumerate(names) if n not in places]
    if lacking:
        unknown = [name for at, name in enumerate(columns) if at not in places.values()]
        others = f", and the model knows no {listed(unknown)}" if unknown else ""
        raise InputError(
            f"{origin}: no column for {listed(lacking)}{others} ({source})",
            "name the columns so; without a header they are taken in their order",
        )
    return [places[n] for n in range(len(names))]


def renamed(columns: Sequence[str], names: Sequence[str]) -> list[tuple[str, str]]:
    """Return the columns that were found as identifiers only, each with its feature.

    Args:
        columns: The names of columns in the order of the features.
        names: The names of the features.
    """
    pairs = list(zip(columns, names, strict=True)) if len(columns) == len(names) else []
    return [(a, b) for a, b in pairs if _plain(a) != _plain(b) and _identifier(a) == _identifier(b)]


def _plain(name: str) -> str:
    """Return a name as names are compared."""
    return name.strip().casefold()


def _identifier(name: str) -> str:
    """Return a name as exporters make an identifier of it, without what they add where it starts with a digit."""
    return re.sub(r"\W", "_", _plain(name)).strip("_")


def _wanted(kind: InputKind) -> int | None:
    """Return how many names an input takes; None for any number."""
    if kind.name == "vector":
        count = 1
        for length in kind.shape:
            count *= length
        return count
    return kind.channels if kind.name == "signal" else None


def _read(text: str) -> tuple[str, ...]:
    path = Path(text)
    if "," in text and not path.is_file():
        return _split(text)
    fix = "give a file with a name on each line or a JSON list, or names between commas: --names age,height"
    names = by_id(parsed(path, "names", fix))  # a vocabulary, word → id, too
    if names is None:
        raise InputError(f"{path}: holds no list of names", fix)
    return tuple(names)


def _split(text: str) -> tuple[str, ...]:
    text = text.strip()
    if text.startswith("["):
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            return ()
        return tuple(map(str, found))
    return tuple(name.strip() for name in text.split(",")) if text else ()
