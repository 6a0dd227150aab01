"""Solvers on one block: pure functions of arrays, no Dask."""

from dask_newton.local.base import LocalResult, LocalSolver
from dask_newton.local.cg import CG
from dask_newton.local.lsmr import LSMR
from dask_newton.local.minres import MINRES
from dask_newton.local.newton import LocalNewton, NewtonResult
from dask_newton.local.squared import SquaredCG
from dask_newton.local.svrg import SVRG, SVRGResult

__all__ = [
    "CG", "LSMR", "MINRES", "SVRG", "LocalNewton", "LocalResult", "LocalSolver", "NewtonResult", "SVRGResult",
    "SquaredCG",
]
