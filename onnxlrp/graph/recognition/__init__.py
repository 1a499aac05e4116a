"""Structures that a graph is found to hold: attention, gates, distances, a past, and what a position depends on."""
