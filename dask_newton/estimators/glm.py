"""Generalised linear models with scikit-learn's names and objectives."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar, Self

import dask.array as da
import numpy as np
from sklearn.base import _fit_context
from sklearn.callback import with_callbacks
from sklearn.utils._param_validation import Interval, StrOptions

from dask_newton.auto.explanation import Explanation
from dask_newton.containers.inputs import column_values
from dask_newton.estimators import prediction
from dask_newton.estimators.parameters import parameters
from dask_newton.estimators.regression import PenalisedRegressor
from dask_newton.losses import Gamma, Loss, Poisson, Squared, Tweedie

__all__ = ["GammaRegressor", "PoissonRegressor", "TweedieRegressor"]


class _GeneralisedLinear(PenalisedRegressor):
    score_name = "D2"
    _several_targets = False

    @with_callbacks
    @_fit_context(prefer_skip_nested_validation=True)
    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        offset: Any = None,
        exposure: Any = None,
        coef_init: Any = None,
        intercept_init: Any = None,
        X_val: Any = None,
        y_val: Any = None,
        checkpoint: Any = None,
    ) -> Self:
        """Fit the model.

        Parameters
        ----------
        X : array-like or Dask array of shape (n_samples, n_features), or path of a Zarr group
            A Zarr group may contain y, sample_weight and offset as well.
        y : array-like or Dask array of shape (n_samples,), optional
        sample_weight : array-like or Dask array of shape (n_samples,), optional
        offset : array-like or Dask array of shape (n_samples,), optional
            Added to the margins; pass it to :meth:`predict` as well.
        exposure : array-like or Dask array of shape (n_samples,), optional
            Factor of the mean, such as the length of observation: its logarithm is added to the offset. It must be
            positive; rows with an exposure of zero carry no information, and the error says how many there are.
        coef_init, intercept_init : array-like, optional
            Initial values, in the shapes of ``coef_`` and ``intercept_``.
        X_val, y_val : array-like or Dask array, optional
            Held-out rows, whose mean loss is recorded in ``history_`` at every iteration.
        checkpoint : Checkpoint or path, optional
            Where to save the fit while it runs. A fit saved there is continued, see :doc:`/checkpoints`.

        Returns
        -------
        estimator
            The fitted estimator.

        Warns
        -----
        ConvergenceWarning
            If the certificate did not reach ``tol``.
        """
        return self._fit(
            X,
            y,
            sample_weight,
            offset=self._with_exposure(offset, exposure),
            coef_init=coef_init,
            intercept_init=intercept_init,
            X_val=X_val,
            y_val=y_val,
            checkpoint=checkpoint,
        )

    def explain(  # type: ignore[override]
        self, X: Any, y: Any = None, sample_weight: Any = None, *, offset: Any = None, exposure: Any = None
    ) -> Explanation:
        """Say which solver ``solver="auto"`` chooses for these data on this machine or cluster, and why.

        It examines the data, measures latency and arithmetic in a few short passes, and estimates the cost of every
        solver. Nothing is fitted, and the estimator does not change.

        Parameters
        ----------
        X, y, sample_weight, offset, exposure
            As in :meth:`fit`.

        Returns
        -------
        Explanation
            A table with a row for each solver: print it, or see it in a notebook.
        """
        return super().explain(X, y, sample_weight, offset=self._with_exposure(offset, exposure))

    def predict(self, X: Any, *, offset: Any = None, exposure: Any = None) -> Any:
        """Return the expected targets.

        Parameters
        ----------
        X : array-like or Dask array of shape (n_samples, n_features), or path of a Zarr group
        offset, exposure : array-like or Dask array of shape (n_samples,), optional
            As in :meth:`fit`.

        Returns
        -------
        array
            Of the type and row chunks of X; lazy for a Dask array.
        """
        return super().predict(X, offset=self._with_exposure(offset, exposure))

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        r"""Return the fraction of the deviance explained, :math:`D^2 = 1 - D(y, \mu) / D(y, \bar y)`.

        Parameters
        ----------
        X, y, sample_weight
            As in :meth:`fit`.
        """
        loss = self._loss(1)
        if isinstance(loss, Squared):  # D2 is R2, but these losses are not linear in y
            return super().score(X, y, sample_weight)
        weight, total, value, smallest = self._sums(prediction.deviances, X, y, sample_weight, loss=loss)
        mean = np.array([total / weight])
        # The losses are linear in y, so their sum at one margin is that of the mean target.
        null = weight * float(loss.value(mean, loss.null_margin(mean)[None, :])[0])
        if null == smallest:  # all targets are equal: they are predicted exactly or not
            return float(value == smallest)
        return float(1 - (value - smallest) / (null - smallest))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.positive_only = not self._loss(1).valid(np.array([-1.0]))[0]
        return tags

    @staticmethod
    def _with_exposure(offset: Any, exposure: Any) -> Any:
        if exposure is None:
            return offset
        exposure, offset = column_values(exposure, "exposure"), column_values(offset, "offset")
        if isinstance(exposure, da.Array):
            log = da.map_blocks(
                _log_exposure,
                exposure,
                token="newton-offset",
                dtype=np.float64,
                meta=np.empty((0,) * exposure.ndim),
            )
        else:
            log = _log_exposure(np.asarray(exposure, dtype=np.float64))
        return log if offset is None else offset + log


def _log_exposure(exposure: Any) -> np.ndarray:
    bad = int(np.sum(~(exposure > 0)))
    if bad:
        raise ValueError(
            f"exposure has {bad} values that are not positive; drop those rows; they carry no information."
        )
    return np.log(exposure)


class PoissonRegressor(_GeneralisedLinear):
    r"""Poisson regression of counts, for data in memory or in chunks anywhere.

    The mean of a target is :math:`\mu = \exp(x^\top w + b)`. Minimises, over coefficients :math:`w` and an intercept
    :math:`b` that is not penalised,

    .. math::

        \frac{1}{S} \sum_j s_j \, \bigl( \mu_j - y_j \log \mu_j \bigr)
        + \alpha \Bigl( r \lVert w \rVert_1 + \frac{1 - r}{2} \lVert w \rVert_2^2 \Bigr), \qquad S = \sum_j s_j,

    with ``r = l1_ratio``: scikit-learn's objective without the terms that depend only on y.

    Parameters
    ----------
    alpha : float, default=1.0
        Strength of the penalty.
    l1_ratio : float, default=0.0
        Share of the l1 penalty.
    fit_intercept : bool, default=True
    <shared solver>
    <shared tol of numbers>
    <shared limits>

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
    intercept_ : float or ndarray of shape (n_targets,)
    n_iter_ : int
    <shared results>

    Examples
    --------
    >>> from dask_newton import PoissonRegressor
    >>> X, y = [[1, 2], [2, 3], [3, 4], [4, 3]], [12, 17, 22, 21]
    >>> round(PoissonRegressor().fit(X, y).score(X, y), 2)
    0.99
    """

    def _loss(self, n_targets: int) -> Loss:
        return Poisson()


class GammaRegressor(_GeneralisedLinear):
    r"""Gamma regression of positive targets, for data in memory or in chunks anywhere.

    The mean of a target is :math:`\mu = \exp(x^\top w + b)`. Minimises, over coefficients :math:`w` and an intercept
    :math:`b` that is not penalised,

    .. math::

        \frac{1}{S} \sum_j s_j \, \bigl( y_j / \mu_j + \log \mu_j \bigr)
        + \alpha \Bigl( r \lVert w \rVert_1 + \frac{1 - r}{2} \lVert w \rVert_2^2 \Bigr), \qquad S = \sum_j s_j,

    with ``r = l1_ratio``: scikit-learn's objective without the terms that depend only on y.

    Parameters
    ----------
    alpha : float, default=1.0
        Strength of the penalty.
    l1_ratio : float, default=0.0
        Share of the l1 penalty.
    fit_intercept : bool, default=True
    <shared solver>
    <shared tol of numbers>
    <shared limits>

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
    intercept_ : float or ndarray of shape (n_targets,)
    n_iter_ : int
    <shared results>

    Examples
    --------
    >>> from dask_newton import GammaRegressor
    >>> X, y = [[1, 2], [2, 3], [3, 4], [4, 3]], [12, 17, 22, 21]
    >>> round(GammaRegressor().fit(X, y).score(X, y), 2)
    0.8
    """

    def _loss(self, n_targets: int) -> Loss:
        return Gamma()


@parameters()
class TweedieRegressor(_GeneralisedLinear):
    r"""Tweedie regression, where the variance is a power of the mean, for data in memory or in chunks anywhere.

    The mean of a target is :math:`\mu = \exp(x^\top w + b)`. Minimises, over coefficients :math:`w` and an intercept
    :math:`b` that is not penalised,

    .. math::

        \frac{1}{S} \sum_j s_j \, \Bigl( \frac{\mu_j^{2 - p}}{2 - p} + y_j \frac{\mu_j^{1 - p}}{p - 1} \Bigr)
        + \alpha \Bigl( r \lVert w \rVert_1 + \frac{1 - r}{2} \lVert w \rVert_2^2 \Bigr), \qquad S = \sum_j s_j,

    with ``r = l1_ratio``: scikit-learn's objective without the terms that depend only on y.

    Parameters
    ----------
    alpha : float, default=1.0
        Strength of the penalty.
    l1_ratio : float, default=0.0
        Share of the l1 penalty.
    power : float, default=0.0
        p. 0 is the normal distribution, with squared errors and the identity link; 1 is Poisson; between 1 and 2 is a
        compound Poisson-gamma distribution, positive with a mass at zero; 2 is gamma.
    link : {'auto', 'identity', 'log'}, default='auto'
        The identity for a power of 0, the logarithm otherwise. Other combinations are not supported.
    fit_intercept : bool, default=True
    <shared solver>
    <shared tol of numbers>
    <shared limits>

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
    intercept_ : float or ndarray of shape (n_targets,)
    n_iter_ : int
    <shared results>

    Examples
    --------
    >>> from dask_newton import TweedieRegressor
    >>> X, y = [[1, 2], [2, 3], [3, 4], [4, 3]], [12, 17, 22, 21]
    >>> round(TweedieRegressor(power=1.5).fit(X, y).score(X, y), 2)
    0.96
    """

    power: float = 0.0
    link: str = "auto"

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **_GeneralisedLinear._parameter_constraints,
        "power": [Interval(Real, None, None, closed="neither")],
        "link": [StrOptions({"auto", "identity", "log"})],
    }

    @property
    def score_name(self) -> str:  # type: ignore[override]
        """'D2', which is 'R2' for a power of 0."""
        return "R2" if self.power == 0 else "D2"

    def _loss(self, n_targets: int) -> Loss:
        identity = self.power == 0
        if (not identity and not 1 <= self.power <= 2) or self.link == ("log" if identity else "identity"):
            raise ValueError(
                f"power={self.power} with link={self.link!r} is not supported: a power of 0 goes with the identity "
                "link, and powers from 1 to 2 go with the logarithm."
            )
        named: dict[float, Loss] = {0: Squared(), 1: Poisson(), 2: Gamma()}
        return named.get(self.power) or Tweedie(self.power)
