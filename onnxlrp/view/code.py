"""The command and the Python code that make what is on the page."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..explanation.targets import parse
from ..registry import Option
from ..streaming.archives import Member
from ..streaming.sources import Item
from .shelf import Dropped

_WORDS = ("true", "false")


class Start(NamedTuple):
    """How the page was started, as code says it.

    Attributes:
        models: The paths of the models.
        words: Flags that other commands of onnxlrp take too, such as `--size 64`.
        load: Keywords of `onnxlrp.load`.
        explain: Keywords of `Model.explain` besides those that the page chooses.
    """

    models: Sequence[str]
    words: Sequence[str] = ()
    load: Mapping[str, Any] = {}
    explain: Mapping[str, Any] = {}


class Shown(NamedTuple):
    """What is on the page.

    Attributes:
        sample: Where it comes from.
        row: The number of the row, None where there is one.
        target: The target.
        method: The name of the method, its default decided.
        options: The values of its options that are stated.
        known: The options that it has.
        rules: (match, text of the rule) pairs.
        composite: The method has rules and a ledger.
        layer: The layer whose relevance is shown; "" for none.
    """

    sample: Item | Dropped
    row: int | None
    target: str
    method: str
    options: Mapping[str, Any]
    known: Mapping[str, Option]
    rules: Sequence[tuple[str, str]]
    composite: bool
    layer: str = ""


def code(start: Start, shown: Shown) -> dict[str, str]:
    """Return the command line and the Python code, and what is to be known of them.

    Args:
        start: How the page was started.
        shown: What is on it.
    """
    sample = shown.sample
    typed = sample.text if isinstance(sample, Dropped) else None
    note = ""
    if isinstance(sample, Dropped) and typed is None:
        note = f"{sample.name} was dropped: write its path"
    elif isinstance(sample, Item) and isinstance(sample.content, Member):
        note = f"{sample.origin} lies in an archive: the command explains all of it"
    if shown.row is not None:
        note = "; ".join(filter(None, [note, f"row {shown.row} of the table: the command explains all rows"]))
    return {"shell": _shell(start, shown, typed), "python": _python(start, shown, typed), "note": note}


def _path(sample: Item | Dropped) -> str:
    if isinstance(sample, Dropped):
        return sample.name
    return str(sample.path or sample.name)


def _shell(start: Start, shown: Shown, typed: str | None) -> str:
    """`onnxlrp explain`, or `onnxlrp compare` of two models."""
    sample = "text.txt" if typed is not None else _path(shown.sample)
    words = ["onnxlrp", "compare" if len(start.models) > 1 else "explain", *start.models, sample, *start.words]
    words += [] if shown.target == "top1" else ["-t", shown.target]
    words += ["-m", shown.method]
    for key, value in shown.options.items():
        words += [f"--{key.replace('_', '-')}", _text(value)]
    for match, rule in shown.rules:
        words += ["--rule", f"{match}={rule}"]
    words += ["-o", "compared.png"] if len(start.models) > 1 else ["--ledger"] * shown.composite
    line = " ".join(_joined(words))
    return line if typed is None else f"printf '%s\\n' {shlex.quote(typed)} > text.txt && {line}"


def _joined(words: Sequence[str]) -> list[str]:
    """Words for a shell; a value that begins with a minus joins its flag."""
    found: list[str] = []
    for word in words:
        if found and found[-1].startswith("--") and word.startswith("-") and word[1:2].isdigit():
            found[-1] += f"={shlex.quote(word)}"
        else:
            found.append(shlex.quote(word))
    return found


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return _WORDS[not value]
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _python(start: Start, shown: Shown, typed: str | None) -> str:
    lines = ["import onnxlrp", ""]
    sample = f"onnxlrp.Text({typed!r})" if typed is not None else repr(_path(shown.sample))
    asked: list[str] = []
    asked += [] if shown.target == "top1" else [f"target={_target(shown.target)!r}"]
    asked.append(f"method={shown.method!r}")
    asked += [f"{key}={value!r}" for key, value in {**start.explain, **shown.options}.items()]
    asked += [f"rules={[tuple(pair) for pair in shown.rules]!r}"] if shown.rules else []
    asked += ["ledger=True"] * shown.composite
    asked += [f"record=[{shown.layer!r}]"] if shown.layer else []
    how = "".join(f", {key}={value!r}" for key, value in start.load.items())
    for name, path in zip("ab" if len(start.models) > 1 else ["model"], start.models, strict=False):
        lines.append(f"{name} = onnxlrp.load({path!r}{how})")
    several = len(start.models) > 1
    for name, made in zip("ab", ("ea", "eb"), strict=True) if several else [("model", "e")]:
        lines.append(f"{made} = {name}.explain({sample}, {', '.join(asked)})")
    first = "ea" if several else "e"
    if shown.row is not None:
        lines.append(f"{first} = {first}[{shown.row}]")
    if shown.layer:
        lines.append(f"{first}.layers[{shown.layer!r}]  # its relevance, [N, …]")
    if several:
        lines += ["onnxlrp.explanation.maps.cosine(ea.relevance, eb.relevance)  # how alike they are"]
        lines[0] = "import onnxlrp\nimport onnxlrp.explanation.maps"
    lines.append(f"{first}.save('heatmap.png')")
    return "\n".join(lines) + "\n"


def _target(text: str) -> str | int:
    """A class id as a number, anything else as it stands."""
    found = parse(text)
    return found.id if found.kind == "id" and found.place is None else text
