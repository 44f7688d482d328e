"""How Sphinx builds the site; docs/developers.md says how to call it."""

import os
import sys
from pathlib import Path

import matplotlib

import tensorly_rnn

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS / "_extensions"))

import programs  # noqa: E402

# Pictures go to files, and tables to a file that is no terminal, wherever the build runs.
matplotlib.use("Agg")
os.environ["TTY_COMPATIBLE"] = "0"

project = "tensorly_rnn"
author = "The tensorly_rnn developers"
copyright = f"%Y, {author}"
version = release = tensorly_rnn.__version__

extensions = [
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "matplotlib.sphinxext.plot_directive",
    "myst_parser",
    "sphinx_gallery.gen_gallery",
    "repository_links",
]
exclude_patterns = [
    "_build",
    "_extensions",
    "_templates",
    "sg_execution_times.rst",
    "gallery/sg_execution_times.rst",
    "gallery/output",
]
templates_path = ["_templates"]
# In the docstrings a name between single backticks is a link where it names something public, and code where not.
default_role = "py:obj"

# Markdown: headings are anchors as on the web view of a repository.
myst_heading_anchors = 4

autosummary_generate = True
autodoc_member_order = "groupwise"
# Signatures have the names of types alone: the docstrings say them in words.
autodoc_typehints = "none"
numpydoc_show_class_members = False

plot_include_source = True
plot_html_show_source_link = False
plot_html_show_formats = False
plot_formats = [("png", 110)]
plot_rcparams = {"font.size": 10}
plot_apply_rcparams = True

sphinx_gallery_conf = {
    "examples_dirs": str(programs.EXAMPLES),
    "gallery_dirs": "gallery",
    "filename_pattern": programs.pattern(programs.to_run(os.environ)),
    "ignore_pattern": programs.ignored(),
    "reset_argv": "programs.quick_arguments",
    "image_scrapers": ("programs.written_pictures",),
    # The programs close their figures and change no settings.
    "reset_modules": (),
    "capture_repr": (),
    "within_subsection_order": "programs.shortest_first",
    "abort_on_example_error": False,
    "only_warn_on_example_error": True,
    "remove_config_comments": True,
    "show_memory": False,
    "show_signature": False,
    "download_all_examples": False,
    "notebook_extensions": set(),
    "doc_module": ("tensorly_rnn",),
    "backreferences_dir": "api/generated/backreferences",
    "inspect_global_variables": True,
    "min_reported_time": 0,
}

html_theme = "pydata_sphinx_theme"
html_title = "tensorly_rnn"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "logo": {"text": "tensorly_rnn"},
    "show_nav_level": 2,
    "navigation_with_keys": False,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": ["theme-version"],
}
