"""The types of the numbers that sessions are given."""

from __future__ import annotations

import numpy as np
import pytest

from onnxlrp.compile import compile
from onnxlrp.engines.ort import Ort
from onnxlrp.methods.registry import make_composite
from support import small_nets


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.uint8, np.int64])
def test_samples_of_any_type_are_numbers_of_single_precision(dtype: type) -> None:
    graph = small_nets.graph("plain")
    program = compile(graph, make_composite("gradient"), mode="index")
    run = Ort(["CPUExecutionProvider"]).prepare(small_nets.forward(graph), program)
    x = np.random.default_rng(0).integers(0, 9, (1, *graph.inputs[0].shape))
    ids = {name: np.zeros(1, np.int64) for name in program.seeds}
    found, wanted = (run({graph.inputs[0].name: x.astype(of), **ids}) for of in (dtype, np.float32))
    np.testing.assert_array_equal(found["relevance"], wanted["relevance"])
