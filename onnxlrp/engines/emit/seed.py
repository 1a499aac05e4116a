"""The seed, where relevance enters, as ONNX nodes."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper

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
        ids = _checked(g, seed_input, depth) if g.portable else seed_input
    hot = g.node("OneHot", ids, g.store(np.int64(depth)), g.store(np.asarray([0.0, 1.0])), axis=-1)
    if seed.mode == "index" and g.portable:  # NaN without a class: some runtimes check no index, as on GPUs
        hot = g.node("Div", hot, g.node("ReduceSum", hot, g.ints(-1), keepdims=1))
    if step.shape == (depth,):
        return hot
    lead = (-1,) if seed.targets is None else (seed.targets, -1)
    return g.node("Reshape", hot, g.ints(*lead, *step.shape))


def _checked(g: Nodes, ids: str, depth: int) -> str:
    """Return the class ids as they are, where a runtime refuses those that are none.

    OneHot is zero at an id that does not exist, and counts negative ones from the end; Gather must be given an index
    that exists. So zeros are gathered at the ids, negative ones turned into K, and are added.
    """
    origin, g.origin = g.origin, "target"  # a runtime's message names the node
    ids = g.node("Where", g.node("Less", ids, g.store(np.int64(0))), g.store(np.int64(depth)), ids)
    nothing = helper.make_tensor("value", TensorProto.INT64, [1], [0])
    zeros = g.node("Gather", g.node("ConstantOfShape", g.ints(depth), value=nothing), ids, axis=0)
    ids = g.node("Add", ids, zeros)
    g.origin = origin
    return ids
