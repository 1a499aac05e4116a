"""Models of ai.onnx.ml, as scikit-learn's exporter writes them: a module for each family."""

from __future__ import annotations

from collections.abc import Mapping

from ..replacement import Decomposition
from .columns import COLUMNS
from .linear import LINEAR
from .trees import ENSEMBLES

CLASSICAL: Mapping[str, Decomposition] = {**COLUMNS, **LINEAR, **ENSEMBLES}
