"""The optional C++ extensions; everything else is in pyproject.toml."""

from setuptools import setup

# setuptools' own build_ext honours optional=True: without a compiler the extension is left out and the install goes
# on. (pybind11's build_ext probes the compiler first and fails.)
setup(ext_modules=[])
