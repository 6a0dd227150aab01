r"""Random problems with known coefficients, generated chunk by chunk where they are needed.

Softmax: row :math:`x_{ij} = s_j g_{ij}` with independent standard normal :math:`g`, column scales :math:`s_j`
falling geometrically from 1 to ``1 / condition``, and labels drawn from

.. math:: P(y_i = k) = \exp(x_i^T w_k + b_k) / \sum_l \exp(x_i^T w_l + b_l).

With ``density`` X is sparse: a row has about ``density * n_features`` entries :math:`s_j g_{ij}`, in columns drawn with
probabilities that fall as :math:`1 / \sqrt{j + 1}`, as a few words occur in most texts.

Every chunk has its own random stream, seeded by (seed, chunk number), so the data do not depend on the
scheduler, the number of workers or the order of the tasks; they do depend on ``chunk_rows``.
"""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import scipy.sparse

from dask_newton.data.layout import default_chunk_rows, sparse_row_bytes

__all__ = ["make_regression", "make_softmax"]

# Independent random streams of a chunk (for the coefficients, of the problem).
_COEFFICIENTS, _FEATURES, _TARGETS = 0, 1, 2


def make_softmax(
    n_samples: int,
    n_features: int,
    n_classes: int,
    *,
    chunk_rows: int | None = None,
    condition: float = 1.0,
    separation: float = 3.0,
    density: float | None = None,
    dtype: Any = np.float64,
    random_state: int = 0,
) -> tuple[da.Array, da.Array, np.ndarray, np.ndarray]:
    """Make a classification problem that follows the softmax model.

    Parameters
    ----------
    n_samples, n_features, n_classes : int
        Sizes; at least two classes.
    chunk_rows : int, optional
        Rows per block; by default as many as take 32 MiB.
    condition : float, default 1
        Largest over smallest standard deviation of the columns of ``X``, about the condition number of ``X``.
    separation : float, default 3
        Standard deviation of the true margins; larger is easier to classify.
    density : float, optional
        Share of the entries of ``X`` that are not zero. With it the blocks of ``X`` are
        :class:`scipy.sparse.csr_array`.
    dtype : dtype, default float64
        Type of ``X``.
    random_state : int, default 0
        Seed.

    Returns
    -------
    X : dask.array.Array of shape (n_samples, n_features)
        Features.
    y : dask.array.Array of shape (n_samples,)
        Labels 0 to n_classes - 1, int64.
    coef : numpy.ndarray of shape (n_classes, n_features)
        The true coefficients, whose mean over the classes is zero. For two classes scikit-learn's single row
        is ``coef[1] - coef[0]``.
    intercept : numpy.ndarray of shape (n_classes,)
        The true intercepts, with zero mean.
    """
    if n_classes < 2:
        raise ValueError(f"n_classes is {n_classes}; give at least 2.")
    X, scales = _features(n_samples, n_features, chunk_rows, condition, density, dtype, random_state)
    rng = np.random.default_rng([random_state, _COEFFICIENTS])
    per_row = n_features * (density or 1.0)
    coef = rng.standard_normal((n_classes, n_features)) * (separation / np.sqrt(per_row)) / scales
    intercept = 0.5 * rng.standard_normal(n_classes)
    coef -= coef.mean(axis=0)
    intercept -= intercept.mean()
    y = da.map_blocks(
        _draw_labels,
        X,
        coef,
        intercept,
        random_state,
        drop_axis=1,
        dtype=np.int64,
        meta=np.empty(0, np.int64),
    )
    return X, y, coef, intercept


def make_regression(
    n_samples: int,
    n_features: int,
    *,
    family: str = "gaussian",
    noise: float = 1.0,
    chunk_rows: int | None = None,
    condition: float = 1.0,
    density: float | None = None,
    dtype: Any = np.float64,
    random_state: int = 0,
) -> tuple[da.Array, da.Array, np.ndarray, float]:
    """Make a regression problem that follows a linear or a log-linear model.

    Parameters
    ----------
    n_samples, n_features : int
        Sizes.
    family : {"gaussian", "poisson"}
        ``y = x w + b + noise * normal``, or counts with mean ``exp(x w + b)``.
    noise : float, default 1
        Standard deviation of the Gaussian errors.
    chunk_rows, condition, density, dtype, random_state
        As for :func:`make_softmax`.

    Returns
    -------
    X : dask.array.Array of shape (n_samples, n_features)
        Features.
    y : dask.array.Array of shape (n_samples,)
        Targets, float64.
    coef : numpy.ndarray of shape (n_features,)
        The true coefficients.
    intercept : float
        The true intercept.
    """
    if family not in ("gaussian", "poisson"):
        raise ValueError(f"family is {family!r}; give 'gaussian' or 'poisson'.")
    X, scales = _features(n_samples, n_features, chunk_rows, condition, density, dtype, random_state)
    coef = np.random.default_rng([random_state, _COEFFICIENTS]).standard_normal(n_features)
    coef *= (1.0 if family == "gaussian" else 0.5) / np.sqrt(n_features * (density or 1.0)) / scales
    y = da.map_blocks(
        _draw_targets,
        X,
        coef,
        0.5,
        family,
        noise,
        random_state,
        drop_axis=1,
        dtype=np.float64,
        meta=np.empty(0, np.float64),
    )
    return X, y, coef, 0.5


