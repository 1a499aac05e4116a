"""Columns of words: relevance of each original column, outputs and Shapley values as onnxruntime computes them."""

from __future__ import annotations

import csv
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxlrp
from onnxlrp.cli import main
from onnxlrp.errors import InputError, UnsupportedError
from onnxlrp.graph.loading.contracts import run
from onnxlrp.graph.loading.load_state import LoadState
from onnxlrp.graph.loading.passes import PASSES
from onnxlrp.graph.reading.read import read
from support.arrays import Array
from support.shapley import enumerated
from support.tree_models import grown, weights

SEXES, PORTS = ["f", "m"], ["Cherbourg", "Queenstown", "Southampton"]
ROWS = [[41.5, "f", "Queenstown"], [38.0, "m", "Southampton"], [12.0, "m", "Cherbourg"], [30.0, "x", "Bergen"]]
KINDS = ("hot", "integers", "floats", "mapper")
# The value of each category where a column becomes one number, and that of an unknown one.
VALUES = {"sex": {"f": 1.0, "m": 3.0}, "port": {"Cherbourg": 0.0, "Queenstown": 2.0, "Southampton": 5.0}}
DEFAULT = -2.0


def node(op: str, inputs: str, output: str, **more: Any) -> Any:
    standard = {"Concat", "Gather", "Cast", "Reshape", "Identity", "StringNormalizer"}
    return helper.make_node(op, inputs.split(), output.split(), domain="" if op in standard else "ai.onnx.ml", **more)


def encoder(kind: str, column: str, words: list[str]) -> list[Any]:
    """The layers from a column of words to numbers `{column}_numbers`."""
    out, values = f"{column}_numbers", [VALUES[column][word] for word in words]
    if kind == "hot":
        encoded = node("OneHotEncoder", column, f"{column}_hot", cats_strings=words, zeros=1)
        return [encoded, node("Reshape", f"{column}_hot shape", out)]
    if kind == "floats":
        return [node("LabelEncoder", column, out, keys_strings=words, values_floats=values, default_float=DEFAULT)]
    whole = [int(value) for value in values]
    if kind == "mapper":
        made = node("CategoryMapper", column, f"{column}_whole", cats_strings=words, cats_int64s=whole,
                    default_int64=int(DEFAULT))  # fmt: skip
    else:
        made = node("LabelEncoder", column, f"{column}_whole", keys_strings=words, values_int64s=whole,
                    default_int64=int(DEFAULT))  # fmt: skip
    return [made]


def features(kind: str, joined: bool) -> list[Any]:
    """The layers from the columns age, sex and port to `features`; sex and port are one input where they are joined."""
    nodes = []
    if joined:
        nodes = [node("ArrayFeatureExtractor", "words first", "sex"), node("Gather", "words second", "port", axis=1)]
    nodes += [*encoder(kind, "sex", SEXES), *encoder(kind, "port", PORTS)]
    numbers = "sex_numbers port_numbers"
    if kind in ("integers", "mapper"):  # as skl2onnx writes an OrdinalEncoder
        nodes += [node("Concat", "sex_whole port_whole", "whole", axis=1),
                  node("Cast", "whole", "numbers", to=TensorProto.FLOAT)]  # fmt: skip
        numbers = "numbers"
    return [*nodes, node("Concat", f"age {numbers}", "features", axis=1)]


def width(kind: str) -> int:
    return 6 if kind == "hot" else 3


def model(nodes: list[Any], joined: bool, last: list[Any]) -> Any:
    constants = {"first": np.array([0]), "second": np.array([1])}
    stored = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    for n in nodes:
        if n.op_type == "Reshape":
            count = len(SEXES if n.input[0].startswith("sex") else PORTS)
            stored.append(numpy_helper.from_array(np.array([-1, count]), f"{n.input[0]}/shape"))
            n.input[1] = f"{n.input[0]}/shape"
    texts = [("words", 2)] if joined else [("sex", 1), ("port", 1)]
    given = [helper.make_tensor_value_info("age", TensorProto.FLOAT, ["N", 1])]
    given += [helper.make_tensor_value_info(name, TensorProto.STRING, ["N", n]) for name, n in texts]
    made = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    graph = helper.make_graph([*nodes, *last], "table", given, made, stored)
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


WEIGHTS = {n: np.random.default_rng(n).normal(size=(2, n)).astype(np.float32) for n in (3, 6)}


def linear(kind: str, joined: bool = False) -> Any:
    last = node("LinearClassifier", "features", "label y", classlabels_ints=[0, 1], post_transform="NONE",
                coefficients=WEIGHTS[width(kind)].reshape(-1), intercepts=[0.1, -0.2])  # fmt: skip
    return model(features(kind, joined), joined, [last])


