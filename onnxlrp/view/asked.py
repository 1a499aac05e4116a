"""What the page asks of an explanation, read from JSON and checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from ..errors import UsageError
from ..methods.registry import METHODS
from ..model import DEFAULT, ExplainOptions, Model
from ..registry import read_value
from ..rules import parse

_LONGEST = 10_000  # characters of a text
_MOST = 200  # rules, or options
_AGAIN = "reload the page"


class Asked(NamedTuple):
    """What is on the screen.

    Attributes:
        sample: The id of the sample.
        row: The number of the row, where the sample is a table or a batch.
        target: The target, as `--target` takes it.
        method: The name of the method, "auto" for the default.
        options: Texts of the method's options by name.
        rules: (match, text of the rule) pairs that come first.
        layer: The name of the layer whose relevance is shown; "" for none.
        model: The number of the model whose layer it is.
        lane: What the request replaces: a later one of the same lane is shown in its place.
        turn: Its number in the lane.
    """

    sample: str = ""
    row: int = 0
    target: str = "top1"
    method: str = DEFAULT
    options: Mapping[str, str] = {}
    rules: Sequence[tuple[str, str]] = ()
    layer: str = ""
    model: int = 0
    lane: str = ""
    turn: int = 0

    def explain_options(self, model: Model, started: ExplainOptions, pictures: bool, target: Any) -> ExplainOptions:
        """Return the options of `Model.explain` for this, with the ledger where the method conserves relevance.

        Args:
            model: The model.
            started: What the command line states, of which method, options, rules and target are replaced.
            pictures: The sample is a picture.
            target: The target for this model.

        Raises:
            UsageError: No such method, option or rule, or a value that is none of it.
        """
        rules = tuple((match, parse(text)) for match, text in self.rules)
        asked = replace(started.at(), target=target, targets=None, method=self.method, options={}, rules=rules)
        decided = model.decided(asked)
        entry = METHODS[str(decided.method)]
        for key in self.options:
            if key not in entry.options:
                raise UsageError(f'the method {decided.method} has no option "{key}"', "leave it empty")
        typed = {key: read_value(entry.options[key], text, key) for key, text in self.options.items()}
        asked = replace(asked, options=typed)
        if not entry.is_composite:
            return replace(asked, rules=())
        conserves = model.composite(asked, pictures=pictures).seed != "one"
        return replace(asked, ledger=conserves)


def read(data: Any) -> Asked:
    """Read what the page asks.

    Args:
        data: What its JSON says.

    Raises:
        UsageError: A field that is not known, or a value of another type.
    """
    if not isinstance(data, dict):
        raise UsageError("the request is no JSON object", _AGAIN)
    wanted = Asked()._asdict()
    for name, value in data.items():
        if name not in wanted:
            raise UsageError(f'the request has an unknown field "{str(name)[:40]}"', _AGAIN)
        if not _fits(value, wanted[name]):
            raise UsageError(f'the field "{name}" of the request is {repr(value)[:40]}', _AGAIN)
    rules = tuple((match.strip(), text.strip()) for match, text in data.get("rules", ()))
    options = {key: text.strip() for key, text in data.get("options", {}).items() if text.strip()}
    return Asked(**{**data, "rules": rules, "options": options})


def _fits(value: Any, example: Any) -> bool:
    if isinstance(example, str):
        return _is_text(value)
    if isinstance(example, int):
        return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53
    if isinstance(example, dict):
        return isinstance(value, dict) and len(value) <= _MOST and all(map(_is_text, value.values()))
    pairs = isinstance(value, list) and len(value) <= _MOST
    return pairs and all(isinstance(pair, list) and len(pair) == 2 and all(map(_is_text, pair)) for pair in value)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _LONGEST
