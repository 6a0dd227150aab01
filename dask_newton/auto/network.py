"""``solver="auto"`` for networks: a rule that was measured, by rounds and seconds until the objective comes to a value.

K-FAC needed 0.06 to 0.6 times the rounds of L-BFGS, with one hidden layer and with six, relu and tanh, classes and
numbers; L-BFGS mostly a fraction of those of the Hessian-free solvers, Newton-CG and Adam. K-FAC sends, and inverts on
the driver, matrices as large as the layers are wide; where those have many more entries than the weights, or are too
large for the driver, L-BFGS is left. Newton-ADMM can need fewer rounds than that, at many times the work in each.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from dask_newton.objectives.network.objective import NetworkObjective
from dask_newton.solvers import KFAC, LBFGS, PDADMM, Solver

__all__ = ["usual_network_solver"]

_MOST_UNITS = 4096  # of a layer: the driver inverts its factors in a second
_MOST_NUMBERS = 8  # sent for factors, in gradients


def usual_network_solver(problem: NetworkObjective) -> tuple[Solver[Any], str]:
    """Return the solver for a network, and one sentence with the reason."""
    if problem.nonsmooth is not None:
        return PDADMM(), f"the penalty {problem.penalty} is not differentiable, which ADMM handles"
    sizes = problem.layers.sizes
    numbers = sum((n + 1) ** 2 + m**2 for n, m in pairwise(sizes)) / 2
    if max(sizes) <= _MOST_UNITS and numbers <= _MOST_NUMBERS * problem.size:
        return KFAC(), "it needs few rounds, and layers of these widths have small Kronecker factors"
    return LBFGS(), "it needs few rounds with little work in each, and layers so wide have large Kronecker factors"
