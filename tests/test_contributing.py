"""The recipes of CONTRIBUTING.md: each file is put into its folder, is found by what lists and tests, and is used."""

from __future__ import annotations

import configparser
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import onnxlrp
from onnxlrp import rules
from onnxlrp.checks.registry import CHECKS
from onnxlrp.engines import ENGINES
from onnxlrp.evaluation.metrics.registry import METRICS
from onnxlrp.layers import LAYERS
from onnxlrp.methods.registry import METHODS
from support.paths import ROOT
from support.problems import convolutional

MODELS = ROOT / "models"
SEVEN = MODELS / "samples" / "digit_7.png"
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"```python\n# (\S+)\n(.*?)```", TEXT, flags=re.DOTALL))
# What each file registers, and the table that lists it.
NAMES = {
    "onnxlrp/layers/shrink.py": ("Shrink", "operators"),
    "onnxlrp/rules/half_weights.py": ("half_weights", "rules"),
    "onnxlrp/methods/half_epsilon.py": ("half_epsilon", "methods"),
    "onnxlrp/methods/gradient_norm.py": ("gradient_norm", "methods"),
    "onnxlrp/evaluation/metrics/sparseness.py": ("sparseness", "metrics"),
    "onnxlrp/checks/margin.py": ("margin", "checks"),
    "onnxlrp/engines/single.py": ("single", "engines"),
}
X = np.random.default_rng(1).normal(size=(2, 6)).astype(np.float32)


def network(activation: Any) -> Any:
    rng = np.random.default_rng(0)
    weights = {"w1": rng.normal(size=(6, 4)), "b1": rng.normal(size=4), "w2": rng.normal(size=(4, 3))}
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["z"]),
        helper.make_node(activation, ["z"], ["a"]),
        helper.make_node("MatMul", ["a", "w2"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()],
    )
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 22)])


class Installed:
    """A Python that finds packages in folders of ours first."""

    def __init__(self, *folders: Path) -> None:
        self.folders = folders

    def run(self, *words: object) -> subprocess.CompletedProcess[str]:
        """The finished process of `python words`, run in the first folder."""
        path = os.pathsep.join(map(str, self.folders))
        # The checkout itself must not be found: not through its own folder, and not through the caller's path.
        return subprocess.run(
            [sys.executable, *map(str, words)],
            cwd=self.folders[0],
            env={**os.environ, "PYTHONPATH": path},
            capture_output=True,
            text=True,
            check=False,
        )

    def command(self, *words: object, code: int = 0) -> str:
        """What `onnxlrp words` prints on stdout, or on stderr where it is to fail."""
        done = self.run("-m", "onnxlrp", *words)
        assert done.returncode == code, done.stderr
        return done.stderr if code else done.stdout

    def listed(self, *words: object) -> dict[str, dict[str, Any]]:
        """The JSON that a command prints, without the name of its list."""
        (rows,) = (v for v in json.loads(self.command(*words, "--json")).values() if isinstance(v, list))
        return {next(iter(row.values())): row for row in rows}


# -- put into its folder


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    """A copy of the package with the file of every recipe in its folder, and no other change."""
    folder = tmp_path_factory.mktemp("extended")
    shutil.copytree(ROOT / "onnxlrp", folder / "onnxlrp")
    (folder / "csrc").symlink_to(ROOT / "csrc")  # the kernels of the emulator
    for path, code in FILES.items():
        assert (folder / path).parent.is_dir()
        assert not (folder / path).exists()
        (folder / path).write_text(code, encoding="utf-8")
    onnx.save(network("Shrink"), folder / "shrink.onnx")
    np.save(folder / "x.npy", X)
    return Installed(folder)


def test_every_recipe_is_tried_here() -> None:
    assert set(FILES) == set(NAMES)


@pytest.mark.slow
def test_the_commands_list_them(extended: Installed) -> None:
    assert "half_weights" in extended.listed("rules")
    methods = extended.listed("methods")
    assert methods["half_epsilon"]["options"] == ["epsilon"]
    assert methods["gradient_norm"]["options"] == ["power"]
    assert "sparseness" in extended.listed("evaluate", "--list")
    assert extended.listed("check", "--list")["margin"]["thresholds"] == {"least": 0.1}
    code = "from onnxlrp.commands import probes; print(*probes.engines(), probes.tried('single')['ready'])"
    assert extended.run("-c", code).stdout.split() == [*ENGINES, "single", "True"]


