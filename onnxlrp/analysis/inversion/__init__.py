"""Inversion: pictures that have the representation of another one in a layer."""
