"""Cycles in a graph, which no order of its nodes resolves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from onnx import NodeProto

from ...errors import InputError
from .names import node_label


def check_acyclic(
    nodes: Sequence[NodeProto], reads: Sequence[set[str]], producers: Mapping[str, int], name: str
) -> None:
    """Check that no node reads its own result, through whichever others.

    Args:
        nodes: The nodes of a graph.
        reads: The names that each of them reads.
        producers: Name → index of the node that writes it.
        name: The name of the file, for errors.

    Raises:
        InputError: There is a cycle; the message names one of its nodes.
    """
    needs = [{producers[n] for n in names if n in producers} for names in reads]
    readers: list[list[int]] = [[] for _ in needs]
    for index, need in enumerate(needs):
        for producer in need:
            readers[producer].append(index)
    waiting = [len(need) for need in needs]
    ready = [index for index, count in enumerate(waiting) if not count]
    for index in ready:  # grows while it is walked
        for reader in readers[index]:
            waiting[reader] -= 1
            if not waiting[reader]:
                ready.append(reader)
    if len(ready) < len(needs):
        stuck = next(index for index, count in enumerate(waiting) if count)
        seen: set[int] = set()
        while stuck not in seen:  # every stuck node reads another: walking back ends in the circle
            seen.add(stuck)
            stuck = next(p for p in needs[stuck] if waiting[p])
        raise InputError(
            f"{name} has a cycle: {node_label(nodes[stuck])} reads its own result", "export the model again"
        )
