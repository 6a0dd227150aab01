"""The explanation of a choice by ``solver="auto"``: a table as text, as HTML and for pandas."""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Any

from dask_newton.auto.machine import Machine
from dask_newton.solvers import Solver
from dask_newton.solvers.work import Work
from dask_newton.tables import as_html, as_text

__all__ = ["COLUMNS", "Estimate", "Explanation"]

COLUMNS = ("solver", "iterations", "passes", "rounds", "MB", "seconds", "remark")


@dataclass(frozen=True)
class Estimate:
    """The expected cost of a solver.

    Attributes
    ----------
    solver : Solver
    work : Work or None
        None if it cannot minimise the objective, or if its number of iterations cannot be predicted.
    seconds : float or None
        Expected time at the measured rates, which are rounded to powers of two.
    supported : bool
        Whether the solver can minimise the objective.
    remark : str
        Reason for a missing estimate.
    """

    solver: Solver[Any]
    work: Work | None
    seconds: float | None
    supported: bool = True
    remark: str = ""


@dataclass(frozen=True)
class Explanation:
    """The basis of a choice of solver. Print it, or show it in a notebook.

    Attributes
    ----------
    n_rows : int
    shape : (int, int)
        Shape (q, K) of the coefficients.
    n_stored : int
        Stored entries of X.
    n_blocks : int
    streamed : bool
        Whether every pass reads the blocks again.
    objective : str
        The loss and the penalty.
    machine : Machine
        The measured rates.
    measuring : float
        Duration of the measurement, in seconds.
    estimates : tuple of Estimate
        One for each solver, the fastest first.
    choice : str
        The chosen solver.
    reason : str
    then : tuple of str
        The solvers that take over, in this order, if the chosen one fails or stalls.
    """

    n_rows: int
    shape: tuple[int, int]
    n_stored: int
    n_blocks: int
    streamed: bool
    objective: str
    machine: Machine
    measuring: float
    estimates: tuple[Estimate, ...]
    choice: str
    reason: str
    then: tuple[str, ...]

    def to_pandas(self) -> Any:
        """Return a pandas DataFrame with one row per solver; NaN without an estimate."""
        import pandas

        nothing = float("nan")
        rows = [
            {
                "solver": e.solver.name,
                "supported": e.supported,
                "iterations": e.work.iterations if e.work else nothing,
                "passes": e.work.passes if e.work else nothing,
                "rounds": e.work.rounds if e.work else nothing,
                "MB": self._megabytes(e.work) if e.work else nothing,
                "seconds": nothing if e.seconds is None else e.seconds,
                "remark": self._remark(e),
            }
            for e in self.estimates
        ]
        return pandas.DataFrame(rows).set_index("solver")

    def facts(self) -> dict[str, str]:
        """Return the properties of the data and the measured rates, as text by name."""
        q, K = self.shape
        m = self.machine
        sparse = f", {self.n_stored / self.n_rows:.3g} stored entries per row" if self.n_stored < self._dense else ""
        where = f"{_many(self.n_blocks, 'block')} in {_many(m.processes, 'process')}"
        return {
            "objective": self.objective,
            "data": f"{self.n_rows} rows, coefficients {q} x {K}{sparse}",
            "blocks": where + (", read again in every pass" if self.streamed else ""),
            "an empty pass": _seconds(m.latency),
            **({"reading all blocks": _seconds(m.reading)} if self.streamed else {}),
            "products with X": f"{m.products / 1e9:.2g} GFlop/s",
            "Gram matrices": f"{m.grams / 1e9:.2g} GFlop/s",
            "on the driver": f"{m.driver / 1e9:.2g} GFlop/s",
            "to and from a process": f"{m.bandwidth / 1e6:.2g} MB/s",
            "measured in": _seconds(self.measuring),
        }

    def rows(self) -> list[tuple[str, ...]]:
        """Return the cells of the table, one row per solver."""
        return [
            (
                e.solver.name, f"{e.work.iterations:.0f}", f"{e.work.passes:.0f}", f"{e.work.rounds:.0f}",
                f"{self._megabytes(e.work):.3g}", f"{e.seconds:.2g}", self._remark(e),
            ) if e.work else (e.solver.name, "", "", "", "", "", self._remark(e).partition(";")[0])
            for e in self.estimates
        ]  # fmt: skip

    def conclusion(self) -> str:
        """Return the choice and its reason, as sentences."""
        then = f" If it fails or stalls, {' and then '.join(self.then)} will take over." if self.then else ""
        return f"solver='auto' chooses {self.choice!r}: {self.reason}.{then}"

    def __str__(self) -> str:
        costs = as_text(self.rows(), COLUMNS, words=(0, len(COLUMNS) - 1))
        return "\n\n".join([as_text(self.facts().items()), costs, self.conclusion()])

    def _repr_html_(self) -> str:
        facts, costs = as_html(self.facts().items()), as_html(self.rows(), COLUMNS)
        return f"{facts}{costs}<p>{html.escape(self.conclusion())}</p>"

    @property
    def _dense(self) -> int:
        return self.n_rows * (self.shape[0] - 1)

    def _megabytes(self, work: Work) -> float:
        return 8 * self.n_blocks * (work.up + work.down) / 1e6

    def _remark(self, estimate: Estimate) -> str:
        return "chosen" if estimate.solver.name == self.choice else estimate.remark


def _many(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 'es' if what.endswith('s') else 's'}"


def _seconds(seconds: float) -> str:
    return f"{1000 * seconds:.2g} ms" if seconds < 0.1 else f"{seconds:.2g} s"