def trees(kind: str, joined: bool = False) -> Any:
    nodes, leaves = grown(2, trees=4, depth=4, features=width(kind), whole=True)
    added = weights(2, leaves, [0])
    names = ("treeids", "nodeids", "ids", "weights")
    told = {f"target_{name}": list(column) for name, column in zip(names, zip(*added, strict=True), strict=True)}
    return model(
        features(kind, joined), joined, [node("TreeEnsembleRegressor", "features", "y", **nodes, **told, n_targets=1)]
    )


def computed(source: Any, rows: Any, joined: bool = False) -> Array:
    """The output by onnxruntime."""
    session = onnxruntime.InferenceSession(source.SerializeToString(), providers=["CPUExecutionProvider"])
    table = np.array(rows, dtype=object)
    feed = {"age": table[:, :1].astype(np.float32)}
    feed |= {"words": table[:, 1:]} if joined else {"sex": table[:, 1:2], "port": table[:, 2:]}
    made: Array = session.run(["y"], feed)[0]
    return made


def cells(rows: Any) -> Array:
    """Rows of words and numbers as an array of both."""
    return np.array(rows, dtype=object)


def table(path: Path, header: str = "age,sex,port", rows: Any = ROWS) -> Path:
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("joined", [False, True])
def test_relevance_of_a_column_is_that_of_its_category(kind: str, joined: bool) -> None:
    """Of a linear model w·x, the weights of the numbers that stand for a word; unknown words too."""
    source, w = linear(kind, joined), WEIGHTS[width(kind)][1].astype(np.float64)
    opened = onnxlrp.load(source, engine="reference")
    assert [t.name for t in opened.graph.inputs] == ["columns"]
    found = opened.explain(np.array(ROWS, dtype=object), target=1, method="epsilon", epsilon=1e-12, ledger=True)
    np.testing.assert_allclose(found.output, computed(source, ROWS, joined), atol=1e-5)
    if kind == "hot":
        own = [[a * w[0], sum(w[1 + i] for i, s in enumerate(SEXES) if s == sex),
                sum(w[3 + i] for i, p in enumerate(PORTS) if p == port)] for a, sex, port in ROWS]  # fmt: skip
    else:
        sexes, ports = VALUES["sex"], VALUES["port"]
        own = [[a * w[0], sexes.get(str(sex), DEFAULT) * w[1], ports.get(str(port), DEFAULT) * w[2]]
               for a, sex, port in ROWS]  # fmt: skip
    np.testing.assert_allclose(found.relevance, own, atol=1e-5)
    assert found.ledger is not None
    assert max(row.error for row in found.ledger) < 1e-7
    assert found.inputs is not None
    assert found.inputs.tolist() == ROWS
    unknown = [["x"], ["Bergen"]]
    assert [*found.provenance["unknown"].values()] == unknown


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("joined", [False, True])
def test_tree_shap_is_the_enumeration_by_onnxruntime(kind: str, joined: bool) -> None:
    source = trees(kind, joined)
    background = [[a, sex, port] for a, sex, port in itertools.product([0.0, 1.0], SEXES, [*PORTS, "Oslo"])]
    rows = [[1.0, "m", "Cherbourg"], [0.0, "f", "Southampton"], [2.0, "y", "Queenstown"]]
    found = onnxlrp.load(source).explain(
        np.array(rows, dtype=object), method="tree_shap", background=np.array(background, dtype=object)
    )
    want = enumerated(lambda z: computed(source, z, joined)[:, 0], cells(rows), cells(background))
    assert np.abs(want[:, 1:]).max() > 0.01
    np.testing.assert_allclose(found.relevance, want, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_hidden_words_are_the_most_frequent_of_a_background_or_none(kind: str) -> None:
    source, rows = linear(kind), ROWS[:3]
    background = [[30.0, "m", "Southampton"], [34.0, "m", "Queenstown"], [29.0, "f", "Southampton"]]
    opened = onnxlrp.load(source)
    for asked, start in ((np.array(background, dtype=object), [31.0, "m", "Southampton"]), ("zero", [0.0, "", ""])):
        found = opened.explain(np.array(rows, dtype=object), target=1, method="kernel_shap", baseline=asked)
        want = enumerated(lambda z: computed(source, z)[:, 1], cells(rows), cells([start]))
        np.testing.assert_allclose(found.relevance, want, atol=1e-4)
    with pytest.raises(UnsupportedError, match="takes slopes, and columns of words have none"):
        opened.explain(np.array(rows, dtype=object), method="integrated_gradients")
    with pytest.raises(UnsupportedError, match="gradient takes slopes"):
        opened.explain(np.array(rows, dtype=object), method="gradient")


class Frame:
    """What is asked of a data frame."""

    def __init__(self, columns: list[str], cells: Any) -> None:
        self.columns, self.cells = columns, cells

    def to_numpy(self) -> Array:
        return np.array(self.cells, dtype=object)


def test_columns_are_found_by_name_and_others_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx.save(linear("hot"), tmp_path / "m.onnx")
    opened = onnxlrp.load(tmp_path / "m.onnx")
    want = opened.explain(np.array(ROWS, dtype=object), target=1, method="epsilon")
    moved = [[port, n, age, sex] for n, (age, sex, port) in enumerate(ROWS)]
    path = table(tmp_path / "t.csv", "port,survived,age,sex", moved)
    for given in (path, Frame(["port", "survived", "age", "sex"], moved)):
        found = opened.explain(given, target=1, method="epsilon")
        np.testing.assert_array_equal(found.relevance, want.relevance)
        assert found.feature_names == ("age", "sex", "port")
    words = ["explain", str(tmp_path / "m.onnx"), str(path), "-m", "epsilon,kernel_shap", "--baseline", str(path)]
    assert main([*words, "-o", str(tmp_path / "{stem}.{method}.png")]) == 0
    said = capsys.readouterr().err
    assert "columns that the model does not read: survived" in said
    assert "sex: the model does not know 'x'" in said
    assert "port: the model does not know 'Bergen'" in said
    assert (tmp_path / "t.0.epsilon.png").exists()
    with pytest.raises(InputError, match="no column for port"):
        opened.explain(table(tmp_path / "u.csv", "age,sex,harbour"))
    with pytest.raises(InputError, match="'old' is no finite number"):
        opened.explain(table(tmp_path / "v.csv", rows=[["old", "f", "Queenstown"]]))


def test_cells_of_words_that_look_like_numbers_stay_words(tmp_path: Path) -> None:
    """A category "07" is no 7, and an empty cell the word "", or what the model has for one."""
    hot = [
        node("OneHotEncoder", "zip", "hot", cats_strings=["07", "7", "nan"], zeros=1),
        node("Reshape", "hot shape", "y"),
    ]
    stored = [numpy_helper.from_array(np.array([-1, 3]), "shape")]
    graph = helper.make_graph(hot, "t", [helper.make_tensor_value_info("zip", TensorProto.STRING, ["N", 1])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)], stored)  # fmt: skip
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    opened = onnxlrp.load(helper.make_model(graph, opset_imports=opsets, ir_version=9))
    (tmp_path / "t.csv").write_text('zip,n\n07,1\n7,1\n"",1\n8,1\n', encoding="utf-8")
    found = opened.explain(Frame(["zip"], [["07"], ["7"], [None], ["8"]]), target=0, method="epsilon")
    np.testing.assert_array_equal(found.output, [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]])


