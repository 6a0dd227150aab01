"""Checks for estimators that take Dask arrays: ours, and anybody's."""

from dask_newton.testing.runner import (
    check_dask_estimator,
    dask_estimator_checks_generator,
    parametrize_with_dask_checks,
)

__all__ = ["check_dask_estimator", "dask_estimator_checks_generator", "parametrize_with_dask_checks"]
