"""Operators expressible by standard ones: fused, on integers, of classical machine learning."""
