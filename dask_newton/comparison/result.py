"""The result of a comparison: one row per solver, as a table, a data frame, a file or a plot."""

from __future__ import annotations

import html
import math
from dataclasses import dataclass, field
from typing import Any

from dask_newton.comparison.plots import draw
from dask_newton.history import History
from dask_newton.minimize import BUDGETS
from dask_newton.solvers import Status
from dask_newton.tables import as_html, as_text

__all__ = ["Comparison", "Run"]

_NAN = math.nan
_GONE_AS_FAR_AS_ALLOWED = (Status.CONVERGED, Status.NO_CHANGE, Status.STOPPED, *BUDGETS)


@dataclass(frozen=True, eq=False)
class Run:
    """The result of one solver.

    Attributes
    ----------
    label : str
    status : str
        The :class:`~dask_newton.solvers.Status`; 'refused' if the solver cannot minimise the objective; or 'error'.
    certified : bool
        Whether the certificate reached the tolerance.
    value, gradient_norm : float
        The objective at the end, and the certificate.
    n_iter, passes, rounds, bytes, seconds : float
        The cost; bytes are those sent in both directions.
    score : float
        Score of the estimator on the test rows; NaN without test rows.
    notes : tuple of str
        The reason for the status, unless the status says it, and further warnings.
    history : History
    model : estimator or None
        The fitted estimator.
    convex : bool
        Whether the objective is convex, so that the certificate proves the optimum.
    """

    label: str
    status: str
    certified: bool = False
    value: float = _NAN
    gradient_norm: float = _NAN
    n_iter: float = _NAN
    passes: float = _NAN
    rounds: float = _NAN
    bytes: float = _NAN
    seconds: float = _NAN
    score: float = _NAN
    notes: tuple[str, ...] = ()
    history: History = field(default_factory=History)
    model: Any = None
    convex: bool = True

    @classmethod
    def failed(cls, label: str, status: str, why: str) -> Run:
        """Return the row of a solver without a result."""
        return cls(label, status, notes=(why,), history=History(label))


