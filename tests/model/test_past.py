"""Decoders that take a past are explained without one, said in a note, or behind the past that is given."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import onnxlrp
from onnxlrp.errors import UsageError
from onnxlrp.graph.load import TEXT_PLACEHOLDERS
from support.decoder_models import PAST, ROWS, Decoder

IDS = np.array([[1, 4, 0, 6, 2], [3, 8, 5, 7, 3]])
NAMES = (("length", "past", "past + length"), ("", "", ""))


def gradient_x_input(decoder: Decoder, ids: Any, k: int, at: int, past: Any = None) -> Any:
    """Σ_d x_td ∂z/∂x_td of a logit, by central differences along each token's embedding."""
    x, h = decoder.embedded(ids), 1e-5
    found = np.zeros(ids.shape)
    for t in range(ids.shape[1]):
        step = np.zeros_like(x)
        step[:, t] = h * x[:, t]
        up, down = decoder.logits(x + step, past), decoder.logits(x - step, past)
        found[:, t] = (up - down)[:, at, k] / (2 * h)
    return found


@pytest.mark.parametrize("names", NAMES)
def test_without_a_past_it_is_empty_and_that_is_said(names: tuple[str, str, str]) -> None:
    decoder = Decoder(names)
    model = onnxlrp.load(decoder.file)
    found = model.explain(IDS, 3, method="gradient_x_input")
    want = decoder.logits(decoder.embedded(IDS))[:, -1, 3]
    np.testing.assert_allclose(found.logit, want, rtol=1e-5)
    np.testing.assert_allclose(found.relevance, gradient_x_input(decoder, IDS, 3, -1), rtol=1e-3, atol=1e-4)
    said = [note for note, _ in model.notes if "no past" in note]
    assert said == [f"no past: {PAST[0]} and 1 more are empty, assumed"]


@pytest.mark.parametrize("names", NAMES)
def test_behind_a_given_past_mask_and_positions_follow_from_it(names: tuple[str, str, str]) -> None:
    decoder = Decoder(names)
    past = decoder.behind(IDS[:, :2])
    model = onnxlrp.load(decoder.file)
    found = model.explain(IDS[:, 2:], 3, method="gradient_x_input", given=past)
    np.testing.assert_allclose(found.logit, decoder.logits(decoder.embedded(IDS))[:, -1, 3], rtol=1e-5)
    want = gradient_x_input(decoder, IDS[:, 2:], 3, -1, past)
    np.testing.assert_allclose(found.relevance, want, rtol=1e-3, atol=1e-4)
    whole = model.explain(IDS, 3, method="gradient_x_input")
    np.testing.assert_allclose(found.relevance, whole.relevance[:, 2:], rtol=1e-4, atol=1e-5)
    notes = [note for note, _ in model.choose(given=past).at((3,)).notes]
    assert "input position_ids: counted from 2, the length of the past, assumed" in notes
    assert not any("no past" in note for note in notes)


def test_sizes_that_are_stated_hold() -> None:
    decoder = Decoder()
    past = decoder.behind(IDS[:, :2])
    model = onnxlrp.load(decoder.file, size={"length": 3, "past": 2})
    shapes = {t.name: t.shape for t in (model.whole or model.graph).inputs}
    assert shapes["attention_mask"] == (5,)
    assert shapes[PAST[0]] == (2, 2, 3)
    found = model.explain(IDS[:, 2:], 3, given=past)
    np.testing.assert_allclose(found.logit, decoder.logits(decoder.embedded(IDS))[:, -1, 3], rtol=1e-5)
    longer = onnxlrp.load(decoder.file, size={"length": 3, "past + length": 5})
    shapes = {t.name: t.shape for t in (longer.whole or longer.graph).inputs}
    assert shapes[PAST[1]] == (2, 2, 3)


def test_half_a_past_asks_for_the_other() -> None:
    decoder = Decoder()
    past = decoder.behind(IDS[:, :2])
    with pytest.raises(UsageError, match=PAST[1]):
        onnxlrp.load(decoder.file).explain(IDS[:, 2:], given={PAST[0]: past[PAST[0]]})


@pytest.mark.parametrize("position", [0, 3, -1, -2])
def test_a_token_at_a_position_is_a_target(position: int) -> None:
    decoder = Decoder()
    model = onnxlrp.load(decoder.file)
    found = model.explain(IDS, f"{ROWS - 1}@{position}", method="gradient_x_input")
    np.testing.assert_allclose(found.logit, decoder.logits(decoder.embedded(IDS))[:, position, ROWS - 1], rtol=1e-5)
    want = gradient_x_input(decoder, IDS, ROWS - 1, position)
    np.testing.assert_allclose(found.relevance, want, rtol=1e-3, atol=1e-4)
    assert not found.relevance[:, position % 5 + 1 :].any()  # it is causal


def test_the_placeholder_of_a_text_is_short() -> None:
    model = onnxlrp.load(Decoder().file)
    assert model.graph.inputs[0].shape == TEXT_PLACEHOLDERS[:1]
