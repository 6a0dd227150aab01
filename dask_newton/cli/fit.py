"""``dask-newton fit``: a data set -> a model."""

from __future__ import annotations

import csv
import json
import logging
import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from dask_newton.cli.common import (
    check_destination,
    compute_on,
    computing_options,
    echo_warnings,
    example,
    megabytes,
    new_table,
    print_table,
    progress_bar,
    score_name,
)
from dask_newton.cli.model_options import check_data, make_model, model_options

__all__ = ["fit"]

NOT_CONVERGED = 3


def _parse_options(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> dict[str, Any]:
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


@click.command(
    epilog=example(
        "dask-newton fit mnist.zarr/train --test mnist.zarr/test --C 0.1 --out model.zarr",
        "dask-newton fit data.zarr --solver newton-admm --option rho=0.5 --l1-ratio 1 --workers 4",
        "dask-newton fit bikes.zarr --model poisson --alpha 1e-4",
        "dask-newton fit /shared/data.zarr --scheduler tcp://10.0.0.1:8786 --out model.zarr",
    )
)
@click.argument("data")
@model_options
@click.option(
    "--solver", default="auto", show_default=True, help="Such as newton-admm, giant, newton-cholesky."
)
@click.option(
    "--option",
    "options",
    multiple=True,
    metavar="KEY=VALUE",
    callback=_parse_options,
    help="Hyper-parameter of the solver; may be given several times.",
)
@click.option("--max-iter", type=click.IntRange(0), default=100, show_default=True)
@click.option("--max-rounds", type=click.IntRange(0), help="Stop after so many communication rounds.")
@click.option("--max-bytes", type=click.FloatRange(0), help="Stop after so many bytes sent, up and down.")
@click.option("--max-seconds", type=click.FloatRange(0), help="Stop after so many seconds of the solver.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="Seed of solvers that draw samples.")
@computing_options
@click.option("--test", metavar="PATH", help="Data set on which to report the score as well.")
@click.option("--out", metavar="PATH", help="Save the model there, such as model.zarr.")
@click.option("--history", metavar="FILE", help="Save what happened at every iteration as CSV.")
@click.option("--plot", metavar="FILE", help="Save a picture of the convergence (needs matplotlib).")
@click.option("--overwrite", is_flag=True, help="Replace what is at --out, --history and --plot.")
@click.option("--verbose", is_flag=True, help="Log every iteration on standard error.")
@click.option("--quiet", is_flag=True, help="Print nothing but warnings and errors.")
@click.pass_context
def fit(
    context: click.Context,
    data: str,
    scheduler: str | None,
    workers: int | None,
    test: str | None,
    out: str | None,
    history: str | None,
    plot: str | None,
    overwrite: bool,
    verbose: bool,
    quiet: bool,
    **settings: Any,
) -> None:
    """Fit a linear model to a data set.

    DATA is a Zarr group such as mnist.zarr/train. The default model is a logistic regression, for labels of two
    classes or more.

    A fit that does not converge prints a warning, saves what it was asked to save, and exits with status 3.
    """
    model = _make_model(verbose, **settings)
    for destination in (history, plot):
        check_destination(destination, overwrite)
    check_destination(out, overwrite, zarr=True, inputs=(data, test))
    if plot is not None:
        from dask_newton.cli.plots import require_matplotlib

        require_matplotlib()
    caught: list[warnings.WarningMessage] = []
    with echo_warnings(caught):
        check_data(data, test)
        with progress_bar(quiet=quiet or verbose) as progress, compute_on(scheduler, workers):
            task = progress.add_task("Reading", total=None)

            def show(record: dict[str, Any]) -> None:
                text = f"Iteration {record['iteration']}, objective {record['objective']:.6g}"
                if record["gradient_norm"] == record["gradient_norm"]:  # ADMM evaluates it now and then only
                    text += f", largest gradient entry {record['gradient_norm']:.1e}"
                progress.update(task, description=text)

            began = time.perf_counter()
            with listening(show) as listener:
                model.fit(data)
            seconds = time.perf_counter() - began
            if out is not None:
                from dask_newton.models import save_model

                save_model(model, out, overwrite=overwrite)
            if history is not None:
                _write_history(model.history_, history)
            if plot is not None:
                from dask_newton.cli.plots import plot_certificate

                plot_certificate(model.history_, model.tol, plot)
            if not quiet:
                progress.update(task, description="Scoring")
                scores = {"training": model.score(data)} | ({"test": model.score(test)} if test else {})
    if not quiet:
        _report(model, listener.reason, seconds, scores, [path for path in (out, history, plot) if path])
    if not model.converged_:
        context.exit(NOT_CONVERGED)


def _make_model(verbose: bool, options: dict[str, Any], seed: int | None, **settings: Any) -> Any:
    from dask_newton.estimators.options import make_solver

    model = make_model(
        "fit", solver_options=options or None, random_state=seed, verbose=int(verbose), **settings
    )
    solver = make_solver(model.solver, options)  # a wrong name must not cost a cluster
    defaults = {} if solver is None else vars(make_solver(model.solver, None))
    for key, value in options.items():
        default = defaults[key]
        number = isinstance(default, int | float) and not isinstance(default, bool)
        if number and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise ValueError(f"The option {key}={value} of {model.solver!r} must be a number.")
        if isinstance(default, bool | str) and not isinstance(value, type(default)):
            kind = "true or false" if isinstance(default, bool) else "a word"
            raise ValueError(f"The option {key}={value} of {model.solver!r} must be {kind}.")
        if hasattr(default, "__dataclass_fields__"):
            raise ValueError(f"The option {key} of {model.solver!r} can be set in Python only.")
    return model


class _Listener(logging.Handler):
    """Hears from the library's log what a fit is doing."""

    def __init__(self, on_iteration: Callable[[dict[str, Any]], None]) -> None:
        super().__init__(logging.DEBUG)
        self.on_iteration, self.reason = on_iteration, ""

    def emit(self, record: logging.LogRecord) -> None:
        if str(record.msg).startswith("solver='auto' chose"):
            self.reason = f", as {record.getMessage().partition(': ')[2].removesuffix('.')}"
        last = record.args[-1] if isinstance(record.args, tuple) and record.args else None
        if isinstance(last, dict) and {"iteration", "gradient_norm"} <= set(last):
            self.on_iteration(last)


@contextmanager
def listening(on_iteration: Callable[[dict[str, Any]], None]) -> Iterator[_Listener]:
    """Call ``on_iteration`` with the record of every iteration of the fits inside the block."""
    library, listener = logging.getLogger("dask_newton"), _Listener(on_iteration)
    level = library.level
    library.addHandler(listener)
    library.setLevel(logging.DEBUG)
    try:
        yield listener
    finally:
        library.setLevel(level)
        library.removeHandler(listener)


def _write_history(history: Any, path: str) -> None:
    names = list(dict.fromkeys(name for record in history for name in record))
    partial = f"{path}.partial-{os.getpid()}"
    try:
        with open(partial, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(history)
        os.replace(partial, path)
    finally:
        if os.path.exists(partial):
            os.remove(partial)


def _report(model: Any, reason: str, seconds: float, scores: dict[str, float], saved: list[str]) -> None:
    last, result = model.history_[-1], model.result_
    table = new_table()
    rows = {
        "solver": f"{model.solver_.name}{reason}",
        "status": f"{result.status.value} after {result.n_iter} iterations",
        "largest gradient entry": f"{result.gradient_norm:.3g} (tol {model.tol:g})",
        "objective": f"{result.value:.12g}",
        "passes over the data": f"{model.n_passes_}",
        "communication rounds": f"{model.n_rounds_}",
        "MB up, MB down": f"{megabytes(last['bytes_up'])}, {megabytes(last['bytes_down'])}",
        "seconds": f"{seconds:.2f} (solver {last['seconds']:.2f})",
        **{f"{score_name(model)} ({name})": f"{score:.4f}" for name, score in scores.items()},
        "saved": ", ".join(saved),
    }
    for name, value in rows.items():
        if value:
            table.add_row(name, value)
    print_table(table)
