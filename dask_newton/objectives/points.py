"""What an objective tells of a point, and of a ray from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from dask_newton.blocks import PerBlock

__all__ = ["Ray", "Point"]


@dataclass(frozen=True, eq=False)
class Point:
    """The objective linearised at W.

    Attributes
    ----------
    W : ndarray, shape (q, K)
    value : float
        F(W), with the whole penalty.
    gradient : ndarray, shape (q, K)
        Of the differentiable part of F.
    margins, curvature : PerBlock
        Remembered by row, for line searches and for products with the Hessian; they are the objective's own business.
        Those of linear models need no exponential and no third product with X.
    age : int
        Steps since the margins were last computed from X, to stop the drift of their rounding errors.
    hessian : ndarray of shape (q K, q K) or None
        The Hessian of the differentiable part, rows as ``W.ravel()``, if it was asked for.
    """

    W: np.ndarray
    value: float
    gradient: np.ndarray
    margins: PerBlock[Any]
    curvature: PerBlock[Any]
    age: int = 0
    hessian: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class Ray:
    """The objective at ``W + a D`` for several step sizes a.

    Attributes
    ----------
    D : ndarray, shape (q, K)
    steps : tuple of float
    values : ndarray, shape (n_steps,)
        F at each step; inf where it overflows.
    direction_margins : PerBlock
        What was remembered of D by row: for linear models its margins.
    first : Point or None
        The point at the first step, if its gradient was computed along with the values.
    """

    D: np.ndarray
    steps: tuple[float, ...]
    values: np.ndarray
    direction_margins: PerBlock[Any]
    first: Point | None
