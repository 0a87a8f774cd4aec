"""How the pages are built: ``python -m sphinx -W -b html docs docs/_build/html``."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import roiextractors_core

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE / "_extensions"))
from site_pages import source_url  # noqa: E402

PROJECT = tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]

project = "roiextractors-core"
author = "The roiextractors-core developers"
copyright = f"2026, {author}"
version = release = roiextractors_core.__version__

# Links to edit a page and to the source of a function appear once [project.urls] in pyproject.toml names a repository
repository_url = PROJECT.get("urls", {}).get("Repository", "")

extensions = [
    *("myst_parser", "sphinx.ext.autodoc", "sphinx.ext.linkcode", "numpydoc", "sphinx_copybutton"),
    *("charts", "gallery", "packages", "pictures", "site_pages"),
]
exclude_patterns = ["_build"]
templates_path = ["_templates"]

myst_enable_extensions = ["colon_fence", "deflist", "fieldlist"]
myst_heading_anchors = 3
# Straight quotes, as in the messages and the code that the pages quote
smartquotes = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True}
numpydoc_show_class_members = False
numpydoc_xref_param_type = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 90
toc_object_entries_show_parents = "hide"

# Examples are copied without their prompts, and outputs not at all
copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True
copybutton_selector = "div.highlight:not(.highlight-output *) > pre, div.highlight:not(.highlight-output *) td.code pre"


def linkcode_resolve(domain: str, info: dict[str, str]) -> str | None:
    """Return where the source of a public name is on the host of the repository."""
    return source_url(repository_url, info["module"], info["fullname"]) if domain == "py" else None


html_theme = "pydata_sphinx_theme"
html_title = "roiextractors-core"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_theme_options = {
    "navigation_with_keys": False,
    "navbar_align": "left",
    "navbar_start": ["navbar-logo", "version"],
    "navbar_persistent": ["search-button"],
    "navbar_end": ["theme-switcher"],
    "header_links_before_dropdown": 8,
    # The wide tables of these pages need the width; that of the formats is its table of contents
    "secondary_sidebar_items": {"**": ["page-toc"], "gallery": [], "index": [], "process_state": []},
    "article_footer_items": ["page-links"],
    "footer_start": ["copyright", "changelog-link"],
    "footer_end": [],
    "show_prev_next": True,
    "pygments_light_style": "tango",
    "pygments_dark_style": "monokai",
}
html_sidebars = {page: [] for page in ("index", "install", "first_recording", "gallery", "changelog")}
