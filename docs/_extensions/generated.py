"""Directives for what the pages take from the code: tables of registries and results, what the command prints."""

from __future__ import annotations

import inspect
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import package_rooms
import registry_tables
import result_tables
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from onnxlrp.commands.parsers import COMMANDS
from onnxlrp.graph.loading.passes import PASSES

ROOT = Path(__file__).parents[2]


class RegistryTable(SphinxDirective):
    """`{registry-table} methods`: a table made from a registry."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        return self.parse_text_to_nodes(registry_tables.TABLES[self.arguments[0]]())


class RegistryDetails(SphinxDirective):
    """`{registry-details} rules`: a section for each thing that is registered, from its docstring."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        sections = []
        for name, thing in registry_tables.DESCRIBED[self.arguments[0]]().items():
            directive = "autoclass" if inspect.isclass(thing) else "autofunction"
            target = f"{thing.__module__}.{thing.__qualname__}"
            sections.append(f"### {name}\n\n```{{eval-rst}}\n.. {directive}:: {target}\n```")
        return self.parse_text_to_nodes("\n\n".join(sections), allow_section_headings=True)


class ResultTable(SphinxDirective):
    """`{result-table} cpu`: the table of benchmarks/results/cpu.json."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        name = self.arguments[0]
        self.env.note_dependency(str(result_tables.RESULTS / f"{name}.json"))
        return self.parse_text_to_nodes(result_tables.read(name))


class RoomTable(SphinxDirective):
    """`{room-table}`: the rooms of the package and their imports."""

    def run(self) -> list[nodes.Node]:
        return self.parse_text_to_nodes(package_rooms.table())


class PassTable(SphinxDirective):
    """`{pass-table}`: the passes of `load`, in order."""

    def run(self) -> list[nodes.Node]:
        rows = ((one.name, one.summary, ", ".join(what.name for what in one.ensures)) for one in PASSES)
        return self.parse_text_to_nodes(result_tables.table(("pass", "what it does", "ensures that"), rows))


class Run(SphinxDirective):
    """`{run} onnxlrp …`: a command, run in an empty folder that holds the shipped models, and what it prints."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        command = self.arguments[0]
        text = f"$ {command}\n{printed(command)}"
        return [nodes.literal_block(text, text, language="console")]


class CommandHelp(SphinxDirective):
    """`{command-help}`: a section for each command with what its `--help` prints."""

    def run(self) -> list[nodes.Node]:
        sections = (f"## onnxlrp {name}\n\n```{{run}} onnxlrp {name} --help\n```" for name in COMMANDS)
        return self.parse_text_to_nodes("\n\n".join(sections), allow_section_headings=True)


@contextmanager
def folder_of_models() -> Iterator[Path]:
    """Make an empty folder that holds the shipped models, for as long as it is used."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "models").symlink_to(ROOT / "models")
        yield Path(folder)


def printed(command: str, folder: Path | None = None) -> str:
    """Return what a command `onnxlrp …` prints on stdout and stderr, run in a folder of models; it must succeed.

    Args:
        command: The command line.
        folder: Where it runs; by default a new folder.
    """
    if folder is None:
        with folder_of_models() as folder:
            return printed(command, folder)
    words = shlex.split(command)
    if words[0] != "onnxlrp":
        raise ValueError(f"only onnxlrp is run: {command}")
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode:
        raise ValueError(f"{command} exits with {done.returncode}:\n{done.stdout}")
    return done.stdout


def write_report(app: Sphinx, error: Exception | None) -> None:
    """Write report.html beside the pages, by the commands that gallery.md shows."""
    if error is not None or app.builder.format != "html":
        return
    text = Path(app.srcdir, "gallery.md").read_text(encoding="utf-8")
    block = next(block for block in re.findall(r"```sh\n(.*?)```", text, flags=re.DOTALL) if "-o report.html" in block)
    commands = [line for line in block.replace("\\\n", " ").splitlines() if line.startswith("onnxlrp ")]
    with folder_of_models() as folder:
        (folder / "run").mkdir()
        for command in commands:
            printed(command, folder)
        shutil.copy(folder / "report.html", app.outdir)


def escape(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Let |x| in a docstring be an absolute value and [*spatial] a shape; both are markup in reStructuredText."""
    lines[:] = [line.replace("|", r"\|").replace("[*", r"[\*").replace(", *", r", \*") for line in lines]


def include_page(app: Sphinx, docname: str, source: list[str]) -> None:
    """Put a file of the repository in the place of its include, with its relative links as seen from the page."""
    found = re.fullmatch(r"```\{include\} (\S+)\n```\n", source[0])
    if found is None:
        return
    page = Path(app.srcdir, docname).parent
    path = page / found[1]
    app.env.note_dependency(str(path), docname=docname)

    def moved(link: re.Match[str]) -> str:
        target = Path(os.path.relpath(path.parent / link[1], page)).as_posix()
        return f"]({target if target.startswith('..') else './' + target}{link[2] or ''})"

    text = path.read_text(encoding="utf-8")
    source[0] = re.sub(r"\]\((?!https?://|#)([^)#\s]+)(#[^)]*)?\)", moved, text)


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directives."""
    app.add_directive("registry-table", RegistryTable)
    app.add_directive("registry-details", RegistryDetails)
    app.add_directive("result-table", ResultTable)
    app.add_directive("room-table", RoomTable)
    app.add_directive("pass-table", PassTable)
    app.add_directive("command-help", CommandHelp)
    app.add_directive("run", Run)
    app.connect("source-read", include_page)
    app.connect("build-finished", write_report)
    app.connect("autodoc-process-docstring", escape)
    return {"parallel_read_safe": True}
