"""From a graph to bytes again: standard ONNX models, and graphs that are kept."""
