"""Regularised linear models and networks on chunked arrays: second-order and ADMM solvers with little communication."""

import logging as _logging

from dask_newton.checkpoint import Checkpoint, CheckpointError
from dask_newton.comparison import Comparison, compare
from dask_newton.containers.problems import make_network, make_problem
from dask_newton.estimators import (
    ElasticNet,
    GammaRegressor,
    Lasso,
    LinearRegression,
    LogisticRegression,
    LossRegressor,
    MLPClassifier,
    MLPRegressor,
    PoissonRegressor,
    Ridge,
    TweedieRegressor,
)
from dask_newton.minimize import Result, minimize
from dask_newton.models import load_model, save_model

__version__ = "0.1.0"

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "Comparison",
    "ElasticNet",
    "GammaRegressor",
    "Lasso",
    "LinearRegression",
    "LogisticRegression",
    "LossRegressor",
    "MLPClassifier",
    "MLPRegressor",
    "PoissonRegressor",
    "Result",
    "Ridge",
    "TweedieRegressor",
    "__version__",
    "compare",
    "load_model",
    "make_network",
    "make_problem",
    "minimize",
    "save_model",
]

_logging.getLogger(__name__).addHandler(_logging.NullHandler())
