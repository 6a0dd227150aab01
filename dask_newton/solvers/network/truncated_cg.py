"""Conjugate gradients for Hessian-free solvers: iterates on the way are candidates for the step (Martens 2010).

    x = x_0 (or 0),  r = b - A x,  p = r
    repeat  a = <r, r> / <p, A p>;   x += a p,  r -= a A p;   p = r + (<r, r>_new / <r, r>_old) p

With q(x) = x' A x / 2 - b' x = -x' (b + r) / 2, which the recursion of CG knows, it ends at the first i > k with

    q(x_i) < 0  and  (q(x_i) - q(x_{i-k})) / q(x_i) < k 5e-4,      k = max(10, ceil(i / 10))

and candidates are x_i for i = ceil(1.3^j) and the last. Where CG meets negative curvature it ends with the iterate that
it has; without any, a start that is not zero is given up for zero, and from there the candidate is b.

Three solvers differ in the curvature C of ``(C + lam I) d = -g``:

    hf-cg       C = H = hess F                                              (Martens 2010; He et al. 2016)
    gn-cg       C = G = (1/S) sum_j s_j J_j' l''_j J_j + hess R             (Schraudolph 2002; Martens 2010)
    hybrid-cg   C_{k+1} = G  if CG met negative curvature of C_k = H, else H         (He et al. 2016)

G is positive semidefinite, so that CG meets no negative curvature. The rest of a step is in
:mod:`~dask_newton.solvers.network.hessian_free`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dask_newton.solvers.network.hessian_free import Candidates, HessianFree
from dask_newton.storage.registry import stored

__all__ = ["GNCG", "HFCG", "HybridCG", "Iterates", "TruncatedCG"]

_PROGRESS = 5e-4
_RTOL = 1e-12


class Iterates:
    """Collects candidates on the way and says when to stop."""

    def __init__(self, b: np.ndarray) -> None:
        self.candidates: list[tuple[np.ndarray, float]] = []
        self._b = b
        self._models: list[float] = []
        self._last: tuple[np.ndarray, float] | None = None
        self._power = 0

    def __call__(self, x: np.ndarray, r: np.ndarray) -> bool:
        """Look at an iterate and its residual."""
        self._models.append(-0.5 * float(np.vdot(x, self._b + r)))
        self._last = x, float(np.vdot(x, self._b - r))
        i = len(self._models)
        if i >= math.ceil(1.3**self._power):
            self.candidates.append(self._last)
            while math.ceil(1.3**self._power) <= i:
                self._power += 1
        k, q = max(10, math.ceil(0.1 * i)), self._models[-1]
        return i > k and q < 0 and (q - self._models[-1 - k]) / q < k * _PROGRESS

    def all(self) -> list[tuple[np.ndarray, float]]:
        """Return the candidates with the last iterate."""
        if self._last is None or self.candidates[-1] is self._last:
            return self.candidates
        return [*self.candidates, self._last]


@dataclass(frozen=True)
class TruncatedCG(HessianFree):
    """A Hessian-free solver whose inner solver is CG."""

    def _solve(self, matvec: Callable[[np.ndarray], np.ndarray], b: np.ndarray, start: np.ndarray | None) -> Candidates:
        found = _iterate(matvec, b, start, self.max_products)
        if start is None or found.directions or not found.negative:
            return found
        again = _iterate(matvec, b, None, self.max_products)
        return Candidates(again.directions, found.n_products + again.n_products, found.negative + again.negative)


def _iterate(
    matvec: Callable[[np.ndarray], np.ndarray], b: np.ndarray, start: np.ndarray | None, max_products: int
) -> Candidates:
    """Return the candidates of conjugate gradients; none where a start meets negative curvature at once."""
    iterates, small = Iterates(b), _RTOL * float(np.linalg.norm(b))
    x, r, done = (np.zeros_like(b), b, 0) if start is None else (start, b - matvec(start), 1)
    p, rr = r, float(np.vdot(r, r))
    for k in range(done + 1, max_products + 1):
        if rr**0.5 <= small:
            return Candidates(iterates.all(), k - 1, 0)
        q = matvec(p)
        curvature = float(np.vdot(p, q))
        if not np.isfinite(curvature):
            return Candidates(iterates.all(), k, 0)
        if curvature <= 1e-14 * float(np.vdot(p, p)):
            first = [(p, curvature)] if k == 1 else []  # from zero the first direction is b
            return Candidates(iterates.all() or first, k, 1)
        a = rr / curvature
        x, r = x + a * p, r - a * q
        if iterates(x, r):
            return Candidates(iterates.all(), k, 0)
        rr, before = float(np.vdot(r, r)), rr
        p = r + (rr / before) * p
    return Candidates(iterates.all(), max_products, 0)


@stored("solver/gn-cg")
@dataclass(frozen=True)
class GNCG(TruncatedCG):
    """Gauss-Newton steps by conjugate gradients; its parameters are those of all Hessian-free solvers."""

    name = "gn-cg"
    summary = "Hessian-free optimisation with the Gauss-Newton matrix (Martens 2010)"
    suited_to = "networks whose Kronecker factors are too large for kfac"
    starts_exact = False


@stored("solver/hf-cg")
@dataclass(frozen=True)
class HFCG(TruncatedCG):
    """Damped Newton steps by conjugate gradients; its parameters are those of all Hessian-free solvers."""

    name = "hf-cg"
    summary = "Hessian-free optimisation with the Hessian"
    suited_to = "baseline"
    starts_exact = True


@stored("solver/hybrid-cg")
@dataclass(frozen=True)
class HybridCG(TruncatedCG):
    """Newton or Gauss-Newton steps by conjugate gradients; its parameters are those of all Hessian-free solvers."""

    name = "hybrid-cg"
    summary = "hf-cg with the Gauss-Newton matrix after negative curvature (He et al. 2016)"
    suited_to = "baseline"
    starts_exact = True

    def _exact(self, exact: bool, negative: bool) -> bool:
        return not (exact and negative)
