"""Shapley values of sums of trees, exactly, by the conditions of each leaf."""
