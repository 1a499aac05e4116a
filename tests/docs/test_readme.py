"""The README says what the registries and the result files say, and its commands are the ones that CI runs."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from onnxlrp import tables
from onnxlrp.commands.parsers import COMMANDS
from onnxlrp.commands.parsers.parser import Parser

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_tables_are_up_to_date():
    assert tables.fill(README, ROOT) == README, "run: python -m onnxlrp.tables README.md"


def test_every_operator_method_and_rule_is_listed():
    for name in ("methods", "rules", "operators"):
        assert tables.TABLES[name]() in README


LINES = re.findall(r"^(?:\$ )?(onnxlrp [a-z].*?)(?:  +#.*)?$", README, flags=re.MULTILINE)


@pytest.mark.parametrize("line", [line for line in LINES if shlex.split(line)[1] in COMMANDS])
def test_commands_are_ones_that_the_parser_takes(line):
    command, *words = shlex.split(line)[1:]
    parser = Parser(prog=command)
    COMMANDS[command][1](parser)
    parser.read(words)


def test_there_are_commands():
    assert len(LINES) > 5
