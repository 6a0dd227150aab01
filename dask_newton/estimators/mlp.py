"""Multi-layer perceptrons for classification and for regression."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from sklearn.base import _fit_context
from sklearn.callback import with_callbacks
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted

from dask_newton.arrays import to_host
from dask_newton.estimators import prediction
from dask_newton.estimators.classification import CLASS_WEIGHTS, Classifier, class_loss
from dask_newton.estimators.network import NetworkEstimator
from dask_newton.estimators.numeric import NumericEstimator
from dask_newton.estimators.parameters import parameters
from dask_newton.losses import Loss, Poisson, Squared
from dask_newton.objectives.rows.block import RowBlock

__all__ = ["MLPClassifier", "MLPRegressor"]

_LOSSES = {"squared_error": "identity", "poisson": "exp"}  # and the activation of the output


@parameters("hidden_layer_sizes", "activation")
class MLPClassifier(Classifier, NetworkEstimator):
    r"""Multi-layer perceptron for classification, for data in memory or in chunks anywhere.

    Minimises, over weights :math:`W_l` and biases :math:`b_l` of the layers,

    .. math::

        \frac{1}{S} \sum_j s_j \, \ell(y_j, z_j) + \frac{\alpha}{2 S} \sum_l \lVert W_l \rVert_F^2, \qquad
        z_j = f(\dots f(x_j W_1 + b_1) \dots) W_L + b_L, \qquad S = \sum_j s_j,

    with sample weights :math:`s_j` and :math:`\ell` the softmax cross-entropy. For two classes there is one output,
    and :math:`\ell` is the logistic loss. It is scikit-learn's objective, and ``coefs_`` have its shapes.

    Parameters
    ----------
    <shared network parameters>
    class_weight : dict, 'balanced' or None, default=None
        Factors for the weights of the samples of each class.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    <shared network results>

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from dask_newton import MLPClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> clf = MLPClassifier((40,), activation="tanh", random_state=0).fit(X / 16, y)
    >>> round(clf.score(X / 16, y), 2)
    1.0
    """

    hidden_layer_sizes: Any = (100,)
    activation: str = "relu"
    class_weight: dict[Any, float] | str | None = None

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **NetworkEstimator._parameter_constraints,
        "class_weight": CLASS_WEIGHTS,
    }

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        offset: Any = None,
        classes: Any = None,
        X_val: Any = None,
        y_val: Any = None,
        checkpoint: Any = None,
    ) -> MLPClassifier:
        """Fit the model.

        Parameters
        ----------
        X : array-like or Dask array of shape (n_samples, n_features), or path of a Zarr group
            A Zarr group may contain y, sample_weight and offset as well.
        y : array-like or Dask array of shape (n_samples,), optional
            Labels: numbers, strings or booleans.
        sample_weight : array-like or Dask array of shape (n_samples,), optional
        offset : array-like or Dask array of shape (n_samples,) or (n_samples, n_classes), optional
            Added to the margins; pass it to prediction as well.
        classes : array-like of shape (n_classes,), optional
            All labels, which saves a pass that looks for them. Some may be missing from y.
        X_val, y_val : array-like or Dask array, optional
            Held-out rows, whose mean loss and accuracy are recorded in ``history_`` at every iteration.
        checkpoint : Checkpoint or path, optional
            Where to save the fit while it runs. A fit saved there is continued, see :doc:`/checkpoints`.

        Returns
        -------
        MLPClassifier
            The fitted estimator.

        Warns
        -----
        ConvergenceWarning
            If training ended on a budget and not by ``tol``.
        """
        return self._fit(
            X,
            y,
            sample_weight,
            offset=offset,
            X_val=X_val,
            y_val=y_val,
            checkpoint=checkpoint,
            classes=classes,
        )

    def predict_log_proba(self, X: Any, *, offset: Any = None) -> Any:
        """Return the logarithms of the probabilities, -inf where these are 0; see :meth:`decision_function`."""
        check_is_fitted(self)
        loss = class_loss(len(self.classes_))
        fn = functools.partial(prediction.logs_of_probabilities, margins=self._margins(), loss=loss)
        return self._map_rows(fn, X, self.classes_, offset=offset)

    def _score_sums(self) -> Callable[[RowBlock, Any], Any]:
        return _hits

    def _score_of(self, sums: np.ndarray) -> float:
        return float(sums[0] / sums[1])

    def _attributes(self, W: np.ndarray) -> dict[str, Any]:
        attributes = super()._attributes(W)
        if len(self.classes_) > 2:
            attributes["intercepts_"][-1] -= attributes["intercepts_"][-1].mean()  # no change of probabilities
        return attributes

    @property
    def _output_activation(self) -> str:
        return "logistic" if len(self.classes_) == 2 else "softmax"


@parameters("loss", "hidden_layer_sizes", "activation")
class MLPRegressor(NumericEstimator, NetworkEstimator):
    r"""Multi-layer perceptron for regression, for data in memory or in chunks anywhere.

    Minimises, over weights :math:`W_l` and biases :math:`b_l` of the layers,

    .. math::

        \frac{1}{S} \sum_j s_j \, \ell(y_j, z_j) + \frac{\alpha}{2 S} \sum_l \lVert W_l \rVert_F^2, \qquad
        z_j = f(\dots f(x_j W_1 + b_1) \dots) W_L + b_L, \qquad S = \sum_j s_j,

    with sample weights :math:`s_j`. It is scikit-learn's objective; for several targets it sums their losses, of which
    scikit-learn reports the mean. The biases of the output start at the best constant model.

    Parameters
    ----------
    loss : {'squared_error', 'poisson'}, default='squared_error'
        :math:`\ell`: :math:`\lVert y - z \rVert^2 / 2`, or :math:`e^z - y z` for counts with the mean :math:`e^z`.
    <shared network parameters>

    Attributes
    ----------
    <shared network results>

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from dask_newton import MLPRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = MLPRegressor(hidden_layer_sizes=(10,), activation="tanh", alpha=1.0, random_state=0).fit(20 * X, y)
    >>> bool(model.score(20 * X, y) > 0.5)
    True
    """

    loss: str = "squared_error"
    hidden_layer_sizes: Any = (100,)
    activation: str = "relu"

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **NetworkEstimator._parameter_constraints,
        "loss": [StrOptions(set(_LOSSES))],
    }
    _predicts_column = False

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = self.loss == "squared_error"
        tags.target_tags.positive_only = self.loss == "poisson"
        return tags

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        offset: Any = None,
        X_val: Any = None,
        y_val: Any = None,
        checkpoint: Any = None,
    ) -> MLPRegressor:
        """Fit the model.

        Parameters
        ----------
        X : array-like or Dask array of shape (n_samples, n_features), or path of a Zarr group
            A Zarr group may contain y, sample_weight and offset as well.
        y : array-like or Dask array of shape (n_samples,) or (n_samples, n_targets), optional
        sample_weight : array-like or Dask array of shape (n_samples,), optional
        offset : array-like or Dask array, optional
            Added to the margins, in the shape of y; pass it to :meth:`predict` as well.
        X_val, y_val : array-like or Dask array, optional
            Held-out rows, whose mean loss and R2 are recorded in ``history_`` at every iteration.
        checkpoint : Checkpoint or path, optional
            Where to save the fit while it runs. A fit saved there is continued, see :doc:`/checkpoints`.

        Returns
        -------
        MLPRegressor
            The fitted estimator.

        Warns
        -----
        ConvergenceWarning
            If training ended on a budget and not by ``tol``.
        """
        return self._fit(X, y, sample_weight, offset=offset, X_val=X_val, y_val=y_val, checkpoint=checkpoint)

    @property
    def _several_targets(self) -> bool:  # type: ignore[override]
        return self.loss == "squared_error"

    def _score_sums(self) -> Callable[[RowBlock, Any], Any]:
        return _squares

    def _score_of(self, sums: np.ndarray) -> float:
        return prediction.r2(sums)

    def _loss(self, n_targets: int) -> Loss:
        return Squared(n_targets) if self.loss == "squared_error" else Poisson()

    @property
    def _output_activation(self) -> str:
        return _LOSSES[self.loss]


def _hits(rows: RowBlock, z: Any) -> tuple[float, float]:
    return prediction.accuracy_sums(to_host(prediction.codes(z)), rows.y, rows.weight)


def _squares(rows: RowBlock, z: Any) -> np.ndarray:
    return prediction.r2_sums(rows.loss.inverse_link(z), rows.y, rows.weight)
