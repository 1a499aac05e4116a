"""What routing and spatial operators keep: the model's numbers, gates, what the forward pass has computed, names."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import onnxlrp
from onnxlrp.errors import UnsupportedError
from onnxlrp.explanation import ledger
from onnxlrp.graph.verify import verify
from onnxlrp.methods.registry import make_composite
from onnxlrp.program.program import SEED
from support import small_nets
from support.conformance import each_engine, prepared
from support.place_models import MODELS as PLACES
from support.routing_models import MODELS as ROUTING
from support.routing_models import each, numbers
from support.small_nets import Net

MODELS = {**ROUTING, **PLACES}
NONE = np.array([], np.float32)


def doubled(n: Net, x: Any, **attributes: Any) -> Any:
    """A map at twice its height and width."""
    return n.op("Resize", x, NONE, np.array([1, 1, 2, 2], np.float32), **attributes)


@pytest.mark.few(18)
@pytest.mark.parametrize("name", MODELS)
def test_the_graph_is_the_model(name: Any) -> None:
    """At any batch size, whatever became of its layers."""
    shape, inputs, build = MODELS[name]
    n = small_nets.Net(*shape)
    source = n.model(build(n), inputs=inputs)
    graph = small_nets.load(source)
    assert graph.batch is None
    assert verify(graph, source, batches=(1, 3)) < 1e-5


# -- gates: R / z may read the ReLU instead of the pre-activation, as long as R is known to vanish with the ReLU


def shuffled(n: Net, x: Any) -> Any:
    a = n.op("Reshape", x, numbers(0, 2, 4, 4, 4))
    return n.op("Reshape", n.op("Transpose", a, perm=[0, 2, 1, 3, 4]), numbers(0, 8, 4, 4))


def halves_swapped(n: Net, x: Any) -> Any:
    return n.op("Concat", *n.ops("Split", x, results=2, axis=1, num_outputs=2)[::-1], axis=1)


ROUTES = {
    "shuffled": shuffled,
    "halves swapped": halves_swapped,
    "blocks to channels": lambda n, x: n.op("SpaceToDepth", x, blocksize=2),
    "channels to blocks": lambda n, x: n.op("DepthToSpace", x, blocksize=2),
    "nearest": lambda n, x: doubled(n, x, mode="nearest"),
    "nearest, smaller": lambda n, x: n.op("Resize", x, NONE, NONE, numbers(3, 3), axes=[2, 3], mode="nearest"),
    "channels in another order": lambda n, x: n.op("Gather", x, numbers(3, 0, 2, 1, 7, 6, 5, 4), axis=1),
    "tiled": lambda n, x: n.op("Tile", x, numbers(1, 1, 2, 1)),
    "reflected": lambda n, x: n.op("Pad", x, numbers(0, 0, 1, 1, 0, 0, 1, 1), mode="reflect"),
    "padded": lambda n, x: n.op("Pad", x, numbers(0, 0, 1, 1, 0, 0, 0, 1)),
    "chosen": lambda n, x: n.op("Where", n.op("Greater", x, np.array(0.5)), x, np.array(0.0)),
}


@pytest.mark.parametrize("route", ROUTES)
def test_gates_survive(route: str) -> None:
    n = small_nets.Net(2, 4, 4)
    first = n.conv("x", 2, 8)
    y = ROUTES[route](n, n.relu(first))
    graph = small_nets.load(n.model(y))
    width, *space = graph.outputs[0].shape
    last = n.op("GlobalAveragePool", n.relu(n.conv(y, width, 3, kernel=(1,) * len(space))))
    graph = small_nets.load(n.model(n.op("Flatten", last)))
    program = small_nets.compile(graph, make_composite("epsilon"), mode="top")
    assert first not in program.reads
    inputs = small_nets.batch(graph)
    found = prepared("reference", small_nets.forward(graph), program)(inputs)["relevance"]
    plain = small_nets.explained(graph, make_composite("epsilon"), inputs, rewrites=())["relevance"]
    small_nets.agree(found, plain)


# -- cost


def kinds(program: Any) -> set[tuple[Any, Any]]:
    return {(step.kind, step.op) for step in program.instructions if not step.constant and step.kind != "read"}


@pytest.mark.parametrize("operator", ["resize_linear", "resize_cubic_half_pixel", "convtranspose", "cumsum", "einsum"])
def test_the_forward_pass_is_not_repeated(operator: str) -> None:
    shape, _, build = MODELS[operator]
    n = small_nets.Net(*shape)
    graph = small_nets.load(n.model(n.op("Tanh", build(n))))
    program = small_nets.compile(graph, make_composite("epsilon"), mode="relevance")
    heavy = {(kind, op) for kind, op in kinds(program) if op in ("Matmul", "Conv")}
    adjoint = {"convtranspose": {("linear", "Conv")}, "einsum": {("adjoint", "Conv")}}.get(
        operator, {("adjoint", "Matmul")}
    )
    assert heavy == adjoint


@pytest.mark.parametrize("sizes", [(5, 7), (3, 11), (8, 4)])
def test_a_resize_between_transposes_runs(sizes: tuple[int, int]) -> None:
    """onnxruntime moves transposes through a Resize, and takes the sizes of chosen axes for those of all."""
    n = small_nets.Net(4, 7, 3)
    y = n.op("Transpose", "x", perm=[0, 3, 1, 2])
    y = n.op("Resize", y, NONE, NONE, numbers(*sizes), axes=[2, 3], mode="linear")
    y = n.op("Transpose", n.op("Neg", y), perm=[0, 2, 3, 1])
    source = n.model(n.op("Flatten", n.op("Sin", y)))
    model = onnxlrp.load(source)
    x = np.random.default_rng(0).normal(size=(2, 4, 7, 3)).astype(np.float32)
    wanted = np.asarray(next(iter(ReferenceEvaluator(source).run(None, {"x": x}))))
    found = model.explain(x, target=1, method="gradient")
    np.testing.assert_allclose(found.output, wanted, atol=1e-5)


def test_whole_nearest_upsampling_is_copies() -> None:
    n = small_nets.Net(2, 3, 3)
    graph = small_nets.load(n.model(doubled(n, "x", mode="nearest")))
    program = small_nets.compile(graph, make_composite("epsilon_plus"), mode="relevance")
    assert kinds(program) == {("adjoint", "Reshape"), ("linear", "Sum")}


# -- what becomes of layers


def test_batch_normalization_joins_a_transposed_convolution() -> None:
    shape, _, build = MODELS["convtranspose_before_batchnormalization"]
    n = small_nets.Net(*shape)
    graph = small_nets.load(n.model(build(n)))
    assert [layer.op for layer in graph.layers] == ["ConvTranspose"]


def test_the_parts_of_a_split_keep_its_path() -> None:
    n = small_nets.Net(4, 2)
    y = halves_swapped(n, "x")
    n.nodes[0].name = "/block/chunk/Split"
    graph = small_nets.load(n.model(y))
    parts = [layer for layer in graph.layers if layer.op == "Slice"]
    assert [(layer.name, layer.path) for layer in parts] == [
        ("/block/chunk/Split/0", "block.chunk"), ("/block/chunk/Split/1", "block.chunk")]  # fmt: skip
    recorded = small_nets.explained(graph, make_composite("epsilon_plus"), {"x": np.ones((1, 4, 2), np.float32)},
                                    record=["/block/chunk/Split/1"])  # fmt: skip
    assert recorded["record//block/chunk/Split/1"].shape == (1, 2, 2)


def test_upsample_is_read_as_resize() -> None:
    """Opset 9; its samples start at the origin."""
    node = helper.make_node("Upsample", ["x", "scales"], ["y"], mode="linear")
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1, 3, 3])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 1, 6, 6])
    scales = numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales")
    model = helper.make_model(
        helper.make_graph([node], "g", [x], [y], [scales]), ir_version=4, opset_imports=[helper.make_opsetid("", 9)]
    )
    graph = small_nets.load(model)
    assert verify(graph, model, batches=(1, 3)) < 1e-6
    relevance = np.zeros((1, 1, 6, 6))
    relevance[0, 0, 0, 1] = 1
    inputs = {"x": np.ones((1, 1, 3, 3)), SEED: relevance}
    found = small_nets.explained(graph, make_composite("gradient"), inputs, mode="relevance")["relevance"]
    np.testing.assert_allclose(found[0, 0, 0], [0.5, 0.5, 0])


# -- where relevance goes


@each_engine
def test_relevance_goes_to_the_branch_that_was_chosen(name: str) -> None:
    n = small_nets.Net(4)
    double = n.op("Mul", "x", np.array(2.0))
    graph = small_nets.load(n.model(n.op("Where", n.op("Greater", "x", np.array(1.0)), "x", double)))
    x, r = np.array([[0.5, 1.5, -3, 7]]), np.array([[1.0, 2, 3, 4]])
    inputs = {"x": x.astype(np.float32), SEED: r.astype(np.float32)}
    found = small_nets.explained(graph, make_composite("gradient"), inputs, name, mode="relevance")["relevance"]
    np.testing.assert_array_equal(found, [[2, 2, 6, 4]])


def test_what_a_constant_takes_is_booked() -> None:
    n = small_nets.Net(2, 2)
    y = n.op("Concat", n.op("Trilu", "x"), each(n, np.ones((1, 2, 1))), axis=2)
    graph = small_nets.load(n.model(n.op("Pad", y, numbers(0, 0, 1, 0, 0, 0), np.array(1.0))))
    program = small_nets.compile(graph, make_composite("epsilon_plus"), mode="relevance", ledger=True)
    inputs = {"x": np.ones((1, 2, 2)), SEED: np.ones((1, 2, 4))}
    outputs = prepared("reference", small_nets.forward(graph), program)(inputs)
    rows = {row.op: row for row in ledger.rows(program.notes["ledger"], outputs)}
    np.testing.assert_array_equal(outputs["relevance"], [[[1, 1], [0, 1]]])
    assert all(row.error < 1e-12 for row in rows.values())
    assert ledger.sums(list(rows.values()))["gate"] == 3


@pytest.mark.few(8)
@each_engine
@pytest.mark.parametrize("method", ["epsilon_plus_flat", "epsilon_alpha2_beta1", "gamma", "gradient"])
def test_a_segmentation_net(method: str, name: str) -> None:
    """Down, up by a transposed convolution and by interpolation, joined with what was passed over."""
    n = small_nets.Net(2, 8, 8)
    wide = n.relu(n.conv("x", 2, 4))
    low = n.relu(n.conv(n.op("MaxPool", wide, kernel_shape=[2, 2], strides=[2, 2]), 4, 6))
    deep = n.relu(n.conv(low, 6, 6, strides=[2, 2]))
    up = n.op("Concat", doubled(n, deep, mode="linear"), low, axis=1)
    up = n.op("ConvTranspose", n.relu(n.conv(up, 12, 6)), n.rng.normal(size=(6, 4, 2, 2)), strides=[2, 2])
    both = n.ops("Split", n.op("Concat", n.relu(n.norm(up, 4)), wide, axis=1), numbers(2, 6), results=2, axis=1)
    y = n.conv(n.op("Concat", *both[::-1], axis=1), 8, 3, kernel=(1, 1))
    graph = small_nets.load(n.model(n.op("Flatten", n.op("GlobalAveragePool", y))))
    inputs = small_nets.batch(graph)
    options: dict[str, Any] = {"ledger": method != "gradient"}
    expected = small_nets.explained(graph, make_composite(method), inputs, **options)
    for key, value in small_nets.explained(graph, make_composite(method), inputs, name, **options).items():
        if not key.startswith("ledger"):
            small_nets.agree(value, expected[key], 1e-3 if key == "relevance" else 1e-4)
    if options["ledger"]:
        program = small_nets.compile(graph, make_composite(method), mode="top", **options)
        outputs = prepared(name, small_nets.forward(graph), program)(inputs)
        assert all(row.error < 1e-4 for row in ledger.rows(program.notes["ledger"], outputs))


# -- refusals

REFUSED = {
    "Compress": lambda n: n.op("Compress", "x", np.array([True, False, True, False]), axis=2),
    "integer length": lambda n: n.op(
        "Resize", "x", NONE, np.array([1, 1, 1.3, 1.3], np.float32), mode="linear",
        coordinate_transformation_mode="align_corners",
    ),
    "pads the batch": lambda n: n.op("Pad", "x", numbers(1, 0, 0, 0, 0, 0, 0, 0)),
    "repeats or pads": lambda n: n.op("Tile", "x", numbers(2, 1, 1, 1)),
    "batch axis": lambda n: n.op("CumSum", "x", np.array(0)),
    "Einsum": lambda n: n.op("Einsum", "x", "x", equation="bchh,bchw->bcw"),
}  # fmt: skip


@pytest.mark.parametrize("message", REFUSED)
def test_refusals_name_the_operator(message: str) -> None:
    n = small_nets.Net(2, 4, 4)
    model = n.model(n.op("Neg", REFUSED[message](n)))
    with pytest.raises(UnsupportedError, match=message):
        small_nets.compile(small_nets.load(model), make_composite("epsilon_plus"))


def test_a_selection_that_is_too_large_is_refused() -> None:
    n = small_nets.Net(6000)
    order = np.random.default_rng(0).permutation(6000)
    graph = small_nets.load(n.model(n.op("Gather", "x", order, axis=1)))
    with pytest.raises(UnsupportedError, match="too large"):
        small_nets.compile(graph, make_composite("epsilon_plus"))


@pytest.mark.parametrize("name", ["gather_elements_of_the_best", "scatter_elements_none", "best_experts"])
def test_one_score_of_several_keeps_the_places_that_its_relevance_reads(name: Any) -> None:
    """A model that is cut behind the score that is explained; the slope is that of finite differences."""
    shape, inputs, build = PLACES[name]
    n = small_nets.Net(*shape)
    source = n.model(build(n), inputs=inputs)
    x = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    found = onnxlrp.load(source).explain(x, target=1, method="gradient")
    exact = onnxlrp.load(source, engine="reference")
    direction = np.random.default_rng(1).normal(size=x.shape)
    moved = [(x + step * direction).astype(np.float32) for step in (1e-3, -1e-3)]
    ends = [exact.explain(one, target=1, method="gradient").output.reshape(2, -1)[:, 1] for one in moved]
    along = (found.relevance * direction).reshape(2, -1).sum(axis=1)
    np.testing.assert_allclose(along, (ends[0] - ends[1]) / 2e-3, rtol=1e-3, atol=1e-4)
