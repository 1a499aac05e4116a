"""`python -m onnxlrp`: the command line."""

from __future__ import annotations

from .cli import process

if __name__ == "__main__":
    process()
