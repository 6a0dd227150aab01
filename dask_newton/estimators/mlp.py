"""Multi-layer perceptrons: of labels, and of numbers."""

from __future__ import annotations

import functools
from typing import Any, ClassVar

import numpy as np
from sklearn.base import _fit_context
from sklearn.callback import with_callbacks
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted

from dask_newton.arrays import to_host
from dask_newton.estimators import prediction
from dask_newton.estimators.classification import Classifier, class_loss
from dask_newton.estimators.network import NetworkEstimator
from dask_newton.estimators.numeric import NumericEstimator
from dask_newton.estimators.prediction import accuracy_sums, codes, r2, r2_sums
from dask_newton.losses import Loss, Poisson, Squared
from dask_newton.objectives.rows.block import RowBlock
from dask_newton.penalties import Penalty
from dask_newton.solvers import Solver

__all__ = ["MLPClassifier", "MLPRegressor"]

_LOSSES = {"squared_error": "identity", "poisson": "exp"}  # with their activations of the outputs


class MLPClassifier(Classifier, NetworkEstimator):
    r"""Multi-layer perceptron that predicts labels, for data in memory or in chunks anywhere.

    Minimises, over weights :math:`W_l` and biases :math:`b_l` of the layers,

    .. math::

        \frac{1}{S} \sum_j s_j \, \ell(y_j, z_j) + \frac{\alpha}{2 S} \sum_l \lVert W_l \rVert_F^2, \qquad
        z_j = f(\dots f(x_j W_1 + b_1) \dots) W_L + b_L, \qquad S = \sum_j s_j,

    with sample weights :math:`s_j` and :math:`\ell` the softmax cross-entropy. For two classes there is one output,
    and :math:`\ell` is the logistic loss. It is scikit-learn's objective, and ``coefs_`` have its shapes.

    Parameters
    ----------
    <shared parameters>
    class_weight : dict, 'balanced' or None, default=None
        Factors for the weights of the samples of each class.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
    <shared attributes>

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from dask_newton import MLPClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> clf = MLPClassifier((40,), activation="tanh", random_state=0).fit(X / 16, y)
    >>> round(clf.score(X / 16, y), 2)
    1.0
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **NetworkEstimator._parameter_constraints,
        **Classifier._parameter_constraints,
    }

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: str = "relu",
        *,
        solver: str | Solver = "auto",
        alpha: float = 0.0001,
        batch_size: int | str | None = "auto",
        solver_options: dict[str, Any] | None = None,
        regularizer: Penalty | None = None,
        initialisation: str = "glorot",
        max_iter: int = 200,
        tol: float = 1e-4,
        n_iter_no_change: int = 10,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        class_weight: dict[Any, float] | str | None = None,
        max_rounds: int | None = None,
        max_bytes: float | None = None,
        max_seconds: float | None = None,
        warm_start: bool = False,
        persist: bool | str = "auto",
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(
            hidden_layer_sizes=hidden_layer_sizes,
            activation=activation,
            solver=solver,
            alpha=alpha,
            batch_size=batch_size,
            solver_options=solver_options,
            regularizer=regularizer,
            initialisation=initialisation,
            max_iter=max_iter,
            tol=tol,
            n_iter_no_change=n_iter_no_change,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            max_rounds=max_rounds,
            max_bytes=max_bytes,
            max_seconds=max_seconds,
            warm_start=warm_start,
            persist=persist,
            random_state=random_state,
            verbose=verbose,
        )
        self.class_weight = class_weight

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
            A Zarr group may bring y, sample_weight and offset along.
        y : array-like or Dask array of shape (n_samples,), optional
            Labels of any kind.
        sample_weight : array-like or Dask array of shape (n_samples,), optional
        offset : array-like or Dask array of shape (n_samples,) or (n_samples, n_classes), optional
            Added to the margins; give it to prediction as well.
        classes : array-like of shape (n_classes,), optional
            All labels that there are, to save the search for them. One of them may be missing from y.
        X_val, y_val : array-like or Dask array, optional
            Rows that are held out. Their mean loss and accuracy are recorded in ``history_`` at every iteration.
        checkpoint : Checkpoint or path, optional
            Save the fit there as it goes on, and go on from what was saved there, see :doc:`/checkpoints`.

        Returns
        -------
        MLPClassifier
            The estimator itself.

        Warns
        -----
        ConvergenceWarning
            If training ended on a budget and not by ``tol``.
        """
        opened = self._check_run(checkpoint)
        before: Any = getattr(self, "classes_", None)
        rows, make = self._prepare(X, y, sample_weight, offset=offset, classes=classes)
        return self._fit_rows(
            rows,
            make,
            self._open_validation(X_val, y_val),
            same_outputs=np.array_equal(self.classes_, before),
            score=_hits,
            merit=_share,
            checkpoint=opened,
            given=(X, y, None if sample_weight is None else {"sample_weight": sample_weight}),
        )

    def predict_log_proba(self, X: Any, *, offset: Any = None) -> Any:
        """Return the logarithms of the probabilities, -inf where these are 0; see :meth:`decision_function`."""
        check_is_fitted(self)
        loss = class_loss(len(self.classes_))
        fn = functools.partial(prediction.logs_of_probabilities, margins=self._margins(), loss=loss)
        return self._map_rows(fn, X, self.classes_, offset=offset)

    def _attributes(self, W: np.ndarray) -> dict[str, Any]:
        attributes = super()._attributes(W)
        if len(self.classes_) > 2:
            attributes["intercepts_"][-1] -= attributes["intercepts_"][-1].mean()  # a common part changes nothing
        return attributes

    @property
    def _output_activation(self) -> str:
        return "logistic" if len(self.classes_) == 2 else "softmax"


