"""The seed, where relevance enters, as ONNX nodes."""

from __future__ import annotations

import numpy as np

from ...program.program import Instruction, Seed
from .nodes import Nodes


def emit_seed(g: Nodes, step: Instruction, seed_input: str) -> str:
    """Emit the relevance of the logits, or an array that is given.

    Args:
        g: The graph.
        step: The instruction that reads the seed.
        seed_input: The graph's input that chooses the target or holds the relevance.
    """
    seed = step.what
    assert isinstance(seed, Seed)
    if seed.mode == "relevance":
        return seed_input
    depth = int(np.prod(step.shape))
    if seed.mode == "top":
        flat = g.node("Reshape", seed.tensor, g.ints(-1, depth))
        if seed.targets is None:
            ids = g.node("ArgMax", flat, axis=1, keepdims=0)
        else:
            ids = g.node("Transpose", g.nodes("TopK", (flat, g.ints(seed.targets)), 2, axis=1)[1], perm=[1, 0])
    else:
        ids = seed_input
    hot = g.node("OneHot", ids, g.store(np.int64(depth)), g.store(np.asarray([0.0, 1.0])), axis=-1)
    if step.shape == (depth,):
        return hot
    lead = (-1,) if seed.targets is None else (seed.targets, -1)
    return g.node("Reshape", hot, g.ints(*lead, *step.shape))
