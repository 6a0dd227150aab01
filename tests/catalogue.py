"""Every loss, penalty, local solver, solver and block engine, once. Contract tests are parametrised from here.

Whoever adds a member adds a line here; ``test_catalogue.py`` fails until that is done.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.special
from sklearn.metrics import mean_squared_error, mean_tweedie_deviance

from dask_newton.blocks import Blocks, PerBlock, SerialBlocks, place_delayed
from dask_newton.inner import CG, LSMR, MINRES, SVRG, LocalNewton, SquaredCG
from dask_newton.losses import Gamma, Logistic, Loss, Poisson, Softmax, Squared, SquaredSoftplus, Tweedie
from dask_newton.penalties import L1, L2, ElasticNet, GroupLasso, NoPenalty, Penalty
from dask_newton.solvers import (
    AIDE,
    DANE,
    DINGO,
    DINO,
    DLADMM,
    GD,
    GIANT,
    GNCG,
    HFCG,
    HFMINRES,
    KFAC,
    LBFGS,
    PDADMM,
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    DiSCO,
    HFBiCGSTAB,
    HybridCG,
    InexactDANE,
    MiniBatchSGD,
    Momentum,
    NetworkADMM,
    NewtonADMM,
    NewtonCG,
    NewtonCholesky,
    NewtonMR,
    PDADMMGrid,
    ProxNewton,
    SampledNewton,
    Solver,
)
from dask_newton.solvers.linear.support_newton import SupportNewton
from dask_newton.solvers.relay import Relay, Stage


@dataclass(frozen=True)
class LossCase:
    """A loss, targets for it, and what it should compute, by SciPy.

    Attributes
    ----------
    loss : Loss
    targets : callable
        ``targets(rng, n)`` returns n valid targets, as floats.
    value : callable
        ``value(y, z)`` returns the loss of each row, by an independent formula.
    response : callable
        ``response(z)`` returns the mean response.
    deviance : callable or None
        ``deviance(y, mean)`` returns the mean unit deviance, by scikit-learn; None for classification.
    """

    loss: Loss
    targets: Callable[[np.random.Generator, int], np.ndarray]
    value: Callable[[np.ndarray, np.ndarray], np.ndarray]
    response: Callable[[np.ndarray], np.ndarray]
    deviance: Callable[[np.ndarray, np.ndarray], float] | None = None


def _tweedie(power: float, loss: Loss, least: float) -> LossCase:
    """A loss with the logarithmic link, of targets with many values ``least``, by its formula in the mean."""

    def value(y: np.ndarray, z: np.ndarray) -> np.ndarray:
        z = z[:, 0]
        a, b = 2 - power, 1 - power
        return (np.exp(a * z) / a if a else z) - y * (np.exp(b * z) / b if b else z)

    return LossCase(
        loss,
        lambda rng, n: np.maximum(rng.integers(0, 6, n), least).astype(np.float64),
        value,
        lambda z: np.exp(z[:, 0]),
        functools.partial(mean_tweedie_deviance, power=power),
    )


def _squared(n_outputs: int) -> LossCase:
    shape = () if n_outputs == 1 else (n_outputs,)
    return LossCase(
        Squared(n_outputs),
        lambda rng, n: rng.normal(size=(n, *shape)),
        lambda y, z: 0.5 * np.linalg.norm(z - y.reshape(z.shape), axis=1) ** 2,
        lambda z: z.reshape(len(z), *shape),
        lambda y, mean: n_outputs * mean_squared_error(y, mean),
    )


def _classes(n_classes: int) -> Callable[[np.random.Generator, int], np.ndarray]:
    return lambda rng, n: rng.integers(0, n_classes, n).astype(np.float64)


def _with_zero(z: np.ndarray) -> np.ndarray:
    return np.column_stack([z, np.zeros(len(z))])


def _cross_entropy(y: np.ndarray, z: np.ndarray) -> np.ndarray:
    return -scipy.special.log_softmax(z, axis=1)[np.arange(len(z)), y.astype(int)]


LOSSES: dict[str, LossCase] = {
    "logistic": LossCase(
        Logistic(),
        _classes(2),
        # -log p of the label: the margin is that of class 1 against class 0.
        lambda y, z: -scipy.special.log_expit(np.where(y == 1, z[:, 0], -z[:, 0])),
        lambda z: np.column_stack([scipy.special.expit(-z[:, 0]), scipy.special.expit(z[:, 0])]),
    ),
    "softmax": LossCase(Softmax(4), _classes(4), _cross_entropy, lambda z: scipy.special.softmax(z, axis=1)),
    "softmax-reference": LossCase(
        Softmax(4, "reference"),
        _classes(4),
        lambda y, z: _cross_entropy(y, _with_zero(z)),
        lambda z: scipy.special.softmax(_with_zero(z), axis=1),
    ),
    "squared": _squared(1),
    "squared-targets": _squared(3),
    "squared-softplus": LossCase(
        SquaredSoftplus(),
        lambda rng, n: rng.uniform(0.0, 4.0, n),
        lambda y, z: (y - np.logaddexp(0, z[:, 0])) ** 2,
        lambda z: np.logaddexp(0, z[:, 0]),
        lambda y, mean: 2 * mean_squared_error(y, mean),
    ),
    "poisson": _tweedie(1.0, Poisson(), 0.0),
    "gamma": _tweedie(2.0, Gamma(), 0.5),
    "tweedie": _tweedie(1.3, Tweedie(1.3), 0.0),
}

Shape = tuple[int, int]


def _by_feature(shape: Shape) -> np.ndarray:
    return np.resize([1.0, 0.0, 2.0], shape[0])


def _by_coefficient(shape: Shape) -> np.ndarray:
    return np.resize([0.5, 3.0, 0.0, 1.0], shape)


# Penalties for coefficients of a shape (n_features, n_outputs).
PENALTIES: dict[str, Callable[[Shape], Penalty]] = {
    "none": lambda shape: NoPenalty(),
    "l2": lambda shape: L2(0.7),
    "l1": lambda shape: L1(0.3),
    "elastic_net": lambda shape: ElasticNet(0.3, 0.7),
    "weighted_l2": lambda shape: L2(0.7 * _by_coefficient(shape)),
    "weighted_l1": lambda shape: L1(0.3 * _by_feature(shape)),
    "weighted_elastic_net": lambda shape: ElasticNet(0.3 * _by_coefficient(shape), 0.7 * _by_feature(shape)),
    "group_lasso": lambda shape: GroupLasso(np.arange(shape[0]) % 2 + 5, 0.3),
    "group_lasso_l2": lambda shape: GroupLasso(np.arange(shape[0]) // 2, 0.3, lam2=0.7, scale_by_size=False),
}

LOCAL_SOLVERS: dict[str, Any] = {
    "cg": CG(rtol=1e-12, max_iter=1000),
    "lsmr": LSMR(rtol=1e-13, max_iter=1000, damping=0.1),
    "minres": MINRES(rtol=1e-14, max_iter=1000),
    "newton": LocalNewton(),
    "squared-cg": SquaredCG(CG(rtol=1e-12, max_iter=1000), damping=0.1),
    "svrg": SVRG(),
}

# Matrix and right side of the system that a local solver solves for (A, b).
LOCAL_SYSTEMS: dict[str, Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]] = {
    "cg": lambda A, b: (A, b),
    "lsmr": lambda A, b: (A @ A + 0.01 * np.eye(len(A)), A @ b),
    "minres": lambda A, b: (A, b),
    "squared-cg": lambda A, b: (A @ A + 0.01 * np.eye(len(A)), b),
}


@dataclass(frozen=True)
class SolverCase:
    """A solver and what it can minimise.

    Attributes
    ----------
    solver : Solver
        With its defaults, but for less work of the blocks where that would make tests slow.
    penalties : tuple of str
        Keys of :data:`PENALTIES` that it supports.
    registered : bool
        Whether estimators find it by name.
    error : float
        Largest error of a coefficient, at the certificate ``tol``.
    tol : float
    exact : bool
        Whether it is sure to reach the optimum of a convex problem, as closely as ``tol`` says.
    """

    solver: Solver[Any]
    penalties: tuple[str, ...]
    registered: bool = True
    error: float = 1e-6
    tol: float = 1e-9
    exact: bool = True


SMOOTH = ("none", "l2", "weighted_l2")
SPARSE = ("l1", "elastic_net", "weighted_l1", "weighted_elastic_net", "group_lasso", "group_lasso_l2")

SOLVERS: dict[str, SolverCase] = {
    "aide": SolverCase(AIDE(steps=5), SMOOTH, exact=False),
    "auto": SolverCase(
        Relay((Stage(NewtonCholesky()), Stage(NewtonADMM()))),
        SMOOTH + SPARSE,
        registered=False,
        error=1e-8,
        tol=1e-11,
    ),
    "dane": SolverCase(DANE(newton_steps=2, cg_max_iter=10), SMOOTH, exact=False),
    "dingo": SolverCase(DINGO(), SMOOTH),
    "dino": SolverCase(DINO(), SMOOTH),
    "disco": SolverCase(DiSCO(), SMOOTH, error=1e-8, tol=1e-11),
    "giant": SolverCase(GIANT(), SMOOTH + SPARSE),
    "inexact-dane": SolverCase(InexactDANE(steps=5), SMOOTH, exact=False),
    "lbfgs": SolverCase(LBFGS(), SMOOTH),
    "newton-admm": SolverCase(NewtonADMM(), SMOOTH + SPARSE),
    "newton-cg": SolverCase(NewtonCG(), SMOOTH, error=1e-8, tol=1e-11),
    "newton-cholesky": SolverCase(NewtonCholesky(), SMOOTH + SPARSE, error=1e-8, tol=1e-11),
    "newton-mr": SolverCase(NewtonMR(), SMOOTH, error=1e-8, tol=1e-11),
    "sampled-newton": SolverCase(SampledNewton(), SMOOTH),
    "sgd": SolverCase(SGD(), SMOOTH, exact=False),
    "support-newton": SolverCase(SupportNewton(), SPARSE, registered=False),
    "prox-newton": SolverCase(ProxNewton(), SPARSE),
}


# Solvers for networks, with their defaults; and those of all solvers that ask nothing of an objective but its contract.
NETWORK_SOLVERS: dict[str, Solver[Any]] = {
    "adadelta": Adadelta(),
    "adagrad": Adagrad(),
    "adam": Adam(),
    "dladmm": DLADMM(),
    "gd": GD(),
    "gn-cg": GNCG(),
    "hf-bicgstab": HFBiCGSTAB(),
    "hf-cg": HFCG(),
    "hf-minres": HFMINRES(),
    "hybrid-cg": HybridCG(),
    "kfac": KFAC(),
    "momentum": Momentum(),
    "newton-admm": NetworkADMM(),
    "pdadmm": PDADMM(),
    "pdadmm-grid": PDADMMGrid(iterations=2),
    "sgd": MiniBatchSGD(batch_size=25),
}
# Those that know F, but not its gradient; they take l1 penalties.
WITHOUT_CERTIFICATE = ("dladmm", "pdadmm", "pdadmm-grid")
# Those for any penalty and loss, which know the gradient now and then.
SELDOM_CERTIFIED = ("newton-admm",)
FOR_ANY_OBJECTIVE = ("adadelta", "adagrad", "adam", "gd", "lbfgs", "momentum", "newton-cg", "newton-mr")


def serial_blocks(parts: list[Any]) -> tuple[Blocks, PerBlock[Any]]:
    """Blocks in a list."""
    blocks = SerialBlocks(len(parts))
    return blocks, blocks.place(parts)


def dask_blocks(parts: list[Any], persist: bool = True) -> tuple[Blocks, PerBlock[Any]]:
    """Blocks run by Dask's threads, or by the current distributed client."""
    import dask

    return place_delayed([dask.delayed(part, traverse=False) for part in parts], persist=persist)


# Engine -> (function that makes blocks of it, whether a distributed client must be current).
BLOCKS: dict[str, tuple[Callable[[list[Any]], tuple[Blocks, PerBlock[Any]]], bool]] = {
    "SerialBlocks": (serial_blocks, False),
    "DaskBlocks": (dask_blocks, False),
    "ClusterBlocks": (dask_blocks, True),
}
