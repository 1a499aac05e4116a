"""The CUDA engine on the emulated kernels: whole models, memory, batches that do not fit."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from kernels_under_test import device

import onnxlrp
from onnxlrp.compile import compile
from onnxlrp.composites import preset
from onnxlrp.engines import Forward
from onnxlrp.engines.cuda.arena import Life, layout
from onnxlrp.errors import UnsupportedError, UsageError
from onnxlrp.graph.emit import emit

MODELS = Path(__file__).parents[2] / "models"
CASES = [
    ("digits", {"method": "epsilon_plus_flat"}),
    ("digits", {"method": "epsilon_gamma_box", "low": 0.0, "high": 1.0, "target": 3}),
    ("digits", {"method": "epsilon_alpha2_beta1", "target": "top3"}),
    ("digits", {"method": "guided_backprop", "targets": [1, 7]}),
    ("shapes", {"method": "epsilon_plus_flat", "record": ["blocks.2"]}),
]


@pytest.fixture(scope="module")
def emulated():
    return device


def engine(emulated, memory=None):
    from onnxlrp.engines.cuda.engine import Cuda

    try:
        return Cuda(emulated(memory))
    except UsageError as error:
        pytest.skip(error.message)


def inputs(model, samples=2):
    return np.random.default_rng(0).random((samples, *model.graph.inputs[0].shape)).astype(np.float32)


@pytest.mark.parametrize(("name", "options"), CASES, ids=[f"{n}-{o['method']}" for n, o in CASES])
def test_models_as_the_reference_has_them(emulated, name, options):
    model = onnxlrp.load(MODELS / f"{name}.onnx", engine=engine(emulated))
    exact = onnxlrp.load(MODELS / f"{name}.onnx", engine="reference")
    x = inputs(model)
    found, wanted = model.explain(x, **options), exact.explain(x, **options)
    assert np.array_equal(found.target, wanted.target)
    size = np.abs(wanted.relevance).max()
    np.testing.assert_allclose(found.relevance, wanted.relevance, rtol=0, atol=1e-4 * size)
    for path, relevance in wanted.layers.items():
        np.testing.assert_allclose(found.layers[path], relevance, rtol=0, atol=1e-4 * np.abs(relevance).max())


def test_runs_are_equal_to_the_bit(emulated):
    model = onnxlrp.load(MODELS / "digits.onnx", engine=engine(emulated))
    x = inputs(model)
    first, second = model.explain(x).relevance, model.explain(x).relevance
    assert np.array_equal(first, second)


def test_the_ledger_closes(emulated):
    model = onnxlrp.load(MODELS / "digits.onnx", engine=engine(emulated))
    assert max(row.error for row in model.explain(inputs(model), ledger=True).ledger) < 1e-4


def test_a_batch_larger_than_memory_is_split(emulated):
    whole = onnxlrp.load(MODELS / "digits.onnx", engine=engine(emulated))
    x = inputs(whole, 5)
    program = compile(whole.graph, preset("epsilon_plus_flat"), mode="index", targets=3)
    run = whole.engine.prepare(Forward(partial(emit, whole.graph), ("image",)), program)
    some = run.draft(2).bytes
    assert run.draft(3).bytes > some
    small = onnxlrp.load(MODELS / "digits.onnx", engine=engine(emulated, memory=some))
    for options in ({}, {"target": "top3"}, {"target": [1, 2, 3, 4, 5]}):
        a, b = small.explain(x, **options), whole.explain(x, **options)
        assert np.array_equal(a.relevance, b.relevance)
    with pytest.raises(UnsupportedError, match="one sample needs"):
        onnxlrp.load(MODELS / "digits.onnx", engine=engine(emulated, memory=1000)).explain(x)


def test_arrays_that_live_together_do_not_overlap():
    rng = np.random.default_rng(0)
    lives = []
    for n in range(200):
        born = int(rng.integers(0, 100))
        lives.append(Life(n, int(rng.integers(1, 5000)), born, born + int(rng.integers(0, 20))))
    offsets, size = layout(lives)
    for a in lives:
        assert offsets[a.name] % 256 == 0
        assert offsets[a.name] + a.size <= size
        for b in lives:
            if a is not b and a.born <= b.dies and b.born <= a.dies:
                assert offsets[a.name] + a.size <= offsets[b.name] or offsets[b.name] + b.size <= offsets[a.name]
    assert size < sum(life.size for life in lives) / 3
