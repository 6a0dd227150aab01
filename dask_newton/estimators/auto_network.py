"""``solver="auto"`` for networks: a rule that was measured, by rounds until the objective comes to the same value.

Where the classes can be told apart, L-BFGS needed 3 to 20 times fewer rounds than any other solver: with one hidden
layer and with six, relu and tanh. Squared errors come to a value that is not zero along a narrow valley; there L-BFGS
is ahead until a few percent of the variance are left, and stops where more could be learnt, which Newton's method with
conjugate gradients does in fewer rounds than the Hessian-free solvers.
"""

from __future__ import annotations

from typing import Any

from dask_newton.objectives.network import NetworkObjective
from dask_newton.solvers import LBFGS, PDADMM, NewtonCG, Solver

__all__ = ["usual_network_solver"]


def usual_network_solver(problem: NetworkObjective) -> tuple[Solver[Any], str]:
    """Return the solver for a network, and one sentence with the reason."""
    if problem.nonsmooth is not None:
        return PDADMM(), f"the penalty {problem.penalty} is not differentiable, which ADMM handles"
    if problem.loss.numeric:
        return NewtonCG(), "targets that are numbers leave a narrow valley, along which curvature leads"
    return LBFGS(), "it needs the fewest rounds to learn labels"