@pytest.mark.slow
def test_the_tables_of_the_documentation_hold_them(extended: Installed) -> None:
    code = (
        "import json, sys; sys.path += sys.argv[1:]; from registry_tables import TABLES\n"
        "print(json.dumps({name: make() for name, make in TABLES.items()}))"
    )
    tables = json.loads(extended.run("-c", code, ROOT / "docs" / "_extensions").stdout)
    for name, table in NAMES.values():
        assert f"`{name}`" in tables[table], name


@pytest.mark.slow
def test_the_commands_use_them(extended: Installed) -> None:
    explain = ["explain", MODELS / "digits.onnx", SEVEN, "-o", "map.png", "--json"]
    words = ["-m", "half_epsilon,gradient_norm", "--power", "2", "--format", "json", "-o", "{method}"]
    ones = [json.loads(line) for line in extended.command(*explain, *words, "--engine", "single").splitlines()]
    assert {one["method"]: one["provenance"]["options"] for one in ones} == {
        "half_epsilon": {},
        "gradient_norm": {"power": 2.0},
    }
    assert {one["provenance"]["engine"] for one in ones} == {"single"}
    extended.command("explain", "shrink.onnx", "x.npy", "-o", "{stem}.{index}.png", "--rule", "Gemm=half_weights(0.01)")
    judged = json.loads(
        extended.command(
            "evaluate", MODELS / "digits.onnx", SEVEN, "--metric", "sparseness", "-m", "gradient", "--json"
        )
    )
    assert 0 < judged["cells"][0]["mean"] < 1
    checked = extended.command("check", MODELS / "digits.onnx", SEVEN, "--set", "margin.least=1000", "--json")
    (margin,) = (finding for finding in json.loads(checked)["findings"] if finding["check"] == "margin")
    assert (margin["status"], margin["severity"], margin["limit"]) == ("failed", "warning", 1000)


@pytest.mark.slow
def test_a_flag_of_no_method_is_still_refused(extended: Installed) -> None:
    said = extended.command("explain", MODELS / "digits.onnx", SEVEN, "--powr", "2", code=2)
    assert 'no option "--powr"' in said
    assert '"--power"' in said
    said = extended.command("explain", MODELS / "digits.onnx", SEVEN, "--power", "2", code=2)
    assert "methods that have it: gradient_norm" in said


# Tests that run over everything that is registered, and the words that choose those of the recipes.
TESTS = {
    "tests/layers/test_gradient.py": "Shrink or has_a_model",
    "tests/rules/test_pairs.py": "half_weights or (half_epsilon and (reference or single))",
    "tests/explanation/test_ledger.py": "half_epsilon",
    "tests/methods/test_asking.py": "flag or help",
    "tests/methods/test_every_method.py": "gradient_norm",
    "tests/evaluation/test_metrics.py": "sparseness",
    "tests/checks/test_settings.py": "margin or example",
    "tests/program/test_maps.py": "single",
    "tests/program/test_linear_maps.py": "single and Matmul",
    "tests/docs/test_tables.py": "registries",
    "tests/docs/test_docstrings.py": "half_weights or half_epsilon or gradient_norm or sparseness or margin",
}


