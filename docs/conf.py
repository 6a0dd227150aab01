import os

import click

import dask_newton
from dask_newton.cli import main

project = "dask_newton"
author = "The dask_newton developers"
copyright = author
version = release = dask_newton.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "myst_parser",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "gallery/*.ipynb"]
templates_path = ["_templates"]
default_role = "literal"

autosummary_generate = True
autodoc_typehints = "none"  # numpydoc says them
autodoc_member_order = "bysource"
# scikit-learn makes these; their docstrings refer to pages that are not here.
_REQUESTED = ("fit", "score", "predict", "predict_proba", "predict_log_proba", "decision_function")
autodoc_default_options = {"exclude-members": ", ".join(f"set_{method}_request" for method in _REQUESTED)}
numpydoc_show_class_members = False  # the template lists them

html_theme = "pydata_sphinx_theme"
html_title = "dask_newton"
html_static_path = ["_static"]
html_css_files = ["dask_newton.css"]
html_show_sourcelink = False
html_theme_options = {
    "logo": {"text": "dask_newton"},
    "navbar_align": "left",
    "header_links_before_dropdown": 7,
    "show_toc_level": 2,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars = {
    page: []
    for page in (
        "quickstart",
        "install",
        "concepts",
        "containers",
        "datasets",
        "solvers",
        "compare",
        "extending",
        "benchmarks",
        "parity",
        "versions",
        "contributing",
        "changelog",
        "configuration",
        "cli",
    )
}

sphinx_gallery_conf = {
    "examples_dirs": os.path.join(os.path.dirname(__file__), "..", "examples"),
    "gallery_dirs": "gallery",
    "within_subsection_order": "FileNameSortKey",
    "download_all_examples": False,
    "show_memory": False,
    "abort_on_example_error": True,
}


def write_help(app):
    """Write the help text of every command, which cli.rst includes."""
    os.makedirs(os.path.join(app.srcdir, "generated"), exist_ok=True)

    def write(command, context, words):
        with open(os.path.join(app.srcdir, "generated", "cli-" + "-".join(words) + ".txt"), "w") as file:
            file.write(command.get_help(context) + "\n")
        for name, child in getattr(command, "commands", {}).items():
            write(child, click.Context(child, info_name=name, parent=context, **child.context_settings), [*words, name])

    context = click.Context(main, info_name="dask-newton", terminal_width=88, **main.context_settings)
    write(main, context, ["dask-newton"])


def setup(app):
    app.connect("builder-inited", write_help)
