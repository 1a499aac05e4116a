"""An output that has not one row for each sample is refused, whatever made it so."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from onnxlrp.errors import UnsupportedError
from onnxlrp.model.batches import in_batches


def test_rows_that_are_no_samples() -> None:
    step = SimpleNamespace(constant=False, targets=0)
    program: Any = SimpleNamespace(instructions=[step], outputs={"logits": 0}, seeds={})
    for rows in (2, 4):
        with pytest.raises(UnsupportedError, match=f"{rows} rows for 3 samples"):
            in_batches(
                lambda feeds, n=rows: {"logits": np.ones((n, 3))}, program, {"x": np.ones((3, 2))}, {}, None, None
            )
