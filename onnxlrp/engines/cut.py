"""Minimum cuts of small directed graphs."""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Hashable
from typing import TypeVar

Vertex = TypeVar("Vertex", bound=Hashable)


class Network:
    """A directed graph with capacities, and two vertices that a cut sets apart: the source and the sink."""

    source, sink = ("source",), ("sink",)

    def __init__(self) -> None:
        self._left: defaultdict[Hashable, dict[Hashable, float]] = defaultdict(dict)

    def edge(self, start: Hashable, end: Hashable, capacity: float = math.inf) -> None:
        """Add capacity from one vertex to another: what a cut costs that has the start with the source, the end not."""
        if start != end and capacity > 0:
            out = self._left[start]
            out[end] = out.get(end, 0.0) + capacity
            self._left[end].setdefault(start, 0.0)

    def source_side(self) -> set[Hashable]:
        """Return the vertices that the cheapest cut leaves with the source: of cuts that cost the same, the fewest.

        The maximum flow is found by shortest augmenting paths (Edmonds & Karp 1972); it uses up the capacities.
        """
        while (before := self._reached()).keys() >= {self.sink}:
            path: list[tuple[Hashable, Hashable]] = []
            end: Hashable = self.sink
            while end != self.source:
                path.append((before[end], end))
                end = before[end]
            flow = min(self._left[a][b] for a, b in path)
            if math.isinf(flow):
                raise ValueError("no cut is finite")
            for a, b in path:
                self._left[a][b] -= flow
                self._left[b][a] += flow
        return set(before)

    def _reached(self) -> dict[Hashable, Hashable]:
        """Return the vertices that capacity is left to from the source, with the one before each."""
        before: dict[Hashable, Hashable] = {self.source: self.source}
        queue: deque[Hashable] = deque(before)
        while queue and self.sink not in before:
            at = queue.popleft()
            for end, left in self._left[at].items():
                if left > 0 and end not in before:
                    before[end] = at
                    queue.append(end)
        return before
