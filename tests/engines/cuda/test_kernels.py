"""Every kernel, on the emulator, against the meaning of the instructions that it carries out (program/interpret.py)."""

from __future__ import annotations

import math
import random
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxlrp.engines import seed_values
from onnxlrp.engines.cuda.kernels.elementwise import MapStep, elementwise_source, module
from onnxlrp.engines.cuda.kernels.launch import InstructionRef
from onnxlrp.engines.cuda.planning import windows
from onnxlrp.engines.cuda.planning.constants import fold_constants
from onnxlrp.engines.cuda.planning.elementwise import chain_launch, merge_loop_axes
from onnxlrp.engines.cuda.planning.instructions import alias, plan
from onnxlrp.errors import UnsupportedError
from onnxlrp.program.interpret import run_map
from onnxlrp.program.linear import Conv, Matmul, Permute, Pool, Reshape, Select, Slice, Sum, Take, Window
from onnxlrp.program.maps import MAPS
from onnxlrp.program.program import SEED, Instruction, Program, Seed
from support.conformance import Sketch
from support.geometries import LINEAR_MAPS, convs, matmuls, pools, weight_shape
from support.kernel_cases import (
    Case,
    applied,
    batches,
    bound,
    each_direction,
    launched,
    leads,
    meant,
    ran,
    seeds,
    whole,
)
from support.kernels_under_test import kernels

EXAMPLES = 20
each_map = pytest.mark.parametrize("kind", LINEAR_MAPS)


