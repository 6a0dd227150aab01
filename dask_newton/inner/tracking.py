"""Forward and backward tracking: a step size along a direction that has no natural length.

    acceptable:  f(x + a d) <= f(x) + c a <g, d>
    if a is acceptable:  a <- 2 a  while 2 a is acceptable too, has a smaller value, and is at most 1e10
    else:                a <- a / 2  until it is acceptable

For directions of non-positive curvature (Liu and Roosta, arXiv 2208.07095), along which the model decreases for ever.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

__all__ = ["track"]

_LARGEST = 1e10


def track(
    evaluate: Callable[[list[float]], Sequence[float] | np.ndarray],
    value: float,
    slope: float,
    start: float,
    *,
    armijo: float,
    max_halvings: int,
) -> float:
    """Return the step size; 0 if none is acceptable.

    Parameters
    ----------
    evaluate : callable
        ``evaluate(steps)`` returns the values of f at some step sizes.
    value, slope : float
        f(x), and <g, d>, which is negative.
    start : float
        The first step size to try.
    armijo : float
        c.
    max_halvings : int
        The smallest step tried is ``2**-max_halvings start``.
    """
    best, lowest = 0.0, math.inf
    for step, new in _values(evaluate, [start * 2.0**k for k in range(75)], first=4):
        if not (step <= _LARGEST and new < lowest and new <= value + armijo * step * slope):
            break
        best, lowest = step, new
    if best:
        return best
    for step, new in _values(evaluate, [start * 2.0**-k for k in range(1, max_halvings + 1)], first=12):
        if new <= value + armijo * step * slope:
            return step
    return 0.0


def _values(
    evaluate: Callable[[list[float]], Sequence[float] | np.ndarray], steps: list[float], first: int
) -> Iterator[tuple[float, float]]:
    """Yield steps and values, which are evaluated several at a time."""
    done = 0
    while done < len(steps):
        batch = steps[done : done + (12 if done else first)]
        yield from zip(batch, evaluate(batch), strict=True)
        done += len(batch)
