"""``solver="auto"`` for networks: a rule from measurements of the rounds and seconds to reach a given objective.

K-FAC needed 0.06 to 0.6 times the rounds of L-BFGS, with one hidden layer and with six, with relu and tanh, in
classification and regression. L-BFGS mostly needed a fraction of the rounds of the Hessian-free solvers, Newton-CG and
Adam. K-FAC sends matrices as large as the layers are wide, and inverts them on the driver. Where they have many more
entries than the weights, or are too large for the driver, L-BFGS is chosen. Newton-ADMM can need fewer rounds still, at
many times the work per round.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from dask_newton.objectives.network.objective import NetworkObjective
from dask_newton.solvers import KFAC, LBFGS, PDADMM, Solver

__all__ = ["usual_network_solver"]

_MOST_UNITS = 4096  # per layer: the driver inverts its factors in about a second
_MOST_NUMBERS = 8  # sent for factors, in multiples of a gradient


def usual_network_solver(problem: NetworkObjective) -> tuple[Solver[Any], str]:
    """Return the solver for a network, and the reason."""
    if problem.nonsmooth is not None:
        return PDADMM(), f"the penalty {problem.penalty} is not differentiable, which ADMM handles"
    sizes = problem.layers.sizes
    numbers = sum((n + 1) ** 2 + m**2 for n, m in pairwise(sizes)) / 2
    if max(sizes) <= _MOST_UNITS and numbers <= _MOST_NUMBERS * problem.size:
        return KFAC(), "it needs few rounds, and layers of these widths have small Kronecker factors"
    return (
        LBFGS(),
        "it needs few rounds with little work in each, and the Kronecker factors of such wide layers are large",
    )
