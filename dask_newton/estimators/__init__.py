"""Estimators after scikit-learn: validate, place, minimise, set attributes."""

from dask_newton.estimators.logistic import LogisticRegression

__all__ = ["LogisticRegression"]
