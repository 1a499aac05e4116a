"""The CUDA engine on the emulated kernels: whole models, memory, batches that do not fit."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto

import onnxlrp
from onnxlrp.compile import compile
from onnxlrp.engines import Forward
from onnxlrp.engines.cuda.engine import Cuda
from onnxlrp.engines.cuda.kernels.tiles import Precision
from onnxlrp.engines.cuda.planning.arena import Lifetime, layout
from onnxlrp.engines.cuda.runtime.forward import give_floats
from onnxlrp.errors import UnsupportedError, UsageError
from onnxlrp.graph.load import load
from onnxlrp.graph.writing.to_onnx import emit
from onnxlrp.methods.registry import make_composite
from onnxlrp.program.program import SEED
from support import kernels_under_test
from support.paths import MODELS
from support.place_models import MODELS as PLACES
from support.small_nets import Net

CASES: list[tuple[Precision | None, str, dict[str, Any]]] = [
    (None, "digits", {"method": "epsilon_gamma_box", "low": 0.0, "high": 1.0, "target": 3}),
    (None, "digits", {"method": "guided_backprop", "targets": [1, 7]}),
    (None, "shapes", {"method": "epsilon_plus_flat", "record": ["blocks.2"]}),
    ("exact", "digits", {"method": "epsilon_plus_flat"}),
    ("exact", "digits", {"method": "epsilon_alpha2_beta1", "target": "top3"}),
    ("exact", "digits", {"method": "epsilon_gamma_box", "low": 0.0, "high": 1.0, "target": 3, "record": ["conv2"]}),
    ("exact", "shapes", {"method": "guided_backprop", "targets": [1, 4]}),
    ("exact", "shapes", {"method": "epsilon_plus_flat", "record": ["blocks.2"]}),
    ("fast", "shapes", {"method": "epsilon_plus"}),
]
# Relative L2 to float64. On a GPU a fast forward pass is TF32 too, which moves denominators near 0.
FAR = {None: 1e-4, "exact": 1e-4, "fast": 5e-3 if kernels_under_test.which == "emulator" else 5e-2}
each_way = pytest.mark.parametrize("precision", [None, "exact"], ids=["plain", "exact"])


def engine(precision: Precision = "exact", memory: Any = None) -> Any:
    try:
        return Cuda(kernels_under_test.device(memory), precision)
    except UsageError as error:
        pytest.skip(error.message)


def digits(precision: Precision = "exact", memory: Any = None) -> Any:
    return onnxlrp.load(MODELS / "digits.onnx", engine=engine(precision, memory))


def inputs(model: Any, samples: int = 2) -> Any:
    return np.random.default_rng(0).random((samples, *model.graph.inputs[0].shape)).astype(np.float32)


@pytest.mark.few(1)
@pytest.mark.parametrize(
    ("precision", "name", "options"), CASES, ids=[f"{p or 'plain'}-{n}-{o['method']}" for p, n, o in CASES]
)
def test_models_as_the_reference_has_them(precision: Precision | None, name: str, options: dict[str, Any]) -> None:
    model = onnxlrp.load(MODELS / f"{name}.onnx", engine=engine(precision))
    exact = onnxlrp.load(MODELS / f"{name}.onnx", engine="reference")
    x = inputs(model, 3)
    found, wanted = model.explain(x, **options), exact.explain(x, **options)
    assert np.array_equal(found.target, wanted.target)
    pairs = [(found.relevance, wanted.relevance), *((found.layers[k], wanted.layers[k]) for k in wanted.layers)]
    for ours, theirs in pairs:
        assert np.linalg.norm(ours - theirs) <= FAR[precision] * np.linalg.norm(theirs)
    np.testing.assert_array_equal(found.relevance, model.explain(x, **options).relevance)  # to the bit


@pytest.mark.parametrize("name", PLACES)
def test_places_that_the_model_computes(name: str) -> None:
    shape, given, build = PLACES[name]
    net = Net(*shape)
    source = net.model(build(net), inputs=given)
    model, exact = onnxlrp.load(source, engine=engine()), onnxlrp.load(source, engine="reference")
    # Half steps: single precision finds the same order as double precision.
    x = (np.random.default_rng(1).permutation(3 * math.prod(shape)) / 4 - 3).reshape(3, *shape).astype(np.float32)
    for options in ({"target": 1}, {"targets": [0, 1]}):
        found, wanted = (m.explain(x, method="gradient", **options).relevance for m in (model, exact))
        np.testing.assert_allclose(found, wanted, atol=1e-4 * np.abs(wanted).max())


def test_kernels_read_floats() -> None:
    """Of a forward model whose places are integers, as onnxruntime hands them out."""
    net = Net(8)
    graph = load(net.model(net.ops("TopK", "x", np.array([3]), results=2)[0]))
    tensors = [name for name in graph.shapes if graph.dtypes.get(name) == "int64" and name.endswith("places")]
    assert tensors
    model = emit(graph, np.float32, tensors)
    give_floats(model, tensors)
    kinds = {value.name: value.type.tensor_type.elem_type for value in model.graph.output}
    assert {kinds[name] for name in tensors} == {TensorProto.FLOAT}
    x = np.array([[3, 1, 4, 1.5, 9, 2, 6, 5]], np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(session.run(tensors, {"x": x})[0], [[4, 6, 7]])


@each_way
def test_the_ledger_closes(precision: Precision | None) -> None:
    model = digits(precision)
    assert max(row.error for row in model.explain(inputs(model), ledger=True).ledger) < 1e-4


def prepared(memory: Any = None, precision: Any = None) -> Any:
    graph = load(MODELS / "digits.onnx")
    program = compile(graph, make_composite("epsilon_plus_flat"), mode="index", targets=3)
    return engine(precision, memory).prepare(Forward(partial(emit, graph), ("image",)), program)


@pytest.mark.few(1)
@each_way
def test_a_batch_larger_than_memory_is_split(precision: Precision | None) -> None:
    whole, run = digits(precision), prepared(precision=precision)
    x, some = inputs(whole, 5), run.schedule(2).bytes
    assert run.schedule(3).bytes > some
    small = digits(precision, some)
    for options in ({}, {"target": "top3"}, {"target": [1, 2, 3, 4, 5]}):
        a, b = small.explain(x, **options), whole.explain(x, **options)
        assert np.array_equal(a.target, b.target)
        # Products divide their sums by the size of the batch.
        np.testing.assert_allclose(a.relevance, b.relevance, rtol=0, atol=1e-5 * np.abs(b.relevance).max())
    with pytest.raises(UnsupportedError, match="one sample needs"):
        digits(precision, 1000).explain(x)


@pytest.mark.slow
def test_pieces_share_one_plan_and_nothing_is_planned_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Five samples where three fit: the second piece takes the third sample again."""
    run = prepared(prepared().schedule(3).bytes)
    x = np.random.default_rng(0).random((5, 1, 28, 28)).astype(np.float32)
    ids = np.arange(15).reshape(3, 5) % 10
    first = run({"image": x, SEED: ids})
    assert list(run.prepared) == [3]
    monkeypatch.setattr(run, "schedule", None)
    monkeypatch.setattr(run.device, "free", None)
    again = run({"image": x, SEED: ids})
    for name, array in first.items():
        np.testing.assert_array_equal(array, again[name])
    for sample in range(5):
        alone = prepared()({"image": x[sample : sample + 1], SEED: ids[:, sample : sample + 1]})
        np.testing.assert_array_equal(alone["relevance"][:, 0], first["relevance"][:, sample])


