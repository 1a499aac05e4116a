"""Who may import whom (docs/architecture.md, "Rooms and arrows"): any arrow that is not in this table fails.

To allow a new one, write it here and say why in the commit; a room that is not listed may not exist.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import onnxlrp

ROOT = Path(onnxlrp.__file__).parent
HEAVY = ("onnx", "onnxruntime", "PIL", "cupy")

# Everybody may import these, the standard library, and their own room.
ANYBODY = {"errors", "lazy", "registry", "runtime", "version"}

# Room → rooms and outside packages. The longest name that fits a module is its room; a room that is named allows none
# of the rooms inside it.
ALLOWED = {
    # The compiler. Rules never see a layer, engines never see a rule, programs see nobody.
    "program": {"numpy"},
    "rules": {"patterns", "program", "numpy"},
    "layers": {
        "program",
        "graph.recognition",
        "graph.facts",
        "graph.graph",
        "graph.operators",
        "numpy",
    },
    "composites": {"rules", "program", "numpy"},
    "compile": {
        "composites",
        "layers",
        "rules",
        "program",
        "graph.facts",
        "graph.outputs",
        "graph.recognition",
        "graph.graph",
        "graph.names",
        "graph.operators",
        "graph.recurrence",
        "graph.roundings",
        "numpy",
    },
    # From a file to the graph, stage by stage; each knows those before it.
    "graph": set(),
    "graph.graph": {"numpy"},
    "graph.operators": set(),
    "graph.names": set(),
    "graph.recurrence": {"graph.graph", "graph.operators"},
    "graph.facts": {"graph.graph", "graph.operators", "graph.recurrence", "numpy"},
    "graph.axes": {"graph.graph", "graph.operators", "numpy"},
    # What a graph is found to hold, whoever asks.
    "graph.recognition": {"graph.axes", "graph.facts", "graph.graph", "graph.operators", "numpy"},
    # What is explained: how scores are read, units, places and boxes, each as an output of its own.
    "graph.outputs": {"graph.axes", "graph.facts", "graph.graph", "graph.names", "graph.operators", "numpy"},
    "graph.writing": {"graph.graph", "graph.operators", "graph.recurrence", "numpy", "onnx"},
    "graph.reading": {"graph.graph", "graph.operators", "numpy", "onnx", "google"},
    "graph.frontend": {
        "graph.graph",
        "graph.names",
        "graph.operators",
        "graph.reading",
        "graph.recognition",  # pasts of open length
        "numpy",
        "onnx",
        "onnxruntime",
    },
}
_READ = {"graph.graph", "graph.operators", "graph.writing", "graph.reading", "graph.frontend", "numpy", "onnx"}
_REWRITES = {*_READ, "graph.names", "graph.rewriting"}
_STAGES = {"graph.decomposition", "graph.lowering", "graph.batching", "graph.canonical", "graph.recurrent"}
ALLOWED |= {
    "graph.rewriting": {*_READ, "graph.names"},
    "graph.text_front": {"graph.graph", "graph.reading", "inputs.counted", "numpy", "onnx"},
    # Trees of decisions as arrays, which a decomposition asks too.
    "graph.trees": {"graph.graph", "graph.operators", "graph.outputs", "graph.reading", "numpy"},
    "graph.decomposition": {*_REWRITES, "graph.outputs", "graph.recognition", "graph.trees"},
    "graph.lowering": _REWRITES,
    "graph.batching": _REWRITES,
    "graph.canonical": _REWRITES,
    "graph.recurrent": {*_REWRITES, "graph.facts", "graph.recurrence"},
    # Formulas of a quantised model, found by the passes that write one layer for a formula.
    "graph.roundings": {*_REWRITES, "graph.canonical", "graph.facts", "graph.recurrence"},
    # The list of passes; of facts, whether a network has what a pass is for, before its module is imported.
    "graph.loading": {*_REWRITES, *_STAGES, "graph.facts"},
    # The untouched file in the place of layers that cannot be read; onnxruntime runs it.
    "graph.opaque": {*_REWRITES, "graph.loading"},
    "graph.verify": {*_REWRITES, "graph.decomposition"},
    "graph.verify_quantized": {"graph.graph", "graph.operators", "graph.reading", "graph.verify"},
    "graph.load": {*_REWRITES, "graph.loading", "graph.opaque", "graph.text_front", "graph.verify_quantized"},
    # Engines: each its own runtime and no other.
    "engines": {"program", "numpy"},
    "engines.reference": {"engines", "engines.recurrent_operators", "program", "numpy", "onnx"},
    "engines.recurrent_operators": {"program", "numpy", "onnx"},
    "engines.emit": {"engines", "program", "numpy", "onnx"},
    "engines.weights": {"program", "numpy", "onnxruntime"},
    "engines.providers": {"onnxruntime"},
    "engines.cut": set(),
    "engines.blocked": {"engines.cut", "numpy", "onnx"},
    "engines.ort": {
        "cache",
        "engines",
        "engines.blocked",
        "engines.emit",
        "engines.providers",
        "engines.weights",
        "program",
        "numpy",
        "onnx",
        "onnxruntime",
    },
    # An engine without a line of its own; a further runtime needs one.
    "engines.*": {"engines", "engines.reference", "engines.emit", "engines.providers", "program", "numpy", "onnx"},
    "engines.factory": {"engines", "engines.cuda.runtime"},
    "engines.emulator": {"engines", "engines.cuda.engine", "engines.cuda.kernels", "engines.cuda.runtime"},
    "engines.cuda": {"engines", "engines.cuda.engine", "engines.cuda.kernels", "engines.cuda.runtime"},
    "engines.cuda.kernels": {"engines.cuda.kernels.build", "program", "numpy"},
    "engines.cuda.kernels.build": set(),  # setup.py runs it by its path
    "engines.cuda.planning": {"engines.cuda.kernels", "program", "numpy"},
    "engines.cuda.runtime": {
        "engines",
        "engines.cuda.kernels",
        "engines.cuda.kernels.build",
        "engines.providers",
        "engines.weights",
        "program",
        "numpy",
        "onnx",
        "onnxruntime",
        "cupy",
        "_emulator",
    },
    "engines.cuda.engine": {
        "engines",
        "engines.cuda.kernels",
        "engines.cuda.planning",
        "engines.cuda.runtime",
        "program",
        "numpy",
    },
    "engines.cuda.listing": {"engines.cuda.kernels", "engines.cuda.planning", "program"},
    "engines.cuda.registers": {"engines.cuda.kernels", "engines.cuda.kernels.build", "engines.cuda.planning"},
    # What goes in and what comes out, whoever computes it.
    "errors": set(),
    "lazy": set(),
    "registry": set(),
    "runtime": {"onnxruntime"},
    "version": set(),
    "files": set(),
    # What one process leaves to the next; whoever keeps something there knows how it is written.
    "cache": {"cache.later", "graph.reading", "numpy"},
    "cache.later": set(),
    "patterns": {"files", "numpy"},
    # What the input is, decided from facts that the model hands over; everybody above asks it.
    "inputs": {"files", "graph.axes", "numpy", "tokenizers"},  # tokenizers: texts as ids
    "inputs.counted": {"numpy"},
    "preprocessing": {"files", "inputs", "inputs.counted", "numpy", "PIL", "pyarrow"},  # pyarrow: .parquet tables
    "pictures": {"numpy", "PIL"},
    "explanation": {
        "safetensors",
        "files",
        "graph.outputs",
        "inputs",
        "inputs.counted",
        "pictures",
        "preprocessing",
        "pages",
        "numpy",
        "PIL",
        "matplotlib",
    },
    "findings": {"files"},
    # Shapley values of trees, by arrays alone.
    "shapley": {"graph.graph", "graph.trees", "numpy"},
}
# What everybody above may know of the graph.
_GRAPH = {
    "graph.graph",
    "graph.operators",
    "graph.facts",
    "graph.outputs",
}
_RESULTS = {"errors", "files", "inputs", "patterns", "preprocessing", "pictures", "explanation", "numpy"}
_COMPILER = {"program", "composites", "compile", *_GRAPH}
ALLOWED |= {
    # Methods are handed a model and know none; the model finds them by name, as it does engines.
    "methods": {
        *_RESULTS,
        *_COMPILER,
        "graph.recognition",
        "graph.axes",
        "graph.trees",
        "rules",
        "shapley",
        "PIL",
        "skimage",
    },
    # Handed a model, as methods are; nothing of rules, engines or layers.
    "analysis": {*_RESULTS, *_GRAPH, "graph.axes", "composites", "lazy", "methods", "PIL"},
    "model": {
        "analysis",
        "cache",
        "cache.later",
        *_RESULTS,
        *_COMPILER,
        "rules",
        "engines",
        "engines.factory",
        "methods",
        "model.exporting",
        "model.options",
        "graph.axes",
        "graph.load",
        "graph.outputs",
        "graph.names",
        "graph.writing",
        "graph.recognition",
        "graph.reading",
        "graph.recurrence",
        "graph.trees",  # what becomes of missing values
    },
    # Read for --help: what is asked of an explanation, and how the command line and settings state it.
    # (Composites, methods and rules for their types alone.)
    "model.options": {"composites", "explanation", "methods", "rules"},
    "model.exporting": {
        "engines",
        "engines.emit",
        "files",
        "inputs",
        "pictures",
        "preprocessing",
        "program",
        "numpy",
        "onnx",
    },
    "streaming": {"model", "explanation", "files", "preprocessing", "numpy", "pyarrow"},
}
# What of the model is read without loading one.
_ASKED = {"model.options"}
_JUDGES = {*_RESULTS, *_GRAPH, "composites", "rules", "methods", "model", *_ASKED, "streaming"}
ALLOWED |= {
    "checks": {*_JUDGES, "findings", "onnx", "onnxruntime", "PIL"},
    "comparison": {*_JUDGES, "findings", "PIL"},
    "evaluation": {*_JUDGES, "PIL"},
    "evaluation.quantus": {*_JUDGES, "evaluation", "torch"},
    # What reads many samples; libraries of extras are imported when they are asked for (`analysis.extras`).
    "analysis.reading": {"streaming"},
    "analysis.concepts": {
        *_RESULTS,
        "analysis",
        "analysis.reading",
        "graph.graph",
        "graph.outputs",
        "methods",
        "streaming",
        "PIL",
    },
    "analysis.clusters": {*_RESULTS, "analysis", "analysis.reading", "streaming", "PIL"},
    # Also reads which states a recurrent layer hands on, and writes a page.
    "analysis.cells": {
        *_RESULTS,
        *_GRAPH,
        "analysis.reading",
        "graph.recurrence",
        "pages",
        "PIL",
    },
    # Also reads which part of the input a position sees.
    "analysis.atlas": {
        *_RESULTS,
        *_GRAPH,
        "graph.recognition",
        "analysis",
        "composites",
        "streaming",
        "pages",
        "PIL",
    },
    # How any offline page is written.
    "pages": {"pictures", "preprocessing", "numpy", "PIL"},
    # What workers of other systems call.
    "ray": {"model", "numpy", "PIL"},
    # A page around an exported explainer.
    "web": {"model", "model.options", "pictures", "preprocessing", "files"},
    # A page on this machine: what the server answers is handed to it, and what the pages share lies in `web`.
    "view": {*_JUDGES, "graph.axes", "web"},
    "report": {
        "pages",
        "comparison",
        "evaluation",
        "findings",
        "files",
        "inputs",
        "pictures",
        "preprocessing",
        "numpy",
        "PIL",
    },
    "commands": {
        *_JUDGES,
        "commands.console",
        "commands.parsers",
        "analysis",
        "analysis.atlas",
        "analysis.cells",
        "analysis.clusters",
        "analysis.concepts",
        "checks",
        "comparison",
        "compile",
        "evaluation",
        "findings",
        "report",
        "view",
        "web",
        "onnx",
        "onnxruntime",
    },
    # Kernels are planned without a device, and `inspect` shows them; `doctor` tries every engine.
    "commands.inspect": {
        "graph.trees",
        *_JUDGES,
        "compile",
        "commands",
        "commands.console",
        "commands.ranking",
        "commands.write_preprocessing",
        "engines.cuda.listing",
    },
    "commands.operators": {"commands.console", "graph.decomposition", "graph.lowering", "layers"},
    "commands.write_preprocessing": {"files", "graph.reading", "preprocessing", "onnx"},
    "commands.ranking": {"explanation", "files", "model", "preprocessing", "streaming", "numpy"},
    "commands.cache": {"cache", "commands.console", "graph.reading"},
    "commands.doctor": {"commands", "commands.cache", "commands.console", "commands.probes"},
    "commands.probes": {
        "engines",
        "engines.cuda.engine",
        "engines.cuda.kernels",
        "engines.cuda.kernels.build",
        "engines.cuda.runtime",
        "engines.factory",
        "engines.providers",
        "program",
        "numpy",
        "onnx",
        "onnxruntime",
        "cupy",
    },
    # What runs before a command is chosen, and for --help.
    "commands.console": set(),
    "commands.parsers": {"model.options"},
    "cli": {"cache.later", "commands", "commands.console", "commands.parsers"},
    "__main__": {"cli"},
    # pytest loads it in every run: what it needs of checks comes when a test asks.
    "pytest_plugin": {"checks", "files", "findings", "pytest"},
    "__init__": {"model", "composites", "explanation", "rules", "inputs"},
}


@cache
def modules() -> list[Any]:
    return sorted(path.relative_to(ROOT).with_suffix("") for path in ROOT.rglob("*.py"))


def room_of(name: Any) -> Any:
    """The longest room that a dotted module name is in; None for a module without one."""
    parts = name.split(".")
    fits = [".".join(parts[:n]) for n in range(len(parts), 0, -1)]
    return next((room for room in (name, f"{'.'.join(parts[:-1])}.*", *fits) if room in ALLOWED), None)


@cache
def imported(path: Any) -> tuple[Any, ...]:
    """Dotted names that a module imports; two tests ask for those of every module."""
    return tuple(imports(path))


def imports(path: Any) -> Iterator[Any]:
    """Dotted names that a module imports: within the package without "onnxlrp.", outside ones by their top name."""
    package = ["onnxlrp", *path.parts[:-1]]
    for node in ast.walk(ast.parse((ROOT / path.with_suffix(".py")).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (within(alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1] if node.level else [])
            module = ".".join(filter(None, (base, node.module)))
            # `from . import heatmap` names a module, `from .heatmap import overlay` something in it.
            yield from (within(f"{module}.{alias.name}", module) for alias in node.names)
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == "import_module":
            name = node.args[0].value if isinstance(node.args[0], ast.Constant) else ""
            if isinstance(name, str) and name and not name.startswith("."):
                yield within(name)


def within(name: Any, module: str = "") -> Any:
    top, _, rest = name.partition(".")
    if top != "onnxlrp":
        return "" if top in sys.stdlib_module_names else top
    path = ROOT.joinpath(*rest.split("."))
    if path.with_suffix(".py").is_file() or path.is_dir() or not module:
        return rest or "__init__"
    return module.partition(".")[2] or "__init__"


def permitted(source: Any, target: Any) -> Any:
    """Whether a module of room `source` may import `target`, a module of ours or an outside package."""
    room = room_of(target) or target
    return room in ALLOWED[source] | ANYBODY or room == source


# One test for the modules of each folder: one for each module would take longer than what it asks.
FOLDERS = sorted({path.parts[0] for path in modules()})


@pytest.mark.parametrize("folder", FOLDERS)
def test_imports_follow_the_arrows(folder: str) -> None:
    for path in (path for path in modules() if path.parts[0] == folder):
        name = ".".join(path.parts).removesuffix(".__init__")
        room = room_of(name)
        assert room is not None, f"{name} is in no room: give it a line in ALLOWED"
        for target in filter(None, imported(path)):
            assert permitted(room, target), f"{name} ({room}) may not import {target}"


def test_the_table_has_no_circles() -> None:
    arrows = {room: {t for t in targets if t in ALLOWED and t != room} for room, targets in ALLOWED.items()}
    done, path = set(), []

    def visit(room: Any) -> None:
        assert room not in path, f"{' → '.join(path[path.index(room) :])} → {room}"
        if room not in done:
            path.append(room)
            for target in arrows[room]:
                visit(target)
            path.pop()
            done.add(room)

    for room in arrows:
        visit(room)


def loaded(*command: Any) -> set[Any]:
    """Outside packages that a Python process imports."""
    run = subprocess.run([sys.executable, "-X", "importtime", *command], capture_output=True, text=True, check=True)
    assert "usage" in run.stdout or "--help" not in command
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in run.stderr.splitlines() if "|" in line}


def test_import_is_light() -> None:
    assert loaded("-c", "import onnxlrp") >= {"onnxlrp"}
    assert not loaded("-c", "import onnxlrp") & {*HEAVY, "numpy"}


@pytest.mark.skipif(not (ROOT / "cli.py").exists(), reason="there is no command line yet")
def test_help_is_light() -> None:
    assert not loaded("-m", "onnxlrp", "--help") & set(HEAVY)


# Modules of the package that a first heatmap of a small picture network imports, and a second one with its cache. These
# numbers go down: where a run needs less, lower them; where more, import it where it is used (CONTRIBUTING.md).
MOST = {"first": 290, "second": 168}
# What belongs to other models, targets, methods and commands.
IDLE = (
    "analysis",
    "checks",
    "comparison",
    "evaluation",
    "explanation.boxes",
    "findings",
    "graph.outputs.boxes_by_values",
    "graph.outputs.detections",
    "graph.outputs.detectors",
    "graph.outputs.ends",
    "graph.lowering.resize",
    "graph.lowering.scatter",
    "graph.recurrent",
    "graph.trees",
    "graph.outputs.unit_output",
    "methods.presets_attention",
    "methods.presets_gradient",
    "methods.recurrent",
    "model.interface.positions",
    "model.interface.starting",
    "patterns",
    "report",
    "rules.pattern",
    "shapley",
    "web",
)


def test_a_heatmap_imports_what_it_needs(tmp_path: Path) -> None:
    models = ROOT.parent / "models"
    words = ["explain", str(models / "digits.onnx"), str(models / "samples/digit_0.png"), "-q", "-o", "a.png"]
    code = f"import sys\nfrom onnxlrp.cli import main\nassert main({words}) == 0\nprint(*sys.modules)"
    environment = os.environ | {"ONNXLRP_CACHE": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT.parent)}
    for run, most in MOST.items():
        command = [sys.executable, "-c", code]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path, env=environment)
        names = [name.removeprefix("onnxlrp.") for name in done.stdout.split() if name.startswith("onnxlrp.")]
        idle = [name for name in names if any(f"{name}.".startswith(f"{room}.") for room in IDLE)]
        assert not idle, f"the {run} heatmap imports {idle}"
        assert most - 12 <= len(names) <= most, f"the {run} heatmap imports {len(names)} modules: see MOST"


@pytest.mark.slow
def test_rules_and_engines_do_not_load_what_they_must_not_know() -> None:
    """The same at run time: what a module drags in counts too."""
    for module, forbidden in (
        ("rules.lrp", {"onnx", "onnxruntime", "PIL"}),
        ("composites", {"onnx", "onnxruntime", "PIL"}),
        ("engines.reference", {"onnxruntime", "PIL"}),
        ("pictures.heatmap", {"onnx", "onnxruntime", "PIL"}),
    ):
        assert not loaded("-c", f"import onnxlrp.{module}") & forbidden, module


def test_no_modules_import_each_other() -> None:
    """In a circle of any length, imports for types and inside functions included.

    Faces of packages are left out: they name what is inside.
    """
    files = {".".join(path.parts): path for path in modules() if path.name != "__init__"}
    arrows = {name: {t for t in imported(path) if t in files and t != name} for name, path in files.items()}
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> None:
        assert name not in path, f"{' → '.join([*path[path.index(name) :], name])}"
        if name not in done:
            for target in sorted(arrows[name]):
                visit(target, [*path, name])
            done.add(name)

    for name in sorted(arrows):
        visit(name, [])
