"""The problems: an estimator and its penalty on a small data set, and where its reference solution comes from."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits

import dask_newton as dn
from dask_newton.penalties import L1, GroupLasso
from parity.objective import Objective
from parity.references import coordinate_descent, newton_cholesky, normal_equations, saga, statsmodels_glm

__all__ = ["DATA", "Problem", "Reference", "problems"]

Columns = dict[str, np.ndarray]


@dataclass(frozen=True)
class Reference:
    """The solution to compare with.

    Attributes
    ----------
    W : ndarray of shape (n_features + 1, n_outputs)
        The intercepts are the last row.
    residual : float
        By :meth:`Objective.residual`.
    moved : float
        By how much it was polished.
    """

    W: np.ndarray
    residual: float
    moved: float


@dataclass(frozen=True)
class Problem:
    """An estimator, its data and its reference.

    Attributes
    ----------
    estimator, targets, penalty : str
        What rows of the tables say.
    data : str
        A key of :data:`DATA`.
    columns : dict of ndarray
        What ``fit`` takes: X, y and, where there are any, sample_weight, offset or exposure.
    model : estimator
        Not fitted, without a solver.
    solve : callable
        ``solve(problem)`` returns W of the reference.
    l1, l2 : float or ndarray
        Strengths of the penalty, on the scale of the mean loss.
    """

    estimator: str
    targets: str
    penalty: str
    data: str
    columns: Columns
    model: Any
    solve: Callable[[Problem], np.ndarray]
    loss: str | float
    l1: float | np.ndarray = 0.0
    l2: float | np.ndarray = 0.0
    by_row: bool = False
    class_weight: np.ndarray | None = None
    polish: bool = False

    @property
    def name(self) -> str:
        """The row, in one string."""
        return f"{self.estimator} ({self.targets}), {self.penalty}"

    @functools.cached_property
    def objective(self) -> Objective:
        """What is minimised."""
        c = self.columns
        weight = c.get("sample_weight", np.ones(len(c["X"])))
        if self.class_weight is not None:
            weight = weight * self.class_weight[c["y"]]
        offset = np.log(c["exposure"]) if "exposure" in c else c.get("offset", np.zeros(len(c["X"])))
        return Objective(self.loss, c["X"], c["y"], weight, offset, self.l1, self.l2, self.by_row)

    @functools.cached_property
    def reference(self) -> Reference:
        """The solution to compare with."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of tolerances that rounding does not let them reach
            start = self.solve(self)
        W = self.objective.polished(start) if self.polish else start
        return Reference(W, self.objective.residual(W), float(np.max(np.abs(W - start))))

    def in_float32(self) -> Problem:
        """Return the same problem with its columns rounded to float32."""
        return replace(
            self,
            columns={
                name: a.astype(np.float32).astype(np.float64) if a.dtype.kind == "f" else a
                for name, a in self.columns.items()
            },
        )

    def error(self, fitted: Any) -> float:
        """Return the largest difference of a coefficient or intercept from the reference."""
        W = self.reference.W
        found = np.vstack([np.atleast_2d(fitted.coef_).T, np.atleast_1d(fitted.intercept_)])
        if self.loss == "softmax":  # a constant may be added to the margins of all classes
            if not np.any(self.l1) and not np.any(self.l2):
                W, found = W - W.mean(axis=1, keepdims=True), found - found.mean(axis=1, keepdims=True)
            else:
                W = np.vstack([W[:-1], W[-1:] - W[-1].mean()])
        return float(np.max(np.abs(found - W)))


def _standardised(X: np.ndarray) -> np.ndarray:
    X = X[:, X.std(axis=0) > 0]
    return (X - X.mean(axis=0)) / X.std(axis=0)


def _breast_cancer(features: list[int] | None) -> Columns:
    X, y = load_breast_cancer(return_X_y=True)
    return {"X": _standardised(X) if features is None else X[:, features] / X[:, features].max(axis=0), "y": y}


def _digits() -> Columns:
    X, y = load_digits(n_class=5, return_X_y=True)
    return {"X": X / 16, "y": y}


