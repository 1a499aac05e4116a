"""Emission of programs as ONNX graphs of standard operators."""
