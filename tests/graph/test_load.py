"""The whole way from a file to a graph."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from onnxlrp.errors import UnsupportedError
from onnxlrp.graph.load import load
from onnxlrp.graph.verify import verify
from onnxlrp.graph.writing.to_onnx import emit
from onnxlrp.model.interface.io_selection import choose
from support.paths import DATA
from support.tiny_models import batch_norm, conv, model, node, norm, values

SHARED = DATA / "models"
LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"


def classifier(**options: Any) -> Any:
    nodes = [
        conv("x", "c", "w", name="/conv1/Conv"), batch_norm("c", "n"), node("Relu", ["n"], ["r"], name="/Relu"),
        node("GlobalAveragePool", ["r"], ["g"]), node("Flatten", ["g"], ["f"]),
        node("Gemm", ["f", "fc.weight", "fc.bias"], ["logits"], transB=1, name="/fc/Gemm"),
        node("Softmax", ["logits"], ["y"], axis=1),
    ]  # fmt: skip
    constants = {"w": values(6, 4, 3, 3), "fc.weight": values(5, 6), "fc.bias": values(5)} | norm(6)
    return model(nodes, constants, **options)


def test_a_classifier(tmp_path: Path) -> None:
    source = classifier()
    helper.set_model_props(source, {"labels": "cat,dog"})
    data = source.SerializeToString()
    path = tmp_path / "net.onnx"
    path.write_bytes(data)
    graph = load(path)
    assert [(layer.op, layer.path) for layer in graph.layers] == [
        ("Conv", "conv1"), ("Relu", ""), ("GlobalAveragePool", ""), ("Flatten", ""), ("Gemm", "fc"), ("Softmax", ""),
    ]  # fmt: skip
    assert graph.inputs[0].shape == (4, 8, 8)
    assert graph.outputs[0].shape == (5,)
    assert graph.shapes["logits"] == (5,)
    assert graph.dtypes["logits"] == "float32"
    assert graph.opsets == {"": 23}
    assert graph.metadata["labels"] == "cat,dog"
    assert graph.metadata["onnxlrp.opset"] == "17"
    assert graph.sha256 == hashlib.sha256(data).hexdigest()
    assert graph.source == str(path)
    assert len({layer.name for layer in graph.layers}) == len(graph.layers)
    assert path.read_bytes() == data
    verify(graph, path)


def test_a_proto_is_not_changed() -> None:
    source = classifier()
    before = source.SerializeToString()
    graph = load(source)
    verify(graph, source)
    assert source.SerializeToString() == before


@pytest.mark.parametrize("opset", [7, 9, 11, 13, 17, 21, 23])
def test_opsets(opset: int) -> None:
    source = classifier(opset=opset, listed=opset < 9)
    graph = load(source)
    assert [tensor.name for tensor in graph.inputs] == ["x"]
    assert verify(graph, source) < 1e-5


def test_a_newer_opset_stays() -> None:
    assert load(classifier(opset=24)).opsets == {"": 24}


OLD = {
    "clip": (7, [node("Clip", ["x"], ["y"], min=0.0, max=6.0)], {}),
    "pad": (7, [node("Pad", ["x"], ["y"], pads=[0, 0, 1, 1, 0, 0, 2, 2], value=1.0)], {}),
    "dropout": (7, [node("Dropout", ["x"], ["d"], ratio=0.5), node("Relu", ["d"], ["y"])], {}),
    "slice": (7, [node("Slice", ["x"], ["y"], axes=[1, 2], starts=[1, 0], ends=[3, 5])], {}),
    "squeeze": (7, [node("GlobalAveragePool", ["x"], ["g"]), node("Squeeze", ["g"], ["y"], axes=[2, 3])], {}),
    "mean": (11, [node("ReduceMean", ["x"], ["y"], axes=[2, 3], keepdims=0)], {}),
    "sum": (9, [node("ReduceSum", ["x"], ["y"], axes=[1], keepdims=1)], {}),
    "softmax flattens": (9, [node("Softmax", ["x"], ["y"], axis=1)], {}),
    "softmax, last axis": (11, [node("Softmax", ["x"], ["y"], axis=3)], {}),
    "upsample, nearest": (7, [node("Upsample", ["x"], ["y"], scales=[1.0, 1.0, 2.0, 3.0])], {}),
    "upsample, linear": (9, [node("Upsample", ["x", "s"], ["y"], mode="linear")], {"s": np.array([1, 1, 2, 2], "f")}),
    "resize-10": (10, [node("Resize", ["x", "s"], ["y"], mode="linear")], {"s": np.array([1, 1, 2, 2], "f")}),
    "split": (7, [node("Split", ["x"], ["a", "b"], axis=1, split=[1, 3]), node("Concat", ["b", "a"], ["y"], axis=1)],
              {}),
    "group norm": (18, [node("GroupNormalization", ["x", "s", "b"], ["y"], num_groups=2)],
                   {"s": values(2), "b": values(2)}),
    "resize to sizes": (13, [node("Resize", ["x", "", "", "s"], ["y"])], {"s": np.array([1, 4, 16, 12])}),
}  # fmt: skip


@pytest.mark.parametrize("case", OLD)
def test_older_operators(case: str) -> None:
    opset, nodes, constants = OLD[case]
    for batch in ("N", 1) if "s" not in constants or constants["s"].dtype != np.int64 else (1,):
        source = model(nodes, constants, opset=opset, shape=(batch, 4, 8, 8))
        assert verify(load(source), source, batches=(1, 3)) < 1e-5


def test_weights_are_found_behind_other_operators() -> None:
    """Identity, Constant, Unsqueeze, Transpose, Cast, DequantizeLinear, ConstantOfShape: constants all the same."""
    nodes = [
        node("Constant", [], ["axes"], value_ints=[2, 3]), node("Unsqueeze", ["w", "axes"], ["wu"]),
        node("Identity", ["wu"], ["wi"]), conv("x", "a", "wi", name="one"),
        node("DequantizeLinear", ["q", "qs"], ["wd"]), node("Transpose", ["wd"], ["wt"], perm=[1, 0, 2, 3]),
        node("Relu", ["a"], ["r"]), conv("r", "b", "wt", name="two"),
        node("ConstantOfShape", ["shape"], ["ones"], value=helper.make_tensor("v", 1, [1], [0.5])),
        conv("b", "c", "ones", name="three"), node("Cast", ["h"], ["hf"], to=1), node("Mul", ["c", "hf"], ["y"]),
    ]  # fmt: skip
    constants = {
        "w": values(4, 4), "q": np.arange(-16, 16, dtype=np.int8).reshape(4, 8, 1, 1), "qs": np.array(0.1, "f"),
        "shape": np.array([2, 8, 1, 1]), "h": values(2, 1, 1).astype(np.float16),
    }  # fmt: skip
    source = model(nodes, constants)
    graph = load(source)
    assert [layer.op for layer in graph.layers] == ["Conv", "Relu", "Conv", "Conv"]
    assert all(layer.inputs[1] in graph.constants for layer in graph.layers if layer.op == "Conv")
    verify(graph, source)


def test_large_weights_are_found_behind_other_operators() -> None:
    nodes = [
        node("Transpose", ["w"], ["wt"], perm=[1, 0]),
        node("Flatten", ["x"], ["f"]),
        node("MatMul", ["f", "wt"], ["y"]),
    ]
    source = model(nodes, {"w": values(40, 256)})
    graph = load(source)
    assert [layer.op for layer in graph.layers] == ["Flatten", "Gemm"]
    verify(graph, source)


@pytest.mark.parametrize("kind", [onnx.TensorProto.FLOAT16, onnx.TensorProto.DOUBLE])
def test_other_floating_types_compute_in_one(kind: Any) -> None:
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    nodes = [conv("x", "c", "w"), node("Cast", ["c"], ["d"], to=kind), node("Relu", ["d"], ["y"])]
    constants = {"w": values(4, 4, 3, 3).astype(dtype)}
    graph = load(model(nodes, constants, kind=kind))
    assert [layer.op for layer in graph.layers] == ["Conv", "Relu"]
    reference = load(model(nodes, {"w": constants["w"].astype(np.float32)}))
    np.testing.assert_array_equal(graph.constants["w"], constants["w"])
    assert graph.shapes == reference.shapes
    verify(graph, emit(graph))


def test_model_local_functions_are_inlined() -> None:
    function = helper.make_function(
        "local", "Twice", ["a"], ["b"], [node("Relu", ["a"], ["r"]), node("Add", ["r", "r"], ["b"])],
        [helper.make_opsetid("", 17)],
    )  # fmt: skip
    source = model([node("Twice", ["x"], ["y"], domain="local")])
    source.functions.append(function)
    source.opset_import.append(helper.make_opsetid("local", 1))
    graph = load(source)
    assert [layer.op for layer in graph.layers] == ["Relu", "Add"]
    verify(graph, source)


def test_identities_and_dropout_go_and_the_output_keeps_its_name() -> None:
    nodes = [node("Identity", ["x"], ["i"]), node("Relu", ["i"], ["r"]), node("Dropout", ["r"], ["d"]),
             node("Identity", ["d"], ["y"])]  # fmt: skip
    (layer,) = load(model(nodes)).layers
    assert (layer.op, layer.inputs, layer.outputs) == ("Relu", ("x",), ("y",))


def test_emit_gives_what_is_asked_for() -> None:
    graph = load(classifier())
    emitted = emit(graph, np.float64, outputs=["r"])
    assert [o.name for o in emitted.graph.output] == ["y", "r"]
    assert {t.data_type for t in emitted.graph.initializer} == {onnx.TensorProto.DOUBLE}
    assert emitted.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"
    onnx.checker.check_model(emitted, full_check=True)
    from onnx.reference import ReferenceEvaluator

    y: Any
    r: Any
    y, r = ReferenceEvaluator(emitted).run(None, {"x": values(2, 4, 8, 8).astype(np.float64)})
    assert y.dtype == r.dtype == np.float64
    np.testing.assert_allclose(y.sum(1), 1)


def test_two_inputs_declare_one_batch() -> None:
    source = model([node("Add", ["x", "z"], ["y"])])
    source.graph.input.append(helper.make_tensor_value_info("z", 1, ["N", 4, 8, 8]))
    graph = load(source)
    assert [tensor.name for tensor in graph.inputs] == ["x", "z"]
    verify(graph, source)
    source.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    source.graph.input[1].type.tensor_type.shape.dim[0].dim_value = 3
    with pytest.raises(UnsupportedError, match="different batch sizes"):
        load(source)


def shared_models() -> Any:
    return sorted(SHARED.glob("*.onnx")) or [
        pytest.param(None, marks=pytest.mark.skip(reason=f"no models in {SHARED}"))
    ]


@pytest.mark.few(3)
@pytest.mark.parametrize("path", shared_models(), ids=lambda path: path.stem if path else "none")
def test_real_models(path: Any) -> None:
    start = time.perf_counter()
    graph = load(path)
    assert time.perf_counter() - start < 5
    assert graph.batch is None
    verify(graph, path, batches=(2,))


@pytest.mark.parametrize("name", ["shufflenet", "squeezenet"])
def test_light_models(name: str) -> None:
    path = LIGHT / f"light_{name}.onnx"
    if not path.is_file():
        pytest.skip("this onnx has no light models")
    graph = load(path)
    assert graph.batch is None
    assert len(graph.inputs) == 1
    verify(graph, path, batches=(2,))


def test_an_input_that_nobody_reads_says_nothing_of_the_batch() -> None:
    """Constants of preprocessing that Keras's exporter has folded and still lists."""
    source = model([conv("x", "y", "w")], {"w": values(2, 4, 3, 3)})
    source.graph.input.append(helper.make_tensor_value_info("mean", onnx.TensorProto.FLOAT, (1, 1, 1, 3)))
    graph = choose(load(source)).graph
    assert graph.batch is None
    assert [tensor.name for tensor in graph.inputs] == ["x"]
    assert verify(graph, source) < 1e-5
