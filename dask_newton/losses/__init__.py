"""Per-sample losses: one file each. A new loss is a file here, a line below and an entry in tests/catalogue.py."""

from dask_newton.losses.base import Loss
from dask_newton.losses.logistic import Logistic
from dask_newton.losses.softmax import Softmax

__all__ = ["Logistic", "Loss", "Softmax"]
