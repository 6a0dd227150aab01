"""An objective at a point, and along a ray from it."""

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
        Kept for each row, for line searches and Hessian products. Only the objective looks inside. For linear models
        they save the exponentials and a third product with X.
    age : int
        Steps since the margins were last computed from X; it limits the drift of rounding errors.
    hessian : ndarray of shape (q K, q K) or None
        The Hessian of the differentiable part, in the order of ``W.ravel()``, if requested.
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
        The margins of D by row, for linear models; empty for networks.
    first : Point or None
        The point at the first step, if its gradient was computed with the values.
    """

    D: np.ndarray
    steps: tuple[float, ...]
    values: np.ndarray
    direction_margins: PerBlock[Any]
    first: Point | None
