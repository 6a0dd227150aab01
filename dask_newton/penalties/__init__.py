"""Penalties: one file each. A new penalty is a file here, a line below and an entry in tests/catalogue.py."""

from dask_newton.penalties.base import NormPenalty, Penalty, SmoothPenalty
from dask_newton.penalties.group_lasso import GroupLasso
from dask_newton.penalties.l1 import L1, ElasticNet
from dask_newton.penalties.l2 import L2, NoPenalty
from dask_newton.penalties.norms import Norms

__all__ = ["L1", "L2", "ElasticNet", "GroupLasso", "NoPenalty", "NormPenalty", "Norms", "Penalty", "SmoothPenalty"]
