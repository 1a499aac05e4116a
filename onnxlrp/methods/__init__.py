"""Methods: composites of rules, and methods that need only gradients, propagations or forward passes."""
