"""Every elementwise map: what it computes on every engine, and what it says of signs and zeros."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from onnxlrp.program.maps import MAPS, Sign
from support.conformance import Sketch, each_engine

# Written from the definitions, one number at a time.
DEFINITIONS: dict[str, Callable[..., Any]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: a / b,
    "neg": lambda a: -a,
    "max": max,
    "min": min,
    "greater": lambda a, b: 1.0 if a > b else 0.0,
    "where": lambda c, a, b: a if c != 0 else b,
    "square": lambda a: a * a,
    "sqrt": math.sqrt,
    "exp": math.exp,
    "sin": math.sin,
    "cos": math.cos,
    "tanh": math.tanh,
    "sigmoid": lambda a: 1 / (1 + math.exp(-a)),
    "erf": math.erf,
}
MATH = ("sqrt", "exp", "sin", "cos", "tanh", "erf")
VALUES = (0.0, 1.0, -1.0, 0.5, -0.25, 3.0, -7.0, 1e-3, -1e-3, 2e-30, -2e-30, 1.5e-38, -1.5e-38, 12.0, -12.0, 40.0)
EPSILONS = (1e-9, 1e-6, 1e-2, 0.25)
SMALLEST_NORMAL = float(np.finfo(np.float32).tiny)


def arity(op: Any) -> Any:
    if op in ("max", "min"):
        return 2
    return 1 if op in MATH else DEFINITIONS[op].__code__.co_argcount


def allowed(op: Any, operands: Any) -> Any:
    return not (op == "div" and operands[1] == 0) and not (op == "sqrt" and operands[0] < 0)


def close(name: Any, actual: Any, expected: Any, rounding: float = 1e-37) -> None:
    exact = name == "reference"
    np.testing.assert_allclose(actual, expected, rtol=1e-12 if exact else 2e-6, atol=0 if exact else rounding)


def test_every_map_is_in_these_tests() -> None:
    assert set(MAPS) == {*DEFINITIONS, "power", "stabilize"}


@each_engine
@pytest.mark.parametrize("op", DEFINITIONS)
def test_map_is_its_definition(name: str, op: str) -> None:
    cases = [c for c in itertools.product(VALUES, repeat=arity(op)) if allowed(op, c)]
    expected = [DEFINITIONS[op](*case) for case in cases]
    keep = [i for i, y in enumerate(expected) if abs(y) < 1e37]  # float32's range
    cases, expected = [cases[i] for i in keep], [expected[i] for i in keep]
    sketch = Sketch()
    columns = {f"operand{n}": np.array(column)[None] for n, column in enumerate(zip(*cases, strict=True))}
    y = sketch.map(op, *(sketch.activation(tensor, (len(cases),)) for tensor in columns))
    rounding = 1e-7 if op in ("sigmoid", "sin", "cos", "tanh", "erf") else 1e-37  # kernels approximate these
    close(name, sketch.run(name, {"y": y}, **columns)["y"][0], expected, rounding)


@each_engine
@pytest.mark.parametrize("limit", [6.0, 0.1, 1.0, -1.0, 20.0, 3e-5])
@pytest.mark.parametrize("flipped", [False, True])
def test_comparisons_with_a_limit_are_exact(name: str, limit: float, flipped: bool) -> None:
    """At the limit itself and at its neighbours among the numbers of single precision, as ReLU6 has them at 6."""
    limit = float(np.float32(limit))
    ends = [np.nextafter(np.float32(limit), np.float32(end)) for end in (-np.inf, np.inf)]
    x = np.array([[limit, *ends, 0, -limit, 1e-30, -1e-30, 1e38, -1e38, np.inf, -np.inf]], np.float32)
    sketch = Sketch()
    own, bound = sketch.activation("x", (x.shape[1],)), sketch.constant(limit)
    y = sketch.map("greater", *((bound, own) if flipped else (own, bound)))
    found = sketch.run(name, {"y": y}, x=x)["y"]
    np.testing.assert_array_equal(found, limit > x if flipped else x > limit)


@each_engine
@pytest.mark.parametrize("epsilon", EPSILONS)
def test_stabilize_moves_away_from_zero(name: str, epsilon: float) -> None:
    """z + ε·sgn(z) with sgn(0) = +1, down to the smallest normal number."""
    z = np.array([0.0, -0.0, SMALLEST_NORMAL, -SMALLEST_NORMAL, *VALUES, epsilon, -epsilon, 1e30, -1e30])
    close(name, stabilized(name, z, epsilon), [v + epsilon if v >= 0 else v - epsilon for v in z])


@each_engine
@pytest.mark.parametrize("epsilon", EPSILONS)
def test_stabilize_of_denormals_stays_near_zero(name: str, epsilon: float) -> None:
    """Below the normal numbers a runtime may lose the sign; it must not make more than ε of them."""
    z = np.array([1e-45, -1e-45, 1e-42, -1e-42, 1e-39, -1e-39])
    assert (np.abs(stabilized(name, z, epsilon)) <= epsilon * (1 + 1e-6)).all()


@each_engine
@pytest.mark.parametrize("exponent", [2.0, 3.0, -1.0, 0.5, -0.75, 0.0])
def test_power_is_its_definition(name: str, exponent: float) -> None:
    """Negative numbers have whole powers alone."""
    numbers = [v for v in VALUES if abs(v) > 1e-4 and (v > 0 or exponent == int(exponent))]
    sketch = Sketch()
    y = sketch.map("power", sketch.activation("x", (len(numbers),)), parameter=exponent)
    close(name, sketch.run(name, {"y": y}, x=np.array(numbers)[None])["y"][0], [v**exponent for v in numbers])


def stabilized(name: Any, z: Any, epsilon: Any) -> Any:
    sketch = Sketch()
    y = sketch.map("stabilize", sketch.activation("z", z.shape), parameter=epsilon)
    return sketch.run(name, {"y": y}, z=z[None])["y"][0]


@pytest.mark.few(60)
@each_engine
@pytest.mark.parametrize("op", ["max", "min", "add", "sub", "mul", "greater"])
@pytest.mark.parametrize("constant", [0.0, -0.75, np.array([-1.0, 0.0, 2.0]).reshape(3, 1)])
@pytest.mark.parametrize("flipped", [False, True])
def test_map_with_a_constant(name: str, op: str, constant: Any, flipped: bool) -> None:
    x = np.random.default_rng(0).integers(-3, 4, size=(2, 3, 4)).astype(np.float64)
    sketch = Sketch()
    operands = [sketch.activation("x", (3, 4)), sketch.constant(constant)]
    y = sketch.map(op, *(operands[::-1] if flipped else operands))
    values = (constant, x) if flipped else (x, constant)
    expected = np.vectorize(DEFINITIONS[op], otypes=[float])(*values)
    np.testing.assert_allclose(sketch.run(name, {"y": y}, x=x)["y"], expected, rtol=1e-6)


@each_engine
@pytest.mark.parametrize("shape", [(3, 4), (3, 1), (1, 4)])
def test_targets_lead_and_activations_are_shared_between_them(name: str, shape: tuple[int, int]) -> None:
    """[T, N, …] with [N, …], broadcast within a sample too."""
    rng = np.random.default_rng(0)
    r, x = rng.normal(size=(5, 2, 3, 4)), rng.normal(size=(2, *shape))
    sketch = Sketch(targets=5)
    y = sketch.map("mul", sketch.seed((3, 4)), sketch.activation("x", shape))
    np.testing.assert_allclose(sketch.run(name, {"y": y}, relevance=r, x=x)["y"], r * x, rtol=1e-6)


# -- facts


def sign_of(array: Any) -> Any:
    sign = Sign.NONNEGATIVE if (array >= 0).all() else Sign.ANY
    return sign | Sign.NONPOSITIVE if (array <= 0).all() else sign


numbers = st.lists(st.integers(-2, 2), min_size=3, max_size=3).map(lambda v: np.array(v, np.float64))


@pytest.mark.parametrize("op", MAPS)
@settings(max_examples=60)
@given(data=st.data())
def test_what_a_map_says_of_signs_and_zeros_is_true(op: Any, data: st.DataObject) -> None:
    count = arity(op) if op in DEFINITIONS else 1
    operands = [data.draw(numbers) for _ in range(count)]
    if op == "div":
        operands[1] = np.where(operands[1] == 0, 1, operands[1])
    if op == "sqrt":
        operands[0] = np.abs(operands[0])
    # A fact may say less than what holds of these numbers.
    known = [data.draw(st.sampled_from([s for s in Sign if s in sign_of(x)] + [Sign.ANY])) for x in operands]
    row = MAPS[op]
    parameter = {"stabilize": [1e-6], "power": [3.0]}.get(op, [])
    y = row.run(*operands, *parameter)
    assert row.sign(*known) in sign_of(y)
    zero = [x == 0 for x in operands]
    kept = {"none": False, "first": zero[0], "any": np.any(zero, axis=0), "all": np.all(zero, axis=0)}[row.keeps]
    assert not (y[np.broadcast_to(kept, y.shape)]).any()


@pytest.mark.parametrize("sign", [Sign.ANY, Sign.NONNEGATIVE, Sign.NONPOSITIVE, Sign.ZERO])
def test_signs_multiply_and_flip_as_numbers_do(sign: Any) -> None:
    numbers = {Sign.ANY: (-1, 0, 1), Sign.NONNEGATIVE: (0, 1), Sign.NONPOSITIVE: (-1, 0), Sign.ZERO: (0,)}
    assert sign.flipped() == sign_of(-np.array(numbers[sign]))
    for other in numbers:
        assert sign.times(other) == sign_of(np.outer(numbers[sign], numbers[other]))
