"""SVRG: stochastic gradients whose variance vanishes with the distance from where they start (Johnson, Zhang 2013).

    D = 0
    repeat  D -= a ( [grad f_B(D) - grad f_B(0)] + g )        B: a mini-batch of the rows, drawn without replacement

The bracket is the change of a batch's gradient since the start, where the gradient of the whole is known to be g. Its
mean over batches is that of the whole, so that every step is right in the mean, and steps get exact as D comes to rest.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from dask_newton.arrays import namespace
from dask_newton.inner.base import Array
from dask_newton.storage.registry import stored

__all__ = ["SVRG", "SVRGResult"]


class _Changes(Protocol):
    """What the method asks of a local objective."""

    @property
    def n_rows(self) -> int: ...
    def change(self, d: Array, rows: np.ndarray) -> Array:
        """Return the gradient at d less that at 0, estimated from some rows."""
        ...


@dataclass(frozen=True)
class SVRGResult:
    """Where SVRG ended.

    Attributes
    ----------
    x : Array
        D.
    n_iter : int
        Steps done.
    status : str
        'ok', or 'diverged' where D is not finite or longer than allowed.
    """

    x: Array
    n_iter: int
    status: str


@stored("inner-solver/svrg")
@dataclass(frozen=True)
class SVRG:
    """Variance-reduced stochastic gradient steps from one anchor.

    Parameters
    ----------
    steps : int
        Steps; the first uses g alone.
    batch_size : int
        Rows of a mini-batch. All rows make it gradient descent.
    learning_rate : float
        a.
    reach : float
        The norm of D beyond which the method has diverged.
    check_every : int
        Steps between looks at that, which stop for a device to finish.
    """

    steps: int = 50
    batch_size: int = 128
    learning_rate: float = 0.1
    reach: float = math.inf
    check_every: int = 8

    def minimize(self, objective: _Changes, g: Array, seed: list[int]) -> SVRGResult:
        """Do the steps from D = 0.

        Parameters
        ----------
        objective : local objective
            With ``n_rows`` and ``change(d, rows)``.
        g : Array
            The gradient at D = 0.
        seed : list of int
            Of the mini-batches.
        """
        xp = namespace(g)
        batches = self._batches(objective.n_rows, np.random.default_rng(seed))
        with np.errstate(over="ignore", invalid="ignore"):  # of a run that diverges, which its size shows
            D = -self.learning_rate * g
            for step in range(1, self.steps + 1):
                if step == self.steps or step % self.check_every == 0:
                    size = math.sqrt(float(xp.sum(D * D, dtype=xp.float64)))
                    if not (size <= self.reach and math.isfinite(size)):
                        return SVRGResult(D, step, "diverged")
                if step < self.steps:
                    D = D - self.learning_rate * (objective.change(D, next(batches)) + g)
        return SVRGResult(D, self.steps, "ok")

    def _batches(self, n_rows: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
        """Yield row numbers, ascending: the rows in random order and in full batches, again and again."""
        size = min(self.batch_size, n_rows)
        while True:
            n_batches = min(n_rows // size, self.steps)
            rows = rng.choice(n_rows, n_batches * size, replace=False)
            yield from np.sort(rows.reshape(n_batches, size), axis=1)
