"""How the documentation is built: `sphinx-build -W -b html docs docs/_build/html`."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent)]

from persistconn import __version__  # noqa: E402  # the checkout's, whatever is installed

project = "persistconn"
author = "the persistconn authors"
copyright = author
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "directives"]
exclude_patterns = ["_build", "examples"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
default_role = "py:obj"  # docstrings say `Settings` and `None` alike: what has a page becomes a link
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_class_signature = "mixed"
autodoc_preserve_defaults = True
toc_object_entries_show_parents = "hide"
highlight_language = "none"

html_theme = "furo"
html_title = "persistconn"
html_static_path = ["_static"]
html_css_files = ["persistconn.css"]
html_copy_source = False
html_show_sphinx = False
pygments_style = "friendly"
pygments_dark_style = "native"

_LIGHT = {
    "color-brand-primary": "#9a4a1f",
    "color-brand-content": "#9a4a1f",
    "color-brand-visited": "#7c4a63",
    "color-background-primary": "#fcfcf9",
    "color-background-secondary": "#f3f4ee",
    "color-background-border": "#dde0d4",
    "code-ground": "#f6f6f0",
    "diagram-ink": "#22302d",
    "diagram-state": "#eef1e6",
    "diagram-move": "#9a4a1f",
}
_DARK = {
    "color-brand-primary": "#e69a68",
    "color-brand-content": "#e69a68",
    "color-brand-visited": "#c99bb2",
    "color-background-primary": "#141a19",
    "color-background-secondary": "#1a2221",
    "color-background-border": "#2d3836",
    "code-ground": "#1b2322",
    "diagram-ink": "#dfe5da",
    "diagram-state": "#223030",
    "diagram-move": "#e69a68",
}
html_theme_options = {"light_css_variables": _LIGHT, "dark_css_variables": _DARK, "navigation_with_keys": True}
