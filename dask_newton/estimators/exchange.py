"""Conversion to scikit-learn's estimator of the same name, and back."""

from __future__ import annotations

import inspect
from typing import Any, Self

import sklearn.linear_model
from sklearn.utils.validation import check_is_fitted

__all__ = ["ExchangeMixin"]

_LEARNED = ("coef_", "intercept_", "classes_", "n_iter_", "n_features_in_", "feature_names_in_")
# Parameters with the same name that have another meaning or other values in scikit-learn.
_OWN = ("solver", "tol", "early_stopping", "n_iter_no_change", "verbose")


class ExchangeMixin:
    """Converts between an estimator and scikit-learn's class of the same name, which has the same coefficients."""

    def to_sklearn(self) -> Any:
        """Return a fitted scikit-learn estimator with the same coefficients, for use without this library.

        Its predictions are the same. It has scikit-learn's own solver and tolerance, in case it is fitted again.

        Returns
        -------
        sklearn.linear_model estimator
        """
        check_is_fitted(self)
        theirs: Any = getattr(sklearn.linear_model, type(self).__name__)
        known = set(inspect.signature(theirs).parameters) - set(_OWN)
        parameters = {name: value for name, value in self.get_params().items() if name in known}  # type: ignore[attr-defined]
        if 0 < parameters.get("l1_ratio", 0) and "solver" in inspect.signature(theirs).parameters:
            parameters["solver"] = "saga"  # scikit-learn's only solver for every l1_ratio
        model = theirs(**parameters)
        model.__dict__.update({name: value for name, value in vars(self).items() if name in _LEARNED})
        if hasattr(model, "_get_loss"):  # set by fit of scikit-learn's generalised linear models
            model._base_loss = model._get_loss()
        return model

    @classmethod
    def from_sklearn(cls, model: Any) -> Self:
        """Return an estimator with the parameters and coefficients of a fitted scikit-learn estimator.

        Parameters
        ----------
        model : sklearn.linear_model estimator
            A fitted estimator of the class of the same name.

        Raises
        ------
        TypeError
            If it has another class.
        """
        theirs = getattr(sklearn.linear_model, cls.__name__)
        if not isinstance(model, theirs):
            raise TypeError(
                f"{cls.__name__}.from_sklearn takes sklearn.linear_model.{cls.__name__}, not {type(model).__name__}."
            )
        check_is_fitted(model)
        known = set(inspect.signature(cls).parameters) - set(_OWN)
        estimator = cls(
            **{name: value for name, value in model.get_params().items() if name in known and value is not None}
        )
        estimator.__dict__.update({name: value for name, value in vars(model).items() if name in _LEARNED})
        return estimator
