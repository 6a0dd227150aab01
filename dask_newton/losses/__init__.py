"""Losses of one sample: one file each. A new loss is a file here, a line below and an entry in tests/catalogue.py."""

from dask_newton.losses.base import Loss
from dask_newton.losses.custom import CustomLoss
from dask_newton.losses.gamma import Gamma
from dask_newton.losses.logistic import Logistic
from dask_newton.losses.poisson import Poisson
from dask_newton.losses.softmax import Softmax
from dask_newton.losses.squared import Squared
from dask_newton.losses.squared_softplus import SquaredSoftplus
from dask_newton.losses.tweedie import Tweedie

__all__ = ["CustomLoss", "Gamma", "Logistic", "Loss", "Poisson", "Softmax", "Squared", "SquaredSoftplus", "Tweedie"]
