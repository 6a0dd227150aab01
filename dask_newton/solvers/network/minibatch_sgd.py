"""Synchronous mini-batch SGD for networks, the baseline of He, Mudigere, Smelyanskiy and Takac (2016).

W <- W - a g_B,   g_B the gradient over a mini-batch of the rows of every block

It is :mod:`~dask_newton.solvers.general.gd` with mini-batches. That for linear models is in
:mod:`~dask_newton.solvers.linear.sgd`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dask_newton.solvers.general.gd import GD
from dask_newton.storage.registry import stored

__all__ = ["MiniBatchSGD"]


@stored("solver/minibatch-sgd")
@dataclass(frozen=True)
class MiniBatchSGD(GD):
    """Stochastic gradient descent.

    Parameters
    ----------
    learning_rate : float
        a.
    """

    learning_rate: float = 0.1
    batch_size: int | None = field(default=200, kw_only=True)
    name = "sgd"
    summary = "gradient descent on mini-batches; an epoch per iteration, a pass per mini-batch"
    suited_to = "baseline"
