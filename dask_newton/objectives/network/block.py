"""The arithmetic of one block of a multi-layer perceptron: pure functions of arrays of any namespace, without Dask.

With the layers of :mod:`~dask_newton.objectives.network.layers`, margins Z_L, weights s of the rows, * entry by entry:

    f(theta) = sum_j s_j l(y_j, z_j)
    backward   D_L = s * l',   D_{l-1} = (D_l W_l') * f'_{l-1},   grad W_l = A_{l-1}' D_l,   grad b_l = 1' D_l
    forward R  RZ_l = A_{l-1} V_l + 1 c_l' + RA_{l-1} W_l,   RA_l = f'_l * RZ_l,   RA_0 = 0,   for v = (V_l, c_l)
    backward R RD_L = s * l''[RZ_L],   products A_{l-1}' RD_l (+ RA_{l-1}' D_l) and 1' RD_l,
               RD_{l-1} = (RD_l W_l' (+ D_l V_l')) * f'_{l-1} (+ D_{l-1} * (f''/f')_{l-1} * RZ_{l-1})

The terms in brackets give products with the Hessian (Pearlmutter 1994). Without them they are products with the
generalised Gauss-Newton matrix (Schraudolph 2002), which is positive semidefinite if l is convex.

All work is matrix products over tiles of rows. Only ``X @ V`` and ``X.T @ R`` touch X, which may be CSR.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dask_newton.arrays import from_host, is_host, is_sparse, namespace, row_slice, transposed_product
from dask_newton.blocks import parallel
from dask_newton.objectives.network.layers import Layers
from dask_newton.objectives.rows.block import RowBlock
from dask_newton.objectives.rows.tiles import stripes

__all__ = ["NetworkBlock", "Remembered", "TileState", "adjoint"]

Array = Any
Model = list[tuple[Array, Array]]

_HOST_ROWS = 1024  # of a tile: enough for fast products with layers of a few hundred units
_DEVICE_BYTES = 2**30  # of a tile's activations: devices are fast with few large kernels


@dataclass(frozen=True, eq=False)
class TileState:
    """What curvature products need for a tile of rows.

    Attributes
    ----------
    activations, deltas : tuple of Array
        A_1 to A_{L-1}, and D_1 to D_L.
    curvature : Array
        From ``Loss.linearize``.
    """

    activations: tuple[Array, ...]
    deltas: tuple[Array, ...]
    curvature: Array


@dataclass(frozen=True, eq=False)
class Remembered:
    """What a block keeps from the linearisation at a point.

    Attributes
    ----------
    theta : Array, shape (P, 1)
        The point, in the arithmetic of the block.
    states : tuple of TileState
        By tile; empty if they would take too much memory. Then every product computes them again.
    """

    theta: Array
    states: tuple[TileState, ...]


@dataclass(frozen=True, eq=False)
class NetworkBlock:
    """The loss of a network on some rows.

    Attributes
    ----------
    rows : RowBlock
    layers : Layers
    """

    rows: RowBlock
    layers: Layers

    def values(self, thetas: Sequence[Array]) -> Array:
        """Return the sum of losses at several points, shape (n_points,), float64; inf or nan on overflow."""
        models = [self.layers.of(self.rows.cast(theta)) for theta in thetas]
        return self._values(models, lambda tile: (self._first_margins(model, tile) for model in models))

    def values_along(self, theta: Array, direction: Array, steps: Sequence[float]) -> Array:
        """Return :meth:`values` at ``theta + a direction`` for each a, with two products with X in all."""
        models = [self.layers.of(self.rows.cast(theta + step * direction)) for step in steps]
        here, there = (self.layers.of(self.rows.cast(vector)) for vector in (theta, direction))

        def first_margins(tile: slice) -> Iterator[Array]:
            Z, RZ = self._first_margins(here, tile), self._first_margins(there, tile)
            return (Z + step * RZ for step in steps)

        return self._values(models, first_margins)

    def _values(self, models: Sequence[Model], first_margins: Callable[[slice], Iterable[Array]]) -> Array:
        def stripe(tiles: Sequence[slice]) -> list[Array]:
            sums = [self._zero()] * len(models)
            with np.errstate(over="ignore", invalid="ignore"):
                for tile in tiles:
                    for j, Z in enumerate(first_margins(tile)):
                        _, Z = self._onward(models[j], Z, tile)
                        sums[j] = sums[j] + self.rows.sum(self.rows.loss.value(self.rows.y[tile, ...], Z), tile)
            return sums

        parts = parallel(stripe, stripes(self.tiles(), 8 * len(models)))
        sums = [sum((part[j] for part in parts), self._zero()) for j in range(len(models))]
        return namespace(self.rows.X).stack(sums)

    def margins(self, theta: Array) -> Array:
        """Return the margins of all rows, shape (n_rows, n_outputs), in the arithmetic of the block."""
        model = self.layers.of(self.rows.cast(theta))
        parts = parallel(lambda tile: self._forward(model, tile)[1], self.tiles() or [slice(0, 0)])
        return namespace(parts[0]).concat(parts, axis=0)

    def linearize(self, theta: Array, *, keep: bool) -> tuple[Array, Array, Remembered]:
        """Return the sum of losses, its gradient (P, 1), both float64, and what later products need."""
        theta = self.rows.cast(theta)
        model = self.layers.of(theta)

        def stripe(tiles: Sequence[slice]) -> tuple[Array, Array, list[TileState]]:
            value, gradient, states = self._zero(), self._zeros(), []
            with np.errstate(over="ignore", invalid="ignore"):
                for tile in tiles:
                    loss, state = self._state(model, tile)
                    value = value + loss
                    inputs = (row_slice(self.rows.X, tile), *state.activations)
                    for i, (A, D) in enumerate(zip(inputs, state.deltas, strict=True)):
                        self._add(gradient, i, adjoint(A, D), D)
                    if keep:
                        states.append(state)
            return value, gradient, states

        parts = parallel(stripe, stripes(self.tiles(), self._sum_bytes()))
        return (
            sum((part[0] for part in parts), self._zero()),
            _total([part[1] for part in parts]),
            Remembered(theta, tuple(state for part in parts for state in part[2])),
        )

    def remember(self, theta: Array, *, keep: bool) -> Remembered:
        """Return what :meth:`linearize` keeps for products, without the gradient."""
        theta = self.rows.cast(theta)
        model = self.layers.of(theta)
        states = parallel(lambda tile: self._state(model, tile)[1], self.tiles()) if keep else []
        return Remembered(theta, tuple(states))

    def state(self, remembered: Remembered, k: int) -> TileState:
        """Return the state of a tile, computed again if it was not kept."""
        if remembered.states:
            return remembered.states[k]
        return self._state(self.layers.of(remembered.theta), self.tiles()[k])[1]

    def hess_mul(self, remembered: Remembered, v: Array, *, exact: bool) -> Array:
        """Multiply the Hessian of the summed loss, or the Gauss-Newton matrix, with v, of shape (P, 1); float64.

        Parameters
        ----------
        remembered : Remembered
        v : Array, shape (P, 1)
        exact : bool
            Whether to multiply with the Hessian, rather than the Gauss-Newton matrix.
        """
        model, direction = self.layers.of(remembered.theta), self.layers.of(self.rows.cast(v))
        tiles = self.tiles()

        def stripe(indices: Sequence[int]) -> Array:
            total = self._zeros()
            for k in indices:
                self._add_product(total, model, direction, tiles[k], self.state(remembered, k), exact)
            return total

        return _total(parallel(stripe, stripes(range(len(tiles)), self._sum_bytes())))

    def _add_product(
        self, total: Array, model: Model, direction: Model, tile: slice, state: TileState, exact: bool
    ) -> None:
        """Add the product of a tile with a direction to ``total``."""
        inputs, deltas, f = (row_slice(self.rows.X, tile), *state.activations), state.deltas, self.layers.activation
        V, c = direction[0]
        RZ: list[Array] = [inputs[0] @ V + c]
        RA: list[Array] = [None]
        for i, A in enumerate(state.activations, 1):
            (W, _), (V, c) = model[i], direction[i]
            RA.append(f.derivative(A) * RZ[-1])
            RZ.append(A @ V + c + RA[i] @ W)
        RD = self.rows.weigh(self.rows.loss.hess_mul(state.curvature, RZ[-1]), tile)
        for i in range(len(model) - 1, 0, -1):
            A, (W, _), (V, _) = inputs[i], model[i], direction[i]
            product, back = A.T @ RD, RD @ W.T
            if exact:
                product, back = product + RA[i].T @ deltas[i], back + deltas[i] @ V.T
            self._add(total, i, product, RD)
            RD, ratio = back * f.derivative(A), f.derivative_ratio(A) if exact else None
            if ratio is not None:
                RD = RD + deltas[i - 1] * ratio * RZ[i - 1]
        self._add(total, 0, adjoint(inputs[0], RD), RD)

    def _forward(self, model: Model, tile: slice) -> tuple[list[Array], Array]:
        """Return A_1 to A_{L-1} and the margins of a tile."""
        return self._onward(model, self._first_margins(model, tile), tile)

    def _first_margins(self, model: Model, tile: slice) -> Array:
        W, b = model[0]
        return row_slice(self.rows.X, tile) @ W + b

    def _onward(self, model: Model, Z: Array, tile: slice) -> tuple[list[Array], Array]:
        """Return what :meth:`_forward` does, from the margins of the first layer."""
        activations = []
        for W, b in model[1:]:
            activations.append(self.layers.activation.value(Z))
            Z = activations[-1] @ W + b
        return activations, Z if self.rows.offset is None else Z + self.rows.offset[tile, :]

    def _state(self, model: Model, tile: slice) -> tuple[Array, TileState]:
        """Return the sum of losses of a tile, and its state."""
        activations, Z = self._forward(model, tile)
        value, gradient, curvature = self.rows.loss.linearize(self.rows.y[tile, ...], Z)
        deltas = [self.rows.weigh(gradient, tile)]
        for (W, _), A in zip(reversed(model[1:]), reversed(activations), strict=True):
            deltas.append((deltas[-1] @ W.T) * self.layers.activation.derivative(A))
        return self.rows.sum(value, tile), TileState(tuple(activations), tuple(reversed(deltas)), curvature)

    def _add(self, total: Array, i: int, product: Array, D: Array) -> None:
        """Add the part of a layer to a vector of the size of theta."""
        xp, (weights, biases) = namespace(total), self.layers.slices[i]
        total[weights, 0] += xp.reshape(product, (-1,))
        total[biases, 0] += xp.sum(D, axis=0, dtype=xp.float64)

    def tiles(self) -> list[slice]:
        """Return the rows of each tile."""
        n, X = self.rows.n_rows, self.rows.X
        size = _HOST_ROWS if is_host(X) else max(_HOST_ROWS, _DEVICE_BYTES // (16 * sum(self.layers.sizes)))
        return [slice(start, min(start + size, n)) for start in range(0, n, size)]

    def _sum_bytes(self) -> int:
        return 8 * self.layers.n_parameters

    def _zero(self) -> Array:
        return from_host(np.zeros(()), self.rows.X)

    def _zeros(self) -> Array:
        return from_host(np.zeros((self.layers.n_parameters, 1)), self.rows.X)


def adjoint(A: Array, D: Array) -> Array:
    """Return ``A' D``, contiguous by rows."""
    return transposed_product(A, D).T if is_sparse(A) else A.T @ D


def _total(parts: Sequence[Array]) -> Array:
    """Return the sum over stripes; the first is changed."""
    total, *rest = parts
    for part in rest:
        total += part
    return total