SPACED = [" ulm", "ulm", "bonn", "  köln\t", "jena ", "a, b"]
# The cell of a table, and the word that the model is to get: what it knows as it stands, else what it knows without
# the spaces around it, else the cell itself, which it does not know.
CELLS = {" ulm": " ulm", "ulm": "ulm", "ulm ": "ulm", " bonn": "bonn", "  köln\t": "  köln\t", "köln": "köln",
         "jena": "jena", "jena ": "jena ", " a, b": "a, b", " Oslo": " Oslo", " ": " "}  # fmt: skip


def spaced(kind: str) -> Any:
    """A model of a number and a column of words, of which some differ by the spaces around them alone."""
    made = {"hot": node("OneHotEncoder", "town", "hot", cats_strings=SPACED, zeros=1),
            "floats": node("LabelEncoder", "town", "hot", keys_strings=SPACED, values_floats=[3.0, -1, 2, 5, -4, 7],
                           default_float=DEFAULT)}[kind]  # fmt: skip
    count = len(SPACED) if kind == "hot" else 1
    nodes = [made, node("Reshape", "hot shape", "numbers"), node("Concat", "age numbers", "features", axis=1)]
    rng = np.random.default_rng(count)
    last = node("LinearClassifier", "features", "label y", classlabels_ints=[0, 1], post_transform="NONE",
                coefficients=rng.normal(size=2 * (count + 1)).tolist(), intercepts=[0.1, -0.2])  # fmt: skip
    stored = [numpy_helper.from_array(np.array([-1, count]), "shape")]
    given = [helper.make_tensor_value_info("age", TensorProto.FLOAT, ["N", 1]),
             helper.make_tensor_value_info("town", TensorProto.STRING, ["N", 1])]  # fmt: skip
    graph = helper.make_graph([*nodes, last], "t", given, [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
                              stored)  # fmt: skip
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def scored(source: Any, ages: list[float], towns: list[str]) -> Array:
    """The output by onnxruntime, of words as they stand."""
    session = onnxruntime.InferenceSession(source.SerializeToString(), providers=["CPUExecutionProvider"])
    feed = {"age": np.array(ages, np.float32)[:, None], "town": np.array(towns, dtype=object)[:, None]}
    made: Array = session.run(["y"], feed)[0]
    return made


def given_as(form: str, path: Path, ages: list[float], towns: list[str]) -> Any:
    """A table of ages and towns as a form of input."""
    rows: list[list[Any]] = [[age, town] for age, town in zip(ages, towns, strict=True)]
    if form in ("csv", "tsv"):  # with spaces around the numbers, which are none of them
        mark = "," if form == "csv" else ";"
        with (path / "t.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, delimiter=mark).writerows([["age", " town"], *([f" {age} ", town] for age, town in rows)])
        return path / "t.csv"
    if form in ("parquet", "bytes"):
        pyarrow = pytest.importorskip("pyarrow")
        cells = [town.encode() for town in towns] if form == "bytes" else towns
        pytest.importorskip("pyarrow.parquet").write_table(
            pyarrow.table({"age": ages, "town": cells}), path / "t.parquet"
        )
        return path / "t.parquet"
    return Frame(["age", "town"], rows) if form == "frame" else np.array(rows, dtype=object)


FORMS = ("csv", "tsv", "frame", "array", "parquet", "bytes")


@pytest.mark.parametrize("kind", ["hot", "floats"])
@pytest.mark.parametrize("form", FORMS)
def test_spaces_are_part_of_a_word_that_the_model_knows(kind: str, form: str, tmp_path: Path) -> None:
    """Whatever the table is: the model gets what onnxruntime gets of the words as CELLS says."""
    source, ages = spaced(kind), [20.0 + n for n in range(len(CELLS))]
    found = onnxlrp.load(source).explain(given_as(form, tmp_path, ages, list(CELLS)), target=1, method="epsilon")
    words = [*CELLS.values()]
    np.testing.assert_allclose(found.output, scored(source, ages, words), atol=1e-5)
    assert found.inputs is not None
    assert found.inputs[:, 1].tolist() == words
    assert [*found.provenance["trimmed"].values()] == [["ulm ", " bonn", " a, b"]]
    assert [*found.provenance["unknown"].values()] == [["köln", "jena", " Oslo", " "]]


@pytest.mark.parametrize("form", FORMS)
def test_words_of_a_background_are_read_as_those_of_samples(form: str, tmp_path: Path) -> None:
    source, towns = spaced("hot"), [*CELLS, *["bonn"] * 4]
    ages = [30.0 + n for n in range(len(towns))]
    baseline = given_as(form, tmp_path, ages, towns)
    rows = np.array([[20.0, " ulm"], [30.0, "a, b"]], dtype=object)
    found = onnxlrp.load(source).explain(rows, target=1, method="kernel_shap", baseline=baseline)
    start = [float(np.mean(ages)), "bonn"]  # five with " bonn"; four are unknown
    want = enumerated(lambda z: scored(source, z[:, 0].tolist(), z[:, 1].tolist())[:, 1], cells(rows), cells([start]))
    np.testing.assert_allclose(found.relevance, want, atol=1e-4)
    assert "(3 of its words without the spaces around them)" in found.notes["baseline"]


def test_the_commands_say_what_became_of_spaces(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx.save(spaced("hot"), tmp_path / "m.onnx")
    path = given_as("csv", tmp_path, [20.0 + n for n in range(2 * len(CELLS))], [*CELLS, *CELLS])
    assert main(["explain", str(tmp_path / "m.onnx"), str(path), "-o", str(tmp_path / "{stem}.npz")]) == 0
    said = capsys.readouterr().err
    read = "words are taken without the spaces around them, as the model knows them: town 'ulm ', ' bonn', ' a, b'"
    assert said.count(read) == 1
    assert "town: the model does not know 'köln', 'jena', ' Oslo' and 1 more" in said
    assert "write as the model knows it, not 'köln' for '  köln\\t', 'jena' for 'jena '" in said
    path = given_as("csv", tmp_path, [20.0], [" ulm"])
    assert main(["explain", str(tmp_path / "m.onnx"), str(path), "-o", str(tmp_path / "{stem}.npz")]) == 0
    assert "without the spaces" not in capsys.readouterr().err
    assert main(["inspect", str(tmp_path / "m.onnx")]) == 0
    shown = capsys.readouterr().out
    assert "words   town: ' ulm', 'ulm', 'bonn', '  köln\\t', 'jena ', 'a, b'" in shown


def test_what_data_frames_have_for_nothing_is_missing() -> None:
    class NAType:
        """As pandas.NA: no comparison of it is true or false."""

        def __eq__(self, other: object) -> Any:
            return self

        def __bool__(self) -> bool:
            raise TypeError("boolean value of NA is ambiguous")

        __hash__ = object.__hash__

    source = spaced("hot")
    found = onnxlrp.load(source).explain(Frame(["age", "town"], [[20.0, NAType()], [1.0, "ulm"]]), target=1)
    np.testing.assert_allclose(found.output, scored(source, [20.0, 1.0], ["", "ulm"]), atol=1e-5)


def test_other_readers_of_text_are_named() -> None:
    nodes = [node("StringNormalizer", "sex", "lower", case_change_action="LOWER"),
             node("OneHotEncoder", "lower", "sex_numbers", cats_strings=SEXES),
             *encoder("floats", "port", PORTS),
             node("Concat", "age sex_numbers port_numbers", "features", axis=1)]  # fmt: skip
    last = node("LinearClassifier", "features", "label y", classlabels_ints=[0, 1], post_transform="NONE",
                coefficients=WEIGHTS[3].reshape(-1), intercepts=[0.1, -0.2])  # fmt: skip
    with pytest.raises(UnsupportedError, match=r'StringNormalizer node ".*" reads text'):
        onnxlrp.load(model(nodes, False, [last]))


@pytest.mark.parametrize("kind", KINDS)
def test_passes_keep_their_contracts(kind: str) -> None:
    state = LoadState(read(linear(kind)))
    run(PASSES, state, check=True)
    assert state.columns == ("age", "sex", "port")


@pytest.mark.parametrize("keys", ["int64s", "floats"])
def test_a_label_encoder_of_numbers(keys: str) -> None:
    """Of whole numbers, and of floats, where what lies between two keys is none of them."""
    numbers: list[Any] = [1, 2, 5] if keys == "int64s" else [1.0, 2.0, 5.0]
    given = {f"keys_{keys}": numbers, "values_floats": [0.5, -1.0, 3.0], "default_float": 0.25}
    kind = TensorProto.INT64 if keys == "int64s" else TensorProto.FLOAT
    nodes = [node("LabelEncoder", "x", "z", **given), node("Scaler", "z", "y", offset=[0.0], scale=[2.0])]
    graph = helper.make_graph(nodes, "t", [helper.make_tensor_value_info("x", kind, ["N", 2])],
                              [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)])  # fmt: skip
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
    source = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    x = np.array([[1, 2], [5, 4]]) if keys == "int64s" else np.array([[1, 2], [5, 1.5]], np.float32)
    session = onnxruntime.InferenceSession(source.SerializeToString(), providers=["CPUExecutionProvider"])
    opened = onnxlrp.load(source)
    assert opened.graph.opaque is None
    np.testing.assert_allclose(opened.outputs(x)["scores"], session.run(None, {"x": x})[0], atol=1e-6)


def test_the_exported_explainer_takes_codes_and_says_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx.save(linear("hot"), tmp_path / "m.onnx")
    assert main(["export", str(tmp_path / "m.onnx"), "-m", "epsilon", "-o", str(tmp_path / "e.onnx")]) == 0
    said = capsys.readouterr().out
    assert "sex takes codes: 'f' 1, 'm' 2; 0 for other words" in said
    made = onnx.load(tmp_path / "e.onnx")
    stored = {entry.key: entry.value for entry in made.metadata_props}["onnxlrp.explainer"]
    codes = json.loads(stored)["categories"]
    assert list(codes) == ["sex", "port"]
    rows = [[a, codes["sex"].get(sex, 0), codes["port"].get(port, 0)] for a, sex, port in ROWS]
    feed = {"columns": np.array(rows, np.float32), "target": np.ones(len(rows), np.int64)}
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    found = dict(zip([o.name for o in session.get_outputs()], session.run(None, feed), strict=True))
    want = onnxlrp.load(tmp_path / "m.onnx").explain(np.array(ROWS, dtype=object), target=1, method="epsilon")
    np.testing.assert_allclose(found["relevance"], want.relevance, atol=1e-5)
    assert main(["inspect", str(tmp_path / "m.onnx")]) == 0
    assert "words   port: 'Cherbourg', 'Queenstown', 'Southampton'" in capsys.readouterr().out
