"""Comparison of two models on the same samples: logits, heatmaps, and activations layer by layer."""
