"""Programs as ONNX graphs of standard operators."""
