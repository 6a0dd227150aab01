"""Solvers side by side on the same rows."""

from dask_newton.comparison.compare import compare
from dask_newton.comparison.result import Comparison, Run

__all__ = ["Comparison", "Run", "compare"]
