"""The history of a run: one record per iteration, as a table, an xarray data set or a plot."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

__all__ = ["History"]

_AXES = {
    "iteration": "iteration",
    "rounds": "communication rounds",
    "passes": "passes over the data",
    "seconds": "seconds",
    "bytes": "bytes sent",
    "epochs": "epochs",
}


@dataclass
class History:
    """One record per iteration; the record of iteration 0 is the start.

    Records have ``iteration``, ``objective``, ``gradient_norm`` (the certificate, nan where it was not evaluated),
    ``step_size``, ``inner_iterations``, ``passes``, ``rounds``, ``bytes_up``, ``bytes_down``, ``epochs`` (passes,
    each weighted by the fraction of the rows that it reads), ``seconds`` (all six cumulative), ``note``, and
    quantities of the solver.
    """

    solver: str = ""
    records: list[dict[str, Any]] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.records)

    def __getitem__(self, i: int) -> dict[str, Any]:
        return self.records[i]

    def to_pandas(self) -> Any:
        """Return a pandas DataFrame with one row per iteration."""
        import pandas

        return pandas.DataFrame(self.records).set_index("iteration")

    def to_xarray(self) -> Any:
        """Return an xarray Dataset with the dimension ``iteration``."""
        dataset = self.to_pandas().to_xarray()
        dataset.attrs["solver"] = self.solver
        return dataset

    def plot(self, x: str = "rounds", *, optimum: float | None = None, ax: Any = None, **style: Any) -> Any:
        """Plot the objective against its cost.

        Parameters
        ----------
        x : {'rounds', 'passes', 'epochs', 'seconds', 'bytes', 'iteration'}
            Horizontal axis.
        optimum : float, optional
            The optimal value; if given, the relative gap to it is plotted on a logarithmic axis.
        ax : matplotlib Axes, optional
            Axes to plot on.
        **style
            Passed to ``ax.plot``.

        Returns
        -------
        matplotlib Axes

        Raises
        ------
        ValueError
            If ``x`` is none of the above.
        ImportError
            If matplotlib is not installed (``pip install 'dask-newton[viz]'``).
        """
        if x not in _AXES:
            raise ValueError(f"x={x!r} is not an axis of a history; choose one of {', '.join(_AXES)}.")
        if ax is None:
            try:
                from matplotlib import pyplot
            except ImportError as error:
                raise ImportError("Plots need matplotlib: pip install 'dask-newton[viz]'.") from error
            ax = pyplot.subplots()[1]
        known = [record for record in self.records if record["objective"] == record["objective"]]
        across = [r["bytes_up"] + r["bytes_down"] if x == "bytes" else r[x] for r in known]
        up = [record["objective"] for record in known]
        if optimum is not None:
            # A gap below the rounding error of the objective has no meaning.
            up = [max((value - optimum) / abs(optimum), 1e-16) for value in up]
            ax.set_yscale("log")
        ax.plot(across, up, **{"label": self.solver, "marker": ".", **style})
        ax.set_xlabel(_AXES[x])
        ax.set_ylabel("objective" if optimum is None else "relative gap of the objective")
        return ax
