"""Fitted estimators <-> Zarr groups: arrays and JSON, nothing that is executed when it is read.

``parameters`` turns parameters and solvers into JSON and back, ``coefficients`` says which arrays a model has, and
``group`` puts all together. An estimator that can be saved is one entry in ``group.ESTIMATORS``.
"""

from dask_newton.models.group import is_model, load_model, save_model
from dask_newton.models.parameters import ModelError

__all__ = ["ModelError", "is_model", "load_model", "save_model"]
