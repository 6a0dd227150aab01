"""Classifiers, linear or not: labels of any kind, and their prediction."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted

from dask_newton.arrays import host_dtype
from dask_newton.containers.inputs import Rows
from dask_newton.containers.outputs import sum_rows
from dask_newton.containers.placement import BlockMaker
from dask_newton.containers.targets import class_codes, find_classes, given_classes, reweighing
from dask_newton.estimators import prediction
from dask_newton.estimators.base import Estimator
from dask_newton.losses import Logistic, Loss, Softmax

__all__ = ["CLASS_WEIGHTS", "Classifier", "class_loss"]

CLASS_WEIGHTS = [dict, StrOptions({"balanced"}), None]


class Classifier(ClassifierMixin, Estimator):
    """A model of labels, with one margin for two classes and one per class for more.

    Subclasses have the parameter ``class_weight``, with the constraints ``CLASS_WEIGHTS``.
    """

    score_name = "accuracy"
    classes_: np.ndarray
    class_weight: dict[Any, float] | str | None

    def _encode(self, rows: Rows, *, classes: Any = None) -> BlockMaker:
        """Find the classes of the labels, and return what makes blocks of the rows."""
        if classes is not None and self.class_weight != "balanced":
            classes, counts = given_classes(classes), np.zeros(0)
        else:
            classes, counts = find_classes(rows, self.class_weight, classes)
        self.classes_ = classes
        dtype = host_dtype(rows.X.dtype)
        codes = functools.partial(
            class_codes, classes=classes, dtype=dtype if len(classes) == 2 else np.dtype(np.int64)
        )
        reweigh = reweighing(self.class_weight, classes, counts, dtype)
        return BlockMaker(class_loss(len(classes)), codes, reweigh)

    def decision_function(self, X: Any, *, offset: Any = None) -> Any:
        """Return the margins, of shape (n_samples,) for two classes, else (n_samples, n_classes).

        Parameters
        ----------
        X : array-like or Dask array of shape (n_samples, n_features), or path of a Zarr group
        offset : array-like or Dask array, optional
            As in :meth:`fit`.

        Returns
        -------
        array
            Of the type and row chunks of X; lazy for a Dask array.
        """
        check_is_fitted(self)
        binary = len(self.classes_) == 2
        fn = functools.partial(prediction.decision, margins=self._margins(), squeeze=binary)
        return self._map_rows(fn, X, None if binary else self.classes_, offset=offset)

    def predict(self, X: Any, *, offset: Any = None) -> Any:
        """Return the most probable class of each sample; see :meth:`decision_function`."""
        check_is_fitted(self)
        fn = functools.partial(prediction.predict, margins=self._margins(), classes=self.classes_)
        return self._map_rows(fn, X, dtype=self.classes_.dtype, offset=offset)

    def predict_proba(self, X: Any, *, offset: Any = None) -> Any:
        """Return the probabilities, of shape (n_samples, n_classes); see :meth:`decision_function`."""
        check_is_fitted(self)
        loss = class_loss(len(self.classes_))
        fn = functools.partial(prediction.probabilities, margins=self._margins(), loss=loss)
        return self._map_rows(fn, X, self.classes_, offset=offset)

    def predict_log_proba(self, X: Any, *, offset: Any = None) -> Any:
        """Return the logarithms of the probabilities; see :meth:`decision_function`."""
        check_is_fitted(self)
        fn = functools.partial(prediction.log_probabilities, margins=self._margins())
        return self._map_rows(fn, X, self.classes_, offset=offset)

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return the accuracy, the weighted share of rows whose label is predicted correctly.

        Parameters
        ----------
        X, y, sample_weight
            As in :meth:`fit`.
        """
        rows = self._open_scored(X, y, sample_weight)
        hits, total = sum_rows(functools.partial(prediction.hits, margins=self._margins(), classes=self.classes_), rows)
        return float(hits / total)


def class_loss(n_classes: int) -> Loss:
    """Return the loss for a number of classes."""
    return Logistic() if n_classes == 2 else Softmax(n_classes)
