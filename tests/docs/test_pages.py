"""The README and the pages of the documentation: their commands, code, links and pictures are right."""

from __future__ import annotations

import ast
import re
import shlex
import textwrap
from typing import Any

import pytest

import onnxlrp
from onnxlrp.commands.parsers import COMMANDS
from onnxlrp.commands.parsers.parser import Parser
from support.paths import ROOT

DOCS = ROOT / "docs"
PAGES = sorted(
    path
    for path in (*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *ROOT.glob("*/README.md"))
    if "_build" not in path.parts and path.name != "CHANGELOG.md"
)
TEXTS = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in PAGES}


def commands(text: str) -> list[str]:
    """The lines `onnxlrp COMMAND …` of code blocks, without prompt and comment; a line may go on after a backslash."""
    text = re.sub(r" \\\n\s*", " ", text)
    lines = re.findall(r"^ *(?:\$ |!|```\{run\} )?(onnxlrp [a-z].*?)(?:  +#.*|; .*)?$", text, flags=re.MULTILINE)
    return [line for line in lines if (shlex.split(line)[1:2] or [""])[0] in COMMANDS]


COMMAND_LINES = [(page, line) for page, text in TEXTS.items() for line in commands(text)]
PYTHON = [(page, code) for page, text in TEXTS.items() for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL)]
LINKS = [
    (page, target)
    for page, text in TEXTS.items()
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    if not target.startswith(("http://", "https://", "#"))
]


@pytest.mark.parametrize(("page", "line"), COMMAND_LINES)
def test_commands_are_ones_that_the_parser_takes(page: Any, line: Any) -> None:
    command, *words = shlex.split(line)[1:]
    if "--help" in words:
        return
    parser = Parser(prog=command)
    COMMANDS[command][1](parser)
    parser.read(words)


@pytest.mark.parametrize(("page", "code"), PYTHON)
def test_python_is_python(page: Any, code: Any) -> None:
    ast.parse(textwrap.dedent(code))


@pytest.mark.parametrize(("page", "target"), LINKS)
def test_links_lead_to_files_of_the_repository(page: Any, target: Any) -> None:
    path = (ROOT / page).parent / target.partition("#")[0]
    assert path.resolve().is_relative_to(ROOT), f"{page}: {target} leads out of the repository"
    assert path.exists(), f"{page}: there is no {target}"


def test_something_was_found_of_each() -> None:
    assert len(COMMAND_LINES) > 40
    assert len(PYTHON) > 8
    assert len(LINKS) > 40


def test_every_picture_is_shown_somewhere() -> None:
    shown = {((ROOT / page).parent / target).resolve() for page, target in LINKS}
    pictures = {path for kind in ("*.png", "*.svg") for path in (DOCS / "pictures").rglob(kind)}
    assert {path for path in pictures if path.resolve() not in shown} == set()


def test_the_readme_is_short_and_holds_the_lines_that_ci_runs() -> None:
    text = TEXTS["README.md"]
    assert len(text.encode()) <= 8000
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    starts = re.findall(r"readme '(.*?)'", ci)
    assert len(starts) == 2
    for start in starts:
        assert re.search(f"^{re.escape(start)}", text, flags=re.MULTILINE)


def test_the_public_names_are_on_the_page_of_the_api() -> None:
    page = TEXTS["docs/reference/api.md"]
    named = set(re.findall(r"auto(?:function|class|exception):: ([A-Za-z]\w*)", page))
    assert set(onnxlrp.__all__) - {"__version__"} <= named


def test_every_page_is_in_the_table_of_contents() -> None:
    listed = set(re.findall(r"^([\w/]+)$", TEXTS["docs/index.md"], flags=re.MULTILINE))
    pages = {path.relative_to(DOCS).with_suffix("").as_posix() for path in PAGES if path.is_relative_to(DOCS)}
    assert pages - {"index"} == listed
