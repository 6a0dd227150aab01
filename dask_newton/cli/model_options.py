"""The options of all commands that fit: the model, its budgets, and the estimator that they make."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from typing import Any, TypeVar

import click

__all__ = ["check_data", "is_network", "make_model", "model_options", "option_values", "run_options", "solver_options"]

F = TypeVar("F", bound=Callable[..., Any])

MODELS = {
    "logistic": "LogisticRegression",
    "linear": "LinearRegression",
    "ridge": "Ridge",
    "lasso": "Lasso",
    "elastic-net": "ElasticNet",
    "poisson": "PoissonRegressor",
    "gamma": "GammaRegressor",
    "tweedie": "TweedieRegressor",
    "mlp": "MLPClassifier",
    "mlp-regressor": "MLPRegressor",
}
# Flags that differ from the names of their parameters.
_FLAGS = {"hidden_layer_sizes": "--hidden", "n_iter_no_change": "--patience", "fit_intercept": "--no-intercept"}


def _layer_sizes(_: click.Context, __: click.Parameter, text: str | None) -> tuple[int, ...] | None:
    """Parse numbers of units, such as 400,150."""
    if text is None:
        return None
    sizes = [word.strip() for word in text.split(",") if word.strip()]
    if not all(size.isdecimal() and int(size) > 0 for size in sizes):
        raise click.BadParameter(f"{text!r}: give the number of units of each hidden layer, such as 400,150.")
    return tuple(map(int, sizes))


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
        "--alpha",
        type=click.FloatRange(0),
        help="Strength of the penalty of other models.  [default: 1; networks 0.0001]",
    ),
    click.option("--l1-ratio", type=click.FloatRange(0, 1), help="Share of the l1 penalty: 0 is l2, 1 is l1."),
    click.option("--power", type=float, help="Exponent of the Tweedie variance, which is mean ** power."),
    click.option("--no-intercept", "fit_intercept", flag_value=False, default=None, help="Fit without an intercept."),
    click.option(
        "--hidden",
        "hidden_layer_sizes",
        metavar="N,...",
        callback=_layer_sizes,
        help='Units of each hidden layer of a network, such as 400,150; "" for none.  [default: 100]',
    ),
    click.option(
        "--activation",
        help="Hidden layers: relu, leaky_relu, tanh, logistic or identity.  [default: relu]",
    ),
    click.option(
        "--batch-size", type=click.IntRange(1), help="Rows per mini-batch, for network solvers that use mini-batches."
    ),
    click.option(
        "--early-stopping",
        is_flag=True,
        default=None,
        help="Hold out rows, and keep the network with the best score on them.",
    ),
    click.option(
        "--validation-fraction",
        type=click.FloatRange(0, 1, min_open=True, max_open=True),
        help="Fraction of the rows to hold out.  [default: 0.1]",
    ),
    click.option(
        "--patience",
        "n_iter_no_change",
        type=click.IntRange(1),
        help="Iterations without improvement after which training ends.  [default: 10]",
    ),
    click.option("--class-weight", type=click.Choice(["balanced"]), help="Give all classes the same total weight."),
    click.option(
        "--tol",
        type=click.FloatRange(0),
        help="Stop when no entry of the gradient of the mean objective is larger; for networks also the smallest "
        "decrease of the objective that counts.  [default: 1e-6; networks 1e-4]",
    ),
)

_LIMITS = (
    click.option(
        "--max-iter", type=click.IntRange(0), help="Largest number of iterations.  [default: 100; networks 200]"
    ),
    click.option("--max-rounds", type=click.IntRange(0), help="Largest number of communication rounds."),
    click.option("--max-bytes", type=click.FloatRange(0), help="Largest number of bytes sent, up and down."),
    click.option("--max-seconds", type=click.FloatRange(0), help="Largest number of seconds in the solver."),
    click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="Seed of solvers that draw samples."),
)


def model_options(command: F) -> F:
    """Add the options of the model and its accuracy."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def run_options(command: F) -> F:
    """Add the options of budgets and of the random seed."""
    for option in reversed(_LIMITS):
        command = option(command)
    return command


def option_values(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, Any]:
    """Parse repeated KEY=VALUE."""
    options = {}
    for value in values:
        key, equals, text = value.partition("=")
        if not key or not equals:
            raise click.BadParameter(f"{value!r} is not of the form KEY=VALUE, such as rho=0.5.")
        try:
            options[key] = json.loads(text)
        except json.JSONDecodeError:
            options[key] = text  # a word, such as spectral
        if isinstance(options[key], list | dict):
            raise click.BadParameter(f"{value!r}: give a number, a word, true, false or null.")
    return options


def make_model(command: str, name: str, **settings: Any) -> Any:
    """Return the estimator with a name; settings that are None keep their defaults.

    Raises
    ------
    ValueError
        If the estimator does not have a setting; the message refers to the help of ``command``.
    """
    from dask_newton import estimators

    cls = getattr(estimators, MODELS[name])
    settings = {key: value for key, value in settings.items() if value is not None}
    unknown = [key for key in settings if key not in inspect.signature(cls).parameters]
    if unknown:
        flags = ", ".join(_FLAGS.get(key, f"--{key.replace('_', '-')}") for key in unknown)
        raise ValueError(f"The model {name!r} has no option {flags}; see dask-newton {command} --help.")
    return cls(**settings)


def is_network(model: str) -> bool:
    """Whether the model with this name is a network."""
    return model.startswith("mlp")


def solver_options(solver: str, options: dict[str, Any], *, network: bool) -> dict[str, Any] | None:
    """Return the options of a solver as ``solver_options``.

    Raises
    ------
    ValueError
        If the solver or an option is unknown, or if a value does not have the type of the default.
    """
    from dask_newton.estimators.options import make_solver

    made = make_solver(solver, options, network=network)
    defaults = {} if made is None else vars(make_solver(solver, None, network=network))
    for key, value in options.items():
        default = defaults[key]
        number = isinstance(default, int | float) and not isinstance(default, bool)
        if number and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise ValueError(f"The option {key}={value} of {solver!r} must be a number.")
        if isinstance(default, bool | str) and not isinstance(value, type(default)):
            kind = "true or false" if isinstance(default, bool) else "a word"
            raise ValueError(f"The option {key}={value} of {solver!r} must be {kind}.")
        if hasattr(default, "__dataclass_fields__"):
            raise ValueError(f"The option {key} of {solver!r} can be set in Python only.")
    return options or None


def check_data(data: str, test: str | None = None) -> None:
    """Refuse data without targets, and test data with another number of features, before the fit begins."""
    from dask_newton.data import open_dataset

    widths = []
    for path in (data, test):
        if path is not None:
            dataset = open_dataset(path)
            if dataset.y is None:
                raise ValueError(f"{path} has no targets 'y', which a fit needs.")
            widths.append(dataset.X.shape[1])
    if len(set(widths)) > 1:
        raise ValueError(f"{data} has {widths[0]} features, but {test} has {widths[1]}; the numbers must be equal.")
