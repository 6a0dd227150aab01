"""Iterations whose scalars stay on the device, so that the host need not wait for each of them.

An ``if`` on a number of the device makes the host wait for all work sent there. So the numbers of a Krylov method are
arrays without dimensions, and a method that has stopped goes on without effect: its loop is *frozen*, every quantity
keeps its value, until the host next looks. The results do not depend on how often it does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from dask_newton.arrays import from_host, is_host, namespace, to_host
from dask_newton.inner.base import Array

__all__ = ["DeviceLoop"]

_STATUSES = ("max_iter", "ok", "zero", "npc", "singular", "nan")


class DeviceLoop:
    """One run of an iterative method.

    Parameters
    ----------
    b : Array
        A vector of the method, which tells the namespace, device and precision.
    check_every : int or None
        Iterations between two looks of the host; None is 1 for arrays of the host and 8 for those of a device.
    """

    def __init__(self, b: Array, check_every: int | None) -> None:
        self.xp = namespace(b)
        self._host = is_host(b)
        self._every = check_every or (1 if self._host else 8)
        self._double = b.dtype == self.xp.float64
        self._zero, self._one = from_host(np.zeros(()), b), from_host(np.ones(()), b)
        self._never = self._zero != 0
        self._active = self._zero == 0
        self._status, self._n_iter = self.number(0), self.number(0)

    def number(self, value: float) -> Array:
        """Return a number as an array without dimensions."""
        return self._zero + value

    def dot(self, u: Array, v: Array) -> Array:
        """Return ``<u, v>`` in double precision."""
        xp = self.xp
        if not self._double:
            u, v = xp.astype(u, xp.float64), xp.astype(v, xp.float64)
        if u.ndim != 1:
            u, v = xp.reshape(u, (-1,)), xp.reshape(v, (-1,))
        return xp.vecdot(u, v)

    def norm(self, u: Array) -> Array:
        """Return ``norm(u)``."""
        return self.xp.sqrt(self.dot(u, u))

    def times(self, a: Array, u: Array) -> Array:
        """Return a number times a vector, in the precision of the vectors."""
        return (a if self._double else self.xp.astype(a, u.dtype)) * u

    def divide(self, a: Array, b: Array) -> Array:
        """Return ``a / b``, and 0 where b is 0."""
        possible = b != 0
        return self.where(possible, a / self.where(possible, b, self._one), self._zero)

    def where(self, condition: Array, new: Array, old: Array) -> Array:
        """Return ``new`` if the condition holds, else ``old``."""
        if self._host:
            return new if condition else old
        return self.xp.where(condition, new, old)

    def keep(self, *pairs: tuple[Array, Array]) -> tuple[Array, ...]:
        """Return, of each pair (new, old), the new one while the loop is active."""
        active = self._active
        return tuple(self.where(active, new, old) for new, old in pairs)

    def iterations(self, max_iter: int) -> Iterator[int]:
        """Yield 1, 2, ... while the loop is active, as far as the host knows."""
        for k in range(1, max_iter + 1):
            if (k - 1) % self._every == 0 and not to_host(self._active):
                return
            self._n_iter = self.where(self._active, self.number(k), self._n_iter)
            yield k

    def stop(self, condition: Array, status: str) -> None:
        """Freeze the loop if the condition holds."""
        if self._host and not condition:
            return
        now = self.where(self._active, condition, self._never)
        self._status = self.where(now, self.number(_STATUSES.index(status)), self._status)
        self._active = self.where(now, self._never, self._active)

    def ask(self, stop: Callable[..., bool] | None, *arrays: Array) -> None:
        """Freeze the loop if the host says so, which is asked while the loop is active."""
        if stop is not None and to_host(self._active) and stop(*arrays):
            self.stop(self._active, "ok")

    def stop_unless_finite(self, *numbers: Array) -> None:
        """Freeze the loop with status 'nan' if a number is not finite."""
        for a in numbers:
            self.stop(self.xp.logical_not(self.xp.isfinite(a)), "nan")

    def end(self, *numbers: Array) -> tuple[int, str, list[float]]:
        """Return the iterations done, the status, and some numbers, in one copy to the host."""
        n_iter, status, *rest = to_host(self.xp.stack([self._n_iter, self._status, *numbers]))
        return int(n_iter), _STATUSES[int(status)], [float(a) for a in rest]

    @property
    def infinity(self) -> Array:
        """An infinite number."""
        return self.number(math.inf)
