"""Plots of convergence, saved to files. matplotlib is optional."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from dask_newton.cli.common import written_whole

__all__ = ["picture_format", "plot_certificate", "plot_gaps", "require_matplotlib"]

# Okabe and Ito's colours for colour-blind readers, and markers for print in grey.
_STYLES = [("#0072B2", "o"), ("#D55E00", "s"), ("#009E73", "^"), ("#CC79A7", "D")]


def require_matplotlib() -> None:
    """Raise an error if matplotlib is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise ValueError("Plots need matplotlib: pip install 'dask-newton[viz]'.") from error


def plot_gaps(histories: Mapping[str, Any], optimum: float, title: str, path: str) -> None:
    """Draw the relative gap to the optimum against communication rounds, one line per solver."""
    figure, ax = _figure()
    for (name, history), (colour, marker) in zip(histories.items(), _STYLES, strict=False):
        style = {"color": colour, "marker": marker, "markersize": 4, "linewidth": 1.6, "label": name}
        history.plot(x="rounds", optimum=optimum, ax=ax, **style)
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter("{x:g}")
    ax.set_ylabel("relative gap to the optimum")
    ax.set_title(title, loc="left", fontsize="medium")
    ax.legend(loc="lower left", frameon=False)  # all lines begin at the top left
    _save(figure, path)


def plot_certificate(history: Any, tol: float, path: str) -> None:
    """Draw the certificate of optimality against communication rounds."""
    figure, ax = _figure()
    known = [record for record in history if record["gradient_norm"] > 0]
    rounds, norms = [r["rounds"] for r in known], [r["gradient_norm"] for r in known]
    colour, marker = _STYLES[0]
    ax.plot(rounds, norms, color=colour, marker=marker, markersize=4, linewidth=1.6)
    ax.set_yscale("log")
    if tol > 0:
        ax.axhline(tol, color="0.4", linestyle="--", linewidth=1)
        ax.annotate("tol", (1, tol), (-4, 3), ("axes fraction", "data"), "offset points", color="0.4", ha="right")
    ax.set_xlabel("communication rounds")
    ax.set_ylabel("largest entry of the gradient")
    ax.set_title(history.solver, loc="left", fontsize="medium")
    _save(figure, path)


def picture_format(path: str) -> str:
    """Return the image format for the name of a file, as the file is first written under a temporary name."""
    return os.path.splitext(path)[1].lstrip(".") or "png"


def _figure() -> tuple[Any, Any]:
    # Without pyplot there is no global state, and no display is needed.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    ax = figure.subplots()
    ax.grid(color="0.9")
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)
    return figure, ax


def _save(figure: Any, path: str) -> None:
    with written_whole(path) as partial:
        figure.savefig(partial, format=picture_format(path), dpi=150)
