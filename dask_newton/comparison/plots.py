"""The plot of a comparison: gaps against rounds, passes, bytes and seconds."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from typing import Any

from dask_newton.history import History

__all__ = ["draw"]

_SMALLEST_GAP = 1e-12
_AGAINST = ("rounds", "passes", "bytes", "seconds")
# Okabe and Ito's colours for colour-blind readers; further curves are dashed, with other markers.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#222222", "#e69f00", "#56b4e9", "#8c6d31")
_MARKERS = ("o", "s", "^", "v", "D", "P", "X", "<", ">", "p", "h", "*")


def draw(
    histories: Sequence[History], ended: Collection[str], optimum: float, title: str, where: Any, form: str | None
) -> Any:
    """Draw into four axes, a new figure, or a file; a cross marks the last point of a run that failed (``ended``)."""
    saved = isinstance(where, str | os.PathLike)
    if where is None or saved:
        figure, axes = _new(saved)
    else:
        axes = list(getattr(where, "flat", where))
        if len(axes) != len(_AGAINST):
            raise ValueError(f"{len(axes)} axes were given; the picture needs {len(_AGAINST)}.")
        figure = axes[0].figure
    for ax, x in zip(axes, _AGAINST, strict=True):
        for i, history in enumerate(histories):
            colour = _COLOURS[i % len(_COLOURS)]
            history.plot(
                x,
                optimum=optimum,
                ax=ax,
                color=colour,
                marker=_MARKERS[i % len(_MARKERS)],
                markersize=4,
                markevery=0.1,
                linewidth=1.3,
                linestyle="-" if i < len(_COLOURS) else "--",
            )
            if history.solver in ended:
                line = ax.lines[-1]
                last = line.get_xdata()[-1:], line.get_ydata()[-1:]
                ax.plot(*last, "x", color=colour, markersize=10, markeredgewidth=2)
        ax.set_xscale("log")
        # The optimum is known to its tolerance only; the curve of the reference itself drops below the axis.
        ax.set_ylim(bottom=_SMALLEST_GAP)
        ax.set_ylabel("")
        ax.grid(color="0.9")
        ax.set_axisbelow(True)
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("relative gap of the objective")
    if where is None or saved:
        figure.suptitle(title, fontsize="medium")
        figure.legend(
            *axes[0].get_legend_handles_labels(),
            loc="outside lower center",
            ncols=min(6, len(histories)),
            frameon=False,
        )
    if saved:
        figure.savefig(where, format=form, dpi=150)
    return figure


def _new(saved: bool) -> tuple[Any, list[Any]]:
    """Return a figure; for a file without pyplot, so that no display is needed."""
    try:
        from matplotlib import figure, pyplot
    except ImportError as error:
        raise ImportError("Pictures need matplotlib; pip install 'dask-newton[viz]'.") from error
    options: dict[str, Any] = {"figsize": (13, 4.2), "layout": "constrained"}
    made = figure.Figure(**options) if saved else pyplot.figure(**options)
    return made, list(made.subplots(1, len(_AGAINST), sharey=True))
