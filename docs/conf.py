"""Configuration of the site, which `python -m sphinx -W -b html docs docs/_build/html` builds."""

import os
import sys
from pathlib import Path

from sphinx_gallery.sorting import ExplicitOrder

import ellipsoid

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from public_names import state_public_names

project = "ellipsoid"
author = "The ellipsoid authors"
project_copyright = author
version = release = ellipsoid.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
    # Extensions of this project, in docs/_ext.
    "command_line",
    "mathml",
]
exclude_patterns = ["_build", "gallery"]
templates_path = ["_templates"]
needs_sphinx = "9.0"

smartquotes = False  # quotes and dashes are mostly those of code

# --- text --------------------------------------------------------------------------------------------

myst_enable_extensions = ["amsmath", "attrs_block", "attrs_inline", "colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
myst_links_external_new_tab = False

# --- API ---------------------------------------------------------------------------------------------

autosummary_generate = True
autosummary_ignore_module_all = False
autosummary_context = {
    "pages": state_public_names(
        [
            "ellipsoid",
            "ellipsoid.models",
            "ellipsoid.generation",
            "ellipsoid.evaluation",
            "ellipsoid.metrics",
            "ellipsoid.diagnostics",
            "ellipsoid.figures",
            "ellipsoid.report",
            "ellipsoid.explore.notebook",
            "ellipsoid.estimator",
            "ellipsoid.runs",
            "ellipsoid.workflows",
        ]
    )
}
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the sections of the docstrings say the types, with their shapes
numpydoc_show_class_members = False
add_module_names = False
maximum_signature_line_length = 88

# Links into the documentation of other projects need lists of its pages from the network, so they are made
# only where somebody asks for them.
if os.environ.get("ELLIPSOID_DOCS_LINKS"):
    extensions.append("sphinx.ext.intersphinx")
    intersphinx_mapping = {
        "python": ("https://docs.python.org/3", None),
        "numpy": ("https://numpy.org/doc/stable", None),
        "jax": ("https://docs.jax.dev/en/latest", None),
        "sklearn": ("https://scikit-learn.org/stable", None),
        "matplotlib": ("https://matplotlib.org/stable", None),
    }

# --- gallery -----------------------------------------------------------------------------------------

sphinx_gallery_conf = {
    "examples_dirs": "gallery",
    "gallery_dirs": "examples",
    "filename_pattern": r"[/\\]plot_",
    "within_subsection_order": ExplicitOrder(
        [
            "plot_train_an_autoencoder.py",
            "plot_draw_from_latents.py",
            "plot_shapes.py",
            "plot_own_autoencoder.py",
            "plot_tables_and_embeddings.py",
            "plot_evaluation.py",
            "plot_copies.py",
            "plot_edit.py",
            "plot_large_batch.py",
        ]
    ),
    "image_scrapers": ("figure_scraper.figure_scraper",),
    "abort_on_example_error": True,
    "download_all_examples": False,
    "show_memory": False,
    "show_signature": False,
    "remove_config_comments": True,
    "backreferences_dir": None,
}

# --- HTML --------------------------------------------------------------------------------------------

html_theme = "furo"
html_title = f"ellipsoid {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {"navigation_with_keys": False}
pygments_style = "friendly"
pygments_dark_style = "github-dark"
