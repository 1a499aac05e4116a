"""Metrics of explanations, a module for each family."""
