"""Which cases of a test are quick, where not all are."""

from __future__ import annotations

from collections.abc import Hashable, Sequence


def evenly(cases: Sequence[Sequence[Hashable]], count: int) -> set[int]:
    """Return the numbers of so many cases, spread evenly and over the values of every parameter.

    From each of `count` places, evenly spread, the nearest of the cases that have most values which no chosen case has:
    every `len(cases) // count`th case could have the same value of a parameter each time.

    Args:
        cases: For each case the values of its parameters, each told apart from those of other parameters.
        count: How many are chosen, at most all.
    """
    chosen: set[int] = set()
    seen: set[Hashable] = set()
    for n in range(min(count, len(cases))):
        place = n * len(cases) // count
        left = (k for k in range(len(cases)) if k not in chosen)
        best = min(left, key=lambda k: (-len(set(cases[k]) - seen), abs(k - place), k))
        chosen.add(best)
        seen.update(cases[best])
    return chosen
