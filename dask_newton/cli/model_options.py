"""The options that say what is fitted, and the estimator they make: what commands that fit have in common."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

import click

__all__ = ["check_data", "make_model", "model_options"]

F = TypeVar("F", bound=Callable[..., Any])

MODELS = {
    "logistic": "LogisticRegression", "linear": "LinearRegression", "ridge": "Ridge", "lasso": "Lasso",
    "elastic-net": "ElasticNet", "poisson": "PoissonRegressor", "gamma": "GammaRegressor",
    "tweedie": "TweedieRegressor",
}

_OPTIONS = (
    click.option(
        "--model", "name", type=click.Choice(list(MODELS)), default="logistic", show_default=True, help="What to fit."
    ),
    click.option(
        "--C",
        "C",
        type=click.FloatRange(0, min_open=True),
        help="Inverse strength of the penalty of a logistic regression; inf is no penalty.  [default: 1]",
    ),
    click.option(
        "--alpha", type=click.FloatRange(0), help="Strength of the penalty of all other models.  [default: 1]"
    ),
    click.option("--l1-ratio", type=click.FloatRange(0, 1), help="Share of the l1 penalty: 0 is l2, 1 is l1."),
    click.option("--power", type=float, help="Power of the mean that the variance of a Tweedie model is."),
    click.option("--no-intercept", is_flag=True, help="Fit no intercept."),
    click.option(
        "--class-weight", type=click.Choice(["balanced"]), help="Give all classes the same total weight."
    ),
    click.option(
        "--tol",
        type=click.FloatRange(0),
        default=1e-6,
        show_default=True,
        help="Largest entry of the gradient of the mean objective at which to stop.",
    ),
)


def model_options(command: F) -> F:
    """Add the options that say what is fitted, and how exactly."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def make_model(command: str, name: str, no_intercept: bool, **settings: Any) -> Any:
    """Return the estimator of a name; settings that are None are left at their defaults.

    Raises
    ------
    ValueError
        If the estimator has no such setting; the message points to the help of ``command``.
    """
    from dask_newton import estimators

    cls = getattr(estimators, MODELS[name])
    settings = {key: value for key, value in settings.items() if value is not None}
    unknown = [key for key in settings if key not in inspect.signature(cls).parameters]
    if unknown:
        flags = ", ".join(f"--{key.replace('_', '-')}" for key in unknown)
        raise ValueError(f"The model {name!r} has no option {flags}; see dask-newton {command} --help.")
    return cls(fit_intercept=not no_intercept, **settings)


def check_data(data: str, test: str | None = None) -> None:
    """Refuse data without targets, and test data of another width, before hours of work."""
    from dask_newton.data import open_dataset

    widths = []
    for path in (data, test):
        if path is not None:
            dataset = open_dataset(path)
            if dataset.y is None:
                raise ValueError(f"{path} has no targets 'y'; a fit needs them.")
            widths.append(dataset.X.shape[1])
    if len(set(widths)) > 1:
        raise ValueError(f"{data} has {widths[0]} features, but {test} has {widths[1]}; give data alike.")
