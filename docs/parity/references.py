"""Solutions by scikit-learn and statsmodels, at tolerances that leave nothing but rounding.

Each function takes a problem and returns W, with the intercepts as last row. Parameters are those of the estimator of
the same name, so that scalings of objectives are tested too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import sklearn.linear_model as sk

if TYPE_CHECKING:
    from parity.problems import Problem

__all__ = ["coordinate_descent", "newton_cholesky", "normal_equations", "saga", "statsmodels_glm"]


def _fitted(problem: Problem, model: Any) -> np.ndarray:
    c = problem.columns
    if "offset" in c:  # which scikit-learn does not know; of squared errors it can be taken from the target
        c = c | {"y": c["y"] - c["offset"]}
    weights = {"sample_weight": c["sample_weight"]} if "sample_weight" in c else {}
    model.fit(c["X"], c["y"], **weights)
    return np.vstack([np.atleast_2d(model.coef_).T, np.atleast_1d(model.intercept_)])


def _twin(problem: Problem, **exact: Any) -> Any:
    """Return scikit-learn's estimator of the same name, with the same parameters."""
    cls = getattr(sk, problem.estimator)
    objective = {"C", "alpha", "l1_ratio", "power", "class_weight"} & set(cls().get_params())
    return cls(**{name: getattr(problem.model, name) for name in objective}, **exact)


def newton_cholesky(problem: Problem) -> np.ndarray:
    """By scikit-learn's ``newton-cholesky``."""
    return _fitted(problem, _twin(problem, solver="newton-cholesky", tol=1e-14, max_iter=1000))


def normal_equations(problem: Problem) -> np.ndarray:
    """By scikit-learn's direct solvers of least squares."""
    return _fitted(problem, _twin(problem))


def coordinate_descent(problem: Problem) -> np.ndarray:
    """By scikit-learn's coordinate descent; of the group lasso by ``MultiTaskLasso``, with targets as groups."""
    exact = {"tol": 1e-15, "max_iter": 10**6}
    model = sk.MultiTaskLasso(alpha=problem.l1, **exact) if problem.by_row else _twin(problem, **exact)
    return _fitted(problem, model)


def saga(problem: Problem) -> np.ndarray:
    """By scikit-learn's ``saga``, which is slow to reach more than a few digits; polished afterwards.

    Strengths for each coefficient are those of one strength after division of the columns by them.
    """
    if problem.model.regularizer is None:
        return _fitted(problem, _twin(problem, solver="saga", tol=1e-6, max_iter=5000))
    c, mean = problem.columns, problem.l1.mean()
    scale = problem.l1[:, 0] / mean
    model = sk.LogisticRegression(C=1 / (len(c["y"]) * mean), l1_ratio=1.0, solver="saga", tol=1e-6, max_iter=5000)
    model.fit(c["X"] / scale, c["y"])
    return np.vstack([model.coef_.T / scale[:, None], model.intercept_])


def statsmodels_glm(problem: Problem) -> np.ndarray:
    """By statsmodels: ``GLM.fit``, with exposure; for l1 ``GLM.fit_regularized``, polished afterwards."""
    import statsmodels.api as sm

    c, power, log = problem.columns, problem.loss, sm.families.links.Log()
    families = {1.0: sm.families.Poisson(log), 2.0: sm.families.Gamma(log)}
    family = families.get(power) or sm.families.Tweedie(log, var_power=power, eql=True)
    design = np.column_stack([c["X"], np.ones(len(c["X"]))])
    offset = np.log(c["exposure"]) if "exposure" in c else None
    model = sm.GLM(c["y"], design, family=family, offset=offset)
    if problem.model.alpha == 0:
        return model.fit(tol=1e-14, maxiter=200, tol_criterion="params").params[:, None]
    alpha = np.full(design.shape[1], problem.model.alpha)
    alpha[-1] = 0.0
    start = np.zeros(design.shape[1])
    start[-1] = np.log(c["y"].mean())
    fit = model.fit_regularized(
        alpha=alpha, L1_wt=problem.model.l1_ratio, start_params=start, cnvrg_tol=1e-8, zero_tol=1e-8, maxiter=500
    )
    return np.asarray(fit.params)[:, None]
