"""Estimators with the interface of scikit-learn."""

from dask_newton.estimators.glm import GammaRegressor, PoissonRegressor, TweedieRegressor
from dask_newton.estimators.least_squares import ElasticNet, Lasso, LinearRegression, Ridge
from dask_newton.estimators.logistic import LogisticRegression
from dask_newton.estimators.loss_regressor import LossRegressor
from dask_newton.estimators.mlp import MLPClassifier, MLPRegressor

__all__ = [
    "ElasticNet",
    "GammaRegressor",
    "Lasso",
    "LinearRegression",
    "LogisticRegression",
    "LossRegressor",
    "MLPClassifier",
    "MLPRegressor",
    "PoissonRegressor",
    "Ridge",
    "TweedieRegressor",
]
