"""Inputs that chose a branch of a file, as `use_cache_branch` of a merged decoder does: what they follow from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...errors import UsageError
from ...graph.graph import Graph
from ...graph.reading.printable import printable


def branches_chosen(graph: Graph, given: Mapping[str, Any]) -> dict[str, float]:
    """Return the inputs that choose another branch because inputs are given which that one reads alone.

    Args:
        graph: The graph, read with one branch of each.
        given: What is given, by the names of inputs; a branch that is stated is chosen already.

    Raises:
        UsageError: An input is given that the branch which is stated does not read.
    """
    found = {}
    for name, switch in graph.switches.items():
        read = next((other for other in switch.others if other in given), None)
        if read is None:
            continue
        other, shown = int(not switch.value), printable(name)
        if switch.stated or name in given:
            if bool(given.get(name, switch.value)) is switch.value:
                raise UsageError(
                    f'the input "{printable(read)}" is read where {shown} is {other}, which is {1 - other}',
                    f"leave it out, or give {shown} as {other}",
                )
        else:
            found[name] = float(other)
    return found


def branch_notes(graph: Graph) -> tuple[tuple[str, str], ...]:
    """Return which branches of the file are explained though nobody named them, with what to type for the other.

    Args:
        graph: The graph.
    """
    found = []
    for name, switch in graph.switches.items():
        if switch.stated:
            continue
        number, other = int(switch.value), int(not switch.value)
        name = printable(name)
        without = f", without {printable(switch.others[0])}" if switch.others else ""
        more = f" and {len(switch.others) - 1} more" if switch.others[1:] else ""
        fix = f"--given {name}={other} takes the other"
        found.append((f"the file has two branches: explained is that of {name}={number}{without}{more}, assumed", fix))
    return tuple(found)
