"""Class names that the classifiers of ai.onnx.ml hold, as `load` puts them into the metadata."""

from __future__ import annotations

import json
from collections.abc import Iterator

from .statement import SourceContext, Statement, foreign

METADATA = "onnxlrp.classlabels"  # a JSON list


def classlabels(context: SourceContext) -> Iterator[Statement]:
    """Read the labels of a classifier; numbers are written "label 7", for 7 alone is the id of a class."""
    if METADATA in context.metadata:
        yield foreign("labels of the classifier", {"labels": json.loads(context.metadata[METADATA])})
