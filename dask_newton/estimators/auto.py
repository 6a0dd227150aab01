"""``solver="auto"``: which solver, and why.

The rules follow from what a pass costs. An explicit Hessian is unbeatable while it is small. Beyond that the blocks decide:
where Hessian products of all rows are cheap to add up (one process, or a fast network) Newton-CG is independent of the blocks.
"""

from __future__ import annotations

from dask_newton.objectives.linear import LinearObjective
from dask_newton.solvers import NewtonADMM, NewtonCG, NewtonCholesky, Solver

__all__ = ["choose_solver"]


def choose_solver(problem: LinearObjective) -> tuple[Solver, str]:
    """Return a solver for the objective and one sentence with the reason."""
    d = problem.size
    if problem.nonsmooth is not None:
        return NewtonADMM(), f"the penalty {problem.penalty} is not differentiable, which consensus ADMM handles"
    limit = NewtonCholesky().max_dim
    if d <= limit:
        return NewtonCholesky(), f"the Hessian has {d} rows, few enough (at most {limit}) to add it up explicitly"
    return NewtonCG(preconditioner="gram"), f"an explicit Hessian would have {d} rows"
