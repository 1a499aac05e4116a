"""What a start of relevance is compiled for; its numbers come with each run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StartForm:
    """A start (`graph.outputs.units.Start`) without its numbers, for which a program is compiled.

    Attributes:
        tensor: The tensor where relevance starts.
        mode: "seed", "activation" or "difference".
        shape: Shape of the values of a sample, with as many axes as the tensor; each is the tensor's or 1.
        weighted: A difference has a weight for each sample.
    """

    tensor: str
    mode: str
    shape: tuple[int, ...]
    weighted: bool = False
