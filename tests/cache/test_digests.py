"""Digests: the same for equal values, in every process, and others for others."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onnxlrp.cache import digests
from onnxlrp.cache.digests import NoDigest, digest
from onnxlrp.graph.graph import Layer, Tensor
from onnxlrp.rules.lrp import Epsilon, Gamma

LAYER = Layer("Conv", "conv", "", ("x", "w"), ("y",), {"pads": (1, 1)})
DIFFERENT: list[Any] = [
    None,
    0,
    0.0,
    False,
    "",
    "0",
    b"0",
    (),
    [()],
    {},
    {"a": 1, "b": 2},
    {"b": 2, "a": 1},
    ("ab", "c"),
    ("a", "bc"),
    (1, (2, 3)),
    ((1, 2), 3),
    np.zeros(2),
    np.zeros(2, np.float32),
    np.zeros((2, 1)),
    np.float32(0),
    np.array([0.0, -0.0]),
    np.array(["a"], object),
    Epsilon,
    Gamma,
    Epsilon(1e-6),
    Epsilon(1e-5),
    LAYER,
    replace(LAYER, attributes={"pads": (1, 0)}),
    Tensor("x", (3,), "float32"),
    ("x", (3,), "float32"),
    frozenset({"x", "y"}),
]


def test_different_values_have_different_digests() -> None:
    found = [digest(value) for value in DIFFERENT]
    same = [(a, b) for (a, x), (b, y) in combinations(zip(DIFFERENT, found, strict=True), 2) if x == y]
    assert not same


def test_equal_values_have_equal_digests() -> None:
    assert digest(LAYER) == digest(replace(LAYER))
    array = np.arange(6.0).reshape(2, 3)
    assert digest(array.T) == digest(np.ascontiguousarray(array.T))
    assert digest({"x", "y", "z"}) == digest({"z", "y", "x"})


@pytest.mark.parametrize("value", [lambda: 1, object(), Path, pytest.MonkeyPatch()])
def test_what_cannot_be_told_from_outside_has_none(value: Any) -> None:
    with pytest.raises(NoDigest):
        digest(("of", value))


def test_another_process_finds_the_same() -> None:
    lines = (
        "from onnxlrp.cache.digests import digest, surroundings",
        "from onnxlrp.rules.lrp import Gamma",
        "print(digest({'a', 'b', 'c'}, Gamma(0.3)), surroundings())",
    )
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [digest({"a", "b", "c"}, Gamma(0.3)), digests.surroundings()]


@pytest.mark.parametrize("part", ["_library", "_features", "_stamp"])
def test_another_library_processor_or_code_is_another(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = digests.surroundings()
    monkeypatch.setattr(digests, part, lambda *of: ("another",))
    digests.surroundings.cache_clear()
    try:
        assert digests.surroundings() != before
    finally:
        digests.surroundings.cache_clear()


def test_a_file_is_hashed_while_its_caller_works(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"abc" * (1 << 22))  # more than is read at a time
    whole = hashlib.sha256(path.read_bytes()).hexdigest()
    assert digests.of_file(path) == whole
    assert digests.of_file_beside(path, lambda: 3) == (whole, 3)
    with pytest.raises(ZeroDivisionError):
        digests.of_file_beside(path, lambda: 1 // 0)
    with pytest.raises(OSError, match="no regular file"):
        digests.of_file_beside(tmp_path, lambda: 3)
