"""Objectives for :func:`dask_newton.minimize`, from any container that estimators accept."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal

from dask_newton.arrays import host_dtype
from dask_newton.blocks import Blocks, PerBlock
from dask_newton.containers.inputs import open_rows
from dask_newton.containers.placement import BlockMaker, place_rows
from dask_newton.containers.targets import as_float, numeric_targets, require_outputs
from dask_newton.losses import Loss
from dask_newton.objectives.linear.objective import LinearObjective
from dask_newton.objectives.network.activations import ACTIVATIONS, Activation
from dask_newton.objectives.network.layers import Layers
from dask_newton.objectives.network.objective import NetworkObjective
from dask_newton.penalties import NoPenalty, Penalty

__all__ = ["make_network", "make_problem"]


def make_problem(
    X: Any,
    y: Any = None,
    *,
    loss: Loss,
    penalty: Penalty | Callable[[float], Penalty] | None = None,
    sample_weight: Any = None,
    offset: Any = None,
    fit_intercept: bool = True,
    n_blocks: int | None = None,
    persist: bool | Literal["auto"] = "auto",
) -> LinearObjective:
    r"""Make an objective of a regularised linear model, with any loss and any penalty, from any container.

    .. math::

        F(W) = \frac{1}{S} \sum_j s_j \, \ell(y_j, x_j^\top w + b + o_j) + R(w), \qquad S = \sum_j s_j, \quad W = (w; b)

    Parameters
    ----------
    X : array-like or Dask array of shape (n_samples, n_features), or path of a Zarr group
        Any container that estimators accept. A Zarr group may contain y, sample_weight and offset as well.
    y : array-like or Dask array of shape (n_samples,) or (n_samples, n_outputs), optional
        Numbers, as the loss expects them. Classes are given by their codes: 0 and 1 for
        :class:`~dask_newton.losses.Logistic`, 0 to C - 1 for :class:`~dask_newton.losses.Softmax`.
    loss : Loss
        :math:`\ell`: one of :mod:`dask_newton.losses`, or your own.
    penalty : Penalty or callable, optional
        R, one of :mod:`dask_newton.penalties`, added to the mean loss unchanged; or a function that returns it for S,
        such as ``lambda S: L2(1 / (C * S))``. By default there is no penalty.
    sample_weight : array-like or Dask array of shape (n_samples,), optional
        :math:`s_j`; by default 1.
    offset : array-like or Dask array of shape (n_samples,) or (n_samples, n_outputs), optional
        :math:`o_j`, added to the margins.
    fit_intercept : bool
        Whether the model has an intercept b, the last row of W, which is not penalised.
    n_blocks : int, optional
        Number of blocks of rows, of about equal length. By default the row chunks of a Dask array are the blocks, and
        arrays in memory are one block.
    persist : bool or 'auto'
        Whether the chunks of a Dask array stay in memory between passes, as for estimators.

    Returns
    -------
    LinearObjective
        For :func:`dask_newton.minimize`. Its ``shape`` is that of the coefficients.

    Raises
    ------
    ValueError
        If shapes are inconsistent, if values are not finite, or if the loss does not allow a target.

    Examples
    --------
    >>> from dask_newton import make_problem, minimize
    >>> from dask_newton.losses import Squared
    >>> from dask_newton.penalties import L2
    >>> problem = make_problem([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0], loss=Squared(), penalty=L2(1e-12))
    >>> minimize(problem, "newton-cholesky").W.round(6).tolist()
    [[2.0], [1.0]]
    """
    blocks, data, _ = _placed(X, y, loss, sample_weight, offset, n_blocks, persist)
    return LinearObjective.from_blocks(
        blocks, data, NoPenalty() if penalty is None else penalty, fit_intercept=fit_intercept
    )


def make_network(
    X: Any,
    y: Any = None,
    *,
    loss: Loss,
    hidden_layer_sizes: Sequence[int] = (100,),
    activation: str | Activation = "relu",
    penalty: Penalty | Callable[[float], Penalty] | None = None,
    penalize_bias: bool = False,
    sample_weight: Any = None,
    offset: Any = None,
    initialisation: str = "glorot",
    seed: int = 0,
    cache_limit: float = 2**31,
    n_blocks: int | None = None,
    persist: bool | Literal["auto"] = "auto",
) -> NetworkObjective:
    r"""Make an objective of a multi-layer perceptron, with any loss and any penalty, from any container.

    .. math::

        F(\theta) = \frac{1}{S} \sum_j s_j \, \ell(y_j, z_j + o_j) + R(W_1, \dots, W_L), \qquad
        z = f(\dots f(x W_1 + b_1) \dots) W_L + b_L

    Parameters
    ----------
    X, y, loss, sample_weight, offset, n_blocks, persist
        As for :func:`make_problem`.
    hidden_layer_sizes : sequence of int
        Number of units of each hidden layer. Without hidden layers the model is linear.
    activation : str or Activation
        f of the hidden layers: 'identity', 'leaky_relu', 'logistic', 'relu', 'tanh', or an object of
        :mod:`dask_newton.objectives.network.activations`.
    penalty : Penalty or callable, optional
        R, as for :func:`make_problem`, of the weights in one column.
    penalize_bias : bool
        Whether R includes the biases.
    initialisation : {'glorot', 'he', 'gauss'}
        Initial weights. 'glorot': uniform with variance 2 / (n_in + n_out); 'he': normal with variance 2 / n_in; both
        with zero biases. 'gauss': weights and biases normal with standard deviation 0.1.
    seed : int
        Seed of the initial weights. Every layer has its own stream.
    cache_limit : float
        Bytes of activations that all blocks together may keep between passes.

    Returns
    -------
    NetworkObjective
        For :func:`dask_newton.minimize`. Its ``layers.of(theta)`` are the weights and biases of each layer.

    Raises
    ------
    ValueError
        If shapes are inconsistent, if values are not finite, or if the loss does not allow a target.

    Examples
    --------
    >>> from dask_newton import make_network, minimize
    >>> from dask_newton.losses import Logistic
    >>> from dask_newton.penalties import L2
    >>> exclusive_or = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], [0.0, 1.0, 1.0, 0.0]
    >>> problem = make_network(
    ...     *exclusive_or, loss=Logistic(), hidden_layer_sizes=(4,), activation="tanh", penalty=L2(1e-4)
    ... )
    >>> minimize(problem, "gn-cg", tol=1e-4).value < 0.02
    True
    """
    if isinstance(activation, str):
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation={activation!r} is not known; choose one of {', '.join(sorted(ACTIVATIONS))}.")
        activation = ACTIVATIONS[activation]()
    blocks, data, n_features = _placed(X, y, loss, sample_weight, offset, n_blocks, persist)
    return NetworkObjective.from_blocks(
        blocks,
        data,
        Layers((n_features, *hidden_layer_sizes, loss.n_outputs), activation),
        NoPenalty() if penalty is None else penalty,
        penalize_bias=penalize_bias,
        seed=seed,
        initialisation=initialisation,
        cache_limit=cache_limit,
    )


def _placed(
    X: Any,
    y: Any,
    loss: Loss,
    sample_weight: Any,
    offset: Any,
    n_blocks: int | None,
    persist: bool | Literal["auto"],
) -> tuple[Blocks, PerBlock[Any], int]:
    """Return blocks of the rows, and the number of features."""
    rows = open_rows(X, y, sample_weight, offset, multi_output=loss.n_outputs > 1, y_numeric=True)
    if rows.y is None:
        raise ValueError("y is missing: pass it, or pass a container that holds it.")
    rows = numeric_targets(rows)
    require_outputs(rows, loss)
    encode = functools.partial(as_float, dtype=host_dtype(rows.X.dtype))
    return *place_rows(rows, BlockMaker(loss, encode), persist, n_blocks), rows.X.shape[1]
