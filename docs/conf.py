"""Configuration of Sphinx: `sphinx-build -W --keep-going -b html docs docs/_build/html`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS / "_extensions"))
# The tutorial and the help texts run the command of the environment that builds the pages.
os.environ["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
os.environ["COLUMNS"] = "94"

from onnxlrp import __version__  # noqa: E402

project = "onnxlrp"
author = "the onnxlrp authors"
copyright = author
version = release = __version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
    "generated",
]
exclude_patterns = ["_build", "_extensions", "jupyter_execute"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 60
nb_merge_streams = True

default_role = "code"  # a name in `single backticks` is code, in docstrings as in Markdown
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
python_use_unqualified_type_names = True
napoleon_numpy_docstring = False
napoleon_use_rtype = False

copybutton_prompt_text = r"\$ |>>> "
copybutton_prompt_is_regexp = True
copybutton_only_copy_prompt_lines = True

html_theme = "furo"
html_title = f"onnxlrp {version}"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#8a1a2c", "color-brand-content": "#8a1a2c"},
    "dark_css_variables": {"color-brand-primary": "#f2a58a", "color-brand-content": "#f2a58a"},
}