def test_a_batch_that_was_met_asks_nothing_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """No planning, no look at free memory: what is left to do is the forward pass, the seed and the launches."""
    run = prepared()
    feeds = {"image": np.zeros((1, 1, 28, 28), np.float32), SEED: np.zeros((3, 1), np.int64)}
    first = run(feeds)["relevance"]
    for name in ("schedule", "_prepare", "_allocate", "_argument"):
        monkeypatch.setattr(run, name, None)
    monkeypatch.setattr(run.device, "free", None)
    np.testing.assert_array_equal(run(feeds)["relevance"], first)


def test_arrays_that_live_together_do_not_overlap() -> None:
    rng = np.random.default_rng(0)
    lifetimes = []
    for n in range(200):
        born = int(rng.integers(0, 100))
        lifetimes.append(Lifetime(n, int(rng.integers(1, 5000)), born, born + int(rng.integers(0, 20))))
    offsets, size = layout(lifetimes)
    for a in lifetimes:
        assert offsets[a.name] % 256 == 0
        assert offsets[a.name] + a.size <= size
        for b in lifetimes:
            if a is not b and a.born <= b.dies and b.born <= a.dies:
                assert offsets[a.name] + a.size <= offsets[b.name] or offsets[b.name] + b.size <= offsets[a.name]
    assert size < sum(life.size for life in lifetimes) / 3
