"""Filters that a convolution and a transposed convolution share."""

from __future__ import annotations

from typing import Any

from onnx import helper


def unshare_filters(graph: Any) -> None:
    """Give each ConvTranspose whose filter a Conv reads too a filter of its own, written -(-W).

    OpenVINO's CPU plugin computes a wrong ConvTranspose where it shares its filter with a Conv of as many input as
    output channels. Runtimes fold the two negations when they load the graph, so that the file does not grow.

    Args:
        graph: The ONNX graph, in topological order, whose nodes are changed in place.
    """
    shared = {node.input[1] for node in graph.node if node.op_type == "Conv"}
    taken = {name for node in graph.node for name in (*node.input, *node.output)}
    own: dict[str, str] = {}
    nodes = []
    for node in graph.node:
        if node.op_type == "ConvTranspose" and node.input[1] in shared:
            weight = node.input[1]
            if weight not in own:
                own[weight], negative = (_fresh(f"{weight}/{word}", taken) for word in ("transposed", "negative"))
                nodes.append(helper.make_node("Neg", [weight], [negative], name=negative))
                nodes.append(helper.make_node("Neg", [negative], [own[weight]], name=own[weight]))
            node.input[1] = own[weight]
        nodes.append(node)
    if own:
        del graph.node[:]
        graph.node.extend(nodes)


def _fresh(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name
