"""Class names in a model's own metadata: those of classifiers of ai.onnx.ml, as `load` puts them there, and lists."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from typing import Any

from .statement import LONGEST_TEXT, SourceContext, Statement, foreign

METADATA = "onnxlrp.classlabels"  # a JSON list
CHARACTERS = "character"  # of PaddleOCR's recognisers as RapidOCR writes them: a character on each line
KEYS = ("id2label", "labels", "class_names", "classes", CHARACTERS)
_BLANK, _SPACE = "(blank)", "(space)"


def classlabels(context: SourceContext) -> Iterator[Statement]:
    """Read the labels of a classifier; numbers are written "label 7", for 7 alone is the id of a class."""
    if METADATA in context.metadata:
        yield foreign("labels of the classifier", {"labels": json.loads(context.metadata[METADATA])})


def class_list(context: SourceContext) -> Iterator[Statement]:
    """Read names of classes: a JSON list, an object of id to name, or a name on each line.

    The characters of a recogniser of text leave out what its output has beside them: the blank of CTC in front, and the
    space at the end.
    """
    for key in KEYS:
        text = context.metadata.get(key, "")
        names = _parsed(text) if text and len(text) <= LONGEST_TEXT else None
        if not names:
            continue
        missing = context.classes - len(names) if context.classes and isinstance(names, list) else 0
        if key == CHARACTERS and missing in (1, 2):
            names = [_BLANK, *names, *[_SPACE] * (missing - 1)]
        yield foreign(f'"{key}" in the metadata', {"labels": names})
        return


def _parsed(text: str) -> list[str] | dict[str, str] | None:
    for read in (json.loads, ast.literal_eval):
        try:
            value: Any = read(text)
        except (ValueError, SyntaxError, MemoryError, RecursionError, TypeError):
            continue
        if isinstance(value, dict) and value:
            return {str(k): str(v) for k, v in value.items()}
        if isinstance(value, list | tuple) and value:
            return [str(name) for name in value]
    # A blank between lines is a class of its own, the end of the last line is none.
    lines = text.removesuffix("\n").split("\n")
    return [line.strip() or _SPACE for line in lines] if len(lines) > 1 else None
