"""Networks for the tests of their solvers."""

from __future__ import annotations

import functools
from itertools import pairwise
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from dask_newton.blocks import SerialBlocks
from dask_newton.losses import Loss, Softmax
from dask_newton.objectives.network.activations import ACTIVATIONS
from dask_newton.objectives.network.layers import Layers
from dask_newton.objectives.network.objective import NetworkObjective
from dask_newton.objectives.rows.block import RowBlock
from dask_newton.penalties import L2

__all__ = ["blobs", "digits", "error", "network"]


@functools.cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    """Return 1437 rows of 64 grey values in [0, 1], and their classes."""
    X, y = load_digits(return_X_y=True)
    X, _, y, _ = train_test_split(X / 16, y.astype(float), test_size=0.2, random_state=0, stratify=y)
    return X, y


@functools.cache
def blobs() -> tuple[np.ndarray, np.ndarray]:
    """Return 60 rows of 4 features in 3 overlapping classes."""
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    return rng.normal(size=(60, 4)) + np.eye(3, 4)[y], y.astype(float)


def network(
    rows: tuple[np.ndarray, np.ndarray],
    hidden: tuple[int, ...] = (5,),
    *,
    m: int = 2,
    activation: str = "tanh",
    ridge: float = 1e-2,
    loss: Loss | None = None,
    weight: np.ndarray | None = None,
    cuts: tuple[int, ...] = (),
    **options: Any,
) -> NetworkObjective:
    """Return the objective of a classifier in this process, with a penalty of all parameters.

    Blocks are m equal ones, or those between ``cuts``.
    """
    X, y = rows
    loss = loss or Softmax(int(y.max()) + 1)
    rows_of = [slice(*ends) for ends in pairwise(cuts)] or np.array_split(np.arange(len(X)), m)
    blocks = SerialBlocks(len(rows_of))
    parts = [RowBlock(X[i], y[i], None if weight is None else weight[i], None, loss) for i in rows_of]
    layers = Layers((X.shape[1], *hidden, loss.n_outputs), ACTIVATIONS[activation]())
    return NetworkObjective.from_blocks(blocks, blocks.place(parts), layers, L2(ridge), penalize_bias=True, **options)


def error(F: NetworkObjective, theta: np.ndarray, rows: tuple[np.ndarray, np.ndarray]) -> float:
    """Return the part of the rows that a network puts into a wrong class."""
    A, y = rows
    *inner, (W, b) = F.layers.of(theta)
    for V, c in inner:
        A = F.layers.activation.value(A @ V + c)
    return float(np.mean(np.argmax(A @ W + b, axis=1) != y))


def walk(F, solver, n):
    """Return the states and infos of n steps from the start."""
    states, infos = [solver.init(F, F.null)], []
    for _ in range(n):
        state, info = solver.step(F, states[-1])
        states.append(state)
        infos.append(info)
    return states, infos
