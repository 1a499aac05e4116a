"""Prototypes: pictures that a class or a unit prefers to all others, and what they are evidence of."""
