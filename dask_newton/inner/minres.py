"""MINRES with detection of non-positive curvature, and with lifting to the pseudo-inverse solution.

Lanczos vectors v_k of A and b, and rotations (c_k, s_k) that keep the tridiagonal matrix triangular (Paige and Saunders
1975); phi_k = norm(r_k) with r_k = b - A x_k:

    q = A v_k - beta_k v_{k-1},  alpha = <v_k, q>,  q -= alpha v_k,   beta_{k+1} = norm(q),  v_{k+1} = q / beta_{k+1}
    delta2 = c_{k-1} delta_k + s_{k-1} alpha,                         gamma1 = s_{k-1} delta_k - c_{k-1} alpha
    epsilon_{k+1} = s_{k-1} beta_{k+1},                               delta_{k+1} = -c_{k-1} beta_{k+1}
    gamma2 = sqrt(gamma1^2 + beta_{k+1}^2),                           c_k = gamma1 / gamma2,  s_k = beta_{k+1} / gamma2
    d_k = (v_k - delta2 d_{k-1} - epsilon_k d_{k-2}) / gamma2,        x_k = x_{k-1} + c_k phi_{k-1} d_k
    r_k = s_k^2 r_{k-1} - s_k phi_{k-1} c_k v_{k+1},                  phi_k = s_k phi_{k-1}

After the product of iteration k, two quantities of the iterate before are known without another one:

    <r_{k-1}, A r_{k-1}> = -c_{k-1} gamma1 phi_{k-1}^2
    norm(A r_{k-1}) = phi_{k-1} sqrt(gamma1^2 + delta_{k+1}^2),       norm(A x_{k-1})^2 = norm(b)^2 - phi_{k-1}^2

The first tells non-positive curvature. While there is none, x_k and r_k, for b = -g, are directions of descent:
<x_k, b> >= <x_k, A x_k> > 0 and <r_k, b> = norm(r_k)^2 (Liu and Roosta, arXiv 2208.07095). The second is the test for
the end. Where A is singular and b not in its range, x_k comes near to a solution of least squares, and

    x_k - (<r_k, x_k> / norm(r_k)^2) r_k

to the one of smallest norm, the pseudo-inverse times b (lifting: Liu, Milzarek and Roosta, arXiv 2309.17096).
MINRES-QLP would find the same vector.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from dask_newton.inner.base import Array, LocalResult, LocalSolver, Operator
from dask_newton.inner.device_loop import DeviceLoop
from dask_newton.storage.registry import stored

__all__ = ["MINRES"]


@stored("inner-solver/minres")
@dataclass(frozen=True)
class MINRES(LocalSolver):
    """Minimal residuals.

    Parameters
    ----------
    rtol : float
        eta; stop at ``norm(A r) <= eta norm(A x)``. Below what the arithmetic allows the method stops by itself.
    max_iter : int
        At most so many products with A.
    detect_npc : bool
        Stop where the residual is a direction of non-positive curvature, and return that residual. Otherwise
        indefinite systems are solved.
    lift : bool
        Whether to lift solutions. Those that have stopped at ``max_norm`` are always lifted.
    max_norm : float
        Stop before ``norm(x)`` exceeds ``max_norm norm(b) / norm(A)``: b is not in the range of A, or hardly. The
        iterate with the smallest ``norm(A r)`` is returned then.
    check_every : int, optional
        As for :class:`CG`.
    """

    rtol: float = 1e-4
    max_iter: int = 200
    detect_npc: bool = True
    lift: bool = False
    max_norm: float = 1e7
    check_every: int | None = None

    @np.errstate(over="ignore", invalid="ignore")
    def solve(self, matvec: Operator, b: Array, look: Callable[[Array, Array], bool] | None = None) -> LocalResult:
        """Solve ``A x = b`` in the sense of least squares.

        Parameters
        ----------
        matvec : callable
            ``matvec(v) = A v`` with A symmetric; it need not be definite or regular.
        b : Array
            Right side, of any shape.
        look : callable, optional
            ``look(x_k, r_k)`` is called with every iterate, and may end the method by returning True.

        Returns
        -------
        LocalResult
            With status 'npc', x is the residual at which the method stopped, a direction of non-positive curvature.
            ``n_iter`` counts products; the last of them often serves the tests alone.
        """
        loop = DeviceLoop(b, self.check_every)
        xp, number = loop.xp, loop.number
        zero = xp.zeros_like(b)
        norm_b = loop.norm(b)
        loop.stop(norm_b == 0, "zero")
        x, r, d, d_old, v_old = zero, b, zero, zero, zero
        v = loop.times(loop.divide(number(1), norm_b), b)
        c, s, beta, delta, epsilon, norm_A = number(-1), number(0), number(0), number(0), number(0), number(0)
        phi, smallest = norm_b, loop.infinity
        best, best_x, best_r = loop.infinity, zero, b
        rounding = 50 * float(xp.finfo(b.dtype).eps)
        for k in loop.iterations(self.max_iter):
            q = matvec(v) - loop.times(beta, v_old)
            alpha = loop.dot(v, q)
            q = q - loop.times(alpha, v)
            beta_new = loop.norm(q)
            loop.stop_unless_finite(alpha, beta_new)
            v_new = loop.times(loop.divide(number(1), beta_new), q)
            size = xp.sqrt(alpha**2 + beta**2 + beta_new**2)
            (norm_A,) = loop.keep((xp.maximum(norm_A, size), norm_A))
            delta2, gamma1 = c * delta + s * alpha, s * delta - c * alpha
            epsilon_new, delta_new = s * beta_new, -c * beta_new
            Ar = xp.sqrt(gamma1**2 + delta_new**2)  # relative to norm(r)
            (better,) = loop.keep((phi * Ar, best))
            best_x, best_r = loop.where(better < best, x, best_x), loop.where(better < best, r, best_r)
            best = xp.minimum(best, better)
            if k > 1:
                Ax = xp.sqrt(xp.maximum(norm_b**2 - phi**2, number(0)))
                loop.stop(phi * Ar <= self.rtol * Ax, "ok")
            if k > 1 or not self.detect_npc:
                loop.stop(Ar <= rounding * norm_A, "ok")  # r is in the null space
            (smallest,) = loop.keep((xp.minimum(smallest, -c * gamma1), smallest))
            if self.detect_npc:
                loop.stop(c * gamma1 >= 0, "npc")
            gamma2 = xp.sqrt(gamma1**2 + beta_new**2)
            c_new, s_new = loop.divide(gamma1, gamma2), loop.divide(beta_new, gamma2)
            d_new = v - loop.times(delta2, d) - loop.times(epsilon, d_old)
            d_new = loop.times(loop.divide(number(1), gamma2), d_new)
            x_new = x + loop.times(c_new * phi, d_new)
            loop.stop(loop.norm(x_new) * norm_A > self.max_norm * norm_b, "singular")
            r_new = loop.times(s_new**2, r) - loop.times(s_new * phi * c_new, v_new)
            x, r, d, d_old, v, v_old = loop.keep((x_new, x), (r_new, r), (d_new, d), (d, d_old), (v_new, v), (v, v_old))
            c, s, beta, delta, epsilon, phi = loop.keep(
                (c_new, c),
                (s_new, s),
                (beta_new, beta),
                (delta_new, delta),
                (epsilon_new, epsilon),
                (s_new * phi, phi),
            )
            loop.ask(look, x, r)
            loop.stop(beta_new <= rounding * norm_A, "ok")  # the Krylov space is exhausted
        n_iter, status, (relative, smallest) = loop.end(loop.divide(phi, norm_b), smallest)
        if status == "npc":
            x = r
        elif status == "singular":
            x, r = best_x, best_r
        if status == "singular" or (status == "ok" and self.lift and relative > 1e-12):
            x = x - loop.times(loop.divide(loop.dot(r, x), loop.dot(r, r)), r)
        return LocalResult(x, n_iter, n_iter, status, relative, smallest, status == "npc")
