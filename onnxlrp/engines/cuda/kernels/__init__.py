"""Kernels: their sources and compilation, launches, generated source, tiles, and cuBLAS."""
