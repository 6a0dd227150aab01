"""HF-Bi-CG-STAB: Hessian-free optimisation that uses directions of negative curvature (He et al. 2016, Alg. 3).

    (H + lam I) d = -g  by Bi-CG-STAB, which needs no definite matrix; with A = H + lam I, b = -g, r = r* = p = b - A x:

    alpha = <r, r*> / <A p, r*>,   s = r - alpha A p,       gamma = <s, A s> / <A s, A s>
    x += alpha p + gamma s,        r_new = s - gamma A s,   beta = (<r_new, r*> / <r, r*>) (alpha / gamma)
    p <- r_new + beta (p - gamma A p)

Candidates for the step, turned so that they descend: every iterate x; every p and s of negative curvature, with the
length |<g, p>| / |<p, A p>|, as such a direction has no natural one; and -g. Two products per iteration.

Where a scalar product vanishes the recursion breaks down, as it must for A = diag(1, -1), b = (1, 1). It begins anew
from x with another r*, a random one: with the same it would break down again. The rest of a step is in
:mod:`~dask_newton.solvers.network.hessian_free`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dask_newton.solvers.network.hessian_free import Candidates, HessianFree
from dask_newton.storage.registry import stored

__all__ = ["HFBiCGSTAB"]

_MAX_RESTARTS = 3
_BREAKDOWN = 1e-10
_RTOL = 1e-8


@stored("solver/hf-bicgstab")
@dataclass(frozen=True)
class HFBiCGSTAB(HessianFree):
    """Damped Newton steps by Bi-CG-STAB; its parameters are those of all Hessian-free solvers.

    It compares more candidates than the others, as the last ones need not be the best.
    """

    max_candidates: int = 24
    name = "hf-bicgstab"
    summary = "hf-cg with Bi-CG-STAB, which follows directions of negative curvature (He et al. 2016)"
    suited_to = "baseline"
    starts_exact = True

    def _solve(self, matvec: Callable[[np.ndarray], np.ndarray], b: np.ndarray, start: np.ndarray | None) -> Candidates:
        run = _Run(matvec, b, start, self.max_products)
        rng, shadow, restarts = np.random.default_rng(self.seed), run.r, 0
        while not run.converge(shadow) and restarts < _MAX_RESTARTS and run.products + 3 <= self.max_products:
            restarts += 1
            shadow = rng.normal(size=b.shape)
            run.renew()
        run.candidates.append((b, np.nan))
        return Candidates(run.candidates, run.products, run.negative)


class _Run:
    """Bi-CG-STAB on its way: x, r, and what was found."""

    def __init__(
        self, matvec: Callable[[np.ndarray], np.ndarray], b: np.ndarray, start: np.ndarray | None, max_products: int
    ) -> None:
        self.candidates: list[tuple[np.ndarray, float]] = []
        self.products = self.negative = 0
        self.x, self.r = np.zeros_like(b), b
        self._matvec, self._b, self._max_products = matvec, b, max_products
        self._small = _RTOL * float(np.linalg.norm(b))
        if start is not None:
            self.x = start
            self.renew()

    def renew(self) -> None:
        """Compute the residual anew."""
        self.r = self._b - self._product(self.x) if self.x.any() else self._b

    def converge(self, shadow: np.ndarray) -> bool:
        """Iterate; return whether the end came by itself, and not by a breakdown."""
        p, rho = self.r, float(np.vdot(self.r, shadow))
        while self.products + 2 <= self._max_products:
            if _vanishes(rho, self.r, shadow):
                return False
            Ap = self._direction(p)
            down = float(np.vdot(Ap, shadow))
            if _vanishes(down, Ap, shadow):
                return not np.isfinite(down)
            alpha = rho / down
            s = self.r - alpha * Ap
            if float(np.linalg.norm(s)) < self._small:
                self._move(alpha * p, s)
                return True
            As = self._direction(s)
            norm = float(np.vdot(As, As))
            gamma = float(np.vdot(s, As)) / norm if norm > 0 else 0.0
            if not abs(gamma) >= 1e-14:
                self._move(alpha * p, s)
                return not np.isfinite(gamma)
            self._move(alpha * p + gamma * s, s - gamma * As)
            if not float(np.linalg.norm(self.r)) >= self._small:  # or not finite
                return True
            rho, before = float(np.vdot(self.r, shadow)), rho
            p = self.r + (rho / before) * (alpha / gamma) * (p - gamma * Ap)
        return True

    def _product(self, v: np.ndarray) -> np.ndarray:
        self.products += 1
        return self._matvec(v)

    def _direction(self, d: np.ndarray) -> np.ndarray:
        """Return ``A d``, and remember d where it has negative curvature."""
        product = self._product(d)
        curvature, slope = float(np.vdot(d, product)), float(np.vdot(self._b, d))
        if curvature < 0:
            self.negative += 1
            length = slope / abs(curvature)
            self.candidates.append((length * d, length**2 * curvature))
        return product

    def _move(self, step: np.ndarray, residual: np.ndarray) -> None:
        """Take a step; the new x, or -x where that descends, is a candidate."""
        self.x, self.r = self.x + step, residual
        sign = 1.0 if float(np.vdot(self._b, self.x)) >= 0 else -1.0
        self.candidates.append((sign * self.x, float(np.vdot(self.x, self._b - self.r))))


def _vanishes(product: float, u: np.ndarray, v: np.ndarray) -> bool:
    return not abs(product) > _BREAKDOWN * float(np.linalg.norm(u) * np.linalg.norm(v))
