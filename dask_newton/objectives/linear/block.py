"""The arithmetic of one block of a linear model: pure functions of arrays of any namespace, without Dask.

With margins Z = X W + 1 b' + offset, where b is the last row of the coefficients when there is an intercept,

    f(W) = sum_j s_j l(y_j, z_j),    grad f = [X 1]' (s * l'),    hess f V = [X 1]' (s * l''[X V + 1 v_b'])

Only ``X @ V``, ``X.T @ R``, ``X.T @ (d * X)`` and row slices touch X, which may be sparse (CSR). Quantities with a row
per sample (margins, curvatures) are tuples of arrays, one per row tile.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dask_newton.arrays import by_column, from_host, namespace, row_slice, squares
from dask_newton.blocks import parallel
from dask_newton.losses import Loss
from dask_newton.objectives.rows.block import RowBlock
from dask_newton.objectives.rows.grams import weighted_grams
from dask_newton.objectives.rows.sums import TransposedSum
from dask_newton.objectives.rows.tiles import stripes, take_tiled, tiles

__all__ = ["LinearBlock", "BlockRay"]

Array = Any
Tiled = tuple[Array, ...]


@dataclass(frozen=True, eq=False)
class BlockRay:
    """The loss of a block along ``W + a D``, for several step sizes ``a``.

    Attributes
    ----------
    values : Array
        Sum of losses at each step size, shape (n_steps,), float64.
    gradient : Array or None
        Gradient at the first step size, shape (q, K), float64.
    margins, curvature : tuple of Array
        At the first step size, by row tile; curvature is empty without a gradient.
    direction_margins : tuple of Array
        Margins of the direction D, by row tile; empty if there is none.
    """

    values: Array
    gradient: Any
    margins: Tiled
    curvature: Tiled
    direction_margins: Tiled


@dataclass(frozen=True, eq=False)
class LinearBlock:
    """The loss of a linear model on some rows.

    Attributes
    ----------
    rows : RowBlock
    fit_intercept : bool
        Whether the coefficients have a last row for which X has no column.
    """

    rows: RowBlock
    fit_intercept: bool

    @property
    def shape(self) -> tuple[int, int]:
        """Shape (q, K) of the coefficients."""
        return self.rows.X.shape[1] + self.fit_intercept, self.rows.loss.n_outputs

    def ray(
        self,
        W: Array | None = None,
        D: Array | None = None,
        steps: Sequence[float] = (0.0,),
        *,
        margins: Tiled = (),
        direction_margins: Tiled = (),
        gradient: bool = True,
    ) -> BlockRay:
        """Evaluate the loss along a ray: one read of X, or none if all margins are given and there is no gradient.

        Parameters
        ----------
        W, D : Array of shape (q, K), optional
            Point and direction. Not needed where their margins are given.
        steps : sequence of float
            Step sizes. Gradient and curvature belong to the first.
        margins, direction_margins : tuple of Array
            Known margins of W and D.
        gradient : bool
            Whether to compute the gradient and curvature.
        """
        data, xp = self.rows, namespace(self.rows.X)
        cuts = tiles(data.X)
        W, D = data.cast(W), data.cast(D)

        def stripe(indices: Sequence[int]) -> tuple[list[Array], TransposedSum, list[tuple[Array, ...]]]:
            sums: list[Array] = [0.0] * len(steps)
            grad = TransposedSum(self.fit_intercept)
            kept = []
            for i in indices:
                X = row_slice(data.X, cuts[i])
                with np.errstate(over="ignore", invalid="ignore"):  # too long a step: line searches reject inf and nan
                    z = margins[i] if margins else self._margins(X, W, cuts[i], data.offset)
                    dz: Array = (
                        direction_margins[i]
                        if direction_margins
                        else None
                        if D is None
                        else self._margins(X, D, cuts[i], None)
                    )
                    first = z if dz is None or steps[0] == 0 else z + steps[0] * dz
                    curvature = None
                    if gradient:
                        value, g, curvature = data.loss.linearize(data.y[cuts[i], ...], first)
                        grad.add(X, data.weigh(g, cuts[i]))
                    else:
                        value = data.loss.value(data.y[cuts[i], ...], first)
                    sums[0] = sums[0] + data.sum(value, cuts[i])
                    for j, step in enumerate(steps[1:], 1):
                        sums[j] = sums[j] + data.sum(data.loss.value(data.y[cuts[i], ...], z + step * dz), cuts[i])
                kept.append((first, curvature, dz))
            return sums, grad, kept

        parts = parallel(stripe, stripes(range(len(cuts)), 8 * self.shape[0] * self.shape[1])) if cuts else []
        kept = [tile for part in parts for tile in part[2]]
        zero = from_host(np.zeros(()), data.X)
        return BlockRay(
            values=xp.stack([sum((part[0][j] for part in parts), zero) for j in range(len(steps))]),
            gradient=TransposedSum.total([part[1] for part in parts], data.X, self.shape) if gradient else None,
            margins=tuple(tile[0] for tile in kept),
            curvature=tuple(tile[1] for tile in kept) if gradient else (),
            direction_margins=tuple(tile[2] for tile in kept) if direction_margins or D is not None else (),
        )

    def gradient_change(self, rows: np.ndarray, margins: Tiled, D: Array) -> Array:
        """Return the change of the gradient of some rows' summed loss from W, whose margins are known, to W + D."""
        data, D = self.rows.take(rows), self.rows.cast(D)
        z = take_tiled(margins, tiles(self.rows.X), rows)
        total = TransposedSum(self.fit_intercept)
        for cut in tiles(data.X):
            X, y = row_slice(data.X, cut), data.y[cut, ...]
            moved = z[cut, :] + self._margins(X, D, cut, None)
            change = data.loss.linearize(y, moved)[1] - data.loss.linearize(y, z[cut, :])[1]
            total.add(X, data.weigh(change, cut))
        return TransposedSum.total([total], self.rows.X, self.shape)

    def hess_mul(self, curvature: Tiled, V: Array) -> Array:
        """Multiply the Hessian of the summed loss with V, of shape (q, K) or, for b vectors at once, (q, K, b)."""
        data, xp = self.rows, namespace(self.rows.X)
        cuts = tiles(data.X)
        q, K = self.shape
        batch = V.shape[2] if V.ndim == 3 else 1
        columns = xp.reshape(xp.permute_dims(V, (0, 2, 1)), (q, batch * K)) if V.ndim == 3 else V
        columns = data.cast(columns)

        def stripe(indices: Sequence[int]) -> TransposedSum:
            total = TransposedSum(self.fit_intercept)
            for i in indices:
                X = row_slice(data.X, cuts[i])
                dz = self._margins(X, columns, cuts[i], None)
                parts = [data.loss.hess_mul(curvature[i], dz[:, j * K : (j + 1) * K]) for j in range(batch)]
                u = parts[0] if batch == 1 else xp.concat(parts, axis=1)
                total.add(X, data.weigh(u, cuts[i]))
            return total

        parts = parallel(stripe, stripes(range(len(cuts)), 8 * q * K * batch)) if cuts else []
        product = TransposedSum.total(parts, data.X, (q, batch * K))
        return xp.permute_dims(xp.reshape(product, (q, batch, K)), (0, 2, 1)) if V.ndim == 3 else product

    def hess_diag(self, curvature: Tiled) -> Array:
        """Return the diagonal of the Hessian of the summed loss, shape (q, K), float64."""
        data, K = self.rows, self.shape[1]
        xp, cuts = namespace(data.X), tiles(data.X)

        def stripe(indices: Sequence[int]) -> TransposedSum:
            total = TransposedSum(self.fit_intercept)
            for i in indices:
                d = xp.stack([data.loss.hess_entry(curvature[i], k, k) for k in range(K)], axis=1)
                total.add(squares(row_slice(data.X, cuts[i])), data.weigh(d, cuts[i]))
            return total

        parts = parallel(stripe, stripes(range(len(cuts)), 8 * self.shape[0] * K)) if cuts else []
        return TransposedSum.total(parts, data.X, self.shape)

    def curvature_trace(self, curvature: Tiled) -> float:
        """Return the sum of the absolute values on the diagonal of the Hessian: for convex losses its upper bound."""
        diagonal = self.hess_diag(curvature)
        xp = namespace(diagonal)
        return float(xp.sum(xp.abs(diagonal)))

    def grams(self, curvature: Tiled, entries: Sequence[Callable[[Loss, Array], Array]]) -> list[Array]:
        """Return ``[X 1]' diag(s * h) [X 1]`` for several ``h``, each of shape (q, q), float64.

        Parameters
        ----------
        curvature : tuple of Array
            By row tile.
        entries : sequence of callable
            ``h = entry(loss, curvature_of_tile)``, shape (n_tile_rows,).
        """
        data, cuts = self.rows, tiles(self.rows.X)
        weights = [
            lambda i, entry=entry: data.weigh(entry(data.loss, curvature[i])[:, None], cuts[i]) for entry in entries
        ]
        return weighted_grams(data.X, self.fit_intercept, weights)

    def _margins(self, X: Array, V: Array, rows: slice, offset: Array | None) -> Array:
        """Return ``[X 1] V + offset`` for a tile ``X``, the rows ``rows`` of the block."""
        p = X.shape[1]
        z = by_column(X @ V[:p, :])
        if self.fit_intercept:
            z += V[p, :]
        if offset is not None:
            z += offset[rows, :]
        return z
