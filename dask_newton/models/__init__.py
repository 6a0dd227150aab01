"""Fitted estimators <-> Zarr groups of arrays and JSON. Reading one executes no code from the file.

``parameters`` turns parameters and solvers into JSON and back, ``coefficients`` lists the arrays of a model, and
``group`` saves and loads the whole. An estimator that can be saved is an entry in ``group.ESTIMATORS``.
"""

from dask_newton.models.group import is_model, load_model, save_model
from dask_newton.storage.kinds import ModelError

__all__ = ["ModelError", "is_model", "load_model", "save_model"]
