"""Solvers on one block: pure functions of arrays, no Dask."""

from dask_newton.inner.base import LocalResult, LocalSolver
from dask_newton.inner.cg import CG
from dask_newton.inner.cg_squared import SquaredCG
from dask_newton.inner.lsmr import LSMR
from dask_newton.inner.minres import MINRES
from dask_newton.inner.newton import LocalNewton, NewtonResult
from dask_newton.inner.svrg import SVRG, SVRGResult

__all__ = [
    "CG",
    "LSMR",
    "MINRES",
    "SVRG",
    "LocalNewton",
    "LocalResult",
    "LocalSolver",
    "NewtonResult",
    "SVRGResult",
    "SquaredCG",
]