def _features(
    n_samples: int,
    n_features: int,
    chunk_rows: int | None,
    condition: float,
    density: float | None,
    dtype: Any,
    seed: int,
) -> tuple[da.Array, np.ndarray]:
    if min(n_samples, n_features) < 1:
        raise ValueError(f"n_samples is {n_samples} and n_features {n_features}; give at least 1 of each.")
    if condition < 1:
        raise ValueError(f"condition is {condition}; it is at least 1.")
    if chunk_rows is not None and chunk_rows < 1:
        raise ValueError(f"chunk_rows is {chunk_rows}; give at least 1 row, or None.")
    if density is not None and not 0 < density <= 1:
        raise ValueError(f"density is {density}; give a share between 0 and 1, or None for a dense X.")
    dtype = np.dtype(dtype)
    if density is None:
        row_bytes = n_features * dtype.itemsize
    else:
        row_bytes = sparse_row_bytes(int(n_samples * n_features * density), n_samples, dtype)
    rows = chunk_rows or default_chunk_rows(row_bytes)
    scales = np.geomspace(1.0, 1.0 / condition, n_features)
    chunks = da.core.normalize_chunks((rows, -1), (n_samples, n_features))
    meta = np.empty((0, 0), dtype) if density is None else scipy.sparse.csr_array((0, 0), dtype=dtype)
    X = da.map_blocks(
        _draw_features, n_samples, rows, scales, density, seed, dtype, chunks=chunks, dtype=dtype, meta=meta
    )
    return X, scales


def _draw_features(
    n_samples: int,
    rows: int,
    scales: np.ndarray,
    density: float | None,
    seed: int,
    dtype: np.dtype[Any],
    block_id: tuple[int, int],
) -> Any:
    rng = np.random.default_rng([seed, _FEATURES, block_id[0]])
    length = min(rows, n_samples - block_id[0] * rows)
    if density is not None:
        return _draw_sparse(rng, length, scales, density, dtype)
    return (rng.standard_normal((length, len(scales))) * scales).astype(dtype)


def _draw_sparse(
    rng: np.random.Generator, length: int, scales: np.ndarray, density: float, dtype: np.dtype[Any]
) -> scipy.sparse.csr_array:
    n_features = len(scales)
    per_row = rng.binomial(n_features, density, length)
    row = np.repeat(np.arange(length), per_row)
    column = (n_features * rng.random(len(row)) ** 2).astype(np.int64)  # the density of u^2 falls as a root
    row, column = np.divmod(np.unique(row * n_features + column), n_features)  # unique and sorted
    indptr = np.searchsorted(row, np.arange(length + 1)).astype(np.int32)
    data = (rng.standard_normal(len(row)) * scales[column]).astype(dtype)
    return scipy.sparse.csr_array((data, column.astype(np.int32), indptr), shape=(length, n_features))


def _draw_labels(X: Any, coef: np.ndarray, intercept: np.ndarray, seed: int, block_id: tuple[int]) -> np.ndarray:
    rng = np.random.default_rng([seed, _TARGETS, block_id[0]])
    # The largest of margin + Gumbel noise is a draw from the softmax (Gumbel-max).
    margins = X.astype(np.float64) @ coef.T + intercept
    return np.argmax(margins + rng.gumbel(size=margins.shape), axis=1).astype(np.int64)


def _draw_targets(
    X: Any,
    coef: np.ndarray,
    intercept: float,
    family: str,
    noise: float,
    seed: int,
    block_id: tuple[int],
) -> np.ndarray:
    rng = np.random.default_rng([seed, _TARGETS, block_id[0]])
    margins = X.astype(np.float64) @ coef + intercept
    if family == "poisson":
        return rng.poisson(np.exp(margins)).astype(np.float64)
    return margins + noise * rng.standard_normal(len(margins))
