"""Methods: presets of rules, and what explains by gradients, propagations or forward passes alone."""
