"""Findings of checks and comparisons, and their formats."""
