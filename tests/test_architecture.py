"""Who may import whom (DESIGN.md, section 5): any arrow that is not in this table fails.

To allow a new one, write it here and say why in the commit; a room that is not listed may not exist.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import onnxlrp

ROOT = Path(onnxlrp.__file__).parent
HEAVY = ("onnx", "onnxruntime", "PIL", "cupy")

# Everybody may import these, the standard library, and their own room.
ANYBODY = {"errors", "__init__"}

# Room → rooms and outside packages. The longest name that fits a module is its room.
ALLOWED = {
    # The compiler. Rules never see a layer, engines never see a rule, programs see nobody.
    "program": {"numpy"},
    "rules": {"patterns", "program", "numpy"},
    "graph": {"numpy", "onnx", "onnxruntime", "google"},
    "layers": {"rules", "program", "graph", "numpy"},
    "composites": {"patterns", "rules", "program", "numpy"},
    "compile": {"composites", "layers", "rules", "program", "graph", "numpy"},
    # Engines: each its own runtime and no other.
    "engines": {"program", "numpy"},
    "engines.reference": {"engines", "program", "numpy", "onnx"},
    "engines.emit": {"engines", "program", "numpy", "onnx"},
    "engines.weights": {"program", "onnxruntime"},
    "engines.providers": {"onnxruntime"},
    "engines.ort": {
        "engines",
        "engines.emit",
        "engines.providers",
        "engines.weights",
        "program",
        "numpy",
        "onnx",
        "onnxruntime",
    },
    "engines.cuda": {
        "engines",
        "engines.cuda.build",
        "engines.providers",
        "engines.weights",
        "program",
        "numpy",
        "onnx",
        "onnxruntime",
        "cupy",
        "_emulator",
    },
    "engines.cuda.build": set(),  # setup.py runs it by its path
    # What goes in and what comes out, whoever computes it.
    "errors": set(),
    "files": set(),
    "patterns": {"files", "numpy"},
    "preprocessing": {"files", "numpy", "PIL"},
    "pictures": {"numpy", "PIL"},
    "explanation": {"files", "pictures", "preprocessing", "numpy", "PIL", "matplotlib"},
}
BELOW_MODEL = {room for room in ALLOWED if "." not in room} | {"numpy"}
ALLOWED |= {
    # Methods are handed a model and know none; the model finds them by name, as it does engines.
    "methods": {*BELOW_MODEL, "PIL", "skimage"} - {"rules", "layers", "engines"},
    "model": {*BELOW_MODEL, "methods", "model.explainer"},
    "model.explainer": {"engines", "engines.emit", "files", "program", "numpy"},
    # The tables of the README, from the registries.
    "tables": {"composites", "files", "graph", "layers", "methods", "program", "rules"},
    "checks": {"model", "methods", *BELOW_MODEL, "engines.ort", "onnx", "onnxruntime", "PIL"},
    "checks.quantus": {"checks", "model", *BELOW_MODEL, "methods", "torch"},
    "commands": {"model", "methods", "checks", "tables", *BELOW_MODEL, "onnx", "onnxruntime"} - {"engines", "layers"},
    # Kernels are planned without a device, and `inspect` shows them; `doctor` tries every engine.
    "commands.inspect": {"commands", "commands.console", "engines.cuda", "model", *BELOW_MODEL},
    "commands.keep": {"files", "graph", "preprocessing", "onnx"},
    "commands.ranking": {"explanation", "files", "model", "preprocessing", "numpy"},
    "commands.doctor": {"commands", "commands.console", "commands.probes"},
    "commands.probes": {
        "engines",
        "engines.cuda",
        "engines.cuda.build",
        "engines.providers",
        "program",
        "numpy",
        "onnx",
        "onnxruntime",
        "cupy",
    },
    # What runs before a command is chosen, and for --help.
    "commands.console": set(),
    "commands.parsers": set(),
    "cli": {"commands", "commands.console", "commands.parsers"},
    "__main__": {"cli"},
    # pytest loads it in every run: what it needs of checks comes when a test asks.
    "pytest_plugin": {"checks", "pytest"},
    "__init__": {"model", "composites", "explanation", "rules"},
}
# The rooms of engines are found by name: `engine("ort")` imports no more than it needs.
ALLOWED["engines"] |= {"engines.reference", "engines.ort", "engines.cuda"}
ALLOWED["commands"] |= {"commands.console", "commands.parsers"}
ALLOWED["commands.inspect"] |= {"commands.keep", "commands.ranking"}


def modules():
    return sorted(path.relative_to(ROOT).with_suffix("") for path in ROOT.rglob("*.py"))


def room_of(name):
    """The longest room that a dotted module name is in; None for a module without one."""
    parts = name.split(".")
    fits = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
    return next((room for room in fits if room in ALLOWED), None)


def imported(path):
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
            if name and not name.startswith("."):
                yield within(name)


def within(name, module=""):
    top, _, rest = name.partition(".")
    if top != "onnxlrp":
        return "" if top in sys.stdlib_module_names else top
    path = ROOT.joinpath(*rest.split("."))
    if path.with_suffix(".py").is_file() or path.is_dir() or not module:
        return rest or "__init__"
    return module.partition(".")[2] or "__init__"


def permitted(source, target):
    """Whether a module of room `source` may import `target`, a module of ours or an outside package."""
    room = room_of(target) or target
    return room in ALLOWED[source] | ANYBODY or room == source


@pytest.mark.parametrize("path", modules(), ids=lambda path: ".".join(path.parts))
def test_imports_follow_the_arrows(path):
    name = ".".join(path.parts).removesuffix(".__init__")
    room = room_of(name)
    assert room is not None, f"{name} is in no room: give it a line in ALLOWED"
    for target in filter(None, imported(path)):
        assert permitted(room, target), f"{name} ({room}) may not import {target}"


def test_the_table_has_no_circles():
    """Between top rooms; an engine's own room and the table of engines know each other."""
    arrows = {room: {t for t in targets if t in ALLOWED and "." not in t} for room, targets in ALLOWED.items()}
    done, path = set(), []

    def visit(room):
        assert room not in path, f"{' → '.join(path[path.index(room) :])} → {room}"
        if room not in done:
            path.append(room)
            for target in arrows[room]:
                visit(target)
            path.pop()
            done.add(room)

    for room in arrows:
        visit(room)


def loaded(*command):
    """Outside packages that a Python process imports."""
    run = subprocess.run([sys.executable, "-X", "importtime", *command], capture_output=True, text=True, check=True)
    assert "usage" in run.stdout or "--help" not in command
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in run.stderr.splitlines() if "|" in line}


def test_import_is_light():
    assert loaded("-c", "import onnxlrp") >= {"onnxlrp"}
    assert not loaded("-c", "import onnxlrp") & {*HEAVY, "numpy"}


@pytest.mark.skipif(not (ROOT / "cli.py").exists(), reason="there is no command line yet")
def test_help_is_light():
    assert not loaded("-m", "onnxlrp", "--help") & set(HEAVY)


def test_rules_and_engines_do_not_load_what_they_must_not_know():
    """The same at run time: what a module drags in counts too."""
    for module, forbidden in (
        ("rules.lrp", {"onnx", "onnxruntime", "PIL"}),
        ("composites", {"onnx", "onnxruntime", "PIL"}),
        ("engines.reference", {"onnxruntime", "PIL"}),
        ("pictures.heatmap", {"onnx", "onnxruntime", "PIL"}),
    ):
        assert not loaded("-c", f"import onnxlrp.{module}") & forbidden, module
