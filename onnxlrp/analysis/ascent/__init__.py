"""Gradient ascent over pictures and codes: the loop, optimisers, parameterisations, transformations, regularisers."""