@dataclass(frozen=True, eq=False)
class Comparison:
    """One run per solver.

    Attributes
    ----------
    runs : tuple of Run
    optimum : float
        The objective that gaps refer to.
    source : str
        The origin of ``optimum``.
    score_name : str
        Name of the score on test rows; empty without test rows.
    title : str
    """

    runs: tuple[Run, ...]
    optimum: float
    source: str
    score_name: str = ""
    title: str = ""

    @classmethod
    def of(cls, runs: list[Run], estimator: Any, optimum: float | None) -> Comparison:
        """Make a comparison. Gaps refer to the given optimum, or the best certified value, or else the best value.

        If the objective is not convex, it is the best value: a certificate does not prove a minimum.
        """
        finite = [run for run in runs if math.isfinite(run.value)]
        sure = [run for run in finite if run.certified and run.convex]
        best = min(sure or finite, key=lambda run: run.value, default=None)
        if optimum is not None:
            source = "given"
        elif best is None:
            optimum, source = _NAN, "unknown: no run has a finite objective"
        elif not best.convex:
            optimum, source = best.value, f"{best.label}, the best found; the objective is not convex"
        else:
            proof = "certified" if best.certified else "the best, but NOT certified"
            optimum, source = best.value, f"{best.label}, {proof}: gradient {best.gradient_norm:.1e}"
        scored = any(not math.isnan(run.score) for run in runs)
        score = f"test {estimator.score_name}" if scored else ""
        return cls(tuple(runs), optimum, source, score, type(estimator).__name__)

    def __getitem__(self, label: str) -> Run:
        """Return the run of a label."""
        return {run.label: run for run in self.runs}[label]

    @property
    def certified(self) -> bool:
        """Whether at least one run reached the tolerance, or, for networks, stopped improving."""
        return any(run.certified or run.status == Status.NO_CHANGE for run in self.runs)

    def gap(self, value: float) -> float:
        """Return the distance of a value from the optimum, relative to the optimum unless that is 0."""
        return (value - self.optimum) / (abs(self.optimum) or 1.0)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """One dictionary per run."""
        names = ("certified", "gradient_norm", "n_iter", "passes", "rounds", "bytes", "seconds", "score")
        return [
            {"solver": run.label, "status": run.status, "objective": run.value, "gap": self.gap(run.value)}
            | {name: getattr(run, name) for name in names}
            | {"notes": " ".join(run.notes)}
            for run in self.runs
        ]

    def to_pandas(self) -> Any:
        """Return a pandas DataFrame with one row per run."""
        import pandas

        return pandas.DataFrame(self.rows).set_index("solver")

    def histories(self) -> Any:
        """Return a pandas DataFrame with one row per solver and iteration."""
        import pandas

        records = [{"solver": run.label, **record} for run in self.runs for record in run.history]
        return pandas.DataFrame(records).set_index(["solver", "iteration"])

    def reaching(self, gap: float | None = None, *, objective: float | None = None) -> Any:
        """Return the cost of each solver until its objective was first within a relative gap of the optimum.

        Parameters
        ----------
        gap : float, optional
        objective : float, optional
            An objective to reach, instead of a gap.

        Returns
        -------
        pandas.DataFrame
            Columns iteration, passes, rounds, bytes and seconds; NaN for a solver that never reached it.
        """
        import pandas

        if (gap is None) == (objective is None):
            raise ValueError("Give either a gap or a value of the objective.")
        limit = objective if gap is None else self.optimum + gap * (abs(self.optimum) or 1.0)
        columns = ("iteration", "passes", "rounds", "bytes", "seconds")
        rows = {}
        for run in self.runs:
            near = next((r for r in run.history if r["objective"] <= limit), None)
            spent = None if near is None else {**near, "bytes": near["bytes_up"] + near["bytes_down"]}
            rows[run.label] = [_NAN if spent is None else spent[name] for name in columns]
        return pandas.DataFrame.from_dict(rows, orient="index", columns=list(columns)).rename_axis("solver")

    def save(self, path: Any) -> None:
        """Write the rows as CSV."""
        self.to_pandas().to_csv(path)

    def plot(self, where: Any = None, *, form: str | None = None) -> Any:
        """Draw the relative gap of the objective against rounds, passes, bytes and seconds.

        Parameters
        ----------
        where : path or sequence of four matplotlib Axes, optional
            A file to write, or the axes to draw into; by default a new figure.
        form : str, optional
            Format of the file, such as 'svg'; by default that of its extension.

        Returns
        -------
        matplotlib Figure

        Raises
        ------
        ImportError
            If matplotlib is not installed (``pip install 'dask-newton[viz]'``).
        """
        drawn = [run for run in self.runs if len(run.history)]
        ended = {run.label for run in drawn if run.status not in _GONE_AS_FAR_AS_ALLOWED}
        title = f"{self.title}: {self._reference}"
        return draw([run.history for run in drawn], ended, self.optimum, title, where, form)

    @property
    def _reference(self) -> str:
        return f"gaps to {self.optimum:.10g} ({self.source})"

    def cells(self) -> list[list[str]]:
        """Return the table as text, its head first."""
        head = ["solver", "status", "objective", "gap", "gradient", "iterations", "passes", "rounds", "MB", "seconds"]
        table = [head + [self.score_name] * bool(self.score_name)]
        for run in self.runs:
            counts = [_count(n) for n in (run.n_iter, run.passes, run.rounds)]
            cells = [
                run.label,
                run.status,
                _number(run.value, ".8g"),
                _number(self.gap(run.value), ".1e"),
                _number(run.gradient_norm, ".1e"),
                *counts,
                _number(run.bytes / 1e6, ".4g"),
                _number(run.seconds, ".2f"),
            ]
            table.append(cells + [_number(run.score, ".4f")] * bool(self.score_name))
        return table

    def remarks(self) -> list[str]:
        """Return the remarks below the table: the reference of the gaps, and the notes of the runs."""
        lower = [run for run in self.runs if run.value < self.optimum - 1e-12 * abs(self.optimum)]
        return [
            f"{self._reference[0].upper()}{self._reference[1:]}.",
            *(f"{run.label} ended below that, without a certificate." for run in lower if not run.certified),
            *(
                note if note.startswith(f"{run.label} ") else f"{run.label}: {note}"
                for run in self.runs
                for note in run.notes
            ),
        ]

    def __str__(self) -> str:
        columns, *rows = self.cells()
        return "\n".join([self.title, as_text(rows, columns, words=(0, 1)), "", *self.remarks()])

    def _repr_html_(self) -> str:
        columns, *rows = self.cells()
        remarks = "".join(f"<li>{html.escape(remark)}</li>" for remark in self.remarks())
        return f"<p>{html.escape(self.title)}</p>{as_html(rows, columns)}<ul>{remarks}</ul>"


def _number(value: float, form: str) -> str:
    return "" if math.isnan(value) else f"{value:{form}}"


def _count(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.0f}"
