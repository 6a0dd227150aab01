"""Objectives for :func:`dask_newton.minimize`, from the containers that estimators take."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal

from dask_newton.arrays import host_dtype
from dask_newton.estimators.inputs import open_rows
from dask_newton.estimators.placement import BlockMaker, place_rows
from dask_newton.estimators.targets import as_float, numeric_targets, require_outputs
from dask_newton.losses import Loss
from dask_newton.objectives.linear import LinearObjective
from dask_newton.penalties import NoPenalty, Penalty

__all__ = ["make_problem"]


def make_problem(
    X: Any, y: Any = None, *, loss: Loss, penalty: Penalty | Callable[[float], Penalty] | None = None,
    sample_weight: Any = None, offset: Any = None, fit_intercept: bool = True, n_blocks: int | None = None,
    persist: bool | Literal["auto"] = "auto",
) -> LinearObjective:
    r"""Make an objective of a regularised linear model, with any loss and any penalty, from any container.

    .. math::

        F(W) = \frac{1}{S} \sum_j s_j \, \ell(y_j, x_j^\top w + b + o_j) + R(w), \qquad S = \sum_j s_j, \quad W = (w; b)

    Parameters
    ----------
    X : array-like or Dask array of shape (n_samples, n_features), or path of a Zarr group
        Whatever estimators take. A Zarr group may bring y, sample_weight and offset along.
    y : array-like or Dask array of shape (n_samples,) or (n_samples, n_outputs), optional
        Numbers, as the loss wants them. Classes are given by their codes: 0 and 1 for
        :class:`~dask_newton.losses.Logistic`, 0 to C - 1 for :class:`~dask_newton.losses.Softmax`.
    loss : Loss
        :math:`\ell`: one of :mod:`dask_newton.losses`, or your own.
    penalty : Penalty or callable, optional
        R, one of :mod:`dask_newton.penalties`, added to the mean loss as it is; or a function that makes it from S,
        such as ``lambda S: L2(1 / (C * S))``. By default there is none.
    sample_weight : array-like or Dask array of shape (n_samples,), optional
        :math:`s_j`; by default 1.
    offset : array-like or Dask array of shape (n_samples,) or (n_samples, n_outputs), optional
        :math:`o_j`, added to the margins.
    fit_intercept : bool
        Whether there is a b, the last row of W. It is not penalised.
    n_blocks : int, optional
        Into how many blocks of rows of about the same size the data are split. By default the row chunks of a Dask
        array are the blocks, and arrays in memory are one block.
    persist : bool or 'auto'
        Whether the chunks of a Dask array stay in memory between passes, as for estimators.

    Returns
    -------
    LinearObjective
        For :func:`dask_newton.minimize`. Its ``shape`` is that of the coefficients.

    Raises
    ------
    ValueError
        If shapes do not fit together, if values are not finite, or if the loss does not allow a target.

    Examples
    --------
    >>> from dask_newton import make_problem, minimize
    >>> from dask_newton.losses import Squared
    >>> from dask_newton.penalties import L2
    >>> problem = make_problem([[0.0], [1.0], [2.0]], [1.0, 3.0, 5.0], loss=Squared(), penalty=L2(1e-12))
    >>> minimize(problem, "newton-cholesky").W.round(6).tolist()
    [[2.0], [1.0]]
    """
    rows = open_rows(X, y, sample_weight, offset, multi_output=loss.n_outputs > 1, y_numeric=True)
    if rows.y is None:
        raise ValueError("make_problem needs y: give it, or a container that holds it.")
    rows = numeric_targets(rows)
    require_outputs(rows, loss)
    encode = functools.partial(as_float, dtype=host_dtype(rows.X.dtype))
    blocks, data = place_rows(rows, BlockMaker(loss, fit_intercept, encode), persist, n_blocks)
    return LinearObjective.from_blocks(blocks, data, NoPenalty() if penalty is None else penalty)
