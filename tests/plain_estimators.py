"""The smallest estimators that keep all conventions of Dask: ridge regression, a classifier and a scaler.

Each fit is one sum over row chunks. Other estimators of the tests break one convention each.
"""

import dask
import dask.array as da
import numpy as np
import pandas as pd
from dask.base import is_dask_collection
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, TransformerMixin
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils.validation import check_is_fitted, validate_data


class OnChunks(BaseEstimator):
    """Columns as Dask arrays with common row chunks, and functions of them."""

    def _columns(self, X, y=None, weight=None, *, reset):
        names = list(X.columns) if hasattr(X, "columns") else None
        columns = [self._array(a) for a in (X, y, weight)]
        X, y, weight = columns
        if X.numblocks[1] > 1:
            X = X.rechunk({1: -1})
        validate_data(self, X if names is None else pd.DataFrame(columns=names), reset=reset, skip_check_array=True)
        for name, a in (("y", y), ("sample_weight", weight)):
            if a is not None and not np.isnan(X.shape[0] + a.shape[0]) and a.shape[0] != X.shape[0]:
                raise ValueError(f"{name} has {a.shape[0]} rows and X has {X.shape[0]}")
        return X, *(None if a is None else self._aligned(a, X) for a in (y, weight))

    def _array(self, a):
        if hasattr(a, "to_dask_array"):
            return a.to_dask_array()
        return a if a is None or isinstance(a, da.Array) else da.from_array(np.asarray(a))

    def _aligned(self, a, X):
        return a if np.isnan(X.shape[0]) else a.rechunk({0: X.chunks[0]})

    def _sum(self, fn, *columns):
        """Return the sum of ``fn(*chunks)`` over all row chunks."""
        n = columns[0].numblocks[0]
        parts = [[None] * n if a is None else a.to_delayed().ravel() for a in columns]
        return sum(dask.compute(*(dask.delayed(fn)(*chunks) for chunks in zip(*parts, strict=True))))

    def _map(self, fn, X, width=None):
        """Apply a function to rows, lazily to Dask's."""
        check_is_fitted(self)
        lazy = is_dask_collection(X)
        X = self._columns(X, reset=False)[0]
        if width is None:
            out = X.map_blocks(fn, dtype=X.dtype, drop_axis=1, meta=np.empty(0, X.dtype))
        else:
            meta = np.empty((0, 0), X.dtype)
            out = X.map_blocks(fn, dtype=X.dtype, chunks=(X.chunks[0], (width,)), meta=meta)
        return out if lazy else out.compute()


class Gram:
    """The moments of weighted rows and targets, with an intercept as last column."""

    def __init__(self, X, y, weight):
        if not (np.all(np.isfinite(X)) and np.all(np.isfinite(y))):
            raise ValueError("X or y contains NaN or infinity")
        X = np.column_stack([X, np.ones(len(X))]).astype(float)
        Xw = X if weight is None else X * weight[:, None]
        self.xx, self.xy = Xw.T @ X, Xw.T @ y

    def __add__(self, other):
        new = object.__new__(Gram)
        new.xx, new.xy = self.xx + other.xx, self.xy + other.xy
        return new

    __radd__ = lambda self, other: self  # noqa: E731


class Plain(RegressorMixin, OnChunks):
    """Ridge regression, for one or several targets."""

    def __init__(self, alpha=0.1):
        self.alpha = alpha

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X, y, sample_weight=None):
        X, y, weight = self._columns(X, y, sample_weight, reset=True)
        self._solve(self._sum(Gram, X, y, weight), X.dtype)
        return self

    def _solve(self, gram, dtype):
        penalty = self.alpha * np.diag([*np.ones(len(gram.xx) - 1), 0.0])
        W = np.linalg.solve(gram.xx + penalty, gram.xy)
        self.coef_, self.intercept_ = W[:-1].T.astype(dtype), W[-1].astype(dtype)

    def _margins(self, X):
        return X @ self.coef_.T + self.intercept_

    def predict(self, X):
        check_is_fitted(self)
        return self._map(self._margins, X, len(self.coef_) if self.coef_.ndim == 2 else None)

    def score(self, X, y, sample_weight=None):
        y, predicted, weight = dask.compute(y, self.predict(X), sample_weight)
        return r2_score(y, predicted, sample_weight=weight)


class PlainClassifier(ClassifierMixin, Plain):
    """Ridge regression of the indicators of the classes."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = False
        return tags

    def fit(self, X, y, sample_weight=None):
        X, y, weight = self._columns(X, y, sample_weight, reset=True)
        self.classes_ = self._classes(y)
        if len(self.classes_) < 2:
            raise ValueError("y has one class only")
        indicators = y.map_blocks(
            lambda y, classes: (y[:, None] == classes).astype(float),
            self.classes_,
            dtype=float,
            new_axis=1,
            chunks=(y.chunks[0], (len(self.classes_),)),
        )
        self._solve(self._sum(Gram, X, indicators, weight), X.dtype)
        return self

    def _classes(self, y):
        parts = dask.compute(*(dask.delayed(np.unique)(chunk) for chunk in y.to_delayed()))
        return np.unique(np.concatenate(parts))

    decision_function = Plain.predict

    def predict(self, X):
        margins = self.decision_function(X)
        if not isinstance(margins, da.Array):
            return self.classes_[margins.argmax(axis=1)]
        classes = self.classes_
        return margins.map_blocks(lambda z: classes[z.argmax(axis=1)], dtype=classes.dtype, drop_axis=1)

    def score(self, X, y, sample_weight=None):
        y, predicted, weight = dask.compute(y, self.predict(X), sample_weight)
        return accuracy_score(y, predicted, sample_weight=weight)


class PlainScaler(TransformerMixin, OnChunks):
    """Subtract the mean."""

    def fit(self, X, y=None):
        X, *_ = self._columns(X, reset=True)
        total = self._sum(_moments, X)
        self.mean_ = (total[1:] / total[0]).astype(X.dtype)
        return self

    def transform(self, X):
        check_is_fitted(self)
        return self._map(lambda X: X - self.mean_, X, len(self.mean_))


def _moments(X):
    if not np.all(np.isfinite(X)):
        raise ValueError("X contains NaN or infinity")
    return np.array([len(X), *X.sum(axis=0, dtype=float)])
