"""Ensembles of decision trees: read from their operators into arrays, and evaluated as onnxruntime does."""
