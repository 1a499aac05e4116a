"""Runtime: devices, loaders of kernels, and the forward pass."""
