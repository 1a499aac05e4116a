"""Comparison of a quantised model with its file when it is loaded."""

from __future__ import annotations

from collections.abc import Iterable

from ..errors import CheckFailed, OnnxLrpError
from ..runtime import missing
from .graph import Graph
from .operators import ROUNDINGS
from .reading.printable import first_line
from .reading.read import Source
from .verify import verify

# Between these a file leaves it to the processor how sums of products are rounded.
_INTEGER = ("QLinear", "Integer", "QGemm")


def verify_quantized(graph: Graph, source: Source, file_operators: Iterable[str]) -> str:
    """Compare a graph that rounds with the untouched file, on one random sample; a graph that does not is left alone.

    What is rounded differently is another function, and no rewriting of a float model fails so quietly. It costs about
    as much as loading.

    Args:
        graph: The graph.
        source: The file that it was loaded from.
        file_operators: The operators of the file.

    Returns:
        Why the comparison says nothing, or deviates for a reason that is not the graph's; "" where the two agree.

    Raises:
        CheckFailed: The graph deviates from the file.
    """
    if not any(layer.op in ROUNDINGS for layer in graph.layers):
        return ""
    if why := missing():
        return f"it could not be compared with the untouched file: {why}"
    try:
        verify(graph, source, batches=(1,))
    except CheckFailed as error:
        # Without VNNI, onnxruntime's sums of two products of 8 bits may saturate at 16.
        if any(word in operator for operator in file_operators for word in _INTEGER):
            return f"its integer operators compute something else on this processor: {error.message}"
        raise
    except OnnxLrpError:
        raise
    except Exception as error:  # of onnxruntime, or of protobuf: over 2 GB
        return f"it could not be compared with the untouched file: {first_line(error)}"
    return ""
