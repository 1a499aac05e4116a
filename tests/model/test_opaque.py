"""Whatever onnxruntime runs, loads: methods of forward passes alone explain models whose layers cannot be read.

Right values come from onnxruntime's own session of the file: a value hidden is a value replaced in its input.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

import onnxlrp
from onnxlrp.cli import main
from onnxlrp.errors import OnnxLrpError, UnsupportedError

F = np.float32
RNG = np.random.default_rng(0)
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
# A function whose number is not stated: such a layer cannot be read.
UNCLEAR = {"LSTM": ["Sigmoid", "Tanh", "ThresholdedRelu"], "GRU": ["Sigmoid", "ThresholdedRelu"]}


def made(nodes: Any, constants: Any, inputs: Any, domains: Any = (("", 17),), output: Any = None) -> onnx.ModelProto:
    values = [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()]
    weights = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "g", values, [helper.make_tensor_value_info("y", 1, output)], weights)
    opsets = [helper.make_opsetid(*domain) for domain in domains]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def recurrent(op: str, batch: Any = "N", softmax: bool = False) -> onnx.ModelProto:
    """Batch first, as exporters write it: Transpose, the layer, its last state, a dense layer."""
    constants = {
        "w": RNG.normal(size=(1, GATES[op] * 6, 5)).astype(F), "r": RNG.normal(size=(1, GATES[op] * 6, 6)).astype(F),
        "d": RNG.normal(size=(6, 3)).astype(F), "zero": np.array([0]),
    }  # fmt: skip
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        helper.make_node(
            op, ["t", "w", "r"], ["", "h"], hidden_size=6, activations=UNCLEAR.get(op, ["ThresholdedRelu"])
        ),
        helper.make_node("Squeeze", ["h", "zero"], ["s"]),
        helper.make_node("MatMul", ["s", "d"], ["logits" if softmax else "y"]),
    ]
    nodes += [helper.make_node("Softmax", ["logits"], ["y"], axis=1)] * softmax
    return made(nodes, constants, {"x": (1, [batch, 9, 5])})


def loop() -> onnx.ModelProto:
    """y = x + w three times, in a Loop."""
    body = helper.make_graph(
        [helper.make_node("Add", ["v", "w"], ["u"]), helper.make_node("Identity", ["c"], ["d"])],
        "body",
        [
            helper.make_tensor_value_info("i", 7, []),
            helper.make_tensor_value_info("c", 9, []),
            helper.make_tensor_value_info("v", 1, ["N", 5]),
        ],
        [helper.make_tensor_value_info("d", 9, []), helper.make_tensor_value_info("u", 1, ["N", 5])],
    )
    nodes = [helper.make_node("Tanh", ["x"], ["a"]), helper.make_node("Loop", ["n", "", "a"], ["y"], body=body)]
    return made(nodes, {"n": np.array(3), "w": RNG.normal(size=5).astype(F)}, {"x": (1, ["N", 5])})


def trees() -> onnx.ModelProto:
    """A sum of two stumps: 1 where x0 > 0.5, and 2 where x1 > -0.5."""
    tree: dict[str, Any] = {"nodeids": [0, 1, 2], "modes": ["BRANCH_LEQ", "LEAF", "LEAF"], "truenodeids": [1, 0, 0]}
    nodes: dict[str, Any] = {
        f"nodes_{name}": values * 2 for name, values in {**tree, "falsenodeids": [2, 0, 0]}.items()
    }
    nodes |= {"nodes_treeids": [0, 0, 0, 1, 1, 1], "nodes_featureids": [0, 0, 0, 1, 0, 0]}
    nodes |= {"nodes_values": [0.5, 0.0, 0.0, -0.5, 0.0, 0.0], "target_weights": [0.0, 1.0, 0.0, 2.0]}
    nodes |= {"target_treeids": [0, 0, 1, 1], "target_nodeids": [1, 2, 1, 2], "target_ids": [0] * 4, "n_targets": 1}
    node = helper.make_node("TreeEnsembleRegressor", ["x"], ["y"], domain="ai.onnx.ml", **nodes)
    return made([node], {}, {"x": (1, ["N", 3])}, (("", 17), ("ai.onnx.ml", 3)))


def session(model: onnx.ModelProto) -> Any:
    return onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


MODELS: dict[str, Any] = {
    **{op: partial(recurrent, op) for op in GATES},
    "LSTM of one sample": partial(recurrent, "LSTM", 1),
    "Loop": loop,
    "TreeEnsembleRegressor": trees,
}
FORWARD = ("occlusion", "rise", "lime", "kernel_shap")


@pytest.mark.parametrize("name", MODELS)
def test_forward_methods_run_on_the_untouched_file(name: str) -> None:
    proto = MODELS[name]()
    model = onnxlrp.load(proto)
    x = RNG.normal(size=(3, *model.graph.inputs[0].shape)).astype(F)
    own = session(proto)
    want = np.concatenate([own.run(["y"], {"x": x[n : n + 1]})[0] for n in range(3)])
    for method in FORWARD:
        options: dict[str, Any] = {"samples": 30} if method != "occlusion" else {}
        e = model.explain(x, target=0, method=method, **options)
        assert e.relevance.shape == x.shape
        np.testing.assert_allclose(e.output, want, rtol=1e-5, atol=1e-6)
    if model.graph.opaque is None:
        return
    for method in ("epsilon", "gradient", "integrated_gradients"):
        with pytest.raises(UnsupportedError, match="layers of the model"):
            model.explain(x, target=0, method=method)
    with pytest.raises(UnsupportedError, match="a seed at the output"):
        model.explain(x, seed=np.ones(want.shape[1:]), method="occlusion")
    assert model.explain(x, target=0).method == "occlusion"


def test_occlusion_of_a_recurrent_network_is_the_fall_of_its_score() -> None:
    """One value at a time replaced by zero: the score before less the score after, by onnxruntime alone."""
    proto = recurrent("GRU")
    x = RNG.normal(size=(2, 9, 5)).astype(F)
    e = onnxlrp.load(proto, kind="vector").explain(
        x, target=[2, 0], method="occlusion", baseline="zero", score="logit", window=1
    )
    own = session(proto)
    before = own.run(["y"], {"x": x})[0]
    for n, target in enumerate((2, 0)):
        for step, feature in ((0, 0), (4, 3), (8, 4)):
            hidden = x.copy()
            hidden[n, step, feature] = 0
            fall = before[n, target] - own.run(["y"], {"x": hidden})[0][n, target]
            assert e.relevance[n, step, feature] == pytest.approx(fall, abs=1e-5)


def test_probabilities_at_the_end_are_not_normalised_again() -> None:
    proto = recurrent("LSTM", softmax=True)
    x = RNG.normal(size=(2, 9, 5)).astype(F)
    e = onnxlrp.load(proto).explain(x, method="occlusion")
    want = session(proto).run(["y"], {"x": x})[0]
    np.testing.assert_allclose(e.probabilities, want, rtol=1e-5)
    assert (e.logit != want.max(axis=1)).all()  # the number before the Softmax is explained


def scalar_input() -> onnx.ModelProto:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["z"]), helper.make_node("Mul", ["z", "t"], ["y"])]
    return made(nodes, {"w": np.eye(3, dtype=F)}, {"x": (1, ["N", 3]), "t": (1, [])})


def test_a_scalar_input_is_an_input() -> None:
    model = onnxlrp.load(scalar_input())
    x = np.array([[1, 2, 3], [4, 5, 6]], F)
    e = model.explain(x, target=1, method="occlusion", baseline="zero", score="logit", given={"t": 2.0})
    np.testing.assert_allclose(e.output, 2 * x)
    np.testing.assert_allclose(e.relevance, [[0, 4, 0], [0, 10, 0]])


def test_samples_that_change_each_other_run_alone() -> None:
    """The softmax over the batch mixes samples: they run one by one where the file takes any batch, or not at all."""
    nodes = [helper.make_node("Softmax", ["x"], ["s"], axis=0), helper.make_node("Add", ["s", "x"], ["y"])]
    model = onnxlrp.load(made(nodes, {}, {"x": (1, ["N", 3])}))
    x = RNG.normal(size=(2, 3)).astype(F)
    assert model.graph.batch == 1
    np.testing.assert_allclose(model.explain(x, target=0, method="occlusion").output, x + 1, rtol=1e-6)
    with pytest.raises(UnsupportedError, match="batch axis"):
        onnxlrp.load(made(nodes, {}, {"x": (1, [2, 3])}))


def test_what_onnxruntime_does_not_run_is_refused_with_the_first_reason() -> None:
    node = helper.make_node("Magic", ["x"], ["y"], domain="nowhere")
    with pytest.raises(OnnxLrpError, match="Magic"):
        onnxlrp.load(made([node], {}, {"x": (1, ["N", 3])}, (("", 17), ("nowhere", 1))))


def test_inspect_says_which_methods_there_are_and_why(tmp_path: Path, capsys: Any) -> None:
    path = tmp_path / "gru.onnx"
    onnx.save(recurrent("GRU"), path)
    assert main(["inspect", str(path)]) == 0
    out = capsys.readouterr().out
    assert "ThresholdedRelu" in out
    assert all(method in out for method in FORWARD)
    np.save(tmp_path / "x.npy", RNG.normal(size=(9, 5)).astype(F))
    assert main(["explain", str(path), str(tmp_path / "x.npy"), "-o", str(tmp_path), "--format", "npz"]) == 0
    assert main(["explain", str(path), str(tmp_path / "x.npy"), "-m", "epsilon", "-o", str(tmp_path)]) == 4
    assert "occlusion" in capsys.readouterr().err


def test_a_place_in_an_output_of_many_positions_is_explained() -> None:
    """[T, K] behind a layer that cannot be read: the logits of one position, or their mean where the class is best."""
    constants = {
        "w": RNG.normal(size=(1, 6, 5)).astype(F), "r": RNG.normal(size=(1, 6, 6)).astype(F),
        "d": RNG.normal(size=(6, 3)).astype(F), "one": np.array([1]),
    }  # fmt: skip
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        helper.make_node("RNN", ["t", "w", "r"], ["s"], hidden_size=6, activations=["ThresholdedRelu"]),
        helper.make_node("Squeeze", ["s", "one"], ["u"]),
        helper.make_node("Transpose", ["u"], ["v"], perm=[1, 0, 2]),
        helper.make_node("MatMul", ["v", "d"], ["y"]),
    ]
    proto = made(nodes, constants, {"x": (1, ["N", 9, 5])})
    x = RNG.normal(size=(2, 9, 5)).astype(F)
    want = session(proto).run(["y"], {"x": x})[0]
    model = onnxlrp.load(proto)
    assert model.graph.opaque is not None
    e = model.explain(x, target="1@4", method="occlusion")
    np.testing.assert_allclose(e.logit, want[:, 4, 1], rtol=1e-5)
    best = want.argmax(axis=2)
    target = int(np.bincount(best[0]).argmax())
    e = model.explain(x[:1], target=f"{target}@predicted", method="occlusion")
    np.testing.assert_allclose(e.logit, [want[0, best[0] == target, target].mean()], rtol=1e-5)


def test_numbers_before_a_zipmap_are_explained_and_no_label() -> None:
    """The file hands out the number of the class, and a map of the scores that are behind it."""
    proto = recurrent("LSTM")
    want = session(proto)
    label = helper.make_tensor_value_info("label", onnx.TensorProto.INT64, ["N"])
    kind = helper.make_map_type_proto(
        onnx.TensorProto.INT64, helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, None)
    )
    named = helper.make_value_info("named", helper.make_sequence_type_proto(kind))
    proto.graph.node.extend(
        [
            helper.make_node("ArgMax", ["y"], ["label"], axis=1, keepdims=0),
            helper.make_node("ZipMap", ["y"], ["named"], domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2]),
        ]
    )
    proto.opset_import.append(helper.make_opsetid("ai.onnx.ml", 3))
    del proto.graph.output[:]
    proto.graph.output.extend([label, named])
    model = onnxlrp.load(proto)
    assert model.graph.opaque is not None
    x = RNG.normal(size=(3, 9, 5)).astype(F)
    found = model.explain(x, method="occlusion")
    scores = want.run(None, {"x": x})[0]
    np.testing.assert_allclose(found.output, scores, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(found.target, scores.argmax(axis=1))