@pytest.mark.slow
def test_conformance_and_property_tests_pick_them_up(extended: Installed, tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    chosen = " or ".join(f"({Path(path).stem} and ({words}))" for path, words in TESTS.items())
    files = [ROOT / path for path in TESTS]
    quiet = ("-q", "-p", "no:cacheprovider", "-m", "slow or not slow", f"--junitxml={report}")
    done = extended.run("-m", "pytest", *quiet, "-k", chosen, *files)
    assert done.returncode == 0, done.stdout[-3000:]
    passed = re.findall(r'<testcase classname="([\w.]+)" name="([^"]+)" time="[^"]*" />', report.read_text())
    assert {home.rpartition(".")[2] for home, _ in passed} == {Path(path).stem for path in TESTS}
    for name, _ in NAMES.values():
        assert any(name in test for _, test in passed), name
    assert str(extended.folders[0]) in extended.run("-c", "import onnxlrp; print(onnxlrp.__file__)").stdout


@pytest.mark.slow
def test_their_imports_follow_the_arrows(extended: Installed) -> None:
    code = (
        "import sys; sys.path[:0] = sys.argv[1:]; import test_architecture as t\n"
        "for folder in t.FOLDERS: t.test_imports_follow_the_arrows(folder)\n"
        "print(len(t.modules()), t.ROOT)"
    )
    done = extended.run("-c", code, ROOT / "tests")
    count = len(list((ROOT / "onnxlrp").rglob("*.py"))) + len(FILES)
    assert done.stdout == f"{count} {extended.folders[0] / 'onnxlrp'}\n", done.stderr


# -- a package of its own


@pytest.fixture
def plugin(tmp_path: Path) -> Callable[[str], Installed]:
    """Installs a package of one module with the entry point of the recipe; the whole environment with it."""

    def install(code: str) -> Installed:
        (line,) = re.findall(r"```toml\n# plugin\n(.*?)```", TEXT, flags=re.DOTALL)
        groups = tomllib.loads(line)["project"]["entry-points"]
        ((group, points),) = groups.items()
        ((_, module),) = points.items()
        about = tmp_path / f"{module}-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
        stated = configparser.ConfigParser()
        stated[group] = points
        with (about / "entry_points.txt").open("w") as file:
            stated.write(file)
        (tmp_path / f"{module}.py").write_text(code, encoding="utf-8")
        return Installed(tmp_path, ROOT)

    return install


def absolute(path: str) -> str:
    """The file of a recipe as it is written outside of the package."""
    package = Path(path).parent.parts
    lines = []
    for line in FILES[path].splitlines():
        if found := re.match(r"from (\.+)(.*)", line):
            dots, rest = found.groups()
            base = ".".join(package[: len(package) - len(dots) + 1])
            line = f"from {base}{rest}" if rest.startswith(" ") else f"from {base}.{rest}"
        lines.append(line)
    return "\n".join(lines)


def test_an_entry_point_is_found(plugin: Callable[[str], Installed]) -> None:
    installed = plugin(absolute("onnxlrp/rules/half_weights.py"))
    assert installed.listed("rules")["half_weights"]["options"] == ["epsilon"]
    said = installed.command("explain", MODELS / "digits.onnx", SEVEN, "--rule", "Gemm=half_weights", "--json")
    assert json.loads(said)["method"] == "epsilon_plus_flat"


@pytest.mark.slow
def test_a_plugin_that_cannot_be_imported_is_named_with_the_fix(plugin: Callable[[str], Installed]) -> None:
    installed = plugin("import nothing_of_this_name\n")
    said = installed.command("rules", code=2)
    assert "half_weights_lrp" in said
    assert "No module named 'nothing_of_this_name'" in said
    assert "pip uninstall half_weights_lrp" in said
    code = "from onnxlrp.commands import probes; print(*probes.engines()); print(*probes.broken_plugin(), sep='\\n')"
    engines, problem, fix = installed.run("-c", code).stdout.splitlines()
    assert engines.split() == ENGINES.own()
    assert (problem in said, fix in said) == (True, True)
    # What the package has itself needs no plugin.
    installed.command("explain", MODELS / "digits.onnx", SEVEN, "--rule", "Gemm=epsilon")


def test_a_plugin_cannot_take_a_name(plugin: Callable[[str], Installed]) -> None:
    installed = plugin(absolute("onnxlrp/rules/half_weights.py").replace('"half_weights"', '"epsilon"'))
    said = installed.command("rules", code=2)
    assert "two rules are called 'epsilon'" in said
    assert "half_weights_lrp.HalfWeights" in said


# -- what they compute


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Runs the file of a recipe as a module of its folder; what it registers is gone after the test."""
    for registry in (LAYERS, rules.RULES, METHODS, METRICS, CHECKS, ENGINES):
        assert len(registry)  # all of it is imported
        monkeypatch.setattr(registry, "_rows", dict(registry._rows))

    def run(path: str) -> None:
        file = tmp_path / Path(path).name
        file.write_text(FILES[path], encoding="utf-8")
        name = ".".join(Path(path).with_suffix("").parts)
        spec = importlib.util.spec_from_file_location(name, file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)

    return run


def test_operator(recipe: Callable[[str], None]) -> None:
    model = network("Shrink")
    with pytest.raises(onnxlrp.OnnxLrpError, match="Shrink"):
        onnxlrp.load(model).explain(X)
    recipe("onnxlrp/layers/shrink.py")
    loaded = onnxlrp.load(model, engine="reference")
    gradient = loaded.explain(X, target=1, method="gradient").relevance
    step = 1e-6
    for i in range(6):
        bump = np.zeros(6)
        bump[i] = step
        up, down = (loaded.explain((X + s * bump).astype(np.float64), target=1).logit for s in (1, -1))
        # Inputs are float32, so that the step is what arrives.
        moved = ((X + bump).astype(np.float32).astype(float) - (X - bump).astype(np.float32).astype(float))[:, i]
        np.testing.assert_allclose((up - down) / moved, gradient[:, i], rtol=1e-4, atol=1e-6)


def test_rule(recipe: Callable[[str], None]) -> None:
    recipe("onnxlrp/rules/half_weights.py")
    half = onnxlrp.Composite([("dense", rules.parse("half_weights")), ("activation", rules.parse("pass"))])
    plain = onnxlrp.Composite([("dense", rules.parse("epsilon(0.000002)")), ("activation", rules.parse("pass"))])
    model = network("Relu")
    for i in model.graph.initializer:
        if i.name == "b1":
            i.CopyFrom(numpy_helper.from_array(np.zeros(4, np.float32), "b1"))
    loaded = onnxlrp.load(model, engine="reference")
    a, b = (loaded.explain(X, method=m).relevance for m in (half, plain))
    np.testing.assert_allclose(a, b, rtol=1e-9)


def test_preset(recipe: Callable[[str], None]) -> None:
    recipe("onnxlrp/methods/half_epsilon.py")
    loaded = onnxlrp.load(network("Relu"), engine="reference")
    dense = onnxlrp.Composite([("dense", rules.parse("epsilon(0.5)")), ("activation", rules.parse("pass"))])
    expected = loaded.explain(X, method=dense).relevance
    np.testing.assert_allclose(loaded.explain(X, method="half_epsilon", epsilon=0.5).relevance, expected)


def test_attribution(recipe: Callable[[str], None]) -> None:
    recipe("onnxlrp/methods/gradient_norm.py")
    loaded = onnxlrp.load(network("Relu"))
    slope = loaded.explain(X, target=1, method="gradient").relevance
    found = loaded.explain(X, target=1, method="gradient_norm", power=2).relevance
    np.testing.assert_allclose(found, slope**2, rtol=1e-6)


def test_metric(recipe: Callable[[str], None]) -> None:
    """The Gini index by its definition: the mean difference of two places over twice the mean."""
    recipe("onnxlrp/evaluation/metrics/sparseness.py")
    model = convolutional()
    x = np.random.default_rng(2).normal(size=(2, *model.graph.inputs[0].shape)).astype(np.float32)
    from onnxlrp.evaluation.evaluate import evaluate

    (cell,) = evaluate(model, x, ["gradient"], ["sparseness"]).cells
    heat = np.abs(model.explain(x, method="gradient").relevance.astype(np.float64).sum(axis=1)).reshape(2, -1)
    pairs = np.abs(heat[:, :, None] - heat[:, None, :]).mean(axis=(1, 2))
    np.testing.assert_allclose(cell.values, pairs / (2 * heat.mean(axis=1)), rtol=1e-6)


def test_check(recipe: Callable[[str], None]) -> None:
    recipe("onnxlrp/checks/margin.py")
    from onnxlrp.checks import Settings, run

    logits = onnxlrp.load(network("Relu")).outputs(X)["logits"]
    margins = np.sort(logits, axis=1)[:, -1] - np.sort(logits, axis=1)[:, -2]
    limit = float(margins.mean())
    model = onnxlrp.load(network("Relu"))
    found = run(model, X, Settings(thresholds={"margin": {"least": limit}})).findings
    one = [finding for finding in found if finding.check == "margin"]
    np.testing.assert_allclose([finding.value for finding in one], margins, rtol=1e-6)
    assert sorted(finding.status for finding in one) == ["failed", "passed"]


def test_engine(recipe: Callable[[str], None]) -> None:
    recipe("onnxlrp/engines/single.py")
    exact = onnxlrp.load(network("Relu"), engine="reference").explain(X).relevance
    found = onnxlrp.load(network("Relu"), engine="single").explain(X)
    assert found.provenance["engine"] == "single"
    assert found.relevance.dtype == np.float32
    np.testing.assert_array_equal(found.relevance, exact.astype(np.float32))


def test_onnx_is_not_changed() -> None:
    model = network("Relu")
    before = model.SerializeToString()
    onnxlrp.load(model).explain(X)
    assert model.SerializeToString() == before
    onnx.checker.check_model(model)
