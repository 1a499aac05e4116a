"""Properties of every method that is no composite, whatever it computes."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from onnxlrp.methods.registry import METHODS, make
from support.problems import convolutional, problem

# Fewer passes than by default, for options that say how many.
FEW = {"samples": 24, "steps": 4, "cells": 4, "features": 6}


def quick(name: str) -> dict[str, int]:
    return {option: count for option, count in FEW.items() if option in METHODS[name].options}


ATTRIBUTIONS = [name for name, entry in METHODS.items() if not entry.is_composite]
ALONE = [
    name
    for name in ATTRIBUTIONS
    if all(option.default is not inspect.Parameter.empty for option in METHODS[name].options.values())
]

# Those of trees and of attention have tests of their own.
OF_ANY_MODEL = [name for name in ALONE if not {"trees", "attention"} & set(METHODS[name].passes.split())]


def test_every_method_can_be_asked_for_by_its_name_alone() -> None:
    assert ALONE == ATTRIBUTIONS


@pytest.mark.parametrize("name", OF_ANY_MODEL)
def test_relevance_is_finite_has_the_shape_of_the_input_and_comes_again(name: str) -> None:
    given = problem(convolutional())
    first, again = (make(name, **quick(name))(given).relevance for _ in range(2))
    assert first.shape == given.x.shape
    assert np.isfinite(first).all()
    assert np.abs(first).max() > 0
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize("name", OF_ANY_MODEL)
def test_relevance_does_not_change_the_input_or_the_model(name: str) -> None:
    asked = convolutional()
    given = problem(asked)
    x, weights = given.x.copy(), {key: array.copy() for key, array in asked.graph.constants.items()}
    make(name, **quick(name))(given)
    np.testing.assert_array_equal(given.x, x)
    for key, array in asked.graph.constants.items():
        np.testing.assert_array_equal(array, weights[key])
