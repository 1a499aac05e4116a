"""A GPU that is not there, for CuPy as it is: its driver and runtime calls end here, its kernels in the emulator.

`install()` before cupy is imported; sitecustomize.py beside this package does so in every Python process.
"""

from __future__ import annotations

from .install import absent, install

__all__ = ["absent", "install"]
