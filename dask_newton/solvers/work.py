"""Expected work of a solver until convergence, used to compare solvers before a fit.

How many iterations a problem needs depends on its conditioning, which is unknown in advance. The numbers are typical
ones, counted on the problems of asv_bench/benchmarks/problems.py to a certificate of 1e-6; asv_bench/calibrate.py
compares estimates with fits.
"""

from __future__ import annotations

from dataclasses import dataclass

from dask_newton.objectives.linear.objective import LinearObjective

__all__ = ["Work", "gram_flops"]


@dataclass(frozen=True)
class Work:
    """Expected work of a fit.

    Attributes
    ----------
    iterations : float
    passes : float
        Total number of passes; a pass is two rounds.
    products : float
        Products with X and X', in pairs: value and gradient are one pair, a product with a Hessian is one.
    up, down : float
        Numbers that each block sends and receives.
    grams : float
        Floating point operations for Gram matrices, all blocks together.
    driver : float
        Floating point operations on the driver.
    sampled : float
        Passes that use only a sample of the rows, which streamed blocks do not read again.
    """

    iterations: float
    passes: float
    products: float
    up: float
    down: float
    grams: float = 0.0
    driver: float = 0.0
    sampled: float = 0.0

    @property
    def rounds(self) -> float:
        """Rounds of communication."""
        return 2 * self.passes

    @property
    def reads(self) -> float:
        """Passes that read all rows."""
        return self.passes - self.sampled


def gram_flops(problem: LinearObjective) -> float:
    """Return the floating point operations of one weighted Gram matrix of X: two for each pair of entries of a row."""
    return 2.0 * problem.n_stored**2 / problem.n_rows
