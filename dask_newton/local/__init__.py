"""Solvers on one block: pure functions of arrays, no Dask."""

from dask_newton.local.base import LocalResult, LocalSolver
from dask_newton.local.cg import CG
from dask_newton.local.newton import LocalNewton, NewtonResult
from dask_newton.local.svrg import SVRG, SVRGResult

__all__ = ["CG", "SVRG", "LocalNewton", "LocalResult", "LocalSolver", "NewtonResult", "SVRGResult"]
