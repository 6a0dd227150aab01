"""The Hessian of a row sample that is too large to be factored: used through products, on the driver.

    M      = H_sample(W_0) + diag(max(0, h - diag H_sample)),    h = the diagonal for all rows, known or about c a
    M^{-1} r  ~=  conjugate gradients with diag(M), to norm(M x - r) <= rtol norm(r)

with a the squares of the columns and c the mean curvature of an output. The sample comes to the driver once, so that a
product costs no pass. The second term of M is for columns that the sample knows too little of, as nearly all columns
of texts are rarely not zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dask_newton.inner import CG, preconditioners
from dask_newton.objectives.linear.objective import LinearObjective, Point

__all__ = ["SampledProducts"]


@dataclass(frozen=True, eq=False)
class SampledProducts:
    """M, ready to be solved with.

    Attributes
    ----------
    sample : LinearObjective
        The rows of the sample, in this process.
    point : Point
        The sample linearised at W_0.
    shift, diagonal : ndarray, shape (q, K)
        The second term of M, and the whole diagonal.
    cg : CG
    """

    sample: LinearObjective
    point: Point
    shift: np.ndarray
    diagonal: np.ndarray
    cg: CG

    @classmethod
    def at(
        cls, sample: LinearObjective, W: np.ndarray, diagonal: np.ndarray | None = None, better: int = 1
    ) -> SampledProducts:
        """Return M at W.

        Parameters
        ----------
        sample : LinearObjective
        W : ndarray, shape (q, K)
        diagonal : ndarray of shape (q, K), optional
            h, without the penalty's part.
        better : int
            Solve so many times more exactly, with so many times more iterations at most.
        """
        point, ridge = sample.at(W), sample.ridge()
        own = sample.hess_diag(point) - ridge
        if diagonal is None:
            squares = sample.column_squares[:, None]
            diagonal = own.sum(axis=0) / max(float(squares.sum()), 1e-300) * squares
        shift = np.maximum(0.0, diagonal - own)
        return cls(sample, point, shift, own + shift + ridge, CG(0.3 / better, 20 * better))

    def solve(self, r: np.ndarray) -> np.ndarray:
        """Return about ``M^{-1} r``, of the shape (q, K)."""
        return self.cg.solve(
            lambda V: self.sample.hess_mul(self.point, V) + self.shift * V, r, preconditioners.jacobi(self.diagonal)
        ).x