def _diabetes(kind: str = "") -> Columns:
    X, y = load_diabetes(return_X_y=True)
    X, y = X * np.sqrt(len(X)), y / 100
    if kind == "classes":
        return {"X": X, "y": np.searchsorted(np.quantile(y, [1 / 3, 2 / 3]), y)}
    return {"X": X, "y": np.column_stack([y, y**2, X[:, 0] + np.sqrt(y)]) if kind == "targets" else y}


def _claims(kind: str) -> Columns:
    """Insurance: rows are policies, the exposure is in years."""
    rng = np.random.default_rng(20)
    X = rng.normal(size=(600, 8)) * [1, 2, 0.5, 1, 1, 0.3, 3, 1] + [0, 1, 0, 2, 0, 1, 0, -1]
    exposure = rng.uniform(0.2, 2.0, len(X))
    margin = X @ [0.3, -0.1, 0.4, 0.0, 0.2, 0.0, 0.1, 0.0] - 0.2
    counts = rng.poisson(np.exp(margin) * exposure)
    amounts = rng.gamma(2.0, np.exp(0.5 * margin) / 2)
    y = {"counts": counts, "amounts": amounts * exposure, "totals": counts * amounts}[kind].astype(np.float64)
    return {"X": X, "y": y, "exposure": exposure}


# What a row of the tables says of its data -> the columns.
DATA: dict[str, Callable[[], Columns]] = {
    "breast cancer, 6 columns": functools.partial(_breast_cancer, [1, 3, 4, 5, 8, 9]),
    "breast cancer, 10 columns": functools.partial(_breast_cancer, list(range(10))),
    "breast cancer, 30 columns": functools.partial(_breast_cancer, None),
    "digits": _digits,
    "diabetes": _diabetes,
    "diabetes, 3 classes": functools.partial(_diabetes, "classes"),
    "diabetes, 3 targets": functools.partial(_diabetes, "targets"),
    "claims, counts": functools.partial(_claims, "counts"),
    "claims, amounts": functools.partial(_claims, "amounts"),
    "claims, totals": functools.partial(_claims, "totals"),
}


def _columns(data: str, *more: str) -> Columns:
    columns = {k: v for k, v in DATA[data]().items() if k in ("X", "y", *more)}
    rng = np.random.default_rng(3)
    drawn = {"sample_weight": rng.uniform(0.5, 2, len(columns["X"])), "offset": rng.normal(size=len(columns["X"])) / 2}
    return columns | {name: drawn[name] for name in more if name in drawn}


def _classifier(targets: str, penalty: str, data: str, C: float, l1_ratio: float, **more: Any) -> Problem:
    columns = _columns(data)
    strength = 1 / (C * len(columns["y"]))
    return Problem(
        "LogisticRegression",
        targets,
        penalty,
        data,
        columns,
        dn.LogisticRegression(C=C, l1_ratio=l1_ratio),
        saga if l1_ratio else newton_cholesky,
        "logistic" if targets == "2 classes" else "softmax",
        l1=strength * l1_ratio,
        l2=strength * (1 - l1_ratio),
        polish=l1_ratio > 0,
        **more,
    )


def _logistic() -> list[Problem]:
    small, large = "breast cancer, 10 columns", "breast cancer, 30 columns"
    two, five = "2 classes", "5 classes"
    elastic = _classifier(two, "elastic net", large, 0.1, 0.5)
    columns = _columns(large, "sample_weight")
    weight = columns["sample_weight"]
    balanced = weight.sum() / (2 * np.bincount(columns["y"], weight))  # both classes then weigh the same
    strengths = np.resize([10.0, 30.0, 5.0], 30) / len(columns["y"])
    return [
        _classifier(two, "none", "breast cancer, 6 columns", np.inf, 0.0),
        _classifier(two, "l2", small, 1.0, 0.0),
        _classifier(two, "l1", small, 1.0, 1.0),
        elastic,
        replace(
            elastic,
            penalty="l2, class and sample weights",
            columns=columns,
            class_weight=balanced,
            l1=0.0,
            l2=10 / weight.sum(),
            model=dn.LogisticRegression(C=0.1, class_weight="balanced"),
            solve=newton_cholesky,
            polish=False,
        ),
        replace(
            elastic,
            penalty="l1, one strength per coefficient",
            l1=strengths[:, None],
            l2=0.0,
            model=dn.LogisticRegression(regularizer=L1(strengths)),
        ),
        _classifier("3 classes", "none", "diabetes, 3 classes", np.inf, 0.0),
        _classifier(five, "l2", "digits", 1.0, 0.0),
        _classifier(five, "l1", "digits", 0.1, 1.0),
        _classifier(five, "elastic net", "digits", 0.1, 0.5),
    ]


