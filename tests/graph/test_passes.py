"""Every pass of `load` alone, and their order: what they require, ensure and leave intact."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from onnxlrp.errors import InputError
from onnxlrp.graph import load as load_module
from onnxlrp.graph.frontend.placeholder import PRIME
from onnxlrp.graph.graph import Layer
from onnxlrp.graph.load import load
from onnxlrp.graph.loading import properties as has
from onnxlrp.graph.loading.contracts import Pass, PostconditionError, PreconditionError, run
from onnxlrp.graph.loading.load_state import LoadState
from onnxlrp.graph.loading.passes import PASSES
from onnxlrp.graph.reading.read import read
from onnxlrp.graph.rewriting.mutable_graph import MutableGraph
from onnxlrp.graph.rewriting.shape_inference import infer
from support.tiny_models import batch_norm, conv, model, node, norm, values

ZOO = Path(__file__).parents[1] / "zoo"
WINDOW = {"kernel_shape": (3, 3), "strides": (1, 1), "dilations": (1, 1), "pads": (0, 0, 0, 0), "group": 1}


def layer(op: Any, inputs: Any, outputs: Any, **attributes: Any) -> Any:
    return Layer(op, f"{op} {outputs}", "", tuple(inputs.split()), tuple(outputs.split()), attributes)


def graph(layers: Any, constants: Any = None, shape: Any = (4, 8, 8), outputs: str = "y", domains: Any = ()) -> Any:
    made = MutableGraph(
        layers,
        constants or {},
        ["x"],
        outputs.split(),
        {"x": (PRIME, *shape)},
        {"x": "float32"},
        {"": 23, **dict.fromkeys(domains, 1)},
        PRIME,
    )
    infer(made)
    return made


def unknown_shapes() -> Any:
    made = graph([layer("Relu", "x", "a"), layer("Relu", "a", "y")])
    del made.shapes["a"], made.shapes["y"]
    return made


def text_output() -> Any:
    made = graph([layer("Relu", "x", "y"), layer("Sigmoid", "x", "label")], outputs="label y")
    made.dtypes["label"] = "object"
    return made


def fused_conv() -> Any:
    fused = layer("com.microsoft::FusedConv", "a w", "y", activation="Relu")
    return graph([layer("Relu", "x", "a"), fused], {"w": values(6, 4, 3, 3)}, domains=["com.microsoft"])


def tokens() -> Any:
    constants = {"rows": np.array([-1, 8]), "back": np.array([-1, 4, 8])} | norm(8)
    norm_of_rows = layer("BatchNormalization", "rows_of_x s b m v", "n")
    layers = [layer("Reshape", "x rows", "rows_of_x"), norm_of_rows, layer("Reshape", "n back", "y")]
    return graph(layers, constants, shape=(4, 8))


def recurrent() -> Any:
    constants = {"w": values(2, 9, 8), "r": values(2, 9, 3), "b": values(2, 18), "to": np.array([-1, 24])}
    gru = layer("GRU", "x w r b", "s", layout=1, hidden_size=3, direction="bidirectional")
    made = graph([gru, layer("Reshape", "s to", "y")], constants, shape=(4, 8))
    made.shapes["s"], made.dtypes["s"] = (made.batch, 4, 2, 3), "float32"
    return made


def sorted_samples() -> Any:
    constants = {"n": np.array([PRIME]), "zeros": np.zeros(PRIME, np.int64), "numbers": np.arange(PRIME)}
    inner = [layer("Gather", "x order", "a"), layer("Relu", "a", "b")]
    inverse = layer("ScatterElements", "zeros order numbers", "inverse", axis=0)
    top = layer("TopK", "x n", "sorted order", axis=-1)
    return graph([top, *inner, inverse, layer("Gather", "b inverse", "y")], constants, shape=())


def two_towers() -> Any:
    made = graph([layer("MatMul", "x w", "a")], {"w": values(4, 3)}, shape=(4,), outputs="y")
    made.layers += [layer("Transpose", "t", "u", perm=(1, 0)), layer("MatMul", "a u", "y")]
    made.inputs.append("t")
    made.shapes["t"], made.dtypes["t"] = (PRIME, 3), "float32"
    infer(made)
    return made


def step_of_each_sample() -> Any:
    layers = [layer("ArgMax", "x", "at", axis=1, keepdims=1), layer("GatherND", "x at", "y", batch_dims=1)]
    return graph(layers, shape=(4,))


def cells() -> Any:
    plain = {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0}
    layers, h = [], "x"
    for t in range(3):
        layers += [layer("Gemm", "x w", f"a{t}", **plain), layer("Gemm", f"{h} r", f"b{t}", **plain)]
        layers += [layer("Add", f"a{t} b{t}", f"z{t}"), layer("Tanh", f"z{t}", f"h{t}")]
        h = f"h{t}"
    return graph(layers, {"w": values(4, 4), "r": values(4, 4, seed=1)}, shape=(4,), outputs=h)


def batch_behind() -> Any:
    layers = [layer("Transpose", "x", "a", perm=(1, 0, 2)), layer("Relu", "a", "b")]
    return graph([*layers, layer("Transpose", "b", "y", perm=(1, 0, 2))], shape=(4, 8))


def binary_columns() -> Any:
    constants = {"w": values(5, 1), "one": np.ones(1, np.float32)}
    gemm = layer("Gemm", "x w", "z", alpha=1.0, beta=1.0, transA=0, transB=0)
    layers = [gemm, layer("Sigmoid", "z", "p"), layer("Sub", "one p", "q"), layer("Concat", "q p", "y", axis=1)]
    return graph(layers, constants, shape=(5,))


def padded() -> Any:
    layers = [layer("Pad", "x amounts", "p", mode="constant"), layer("Conv", "p w", "y", **WINDOW)]
    return graph(layers, {"amounts": np.array([0, 0, 1, 1, 0, 0, 1, 1]), "w": values(6, 4, 3, 3)})


def normalised() -> Any:
    layers = [layer("Conv", "x w", "c", **WINDOW),
              layer("BatchNormalization", "c s b m v", "n", epsilon=1e-5, training_mode=0),
              layer("Mul", "n half", "y")]  # fmt: skip
    return graph(layers, {"w": values(6, 4, 3, 3), "half": np.array(0.5, np.float32)} | norm(6))


def words() -> Any:
    encoder = layer("ai.onnx.ml::OneHotEncoder", "x", "y", cats_strings=("left", "right"), zeros=1)
    made = graph([encoder], shape=(3,), domains=["ai.onnx.ml"])
    made.dtypes["x"] = "object"
    return made


def machine() -> Any:
    kernel = {"kernel_type": "RBF", "kernel_params": (0.5, 0.0, 0.0), "n_supports": 3, "rho": (0.25,)}
    vectors = {"coefficients": (1.0, -2.0, 1.0), "support_vectors": tuple(range(12))}
    return graph([layer("ai.onnx.ml::SVMRegressor", "x", "y", **kernel, **vectors)], shape=(4,), domains=["ai.onnx.ml"])


# A graph that fulfils what the pass requires, and lacks what it ensures.
GRAPHS = {
    "drop text outputs": text_output,
    "fold constants": lambda: graph(
        [layer("Add", "one two", "three"), layer("Identity", "x", "same"), layer("Mul", "same three", "y")],
        {"one": np.ones(1, np.float32), "two": np.ones(1, np.float32)},
    ),
    "complete shapes": unknown_shapes,
    "decompose": fused_conv,
    "remove unused": lambda: graph([layer("Relu", "x", "y"), layer("Exp", "x", "z")], {"nobody": np.ones(3)}),
    "rewrite BatchNormalization of tokens": tokens,
    "lower": lambda: graph([layer("Split", "x", "y z", axis=1, num_outputs=2)], outputs="y z"),
    "undo sorting": sorted_samples,
    "pair samples": two_towers,
    "join sums": cells,
    "mask steps": step_of_each_sample,
    "free batch": batch_behind,
    "spell out attributes": lambda: graph(
        [layer("Conv", "x w", "y", auto_pad="SAME_UPPER")], {"w": values(6, 4, 3, 3)}
    ),
    "write as Gemm": lambda: graph([layer("MatMul", "x w", "y")], {"w": values(4, 3)}, shape=(4,)),
    "merge pads": padded,
    "merge affine": normalised,
    "cancel moves": lambda: graph(
        [
            layer("Transpose", "x", "a", perm=(0, 2, 3, 1)),
            layer("Mul", "a k", "b"),
            layer("Transpose", "b", "c", perm=(0, 3, 1, 2)),
            layer("Relu", "c", "y"),
        ],
        {"k": values(4)},
    ),
    "write in layout": lambda: graph(
        [
            layer("Transpose", "x", "a", perm=(0, 2, 3, 1)),
            layer("MatMul", "a w", "b"),
            layer("Add", "b d", "c"),
            layer("Transpose", "c", "e", perm=(0, 3, 1, 2)),
            layer("Relu", "e", "y"),
        ],
        {"w": values(4, 6), "d": values(6)},
    ),
    "fuse layer normalisation": lambda: graph(
        [
            layer("ReduceMean", "x axis", "m", keepdims=1),
            layer("Sub", "x m", "c"),
            layer("Mul", "c c", "v"),
            layer("ReduceMean", "v axis", "s", keepdims=1),
            layer("Add", "s eps", "t"),
            layer("Sqrt", "t", "r"),
            layer("Div", "c r", "n"),
            layer("Mul", "n g", "p"),
            layer("Add", "p b", "y"),
        ],
        {"axis": np.array([-1]), "eps": np.array(1e-5, np.float32), "g": values(8), "b": values(8)},
    ),
    "fuse softmax": lambda: graph(
        [
            layer("ReduceMax", "x axis", "m", keepdims=1),
            layer("Sub", "x m", "u"),
            layer("Exp", "u", "e"),
            layer("ReduceSum", "e axis", "s", keepdims=1),
            layer("Div", "e s", "y"),
        ],
        {"axis": np.array([-1])},
    ),
    "fuse activations": lambda: graph(
        [layer("HardSigmoid", "x", "g", alpha=1 / 6, beta=0.5), layer("Mul", "x g", "y")]
    ),
    "write binary columns": binary_columns,
    "code texts": words,
    "neuralize": machine,
    "unfold recurrent layers": recurrent,
    "number places": lambda: graph(
        [layer("TopK", "x two", "values indices"), layer("GatherElements", "x indices", "y", axis=1)],
        {"two": np.array([2])},
    ),
    "number conditions": lambda: graph(
        [layer("Greater", "x zero", "c"), layer("Where", "c x zero", "y")], {"zero": np.zeros(1, np.float32)}
    ),
}
ON_GRAPHS = list(dict.fromkeys(step for step in PASSES if step.name in GRAPHS))


def state_of(made: Any) -> Any:
    state = LoadState(read(classifier()))
    state.parsed = made
    return state


def classifier(shape: Any = ("N", 4, "H", "W")) -> Any:
    nodes = [
        conv("x", "c", "w"), batch_norm("c", "n"), node("GlobalAveragePool", ["n"], ["p"]),
        node("ConstantOfShape", ["lengths"], ["table"]), node("Flatten", ["p"], ["f"]),
        node("MatMul", ["f", "table"], ["y"]),
    ]  # fmt: skip
    constants = {"w": values(40, 4, 8, 8), "lengths": np.array([40, 300])} | norm(40)
    return model(nodes, constants, shape, opset=17)


def written_out(made: Any) -> tuple[Any, Any, Any, Any, Any, Any]:
    """A graph as something to compare."""
    constants = {name: (value.dtype, value.shape, value.tobytes()) for name, value in made.constants.items()}
    return made.layers, constants, made.outputs, made.shapes, made.dtypes, made.opsets


@pytest.mark.parametrize("step", ON_GRAPHS, ids=lambda step: step.name)
def test_a_pass_alone(step: Any) -> None:
    """From a graph that lacks what the pass ensures to one that has it; done again, nothing changes."""
    state = state_of(GRAPHS[step.name]())
    assert all(required.holds(state) for required in step.requires)
    assert not all(ensured.holds(state) for ensured in step.ensures)
    step(state)
    for ensured in step.ensures:
        assert ensured.holds(state), ensured.name
    once = written_out(state.graph.copy())
    step.run(state)
    assert written_out(state.graph) == once


@pytest.mark.parametrize("step", [step for step in PASSES if step not in ON_GRAPHS], ids=lambda step: step.name)
def test_a_pass_on_the_model(step: Any) -> None:
    """The passes before the model is parsed, behind those that ensure what they require."""
    state = LoadState(read(classifier()))
    for earlier in PASSES[: PASSES.index(step)]:
        earlier.run(state)
    step(state)
    assert all(ensured.holds(state) for ensured in step.ensures)


def test_each_pass_has_a_test() -> None:
    before_parsing = {step.name for step in PASSES[: [step.name for step in PASSES].index("parse") + 1]}
    assert {step.name for step in PASSES} == GRAPHS.keys() | before_parsing | {
        "check floats",
        "join columns",  # of files alone: tests/ml/test_pipelines.py
        "check layers",
        "check constants",
    }
    assert all(step.ensures and step.summary.endswith(".") for step in PASSES)


def test_the_order_gives_each_pass_what_it_requires() -> None:
    holding = set()
    for step in PASSES:
        assert holding.issuperset(step.requires), step.name
        holding = (holding - {*step.breaks}) | {*step.ensures}
    assert holding >= {has.BATCH_FIRST, has.SHAPES_KNOWN, has.ATTRIBUTES_SPELLED_OUT, has.ONE_AFFINE, has.PARSED}


@pytest.mark.parametrize("name", ["resnet-ort-extended", "convnext-dynamo-18", "inception-int8-weights"])
def test_contracts_hold_on_a_whole_model(name: str) -> None:
    """Around every pass, what should hold by then does: none breaks what it does not say."""
    state = LoadState(read(ZOO / f"{name}.onnx"))
    run(PASSES, state, check=True)
    assert load_module.graph_of(state).layers == load(ZOO / f"{name}.onnx").layers


def test_load_runs_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    ran = []
    watched = [
        Pass(step.name, step.summary, lambda state, step=step: (ran.append(step.name), step.run(state))[1])  # type: ignore[misc]
        for step in PASSES
    ]
    monkeypatch.setattr(load_module, "PASSES", watched)
    load(classifier((1, 4, 8, 8)))
    assert ran == [step.name for step in PASSES]


@pytest.mark.parametrize(
    ("name", "constants", "attributes"),
    [
        ("check layers", {"w": values(6, 3, 3, 3)}, {}),
        ("check layers", {"w": values(6, 4, 9, 9)}, {"kernel_shape": (9, 9)}),
        ("check constants", {"w": np.full((6, 4, 3, 3), np.nan, np.float32)}, {}),
    ],
)
def test_what_cannot_be_computed_is_refused(name: str, constants: Any, attributes: Any) -> None:
    step = next(step for step in PASSES if step.name == name)
    made = graph([layer("Conv", "x w", "y", **WINDOW | attributes)], {"w": values(6, 4, 3, 3)})
    made.constants.update(constants)
    if "kernel_shape" in attributes:
        made.shapes["y"] = (PRIME, 6, 0, 0)
    state = state_of(made)
    with pytest.raises(InputError, match='Conv node "Conv y"'):
        step.run(state)
    assert not step.ensures[0].holds(state)


@pytest.mark.parametrize("name", ["check weights", "check model as exported", "check model as converted"])
def test_memory_is_checked(name: str) -> None:
    step = next(step for step in PASSES if step.name == name)
    state = LoadState(read(classifier()))
    run(PASSES[: PASSES.index(step)], state)
    state.memory_limit = 1000
    with pytest.raises(InputError, match="the limit is 1000 bytes"):
        step.run(state)
    assert not step.ensures[0].holds(state)


def test_a_broken_contract_is_named() -> None:
    breaks = Pass("nothing", "Do nothing.", lambda state: None, ensures=(has.CONSTANTS_FOLDED,))
    state = state_of(GRAPHS["fold constants"]())
    with pytest.raises(PostconditionError, match='"nothing" ensures that constants are folded'):
        breaks(state)
    early = Pass("early", "Do nothing.", lambda state: None, requires=(has.CONSTANTS_FOLDED,))
    with pytest.raises(PreconditionError, match='"early" requires that constants are folded'):
        early(state)


def test_a_pass_may_not_break_what_it_does_not_say() -> None:
    def unfold(state: Any) -> None:
        state.graph.layers.insert(0, layer("Neg", "three", "four"))

    spoils = Pass("spoils", "Add a layer of constants.", unfold)
    state = state_of(GRAPHS["fold constants"]())
    fold = next(step for step in PASSES if step.name == "fold constants")
    with pytest.raises(PostconditionError, match='"spoils" leaves intact that constants are folded'):
        run([fold, spoils], state, check=True)
    run([fold, spoils], state_of(GRAPHS["fold constants"]()))


def test_nothing_of_the_file_changes() -> None:
    source = classifier()
    before = source.SerializeToString()
    run(PASSES, LoadState(read(source)), check=True)
    assert source.SerializeToString() == before
    assert isinstance(source, onnx.ModelProto)
