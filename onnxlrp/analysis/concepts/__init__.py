"""Concepts: is a class sensitive to one (TCAV), and which units detect which (Network Dissection, INVERT)."""
