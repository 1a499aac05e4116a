"""Methods that need only forward passes, gradients or propagation: one module for each family."""

# In the order that they are listed in. The registry imports them when it is asked: composites need none.
FAMILIES = ("cam", "contrastive", "gradient", "lime", "meaningful", "occlusion", "rise", "shap")
