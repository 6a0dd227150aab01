"""Checks for estimators that accept Dask arrays, and for losses; also those of other libraries."""

from dask_newton.testing.loss_checks import check_loss
from dask_newton.testing.runner import (
    check_dask_estimator,
    dask_estimator_checks_generator,
    parametrize_with_dask_checks,
)

__all__ = ["check_dask_estimator", "check_loss", "dask_estimator_checks_generator", "parametrize_with_dask_checks"]
