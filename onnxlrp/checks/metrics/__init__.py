"""How explanations are judged: one module for each family of metrics."""

from . import conservation, localisation, perturbation, randomisation, shattering, stability  # noqa: F401 (registers)