def _least_squares() -> list[Problem]:
    one, three = "1 target", "3 targets"
    columns, several = _columns("diabetes"), _columns("diabetes, 3 targets")
    n = len(columns["y"])
    alphas = np.array([0.5, 5.0, 50.0])
    plain = Problem(
        "LinearRegression", one, "none", "diabetes", columns, dn.LinearRegression(), normal_equations, "squared"
    )
    groups = GroupLasso(np.arange(10), 0.3, scale_by_size=False)
    many = functools.partial(replace, targets=three, data="diabetes, 3 targets", columns=several)
    lasso = replace(
        plain, estimator="Lasso", penalty="l1", l1=0.05, solve=coordinate_descent, model=dn.Lasso(alpha=0.05)
    )
    elastic = replace(
        lasso,
        estimator="ElasticNet",
        penalty="elastic net",
        l1=0.03,
        l2=0.07,
        model=dn.ElasticNet(alpha=0.1, l1_ratio=0.3),
    )
    ridge = replace(plain, estimator="Ridge", penalty="l2", l2=20 / n, model=dn.Ridge(alpha=20.0))
    return [
        plain,
        many(plain),
        many(
            plain,
            penalty="group lasso",
            model=dn.LinearRegression(regularizer=groups),
            l1=0.3,
            by_row=True,
            solve=coordinate_descent,
        ),
        ridge,
        replace(ridge, penalty="l2, offset", columns=_columns("diabetes", "offset")),
        many(ridge, penalty="l2, one strength per target", l2=alphas / n, model=dn.Ridge(alpha=alphas)),
        lasso,
        many(lasso),
        elastic,
        replace(elastic, penalty="elastic net, sample weights", columns=_columns("diabetes", "sample_weight")),
    ]


def _log_link(cls: type, targets: str, loss: float, **more: Any) -> list[Problem]:
    data, alpha = f"claims, {targets}", 0.05

    def make(penalty: str, alpha: float, l1_ratio: float, solve: Any, *columns: str) -> Problem:
        return Problem(
            cls.__name__,
            targets,
            penalty,
            data,
            _columns(data, *columns),
            cls(alpha=alpha, l1_ratio=l1_ratio, **more),
            solve,
            loss,
            l1=alpha * l1_ratio,
            l2=alpha * (1 - l1_ratio),
            polish=l1_ratio > 0,
        )

    plain = [make("none", 0.0, 0.0, statsmodels_glm), make("l2", alpha, 0.0, newton_cholesky)]
    return [
        *(plain if loss == 1 else []),
        make("none, exposure", 0.0, 0.0, statsmodels_glm, "exposure"),
        make("l2, sample weights", alpha, 0.0, newton_cholesky, "sample_weight"),
        make("l1", alpha, 1.0, statsmodels_glm),
        make("elastic net", alpha, 0.5, statsmodels_glm),
    ]


def _normal_link() -> list[Problem]:
    (ridge,) = (p for p in _least_squares() if p.name == "Ridge (1 target), l2")
    model = dn.TweedieRegressor(alpha=0.1)
    return [replace(ridge, estimator="TweedieRegressor", targets="power 0", l2=0.1, model=model, solve=newton_cholesky)]


def problems() -> list[Problem]:
    """Return all problems, in the order of the tables."""
    return [
        *_logistic(),
        *_least_squares(),
        *_log_link(dn.PoissonRegressor, "counts", 1.0),
        *_log_link(dn.GammaRegressor, "amounts", 2.0),
        *_log_link(dn.TweedieRegressor, "totals", 1.5, power=1.5),
        *_normal_link(),
    ]
