"""Files of two decoders, without and with a past: the branch that runs follows from what is given, and is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import onnxlrp
from onnxlrp.errors import InputError, UsageError
from support.decoder_models import PAST, Decoder

IDS = np.array([[1, 4, 0, 6, 2], [3, 8, 5, 7, 3]])
SWITCH = "use_cache_branch"


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    return Decoder()


@pytest.fixture(scope="module")
def model(decoder: Decoder) -> onnxlrp.Model:
    return onnxlrp.load(decoder.merged)


def slopes(decoder: Decoder, ids: Any, past: Any = None) -> Any:
    """Σ_d x_td ∂z/∂x_td of logit 3 at the last position, by central differences."""
    x, h = decoder.embedded(ids), 1e-5
    found = np.zeros(ids.shape)
    for t in range(ids.shape[1]):
        step = np.zeros_like(x)
        step[:, t] = h * x[:, t]
        found[:, t] = (decoder.logits(x + step, past) - decoder.logits(x - step, past))[:, -1, 3] / (2 * h)
    return found


def test_without_a_past_the_branch_without_one_runs(decoder: Decoder, model: onnxlrp.Model) -> None:
    found = model.explain(IDS, 3, method="gradient_x_input")
    np.testing.assert_allclose(found.logit, decoder.logits(decoder.embedded(IDS))[:, -1, 3], rtol=1e-5)
    np.testing.assert_allclose(found.relevance, slopes(decoder, IDS), rtol=1e-3, atol=1e-4)
    said = dict(model.notes)
    note = f"the file has two branches: explained is that of {SWITCH}=0, without {PAST[0]} and 1 more, assumed"
    assert said[note] == f"--given {SWITCH}=1 takes the other"
    assert not any("no past" in note for note in said)


def test_a_given_past_takes_the_branch_that_reads_it(decoder: Decoder, model: onnxlrp.Model) -> None:
    past = decoder.behind(IDS[:, :2])
    found = model.explain(IDS[:, 2:], 3, method="gradient_x_input", given=past)
    np.testing.assert_allclose(found.logit, decoder.logits(decoder.embedded(IDS))[:, -1, 3], rtol=1e-5)
    np.testing.assert_allclose(found.relevance, slopes(decoder, IDS[:, 2:], past), rtol=1e-3, atol=1e-4)
    assert not any("two branches" in note for note, _ in model.choose(given=past).notes)


def test_the_branch_that_is_stated_runs(decoder: Decoder, model: onnxlrp.Model) -> None:
    stated = model.choose(given={SWITCH: 1})
    assert any("no past" in note for note, _ in stated.notes)  # read, and empty
    found = stated.explain(IDS, 3, method="gradient_x_input")
    np.testing.assert_allclose(found.relevance, slopes(decoder, IDS), rtol=1e-3, atol=1e-4)
    with pytest.raises(UsageError, match=f"is read where {SWITCH} is 1, which is 0"):
        model.choose(given={SWITCH: 0, **decoder.behind(IDS[:, :2])})


def test_a_branch_is_one_of_two(model: onnxlrp.Model) -> None:
    with pytest.raises(InputError, match="takes 0 or 1, not 2") as caught:
        model.choose(given={SWITCH: 2})
    assert f"--given {SWITCH}=1" in str(caught.value) or "given=" in str(caught.value)


def test_an_exported_explainer_has_the_branch(decoder: Decoder, tmp_path: Path) -> None:
    import onnxruntime

    path = tmp_path / "merged.onnx"
    path.write_bytes(decoder.merged)
    model = onnxlrp.load(path, size={"length": IDS.shape[1]})
    made = model.export(tmp_path / "explainer.onnx", target="top1", method="attnlrp")
    session = onnxruntime.InferenceSession(made)
    feed = {"input_ids": IDS, "attention_mask": np.ones_like(IDS), "position_ids": np.tile(np.arange(5), (2, 1))}
    feed = {value.name: feed[value.name] for value in session.get_inputs()}
    got = dict(zip((value.name for value in session.get_outputs()), session.run(None, feed), strict=True))
    wanted = model.explain(IDS, method="attnlrp")
    np.testing.assert_allclose(got["relevance"].reshape(IDS.shape), wanted.relevance, rtol=1e-4, atol=1e-5)
