"""Scripts that tests run as modules are on the path: none is called like a package that something imports."""

from __future__ import annotations

import sys
from importlib.metadata import packages_distributions

from support.paths import ROOT

KNOWN = {"torch", "transformers", "zennit", "timm", "sklearn", "scipy", "shap", "matplotlib", "tokenizers", "captum"}


def test_no_script_hides_a_package() -> None:
    scripts = {
        path.stem for folder in ("benchmarks", "models", "docs/_extensions") for path in (ROOT / folder).glob("*.py")
    }
    packages = KNOWN | {*packages_distributions()} | {*sys.stdlib_module_names}
    assert not scripts & packages - {"__init__"}