class MLPRegressor(NumericEstimator, NetworkEstimator):
    r"""Multi-layer perceptron that predicts numbers, for data in memory or in chunks anywhere.

    Minimises, over weights :math:`W_l` and biases :math:`b_l` of the layers,

    .. math::

        \frac{1}{S} \sum_j s_j \, \ell(y_j, z_j) + \frac{\alpha}{2 S} \sum_l \lVert W_l \rVert_F^2, \qquad
        z_j = f(\dots f(x_j W_1 + b_1) \dots) W_L + b_L, \qquad S = \sum_j s_j,

    with sample weights :math:`s_j`. It is scikit-learn's objective, where several targets have the sum of their losses,
    of which scikit-learn reports the mean. The last biases start at the best constant.

    Parameters
    ----------
    loss : {'squared_error', 'poisson'}, default='squared_error'
        :math:`\ell`: :math:`\lVert y - z \rVert^2 / 2`, or :math:`e^z - y z` for counts with the mean :math:`e^z`.
    <shared parameters>

    Attributes
    ----------
    <shared attributes>

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from dask_newton import MLPRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = MLPRegressor(hidden_layer_sizes=(10,), activation="tanh", alpha=1.0, random_state=0).fit(20 * X, y)
    >>> bool(model.score(20 * X, y) > 0.5)
    True
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **NetworkEstimator._parameter_constraints,
        "loss": [StrOptions(set(_LOSSES))],
    }
    _predicts_column = False

    def __init__(
        self,
        loss: str = "squared_error",
        hidden_layer_sizes: Any = (100,),
        activation: str = "relu",
        *,
        solver: str | Solver = "auto",
        alpha: float = 0.0001,
        batch_size: int | str | None = "auto",
        solver_options: dict[str, Any] | None = None,
        regularizer: Penalty | None = None,
        initialisation: str = "glorot",
        max_iter: int = 200,
        tol: float = 1e-4,
        n_iter_no_change: int = 10,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        max_rounds: int | None = None,
        max_bytes: float | None = None,
        max_seconds: float | None = None,
        warm_start: bool = False,
        persist: bool | str = "auto",
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        super().__init__(
            hidden_layer_sizes=hidden_layer_sizes,
            activation=activation,
            solver=solver,
            alpha=alpha,
            batch_size=batch_size,
            solver_options=solver_options,
            regularizer=regularizer,
            initialisation=initialisation,
            max_iter=max_iter,
            tol=tol,
            n_iter_no_change=n_iter_no_change,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            max_rounds=max_rounds,
            max_bytes=max_bytes,
            max_seconds=max_seconds,
            warm_start=warm_start,
            persist=persist,
            random_state=random_state,
            verbose=verbose,
        )
        self.loss = loss

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
            A Zarr group may bring y, sample_weight and offset along.
        y : array-like or Dask array of shape (n_samples,) or (n_samples, n_targets), optional
        sample_weight : array-like or Dask array of shape (n_samples,), optional
        offset : array-like or Dask array, optional
            Added to the margins, in the shape of y; give it to :meth:`predict` as well.
        X_val, y_val : array-like or Dask array, optional
            Rows that are held out. Their mean loss and R2 are recorded in ``history_`` at every iteration.
        checkpoint : Checkpoint or path, optional
            Save the fit there as it goes on, and go on from what was saved there, see :doc:`/checkpoints`.

        Returns
        -------
        MLPRegressor
            The estimator itself.

        Warns
        -----
        ConvergenceWarning
            If training ended on a budget and not by ``tol``.
        """
        opened = self._check_run(checkpoint)
        rows, make = self._prepare(X, y, sample_weight, offset=offset)
        validation = self._open_validation(X_val, y_val, multi_output=self._several_targets, y_numeric=True)
        return self._fit_rows(
            rows,
            make,
            validation,
            same_outputs=True,
            score=_squares,
            merit=r2,
            checkpoint=opened,
            given=(X, y, None if sample_weight is None else {"sample_weight": sample_weight}),
        )

    @property
    def _several_targets(self) -> bool:  # type: ignore[override]
        return self.loss == "squared_error"

    def _loss(self, n_targets: int) -> Loss:
        return Squared(n_targets) if self.loss == "squared_error" else Poisson()

    @property
    def _output_activation(self) -> str:
        return _LOSSES[self.loss]


def _hits(rows: RowBlock, z: Any) -> tuple[float, float]:
    return accuracy_sums(to_host(codes(z)), rows.y, rows.weight)


def _share(sums: np.ndarray) -> float:
    return float(sums[0] / sums[1])


def _squares(rows: RowBlock, z: Any) -> np.ndarray:
    return r2_sums(rows.loss.inverse_link(z), rows.y, rows.weight)
