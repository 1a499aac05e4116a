"""Methods that need only forward passes, gradients or propagation: one module for each family."""

from . import cam, contrastive, gradient, lime, meaningful, occlusion, rise, shap  # noqa: F401 (registers)
