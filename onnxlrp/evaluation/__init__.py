"""Evaluation of methods by metrics over samples."""
