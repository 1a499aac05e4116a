"""Models before they are a graph: without large weights, with fixed sizes, in a current opset, folded."""
