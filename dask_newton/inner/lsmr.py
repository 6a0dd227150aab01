"""LSMR for damped least squares with a symmetric matrix (Fong and Saunders, SIAM J. Sci. Comput. 2011).

    x = argmin norm(A x - b)^2 + damping^2 norm(x)^2,      that is (A^2 + damping^2 I) x = A b

Golub-Kahan bidiagonalisation of A with two products per iteration, and MINRES on the normal equations, whose residual

    |zetabar| = norm(A (A x - b) + damping^2 x)

is known without a further product. It is what stops the method, as in condition (4a) of DINO (Crane and Roosta 2020).
The residual of least squares would not do: where A is singular it need not become small.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dask_newton.inner.base import Array, LocalResult, LocalSolver, Operator
from dask_newton.inner.device_loop import DeviceLoop
from dask_newton.storage.registry import stored

__all__ = ["LSMR"]


@stored("inner-solver/lsmr")
@dataclass(frozen=True)
class LSMR(LocalSolver):
    """Least squares with damping.

    Parameters
    ----------
    rtol : float
        Stop at ``norm(A (A x - b) + damping^2 x) <= rtol norm(A b)``.
    max_iter : int
        Iterations at most, of two products each.
    damping : float
        phi of DINGO and DINO.
    check_every : int, optional
        As for :class:`CG`.
    """

    rtol: float = 1e-4
    max_iter: int = 50
    damping: float = 0.0
    check_every: int | None = None

    @np.errstate(over="ignore", invalid="ignore")
    def solve(self, matvec: Operator, b: Array) -> LocalResult:
        """Minimise ``norm(A x - b)^2 + damping^2 norm(x)^2``.

        Parameters
        ----------
        matvec : callable
            ``matvec(v) = A v`` with A symmetric; it need not be definite or regular.
        b : Array
            Right side, of any shape.

        Returns
        -------
        LocalResult
            The residual is that of the normal equations.
        """
        loop = DeviceLoop(b, self.check_every)
        xp, number = loop.xp, loop.number

        def unit(w: Array) -> tuple[Array, Array]:
            norm = loop.norm(w)
            return norm, loop.times(loop.divide(number(1), norm), w)

        def rotation(a: Array, b: Array) -> tuple[Array, Array, Array]:
            length = xp.sqrt(a**2 + b**2)
            return loop.divide(a, length), loop.divide(b, length), length

        beta, u = unit(b)
        loop.stop(beta == 0, "zero")
        x = h = h_bar = v = xp.zeros_like(b)
        alpha = alpha_bar = zeta_bar = target = s_bar = number(0)
        rho = rho_bar = c_bar = number(1)
        for k in loop.iterations(self.max_iter):
            if k == 1:
                alpha, v = unit(matvec(u))
                loop.stop_unless_finite(alpha)
                loop.stop(alpha == 0, "zero")
                alpha_bar, h, zeta_bar, target = alpha, v, alpha * beta, alpha * beta
            beta_new, u_new = unit(matvec(v) - loop.times(alpha, u))
            alpha_new, v_new = unit(matvec(u_new) - loop.times(beta_new, v))
            loop.stop_unless_finite(alpha_new, beta_new)
            _, _, alpha_hat = rotation(alpha_bar, number(self.damping))
            c, s, rho_new = rotation(alpha_hat, beta_new)
            theta, theta_bar = s * alpha_new, s_bar * rho_new
            c_bar_new, s_bar_new, rho_bar_new = rotation(c_bar * rho_new, theta)
            back = loop.divide(theta_bar * rho_new, rho * rho_bar)
            h_bar_new = h - loop.times(back, h_bar)
            x_new = x + loop.times(loop.divide(c_bar_new * zeta_bar, rho_new * rho_bar_new), h_bar_new)
            h_new = v_new - loop.times(loop.divide(theta, rho_new), h)
            x, h, h_bar, u, v = loop.keep((x_new, x), (h_new, h), (h_bar_new, h_bar), (u_new, u), (v_new, v))
            alpha, alpha_bar, zeta_bar = loop.keep(
                (alpha_new, alpha), (c * alpha_new, alpha_bar), (-s_bar_new * zeta_bar, zeta_bar)
            )
            c_bar, s_bar, rho, rho_bar = loop.keep(
                (c_bar_new, c_bar), (s_bar_new, s_bar), (rho_new, rho), (rho_bar_new, rho_bar)
            )
            loop.stop(xp.abs(zeta_bar) <= self.rtol * target, "ok")
        n_iter, status, (relative,) = loop.end(loop.divide(xp.abs(zeta_bar), target))
        return LocalResult(x, n_iter, 2 * n_iter + (n_iter > 0), status, relative)
