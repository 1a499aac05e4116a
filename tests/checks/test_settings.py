"""onnxlrp.toml: what it may say, and what it is told where it says something else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from onnxlrp.checks import toml
from onnxlrp.checks.drift import Drift
from onnxlrp.checks.registry import CHECKS, configured, make, severity, thresholds
from onnxlrp.checks.settings import Settings
from onnxlrp.errors import InputError, UsageError
from support.paths import ROOT

DOCS = ROOT / "docs" / "onnxlrp.toml"


def read(tmp_path: Path, text: Any) -> Any:
    path = tmp_path / "onnxlrp.toml"
    path.write_text(text, encoding="utf-8")
    return toml.read(path)


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    assert read(tmp_path, "# nothing") == Settings(folder=tmp_path)


def test_keys_are_read_and_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        """
        model = "m.onnx"
        samples = ["images/*.png", "more"]
        expected = "e.npz"
        target = 3
        size = [32, 48]
        prep = "imagenet"
        given = { scale = 0.5, mask = "mask.npy" }
        [options]
        epsilon = 1e-3
        [rules]
        Conv = "gamma(0.25)"
        [checks]
        latency = "off"
        [checks.drift]
        cosine = 0.9
        severity = "warning"
        """,
    )
    assert found.path(found.model) == tmp_path / "m.onnx"
    assert found.samples == ("images/*.png", "more")
    assert found.expected == ("e.npz",)
    assert (found.target, found.size, found.prep) == (3, (32, 48), {"prep": "imagenet"})
    assert found.given == {"scale": 0.5, "mask": str(tmp_path / "mask.npy")}
    assert found.options == {"epsilon": 1e-3}
    assert configured("drift", found) == Drift(cosine=0.9)
    counted = [severity(id, found) for id in ("drift", "latency", "ledger")]
    assert counted == ["warning", "off", "error"]


@pytest.mark.parametrize(
    ("text", "said", "fix"),
    [
        ('sample = ["a"]', 'no setting "sample"', '"samples"'),
        ("[checks.drfit]\ncosine = 0.9", 'no check "drfit"', '"drift"'),
        ("[checks.drift]\ncosin = 0.9", 'no threshold "cosin"', '"cosine"'),
        ('[checks.drift]\ncosine = "high"', "is not a number", "give a number"),
        ("[checks.drift]\ncosine = nan", "is not a number", "give a number"),
        ("[checks.drift]\ncosine = true", "is not a number", "give a number"),
        ("[checks.border]\nleast = 0", "is not a whole number from 1", "least = 1"),
        ('[checks.drift]\nseverity = "fatal"', "severity = 'fatal'", "error, warning, note, off"),
        ("checks = 3", "checks = 3", "[checks.drift]"),
        ("batch_size = 0", "batch_size = 0", "whole number"),
        ("samples = [1]", "samples = [1]", "list of texts"),
        ("samples = 1", "samples = 1", "list of texts"),
        ('target = "top3"', "target = 'top3'", "top1"),
        ("strict = 1", "strict = 1", "true or false"),
        ('on_unsupported = "skip"', "on_unsupported", "gradient"),
        ('[rules]\nConv = "gama(0.25)"', "gama", "gamma"),
        ("model = ", "cannot be read as TOML", "line"),
    ],
)
def test_what_is_wrong_is_refused_with_the_fix(tmp_path: Path, text: str, said: str, fix: str) -> None:
    with pytest.raises(InputError) as refused:
        read(tmp_path, text)
    assert said in refused.value.message
    assert fix in refused.value.fix
    assert "onnxlrp.toml" in refused.value.message


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        toml.read(tmp_path / "none.toml")


@pytest.mark.parametrize("id", CHECKS)
def test_every_check_is_documented_and_takes_its_own_defaults(id: Any) -> None:
    known = thresholds(id)
    assert make(id, **{name: value for name, value in known.items() if value is not None}) == make(id)
    doc = CHECKS[id].make.__doc__
    assert doc.strip()
    for name in known:
        assert f"\n        {name}: " in doc, f"{id}: its documentation does not describe {name}"


def test_thresholds_are_checked_from_python_too() -> None:
    with pytest.raises(UsageError, match="not a whole number"):
        make("border", least=1.5)


def test_the_hash_of_a_method_is_of_what_it_is_asked() -> None:
    asked = Settings(method="epsilon", options={"epsilon": 0.1})
    same = Settings(method="epsilon", options={"epsilon": 0.1}, samples=("a",), engine="reference", batch_size=3)
    assert asked.method_hash == same.method_hash
    others = [
        Settings(method="gamma"),
        Settings(method="epsilon"),
        Settings(method="epsilon", options={"epsilon": 0.1}, target=3),
        Settings(method="epsilon", options={"epsilon": 0.1}, rules={"Conv": "zplus"}),
    ]
    assert len({s.method_hash for s in [asked, *others]}) == 5


def test_the_example_in_the_docs_is_valid_and_shows_all_thresholds_of_its_checks() -> None:
    found = toml.read(DOCS)
    assert found.samples
    text = DOCS.read_text(encoding="utf-8")
    shown = {id for id in CHECKS if re.search(rf"^(# )?\[checks\.{id}\]$|^(# )?{id} = ", text, re.MULTILINE)}
    assert shown >= {"drift", "inside", "latency", "border", "ledger"}
    for id in shown:
        known = thresholds(id)
        for name, value in known.items():
            stated = found.thresholds.get(id, {}).get(name, value)
            assert re.search(rf"^(# )?{name} = ", text, re.MULTILINE), f"{id}.{name}"
            assert value is None or stated == value, f"{id}.{name}: the docs show {stated}, the default is {value}"


@pytest.mark.parametrize(
    ("text", "size"),
    [("size = [64, 128]", (64, 128)), ("size = 100", (100,)), ("size = { length = 100 }", {"length": 100})],
)
def test_lengths_of_open_axes(tmp_path: Path, text: str, size: object) -> None:
    assert read(tmp_path, text).size == size


def test_lengths_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="lengths by name"):
        read(tmp_path, "size = { length = 0 }")