@pytest.mark.parametrize("kernel", [2, 3])
@settings(max_examples=3 * EXAMPLES)
@given(
    source=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    before=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    more=st.tuples(st.integers(0, 1), st.integers(0, 1)),
    seed=seeds,
    targets=leads,
    narrow=st.booleans(),
)
def test_max_pools_that_find_their_winners(
    kernel: int,
    source: tuple[int, int],
    before: tuple[int, int],
    more: tuple[int, int],
    seed: int,
    targets: int | None,
    narrow: bool,
) -> None:
    """Of images with ties, in windows that hang over every edge or miss the image; with NaN, those of pool_winners."""
    target = tuple((n + b) // 2 + m + 1 for n, b, m in zip(source, before, more, strict=True))
    window = Window((kernel, kernel), (2, 2), (1, 1), before, before, source, target)
    linear = Select((2, *source), (2, *target), window)
    case = Case(np.random.default_rng(seed), 2, targets)
    n = applied(case, linear, "adjoint")
    assert [one.kernel for one in plan(case.program, n, 2, {})] == [f"pool_route_{kernel}x{kernel}"]
    case.check(seed=seed, narrow=narrow)
    relevance, chooser = case.steps[n].inputs
    case.arrays[relevance] = case.rng.standard_normal(case.arrays[relevance].shape)
    case.arrays[chooser][case.rng.random(case.arrays[chooser].shape) < 0.3] = np.nan
    actual = ran(case.program, 2, case.arrays)[n]
    with patch.object(windows, "plan_route", return_value=False):
        assert plan(case.program, n, 2, {})[0].kernel == "pool_winners"
        np.testing.assert_array_equal(actual, ran(case.program, 2, case.arrays)[n])


@each_direction
@each_map
@settings(max_examples=EXAMPLES)
@given(data=st.data(), seed=seeds, targets=leads, batch=batches, narrow=st.booleans())
def test_linear_maps(
    direction: str, kind: str, data: st.DataObject, seed: int, targets: int | None, batch: int, narrow: bool
) -> None:
    linear = data.draw(LINEAR_MAPS[kind])
    case = Case(np.random.default_rng(seed), batch, targets)
    applied(case, linear, direction)
    case.check(exact=not isinstance(linear, Pool), narrow=narrow, seed=seed)


@settings(max_examples=EXAMPLES)
@given(linear=st.one_of(convs(), matmuls()), seed=seeds, targets=leads, batch=batches)
def test_a_bias_is_added_to_every_place(linear: Conv | Matmul, seed: int, targets: int | None, batch: int) -> None:
    case = Case(np.random.default_rng(seed), batch, targets)
    x, weight = case.first_operand(linear.source), case.constant(whole(case.rng, *weight_shape(linear)))
    width = linear.target[0] if isinstance(linear, Conv) else linear.target[-1]
    case.linear(linear, x, weight, case.constant(whole(case.rng, width)), biased=True)
    case.check()


@settings(max_examples=EXAMPLES)
@given(linear=st.one_of(convs(), matmuls(), pools()), seed=seeds, targets=leads, data=st.data())
def test_a_bias_of_any_shape(linear: Any, seed: int, targets: int | None, data: st.DataObject) -> None:
    case = Case(np.random.default_rng(seed), 2, targets)
    operands = [case.first_operand(linear.source)]
    if weight_shape(linear) is not None:
        operands.append(case.constant(whole(case.rng, *weight_shape(linear))))
    shape = tuple(n if data.draw(st.booleans()) else 1 for n in linear.target)
    bias = case.read(shape) if data.draw(st.booleans()) else case.constant(whole(case.rng, *shape))
    case.linear(linear, *operands, bias, biased=True)
    case.check(exact=not isinstance(linear, Pool))


@pytest.mark.parametrize("transposed", [False, True])
@settings(max_examples=EXAMPLES)
@given(
    rows=st.sampled_from((1, 3, 4, 5, 16, 17, 63, 65, 130)),
    inner=st.integers(1, 70),
    outer=st.integers(1, 130),
    seed=seeds,
    narrow=st.booleans(),
)
def test_dense_of_any_size(transposed: bool, rows: int, inner: int, outer: int, seed: int, narrow: bool) -> None:
    case = Case(np.random.default_rng(seed), rows)
    linear = Matmul((inner,), (outer,), transposed)
    applied(case, linear, "linear")
    case.check(narrow=narrow, seed=seed)


@each_direction
@settings(max_examples=EXAMPLES)
@given(
    above=st.lists(st.integers(1, 3), max_size=2).map(tuple),
    rows=st.sampled_from((1, 3, 20)),
    transposed=st.booleans(),
    weight=st.sampled_from(("constant", "read", "seeded")),
    alone=st.booleans(),
    targets=leads,
    seed=seeds,
)
def test_products_of_computed_matrices(
    direction: str, above: Any, rows: int, transposed: bool, weight: str, alone: bool, targets: int | None, seed: int
) -> None:
    linear = Matmul((*above, rows, 5), (*above, rows, 6), transposed)
    case = Case(np.random.default_rng(seed), 2, targets)
    shape = (*((1,) * len(above) if alone else above), *weight_shape(linear))
    x = case.first_operand(linear.source if direction == "linear" else linear.target)
    if weight == "constant":
        w = case.constant(whole(case.rng, *shape))
    elif weight == "read":
        w = case.read(shape)
    else:
        # The seed of targets is the weight; the other operand is spread over them.
        w, x = case.first_operand(shape), case.read(linear.source if direction == "linear" else linear.target)
    case.linear(linear, x, w) if direction == "linear" else case.adjoint(linear, x, w)
    case.check(narrow=seed % 2 == 0)


@each_direction
@pytest.mark.parametrize("targets", [None, 2])
def test_a_constant_meets_the_winners_of_every_sample(direction: str, targets: int | None) -> None:
    window = Window((2, 2), (1, 1), (1, 1), (0, 1), (0, 1), (4, 5), (3, 6))
    linear = Select((2, 4, 5), (2, 3, 6), window)
    case = Case(np.random.default_rng(0), 3, targets)
    x = case.constant(whole(case.rng, *(linear.source if direction == "linear" else linear.target)))
    selector = case.read(linear.source)
    case.linear(linear, x, selector) if direction == "linear" else case.adjoint(linear, x, selector)
    case.check()


@pytest.mark.few(3)
@pytest.mark.parametrize("axes", [(), (0,), (1,), (2,), (0, 2), (0, 1, 2)])
@pytest.mark.parametrize("batch", [1, 2])
def test_long_sums_are_added_up_precisely(axes: tuple[int, ...], batch: int) -> None:
    """100 + noise, a million times: float32 accumulation would lose the noise."""
    rng = np.random.default_rng(0)
    linear = Sum((90, 60, 50), tuple(1 if a in axes else n for a, n in enumerate((90, 60, 50))), axes)
    case = Case(rng, batch)
    case.linear(linear, case.read(linear.source))
    case.arrays[0] = (100 + rng.standard_normal((batch, *linear.source))).astype(np.float32)
    actual = ran(case.program, batch, case.arrays)[1]
    expected = meant(case.program, case.arrays)[1]
    np.testing.assert_allclose(actual, expected, rtol=6.1e-8)  # half a unit in the last place


@settings(max_examples=EXAMPLES)
@given(
    source=st.tuples(st.integers(1, 4), st.integers(1, 70), st.integers(1, 70)),
    axes=st.sets(st.integers(0, 2)),
    batch=batches,
    seed=seeds,
    narrow=st.booleans(),
)
def test_sums_of_any_length(source: tuple[int, int, int], axes: Any, batch: int, seed: int, narrow: bool) -> None:
    case = Case(np.random.default_rng(seed), batch)
    axes = tuple(sorted(axes))
    case.linear(Sum(source, tuple(n for a, n in enumerate(source) if a not in axes), axes), case.read(source))
    case.check(narrow=narrow, seed=seed)


@settings(max_examples=EXAMPLES)
@given(seed=seeds, order=st.permutations(range(8)), targets=leads)
def test_eight_axes(seed: int, order: Any, targets: int | None) -> None:
    source = (2, 3, 2, 2, 3, 2, 2, 2)
    case = Case(np.random.default_rng(seed), 2, targets)
    case.linear(Permute(source, tuple(source[i] for i in order), tuple(order)), case.first_operand(source))
    case.check()


def test_geometry_beyond_the_kernels_is_refused() -> None:
    case = Case(np.random.default_rng(0), 1)
    order = tuple(range(9))[::-1]
    case.linear(Permute((2,) * 9, (2,) * 9, order), case.read((2,) * 9))
    with pytest.raises(UnsupportedError, match="9 axes"):
        plan(case.program, 1, 1, {})
    case = Case(np.random.default_rng(0), 1)
    case.adjoint(Sum((2**16, 2**16), (1, 1), (0, 1)), case.read((1, 1)))
    with pytest.raises(UnsupportedError, match="too many"):
        plan(case.program, 1, 1, {})


def test_a_reshape_shares_its_operand() -> None:
    case = Case(np.random.default_rng(0), 1, 2)
    x, c = case.first_operand((2, 3)), case.constant(np.ones((2, 3)))
    steps = case.linear(Reshape((2, 3), (6,)), x), case.linear(Reshape((2, 3), (6,)), c)
    other = case.linear(Permute((2, 3), (3, 2), (1, 0)), x)
    assert [alias(case.program, n) for n in (*steps, other)] == [x, None, None]


# -- winners


def winners_of(selector: Any, window: Any) -> Any:
    """What a window of one plane selects from the numbers of its places."""
    n = selector.size
    linear = Select((1, *window.source), (1, *window.target), window)
    sketch = Sketch()
    x, s = sketch.activation("x", linear.source), sketch.activation("s", linear.source)
    y = sketch.linear(linear, x, s)
    places = np.arange(1, n + 1).reshape(1, 1, *window.source)
    arrays = {x: places, s: selector.reshape(1, 1, *window.source)}
    return ran(Program(tuple(sketch.steps), {"y": y}), 1, arrays)[y].reshape(-1)


def test_the_first_of_equals_wins_and_nan_only_where_there_is_nothing_else() -> None:
    window = Window((3,), (3,), (1,), (0,), (0,), (15,), (5,))
    nan, inf = np.nan, np.inf
    selector = np.array([2, 2, 1, nan, -inf, -inf, nan, nan, nan, -inf, -inf, -inf, 0.0, -0.0, nan])
    np.testing.assert_array_equal(winners_of(selector, window), [1, 5, 7, 10, 13])


def test_padding_never_wins() -> None:
    window = Window((3,), (1,), (1,), (1,), (1,), (3,), (3,))
    np.testing.assert_array_equal(winners_of(np.array([-3.0, -np.inf, -np.inf]), window), [1, 1, 2])


# -- the seed


@pytest.mark.parametrize("targets", [None, 1, 3])
@pytest.mark.parametrize("classes", [(7,), (2, 300), (1,)])
@pytest.mark.parametrize("narrow", [False, True])
def test_given_classes(targets: int | None, classes: tuple[int, ...], narrow: bool) -> None:
    rng = np.random.default_rng(0)
    ids = rng.integers(-1, math.prod(classes) + 1, size=(4,) if targets is None else (targets, 4))
    program = Program((_seed("index", classes, targets),), {}, targets)
    actual = ran(program, 4, {}, {SEED: ids}, narrow=narrow)[0]
    np.testing.assert_array_equal(actual, seed_values(program.instructions[0], {SEED: ids}, np.float32))


@settings(max_examples=EXAMPLES)
@given(
    targets=st.sampled_from((None, 1, 3, 5)),
    classes=st.sampled_from(((5,), (40,), (2, 300))),
    batch=batches,
    seed=seeds,
    special=st.booleans(),
    narrow=st.booleans(),
)
def test_highest_classes(
    targets: int | None, classes: tuple[int, ...], batch: int, seed: int, special: bool, narrow: bool
) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(-3, 3, size=(batch, *classes)).astype(np.float32)
    if special:
        rare = np.array([np.nan, np.inf, -np.inf, -0.0, 0.0, 1e-45], np.float32)
        scores = np.where(rng.random(scores.shape) < 0.5, rng.choice(rare, size=scores.shape), scores)
    program = Program((_seed("top", classes, targets),), {}, targets)
    actual = ran(program, batch, {}, {"scores": scores}, narrow=narrow, seed=seed)[0]
    np.testing.assert_array_equal(actual, seed_values(program.instructions[0], {}, np.float32, scores))


def _seed(mode: Any, shape: Any, targets: Any) -> Any:
    return Instruction("read", "seed", (), Seed("scores", mode, targets), shape, False, targets is not None)


# -- elementwise

OPERANDS = {
    "where": 3,
    **dict.fromkeys(("neg", "square", "sqrt", "exp", "sin", "cos", "tanh", "sigmoid", "erf", "power", "stabilize"), 1),
}
EXPONENTS = (0.0, 1.0, 2.0, 3.0, -1.0, -2.0, -3.0, 0.5, -0.75, 2.5)


@pytest.mark.parametrize(
    ("op", "parameter"), [*((op, 0.25) for op in MAPS), *(("power", exponent) for exponent in EXPONENTS)]
)
def test_every_map(op: Any, parameter: Any) -> None:
    """As numpy has it, where the operands are zeros, infinite or no numbers too."""
    special = np.array([0.0, -0.0, 1, -1, 0.5, -2.5, 30, -30, 100, -100, 1e-3, np.inf, -np.inf, np.nan, 3e38, -1e30])
    if op == "power" and parameter % 1:
        special = special[special != -np.inf]  # numpy's own ways to a power disagree there
    grid = np.stack(np.meshgrid(*[special] * OPERANDS.get(op, 2), indexing="ij")).reshape(OPERANDS.get(op, 2), 1, -1)
    sketch = Sketch()
    inputs = [sketch.activation(f"x{n}", grid.shape[2:]) for n in range(len(grid))]
    y = sketch.map(op, *inputs, parameter=parameter)
    program = Program(tuple(sketch.steps), {"y": y})
    actual = ran(program, 1, dict(enumerate(grid)))[y]
    with np.errstate(all="ignore"):
        expected = run_map(program.instructions[y], [array.astype(np.float32) for array in grid])
    np.testing.assert_allclose(actual, expected, rtol=3e-7, atol=1e-37)


class Chain:
    """Random maps over operands of random shapes that broadcast to one."""

    def __init__(self, seed: int) -> None:
        rng = random.Random(seed)
        shape = tuple(rng.randint(1, 4) for _ in range(rng.randint(1, 4)))
        case = self.case = Case(np.random.default_rng(seed), rng.choice((1, 3)), rng.choice((None, None, 1, 2)))
        leaves = [case.first_operand(shape), *(self._leaf(rng, shape) for _ in range(rng.randint(1, 4)))]
        values, members = list(leaves), []
        for _ in range(rng.randint(1, 6)):
            op = rng.choice(("add", "sub", "mul", "max", "min", "greater", "where", "square", "neg", "stabilize"))
            values.append(case.map(op, *rng.choices(values, k=OPERANDS.get(op, 2)), parameter=0.5))
        last = case.map("add", leaves[0], values[-1])
        members = [n for n, step in enumerate(case.steps) if step.kind == "map" and not step.constant]
        whole = case.steps[last]
        full = [m for m in members if (case.steps[m].shape, case.steps[m].targets) == (whole.shape, whole.targets)]
        self.outputs = sorted(rng.sample(full, rng.randint(1, len(full))))
        self.constants = fold_constants(case.program)
        self.launch = chain_launch(case.program, members, self.outputs, case.batch, self.constants)

    def _leaf(self, rng: random.Random, shape: Any) -> Any:
        own = tuple(n if rng.random() < 0.5 else 1 for n in shape)
        kind = rng.choice(("read", "constant", "copies"))
        if kind == "read":
            return self.case.read(own)
        if kind == "constant":
            return self.case.constant(whole(self.case.rng, *own[rng.randint(0, len(own)) :]))
        return self.case.constant(np.broadcast_to(whole(self.case.rng), own))


def test_chains() -> None:
    drawn = [Chain(seed) for seed in range(100)]
    made = kernels(check=True).from_source(module(c.launch for c in drawn))
    for c in drawn:
        expected = meant(c.case.program, {**c.case.arrays, "batch": c.case.batch})
        arrays = {**c.constants, **c.case.arrays}
        held = {n: np.ascontiguousarray(array, np.float32) for n, array in arrays.items()}
        held |= {o: np.full(np.shape(expected[o]), np.nan, np.float32) for o in c.outputs}
        arguments = [bound(argument, held, {}, {}) for argument in c.launch.arguments]
        made.launch(c.launch.kernel, c.launch.grid, c.launch.block, arguments)
        for output in c.outputs:
            np.testing.assert_allclose(held[output], expected[output], rtol=1e-6)


def test_an_output_may_take_the_place_of_an_operand_of_the_full_shape() -> None:
    case = Case(np.random.default_rng(0), 2)
    x, c = case.read((3, 4)), case.constant(np.arange(4))
    y = case.map("mul", x, c)
    launch = chain_launch(case.program, (y,), (y,), 2, {})
    array = np.ascontiguousarray(case.arrays[x], np.float32)
    launched(
        launch,
        [
            bound(argument, {x: array, y: array, c: np.arange(4, dtype=np.float32)}, {}, {})
            for argument in launch.arguments
        ],
    )
    np.testing.assert_array_equal(array, case.arrays[x] * np.arange(4))


def test_layers_of_other_sizes_share_a_kernel_and_constants_of_one_number_are_in_it() -> None:
    def text(shape: Any, channels: Any) -> Any:
        sketch = Sketch()
        x, c = (
            sketch.activation("x", shape),
            sketch.constant(np.ones((channels, 1, 1)) * np.arange(channels)[:, None, None]),
        )
        y = sketch.map("mul", x, sketch.constant(0.5))
        y = sketch.map("add", y, c)
        program = Program(tuple(sketch.steps), {"y": y})
        return chain_launch(program, (3, 4), (4,), 2, fold_constants(program))

    one, other = text((3, 8, 8), 3), text((16, 4, 4), 16)
    assert one.kernel == other.kernel
    assert one.source == other.source
    assert "0x1.0000000000000p-1f" in one.source
    assert [a.index for a in one.arguments if isinstance(a, InstructionRef)] == [0, 1, 4]


def test_equal_neighbouring_axes_are_one() -> None:
    assert merge_loop_axes((2, 3, 4, 5), [(2, 3, 4, 5), (1, 1, 4, 5)]) == ((6, 20), [(True, True), (False, True)])
    assert merge_loop_axes((1, 1), [(1, 1)]) == ((), [(True,)])


def test_operands_of_the_full_shape_need_no_arithmetic_on_indices() -> None:
    source = elementwise_source("f", [MapStep("mul", (0, 1))], [(True, True), (True, True)], [2])
    assert "%" not in source
    assert "a0[i]" in source


def test_more_elements_than_32_bits_count() -> None:
    sketch = Sketch()
    x, c = sketch.activation("x", (2**20, 2, 3)), sketch.constant(np.arange(3))
    program = Program((*sketch.steps, sketch._step("map", "add", (x, c), None, (2**20, 2, 3))), {"y": 2})
    launch = chain_launch(program, (2,), (2,), 2**10, {})
    assert "unsigned long long i" in launch.source
    assert [type(a) for a in launch.arguments[3:]] == [np.int64] * 2


# -- determinism


@pytest.mark.parametrize("rows", [2, 40])
@pytest.mark.parametrize("transposed", [False, True])
def test_results_do_not_depend_on_the_order_of_threads(rows: int, transposed: bool) -> None:
    case = Case(np.random.default_rng(0), rows)
    linear = Matmul((300,), (70,), transposed)
    applied(case, linear, "linear")
    y = case.linear(Sum((70,), (), (0,)), 2)
    case.arrays[0] = case.rng.standard_normal((rows, 300))
    runs = [ran(case.program, rows, case.arrays, check=False, seed=seed) for seed in range(3)]
    for run in runs[1:]:
        np.testing.assert_array_equal(run[2], runs[0][2])
        np.testing.assert_array_equal(run[y], runs[0][y])


def test_slices_run_backward() -> None:
    linear = Slice((6, 4), (3, 4), (5, 0), (-2, 1))
    for direction in ("linear", "adjoint"):
        case = Case(np.random.default_rng(0), 2, 3)
        applied(case, linear, direction)
        case.check()


# -- elements at computed places


def received(terms: list[float], **how: Any) -> Any:
    """What one element receives of these terms, and its neighbour of none."""
    linear = Take((2,), (len(terms),))
    case = Case(np.random.default_rng(0), 1)
    s, places = case.read(linear.target), case.read(linear.target)
    y = case.adjoint(linear, s, places)
    case.arrays[s], case.arrays[places] = np.array([terms]), np.zeros((1, len(terms)))
    return ran(case.program, 1, case.arrays, **how)[y][0]


@pytest.mark.parametrize(
    ("terms", "total"),
    [
        ([np.inf, 1.0, -2.0], np.inf),
        ([3.0, -np.inf, -np.inf], -np.inf),
        ([np.inf, -np.inf], np.nan),
        ([np.nan, 1.0], np.nan),
        ([np.nan, np.inf], np.nan),
        ([3e38, -3e38, 1e38], 1e38),
        ([2e-38, 3e-38], 5e-38),
        ([0.0, -0.0], 0.0),
    ],
)
def test_sums_of_terms_at_one_place_are_those_of_floats(terms: list[float], total: float) -> None:
    np.testing.assert_allclose(received(terms), [total, 0], rtol=1e-6)


def test_sums_at_one_place_are_precise_and_do_not_depend_on_the_order_of_threads() -> None:
    terms = np.random.default_rng(0).standard_normal(5000).astype(np.float32)
    runs = [received(terms.tolist(), check=False, seed=seed)[0] for seed in range(3)]
    assert runs[0] == runs[1] == runs[2]
    np.testing.assert_allclose(runs[0], math.fsum(terms.tolist()), rtol=6.1e-8)  # half a unit in the last place


def test_more_elements_than_floats_number_are_refused() -> None:
    case = Case(np.random.default_rng(0), 1)
    linear = Take((2**25,), (1,))
    n = case.linear(linear, case.activation("x", linear.source), case.activation("p", linear.target))
    with pytest.raises(UnsupportedError, match="counts 16777216 elements"):
        plan(case.program, n, 1, {})
