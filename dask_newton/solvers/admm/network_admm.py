"""Newton-ADMM for networks: every block fits a network to its own rows, and all of them agree on one.

The iteration is that of :mod:`~dask_newton.solvers.admm.newton_admm`. phi_i is the loss of a network on the rows of a
block, which is not convex, so that the x-update is some steps of Newton-MR: MINRES, which stops at directions of
non-positive curvature and goes along them (Liu and Roosta, arXiv 2208.07095). One pass per iteration, whatever the
blocks do in it.

A penalty rho_i above twice the negative curvature of phi_i would make the x-updates convex and the iteration converge;
in practice it makes it slow, as at the start the curvature is very negative. So rho_i follows the spectral estimates
alone, unless ``curvature_floor`` says otherwise.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from dask_newton.objectives.local import LocalObjective
from dask_newton.objectives.network.local import LocalNetwork
from dask_newton.solvers.admm.newton_admm import NewtonADMM
from dask_newton.solvers.base import UnsupportedError, require_network
from dask_newton.solvers.work import Work
from dask_newton.storage.registry import stored

__all__ = ["NetworkADMM"]


@stored("solver/network-admm")
@dataclass(frozen=True)
class NetworkADMM(NewtonADMM):
    """Consensus ADMM with Newton-MR on the blocks.

    Its parameters are those of :class:`NewtonADMM`, with other defaults. These mean something else:

    Parameters
    ----------
    rho : float
        First rho_i, for the mean loss of a block.
    penalty : {'spectral', 'residual_balancing', 'fixed'}
    polish : bool
        Whether Newton-CG takes over in the end, for penalties that are smooth.
    """

    rho: float = 0.05
    local_solver: str = "newton-mr"
    newton_steps: int = 3
    cg_max_iter: int = 20
    correlation: float = 0.5
    curvature_floor: float = 0.0
    polish: bool = False
    summary = "consensus ADMM: every block trains a network by Newton-MR; one pass per iteration"
    suited_to = "a moderate accuracy in very few rounds"

    def check(self, problem: Any) -> None:
        """Refuse other models and options out of range."""
        network = require_network(problem, self.name)
        self._check_options()
        self.rule.check(network)
        if self.polish and network.nonsmooth is not None:
            raise UnsupportedError(f"solver 'newton-admm' cannot polish a network with {network.penalty}.")

    def work(self, problem: Any) -> Work | None:
        """Return None: there is no guarantee."""
        return None

    def _weights(self, problem: Any) -> Sequence[float]:
        return problem.weights

    def _local(self, problem: Any) -> Callable[[Any], LocalObjective]:
        return functools.partial(
            LocalNetwork.of_rows, layers=problem.layers, scale=problem.total_weight, keep=problem.keep
        )
