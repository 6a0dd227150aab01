"""Rounds until a network's objective comes to a value, by solver: the table of docs/networks.rst.

``python asv_bench/network_rounds.py`` takes digits and Friedman's function; ``--data mnist.zarr/test`` adds the first
8,000 rows of a data set of labels.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.datasets import load_digits, make_friedman1
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from dask_newton import MLPClassifier, MLPRegressor
from dask_newton.data import open_dataset

SOLVERS = ("kfac", "lbfgs", "newton-cg", "gn-cg", "adam")
N_ROWS = 8000


def fits(data: str | None) -> Iterator[tuple[str, Any, Any, Any, float]]:
    """Yield a name, a model without a solver, X, y and the value to reach."""
    X, y = load_digits(return_X_y=True)
    X, _, y, _ = train_test_split(X / 16, y, random_state=0)
    yield "digits", MLPClassifier((40,) * 6, "tanh"), X, y, 0.01
    if data is not None:
        found = open_dataset(data)
        X, y = found.X[:N_ROWS].compute(), found.y[:N_ROWS].compute()
        for activation in ("relu", "tanh"):
            yield data, MLPClassifier((100,), activation), X, y, 0.01
    X, y = make_friedman1(4000, 10, noise=0.5, random_state=0)
    X, _, y, _ = train_test_split(X, y, random_state=0)
    yield "Friedman", MLPRegressor(hidden_layer_sizes=(50, 20)), X, y, 0.15


def main() -> None:
    """Fit and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", help="Path of a Zarr data set with labels.")
    parser.add_argument("--max-seconds", type=float, default=60.0, help="Of a fit.")
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    for name, model, X, y, value in fits(options.data):
        for solver in SOLVERS:
            # To the value, and not to where little more can be gained.
            model.set_params(solver=solver, tol=0.0, n_iter_no_change=10**6, max_iter=10**6, random_state=0)
            history = model.set_params(max_seconds=options.max_seconds).fit(X, y).history_
            rounds = next((row["rounds"] for row in history if row["objective"] <= value), np.nan)
            seconds = next((row["seconds"] for row in history if row["objective"] <= value), np.nan)
            print(
                f"{name}, {model.hidden_layer_sizes}, {model.activation}, to {value}: "
                f"{solver} {rounds:g} rounds, {seconds:.1f} s",
                flush=True,
            )


if __name__ == "__main__":
    main()
