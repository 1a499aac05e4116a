"""How explanations are judged: one module for each family of metrics."""

from . import conservation, localization, perturbation, randomization, shattering, stability  # noqa: F401 (registers)
