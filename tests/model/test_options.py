"""ExplainOptions: one declaration for Python, the command line and settings."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import onnxlrp
from onnxlrp.errors import UsageError
from onnxlrp.model import ExplainOptions
from onnxlrp.model.options.declaration import declared
from onnxlrp.model.options.explain import flags
from support.paths import MODELS

X = np.random.default_rng(0).random((2, 1, 28, 28), np.float32)


def test_options_give_what_keywords_give() -> None:
    model = onnxlrp.load(MODELS / "digits.onnx")
    by_words = model.explain(X, 3, "gamma", gamma=0.1, ledger=True, rules=[("Conv", onnxlrp.rule("zplus"))])
    options = ExplainOptions(target=3, method="gamma", options={"gamma": 0.1}, ledger=True, rules={"Conv": "zplus"})
    by_options = model.explain(X, options)
    np.testing.assert_array_equal(by_words.relevance, by_options.relevance)
    assert by_words.provenance == by_options.provenance
    assert by_options.ledger


def test_what_is_prepared_is_what_runs() -> None:
    """A prepared explanation is compiled: explaining compiles nothing more."""
    model = onnxlrp.load(MODELS / "digits.onnx")
    options = ExplainOptions(target="top3", method="epsilon", record=("conv1",))
    model.prepare(options)
    kept = dict(model._programs.kept)
    model.explain(X, options)
    assert model._programs.kept == kept


def test_what_is_no_field_is_an_option_of_the_method() -> None:
    made = ExplainOptions.of("zebra", "gamma", gamma=0.1, ledger=True)
    assert made == ExplainOptions(target="zebra", method="gamma", options={"gamma": 0.1}, ledger=True)
    assert ExplainOptions.of(made) is made


def test_rules_are_read_more_than_once() -> None:
    options = ExplainOptions(rules=((match, "zplus") for match in ("Conv", "Gemm")))
    assert options.entries == options.entries == [("Conv", "zplus"), ("Gemm", "zplus")]
    assert ExplainOptions(rules={"Conv": "zplus"}).entries == [("Conv", "zplus")]


def test_how_to_explain_as_keywords() -> None:
    options = ExplainOptions(target=3, method="gamma", options={"gamma": 0.1}, rules={"Conv": "zplus"}, batch_size=2)
    assert options.keywords() == {"gamma": 0.1, "rules": {"Conv": "zplus"}}
    again = ExplainOptions.of(3, "gamma", **options.keywords())
    assert (again.options, again.entries) == (options.options, options.entries)


def test_options_beside_other_arguments_are_refused() -> None:
    model = onnxlrp.load(MODELS / "digits.onnx")
    with pytest.raises(UsageError, match="beside other arguments"):
        model.explain(X, ExplainOptions(), ledger=True)
    with pytest.raises(UsageError, match="beside other arguments"):
        model.prepare(ExplainOptions(), "gamma")


def test_options_of_the_method_in_a_dict_are_refused_with_what_to_write(tmp_path: Path) -> None:
    model = onnxlrp.load(MODELS / "digits.onnx")
    for explain in (model.explain, model.explain_each):
        with pytest.raises(UsageError, match="keywords of their own") as caught:
            explain(X, options={"epsilon": 1e-3})
        assert "explain(x, **options)" in caught.value.fix
    with pytest.raises(UsageError, match="keywords of their own") as caught:
        model.export(tmp_path / "e.onnx", options={"epsilon": 1e-3})
    assert "export(path, **options)" in caught.value.fix


def test_a_recorded_field_is_in_the_provenance_where_it_is_stated() -> None:
    model = onnxlrp.load(MODELS / "digits.onnx")
    made = model.explain(X, conditions={"conv1": (0, 1)})
    assert made.provenance["conditions"] == {"conv1": [0, 1]}
    assert "conditions" not in model.explain(X).provenance


def test_every_field_is_documented() -> None:
    doc = ExplainOptions.__doc__ or ""
    for f in dataclasses.fields(ExplainOptions):
        assert f"\n        {f.name}: " in doc, f.name


def test_flags_are_those_of_the_command_alone() -> None:
    assert {name for name, _ in flags("patterns")} == {"output", "input", "kind", "task", "head", "given", "batch_size"}
    words = [word for _, said in declared(ExplainOptions) if said.flag for word in said.flag.words]
    assert len(words) == len(set(words))


def test_the_declaration_imports_nothing_heavy() -> None:
    code = "import sys, onnxlrp.model.options.explain; print([m for m in ('numpy', 'onnx', 'PIL') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
