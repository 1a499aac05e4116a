"""The tables of the documentation hold every row of the registries and of the result files."""

from __future__ import annotations

import json
import re
from typing import Any

import package_rooms
import pytest
import registry_tables
import result_tables


def rows(table: Any) -> list[list[str]]:
    """The cells of a Markdown table, head first, without the line of dashes."""
    lines = [line for line in table.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in (lines[0], *lines[2:])]


@pytest.mark.parametrize("name", registry_tables.TABLES)
def test_tables_of_registries_are_tables(name: Any) -> None:
    head, *body = rows(registry_tables.TABLES[name]())
    assert {len(row) for row in body} == {len(head)}
    assert all(row[1] for row in body), "a sentence is missing"
    if name in registry_tables.DESCRIBED:
        assert [row[0].strip("`") for row in body] == list(registry_tables.DESCRIBED[name]())


@pytest.mark.parametrize(
    "name", ["cpu", "builds", "shell_runs", "coverage", "judging", "localisation", "prototypes", "runtimes"]
)
def test_tables_of_results_have_a_row_for_each_record(name: str) -> None:
    found = json.loads((result_tables.RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    head, *body = rows(result_tables.read(name))
    assert {len(row) for row in body} == {len(head)}
    if name == "runtimes":
        assert len({row[0] for row in body}) == len(body) > len(found["runtimes"])
        assert len(head) == 1 + len({(record["network"], record["method"]) for record in found["records"]})
        return
    if name == "judging":
        assert {row[0].strip("`") for row in body} == {cell["method"] for cell in found["cells"]}
    elif name == "localisation":
        assert {row[0] for row in body} - {"a Gaussian in the middle"} == {
            f"`{method}`" for record in found["records"] for method in record["methods"] if method != "centre"
        }
    elif name == "prototypes":
        assert len(body) == len(found["summary"])
    else:
        assert len(body) == len(found["records"])


def test_inversions_have_a_table_for_each_part() -> None:
    found = json.loads((result_tables.RESULTS / "inversion.json").read_text(encoding="utf-8"))
    tables = [rows(part) for part in result_tables.read("inversion").split("\n\n")]
    assert len(tables) == len(found["depth"]) + 2
    assert [len(body) - 1 for body in tables[:-2]] == [len(record["layers"]) + 1 for record in found["depth"]]
    assert all({len(row) for row in body} == {len(body[0])} for body in tables)


def test_a_refused_model_shows_the_operator() -> None:
    cells = {"torch": {"status": "ok"}, "keras": {"status": "refused", "why": 'no rule for operator Foo (node "x")'}}
    meta = {"date": "2026-01-01", "versions": {"torch": "2"}}
    table = result_tables.coverage({"meta": meta, "records": {"some_net": {"cells": cells}}})
    assert rows(table) == [["", "torch", "keras", "zennit"], ["some net", "✓", "`Foo`", "–"]]


def test_rooms_are_those_that_the_architecture_allows() -> None:
    to = package_rooms.arrows()
    assert to["program"] == set()
    assert "rules" in to["composites"]
    assert "engines.emit" in to["engines.ort"]
    assert not any("model" in to[room] for room in ("compile", "rules", "layers", "engines"))
    assert len(rows(package_rooms.table())) > 30
