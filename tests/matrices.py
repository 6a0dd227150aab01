"""Sparse matrices for the tests, tidy ones and such as are only just allowed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse

__all__ = ["KINDS", "messy", "thinned"]


def thinned(X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return X with most entries set to zero, and some rows without any other."""
    return X * (rng.random(X.shape) < 0.3) * (rng.random((len(X), 1)) < 0.9)


def messy(X: np.ndarray) -> scipy.sparse.csr_array:
    """Return X as CSR with 64-bit indices in no order, every place stored twice, and zeros stored.

    Nothing of it can be written to: a kernel that tidies up the user's matrix is caught.
    """
    rng, (n, p) = np.random.default_rng(0), X.shape
    parts = [rng.permutation(np.r_[np.flatnonzero(row), np.flatnonzero(row), rng.integers(0, p, 2)]) for row in X]
    indices = np.concatenate([*parts, np.zeros(0)]).astype(np.int64)
    rows = np.repeat(np.arange(n), [len(part) for part in parts])
    twice = np.array([np.flatnonzero(part == j).size for part in parts for j in part])
    matrix = scipy.sparse.csr_array((n, p), dtype=X.dtype)
    matrix.data = (X[rows, indices] / np.maximum(1, twice)).astype(X.dtype)
    matrix.indices = indices
    matrix.indptr = np.concatenate([[0], np.cumsum([len(part) for part in parts])]).astype(np.int64)
    for array in (matrix.data, matrix.indices, matrix.indptr):
        array.setflags(write=False)
    return matrix


KINDS: dict[str, Callable[[np.ndarray], Any]] = {
    "csr_array": scipy.sparse.csr_array,
    "csr_matrix": scipy.sparse.csr_matrix,
    "messy": messy,
}
