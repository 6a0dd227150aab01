"""Penalties: one file each. A new penalty is a file here, a line below and an entry in tests/catalogue.py."""

from dask_newton.penalties.base import Penalty, SmoothPenalty
from dask_newton.penalties.l1 import L1, ElasticNet
from dask_newton.penalties.l2 import L2, NoPenalty

__all__ = ["L1", "L2", "ElasticNet", "NoPenalty", "Penalty", "SmoothPenalty"]
