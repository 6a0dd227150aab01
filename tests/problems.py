"""Problems with known solutions, and an independent dense model that says what is right.

``known(...)`` returns an objective over blocks together with its optimum. Optima come from scikit-learn, or, where it
has no such model (offsets, l1), from Newton's method on :class:`Dense`; ``test_problems.py`` verifies all of them by
their optimality conditions.
"""

from __future__ import annotations

import functools
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.special
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from dask_newton.blocks import SerialBlocks
from dask_newton.losses import Gamma, Logistic, Loss, Poisson, Softmax, Squared, SquaredSoftplus, Tweedie
from dask_newton.objectives.linear.objective import LinearObjective
from dask_newton.objectives.rows.block import RowBlock
from dask_newton.penalties import L1, L2, ElasticNet, GroupLasso, NoPenalty, Penalty

LAYOUTS = ("equal", "unequal", "empty", "weightless")

# Problems whose targets are numbers.
NUMBERS = {"line": Squared(), "plane": Squared(2), "counts": Poisson(), "durations": Gamma(), "claims": Tweedie(1.5)}

# F at the optimum of the l2 problems with C = 1 and an unpenalised intercept, from the specification.
OPTIMA = {"digits": 0.19952640385863193, "breast_cancer": 0.06636018622473808}


@functools.cache
def rows(name: str) -> tuple[np.ndarray, np.ndarray, Loss]:
    """Return X, y and the loss of a problem, rows in the order of ``default_rng(0).permutation``."""
    if name == "digits":
        X, y = load_digits(return_X_y=True)
        X, loss = X / 16, Softmax(10)
    elif name == "breast_cancer":
        X, y = load_breast_cancer(return_X_y=True)
        X, loss = (X - X.mean(axis=0)) / X.std(axis=0), Logistic()
    elif name in ("noisy", "noisy_reference"):
        # Labels are drawn from the model, so that the classes overlap and the unpenalised optimum exists.
        rng = np.random.default_rng(7)
        X = rng.normal(size=(600, 5))
        logits = X @ rng.normal(size=(5, 3)) + [0.5, 0.0, -0.5]
        y = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
        loss = Softmax(3, "reference" if name == "noisy_reference" else "symmetric")
    elif name in NUMBERS:
        rng = np.random.default_rng(11)
        loss = NUMBERS[name]
        X = rng.normal(size=(500, 6)) * [1.0, 0.5, 2.0, 1.0, 0.3, 1.0]
        z = X @ rng.normal(size=(6, loss.n_outputs)) / 4 + 1.0
        mean = np.exp(z[:, 0])
        y = {
            "line": lambda: z[:, 0] + rng.normal(size=500),
            "plane": lambda: z + rng.normal(size=z.shape),
            "counts": lambda: rng.poisson(mean),
            "durations": lambda: rng.gamma(2.0, mean / 2),
            # The sum of k payments, each gamma distributed with shape 2, is so with shape 2 k.
            "claims": lambda: rng.gamma(2.0 * np.maximum(k := rng.poisson(1, 500), 0.5), mean / 2) * (k > 0),
        }[name]()
    else:
        raise KeyError(name)
    order = np.random.default_rng(0).permutation(len(y))
    return np.ascontiguousarray(X[order]), y[order].astype(np.float64), loss


@dataclass(frozen=True, eq=False)
class Dense:
    """F, its gradient and its Hessian written down plainly over all rows, with SciPy's functions."""

    X: np.ndarray
    y: np.ndarray
    weight: np.ndarray
    offset: np.ndarray | float
    loss: Loss
    fit_intercept: bool
    penalty: Penalty

    def __post_init__(self) -> None:
        for a in (self.X, self.y, self.weight, self.offset):
            if isinstance(a, np.ndarray):
                a.setflags(write=False)  # blocks are views of it: a kernel that writes into the data is caught

    @functools.cached_property
    def A(self) -> np.ndarray:
        """``[X 1]``."""
        return np.column_stack([self.X, np.ones(len(self.X))]) if self.fit_intercept else self.X

    @functools.cached_property
    def strengths(self) -> tuple[np.ndarray, np.ndarray]:
        """Strengths of the norms and of the l2 part at every coefficient, shape (q, K); 0 for the intercept."""
        r, shape = self.penalty, (self.X.shape[1], self.loss.n_outputs)
        if isinstance(r, GroupLasso):
            of_group = np.broadcast_to(r.lam, np.unique(r.groups).shape)
            factor = [np.sqrt(np.sum(r.groups == g)) if r.scale_by_size else 1.0 for g in r.groups]
            first = np.array(factor) * of_group[np.searchsorted(np.unique(r.groups), r.groups)]
        else:
            first = {NoPenalty: 0.0, L2: 0.0}.get(type(r), getattr(r, "lam1", getattr(r, "lam", 0.0)))
        second = {NoPenalty: 0.0, L1: 0.0}.get(type(r), getattr(r, "lam2", getattr(r, "lam", 0.0)))
        full = np.zeros((2, self.A.shape[1], shape[1]))
        for part, strength in zip(full, (first, second), strict=True):
            strength = np.asarray(strength)
            part[: shape[0]] = strength[:, None] if strength.ndim == 1 else strength
        return full[0], full[1]

    @property
    def lam(self) -> tuple[float, float]:
        """The largest strengths of the norms and of the l2 part."""
        return self.strengths[0].max(), self.strengths[1].max()

    def groups(self) -> list[np.ndarray]:
        """Return the flat indices of the coefficients under each norm."""
        index = np.arange(self.strengths[0].size).reshape(self.strengths[0].shape)
        if not isinstance(self.penalty, GroupLasso):
            return list(index.reshape(-1, 1))
        labels = self.penalty.groups
        groups = [index[: len(labels)][labels == g].ravel() for g in np.unique(labels)]
        return groups + list(index[len(labels) :].reshape(-1, 1))

    def prox(self, W: np.ndarray, step: float) -> np.ndarray:
        """Return the proximal point of the norms."""
        v, t = W.ravel().copy(), step * self.strengths[0].ravel()
        if not isinstance(self.penalty, GroupLasso):
            return (np.sign(v) * np.maximum(np.abs(v) - t, 0)).reshape(W.shape)
        for g in self.groups():
            size = np.linalg.norm(v[g])
            v[g] = v[g] * (1 - t[g[0]] / size) if size > t[g[0]] else 0.0
        return v.reshape(W.shape)

    @functools.cached_property
    def mask(self) -> np.ndarray:
        """1 for penalised rows of W, 0 for the intercept."""
        mask = np.ones((self.A.shape[1], 1))
        if self.fit_intercept:
            mask[-1] = 0
        return mask

    def parts(self, W: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return value (n,), gradient (n, K) and Hessian (n, K, K) of each row's loss."""
        Z, K = self.A @ W + self.offset, W.shape[1]
        if isinstance(self.loss, Logistic):
            p = scipy.special.expit(Z)
            return np.logaddexp(0, Z[:, 0]) - self.y * Z[:, 0], p - self.y[:, None], (p * (1 - p))[:, :, None]
        if not isinstance(self.loss, Softmax):  # tests/losses has verified the loss itself
            value, gradient, curvature = self.loss.linearize(self.y, Z)
            entries = [[self.loss.hess_entry(curvature, k, j) for j in range(K)] for k in range(K)]
            return value, gradient, np.moveaxis(np.array(entries), 2, 0)
        full = np.column_stack([Z, np.zeros(len(Z))]) if self.loss.reference else Z
        label = self.y.astype(int)
        p, onehot = scipy.special.softmax(full, axis=1), np.eye(full.shape[1])[label]
        value = scipy.special.logsumexp(full, axis=1) - full[np.arange(len(full)), label]
        p, onehot = p[:, :K], onehot[:, :K]
        return value, p - onehot, p[:, :, None] * np.eye(K) - p[:, :, None] * p[:, None, :]

    def value(self, W: np.ndarray) -> float:
        """Return F(W)."""
        t, ridge = self.strengths
        smooth = self.weight @ self.parts(W)[0] / self.weight.sum() + np.sum(ridge * W * W) / 2
        if not isinstance(self.penalty, GroupLasso):
            return float(smooth + np.sum(t * np.abs(W)))
        return float(smooth + sum(t.flat[g[0]] * np.linalg.norm(W.flat[g]) for g in self.groups()))

    def gradient(self, W: np.ndarray) -> np.ndarray:
        """Return the gradient of the differentiable part."""
        G = self.weight[:, None] * self.parts(W)[1]
        return self.A.T @ G / self.weight.sum() + self.strengths[1] * W

    def hessian(self, W: np.ndarray) -> np.ndarray:
        """Return the Hessian of the differentiable part, rows as ``W.ravel()``."""
        H = np.einsum("na,nb,nkj,n->akbj", self.A, self.A, self.parts(W)[2], self.weight, optimize=True)
        H = H.reshape(W.size, W.size) / self.weight.sum()
        return H + np.diag(self.strengths[1].ravel())

    def residual(self, W: np.ndarray) -> float:
        """Return the largest entry of the smallest subgradient of F, which is 0 at the optimum alone."""
        v, gradient, t = W.ravel(), self.gradient(W).ravel(), self.strengths[0].ravel()
        for g in self.groups():
            size, slope = np.linalg.norm(v[g]), np.linalg.norm(gradient[g])
            if size > 0:
                gradient[g] += t[g[0]] * v[g] / size
            elif slope > 0:
                gradient[g] *= max(0.0, 1 - t[g[0]] / slope)
        return float(np.max(np.abs(gradient)))

    def minimum(self) -> np.ndarray:
        """Return the optimum: proximal gradient steps find the support, Newton steps do the rest."""
        W = np.zeros((self.A.shape[1], self.loss.n_outputs))
        sparse = self.lam[0] > 0
        if sparse:
            curvature = self.loss.curvature_bound or 10 * self.parts(W)[2].max()
            bound = curvature * np.linalg.norm(self.A, 2) ** 2 * self.weight.max()
            step = 1 / (bound / self.weight.sum() + self.lam[1])
            old, V, t = W, W, 1.0
            for iteration in range(4000):
                if iteration % 50 == 49 and self.residual(W) < 1e-8:
                    break
                W = self.prox(V - step * self.gradient(V), step)
                if np.vdot(V - W, W - old) > 0:
                    t = 1.0  # restart: the momentum points uphill
                later = (1 + (1 + 4 * t * t) ** 0.5) / 2
                old, V, t = W, W + (t - 1) / later * (W - old), later
        free = ((W != 0) | (self.strengths[0] == 0)).ravel() if sparse else np.ones(W.size, bool)
        for _ in range(30):
            slope, bend = self._norm_derivatives(W)
            P = np.zeros(W.size)
            H = (self.hessian(W) + bend)[np.ix_(free, free)]
            P[free] = -np.linalg.pinv(H, rcond=1e-12, hermitian=True) @ (self.gradient(W).ravel() + slope)[free]
            P, step = P.reshape(W.shape), 1.0
            while self.value(W + step * P) > self.value(W) + 1e-15 and step > 1e-6:
                step /= 2
            W = W + step * P
        return W

    def _norm_derivatives(self, W: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return gradient and Hessian of the norms, with 0 for those that are 0."""
        slope, bend, t = np.zeros(W.size), np.zeros((W.size, W.size)), self.strengths[0].ravel()
        if not isinstance(self.penalty, GroupLasso):
            return t * np.sign(W.ravel()), bend
        for g in self.groups():
            v = W.flat[g]
            size = np.linalg.norm(v)
            if size > 0:
                slope[g] = t[g[0]] * v / size
                bend[np.ix_(g, g)] = t[g[0]] / size * (np.eye(len(g)) - np.outer(v, v) / size**2)
        return slope, bend


def penalty(name: str, total_weight: float, shape: tuple[int, int]) -> Penalty:
    """Return a penalty by name, for coefficients of a shape; the l2 part is that of C = 1."""
    ridge = 1 / float(total_weight)
    by_feature = np.resize([1.0, 0.5, 0.0, 2.0], shape[0])
    few = shape[1] == 1  # with several outputs norms are larger, and so are the strengths that make zeros
    by_coefficient = np.resize([0.5, 1.0, 3.0, 0.0, 1.0], shape)
    return {
        "none": NoPenalty(),
        "l2": L2(ridge),
        "l1": L1(0.01),
        "elastic_net": ElasticNet(0.01, ridge),
        "weighted_l2": L2(ridge * (1 + by_coefficient)),
        "weighted_l1": L1(0.01 * by_feature),
        "weighted_elastic_net": ElasticNet(0.01 * by_coefficient, ridge * (1 + by_feature)),
        "group_lasso": GroupLasso(np.arange(shape[0]) % max(3, shape[0] // 4), 0.02 if few else 0.14),
        "group_lasso_l2": GroupLasso(
            np.sort(np.arange(shape[0]) % 3), [0.02, 0.1 if few else 0.3, 0.0], lam2=ridge, scale_by_size=False
        ),
    }[name]


def dense(
    name: str, penalty_name: str = "l2", weighted: bool = False, offset: bool = False, fit_intercept: bool = True
) -> Dense:
    """Return the dense model of a problem."""
    return _dense(name, penalty_name, weighted, offset, fit_intercept)


@functools.cache
def _dense(name: str, penalty_name: str, weighted: bool, offset: bool, fit_intercept: bool) -> Dense:
    X, y, loss = rows(name)
    rng = np.random.default_rng(1)
    weight = rng.uniform(0.5, 2.0, len(y)) * (rng.random(len(y)) > 0.1) if weighted else np.ones(len(y))
    shift = rng.normal(size=(len(y), loss.n_outputs)) / 2 if offset else 0.0
    rule = penalty(penalty_name, weight.sum(), (X.shape[1], loss.n_outputs))
    return Dense(X, y, weight, shift, loss, fit_intercept, rule)


def solution(
    name: str, penalty_name: str = "l2", weighted: bool = False, offset: bool = False, fit_intercept: bool = True
) -> tuple[np.ndarray, float]:
    """Return the coefficients at the optimum, shape (q, K), and the optimal value."""
    return _solution(dense(name, penalty_name, weighted, offset, fit_intercept))


@functools.cache
@threadpool_limits.wrap(limits=1)  # on a busy machine the threads of a small matrix product wait for each other
def _solution(model: Dense) -> tuple[np.ndarray, float]:
    with_offset, usual = isinstance(model.offset, np.ndarray), model.penalty in (NoPenalty(), L2(model.lam[1]))
    classes = isinstance(model.loss, Logistic | Softmax) and not getattr(model.loss, "reference", False)
    by_sklearn = classes and usual and not with_offset
    W = _by_sklearn(model) if by_sklearn else model.minimum()
    W.setflags(write=False)  # it is shared by all tests
    return W, model.value(W)


def _by_sklearn(model: Dense) -> np.ndarray:
    C = np.inf if model.lam[1] == 0 else 1 / (model.lam[1] * model.weight.sum())
    reference = LogisticRegression(
        C=C, solver="newton-cholesky", tol=1e-12, max_iter=100, fit_intercept=model.fit_intercept
    )
    with warnings.catch_warnings():
        # At tol = 1e-12 the last line search finds nothing; test_problems.py looks at the gradient instead.
        warnings.simplefilter("ignore")
        reference.fit(model.X, model.y, sample_weight=model.weight)
    return np.vstack([reference.coef_.T, reference.intercept_]) if model.fit_intercept else reference.coef_.T.copy()


@dataclass(frozen=True, eq=False)
class Known:
    """An objective and its optimum, which is computed when it is asked for."""

    objective: LinearObjective
    dense: Dense
    key: tuple[Any, ...]

    @property
    def W(self) -> np.ndarray:
        """The coefficients at the optimum."""
        return solution(*self.key)[0]

    @property
    def optimum(self) -> float:
        """F at the optimum."""
        return solution(*self.key)[1]

    def error(self, W: np.ndarray) -> float:
        """Return the largest difference of a coefficient from the reference."""
        return float(np.max(np.abs(self._canonical(W) - self._canonical(self.W))))

    def gap(self, value: float) -> float:
        """Return the relative gap of a value to the optimum."""
        return (value - self.optimum) / self.optimum

    def _canonical(self, W: np.ndarray) -> np.ndarray:
        """Return W with mean zero over the outputs in rows where F cannot see the mean."""
        if not self.dense.loss.shift_invariant:
            return W
        free = ~np.any(np.add(*self.dense.strengths) > 0, axis=1, keepdims=True)
        return W - free * W.mean(axis=1, keepdims=True)


def cuts(n: int, m: int, layout: str = "equal") -> list[int]:
    """Return the ``m - 1`` inner boundaries of m blocks of n rows."""
    share = np.arange(1, m + 1) ** 2 if layout == "unequal" else np.ones(m)
    return list(np.round(n * np.cumsum(share / share.sum())[:-1]).astype(int))


def parts(model: Dense, m: int = 4, layout: str = "equal", dtype: str = "float64", move: Any = None) -> list[RowBlock]:
    """Cut a dense model into blocks.

    Parameters
    ----------
    model : Dense
    m : int
        Blocks that hold rows of the model.
    layout : str
        'equal' or 'unequal' sizes; 'empty' adds a block without rows, 'weightless' one of rows of weight 0.
    dtype : str
    move : callable, optional
        Turns a NumPy array into an array of another type.
    """
    here = cuts(len(model.y), m, layout)
    weighted = layout == "weightless" or not np.all(model.weight == 1)
    offset = model.offset if isinstance(model.offset, np.ndarray) else None
    columns = [
        None if a is None else np.split(np.asarray(a, dtype), here)
        for a in (model.X, model.y, model.weight if weighted else None, offset)
    ]
    blocks = [tuple(None if column is None else column[i] for column in columns) for i in range(m)]
    if layout == "empty":
        blocks.insert(m // 2, tuple(None if a is None else a[:0] for a in blocks[0]))
    elif layout == "weightless":
        X, y, weight, shift = blocks[0]
        blocks.insert(m // 2, (X[:9] * 1e3, y[:9], 0 * weight[:9], None if shift is None else shift[:9]))
    move = move or (lambda a: a)
    return [RowBlock(*(None if a is None else move(a) for a in block), model.loss) for block in blocks]


def objective(blocks: list[RowBlock], penalty: Penalty, *, fit_intercept: bool = True) -> LinearObjective:
    """Return the objective over blocks in this process."""
    engine = SerialBlocks(len(blocks))
    return LinearObjective.from_blocks(engine, engine.place(blocks), penalty, fit_intercept=fit_intercept)


def known(
    name: str = "breast_cancer",
    penalty_name: str = "l2",
    *,
    m: int = 4,
    layout: str = "equal",
    dtype: str = "float64",
    weighted: bool = False,
    offset: bool = False,
    fit_intercept: bool = True,
    order: np.ndarray | None = None,
    move: Any = None,
) -> Known:
    """Return a problem with its solution; the solutions are computed once, the objective (with its meter) is new.

    Parameters
    ----------
    name : {'digits', 'breast_cancer', 'noisy', 'noisy_reference'} or a key of NUMBERS
    penalty_name : str
        A key of ``catalogue.PENALTIES``.
    m, layout, dtype, move
        As in :func:`parts`.
    weighted, offset, fit_intercept : bool
        Whether there are sample weights (a tenth of them 0), offsets of the margins, an intercept.
    order : ndarray of int, optional
        Another order of the rows.
    """
    key = (name, penalty_name, weighted, offset, fit_intercept)
    model = dense(*key)
    if order is not None:
        model = Dense(
            model.X[order],
            model.y[order],
            model.weight[order],
            model.offset[order] if isinstance(model.offset, np.ndarray) else 0.0,
            model.loss,
            fit_intercept,
            model.penalty,
        )
    blocks = parts(model, m, layout, dtype, move)
    return Known(objective(blocks, model.penalty, fit_intercept=fit_intercept), model, key)


def nonconvex(m: int = 4) -> LinearObjective:
    """Return the non-linear least squares of the DINO paper on the grey values of digits; its minimum is 3.3065734739.

    At W = 0 the Hessian of every block has negative eigenvalues. F is 22.63 there, and 28.37 on the plateau at
    infinity, where all predictions are 0.
    """
    X, y = load_digits(return_X_y=True)
    cuts = np.array_split(np.random.default_rng(0).permutation(len(y)), m)
    return objective(
        [RowBlock(X[i] / 16, y[i].astype(float), None, None, SquaredSoftplus()) for i in cuts],
        NoPenalty(),
        fit_intercept=False,
    )


@dataclass(frozen=True)
class Poisoned(Logistic):
    """A logistic loss that turns to NaN in rows marked by ``y >= 2`` once their margin is larger than ``limit``.

    ``only_curvature`` leaves value and gradient finite.
    """

    limit: float = 0.0
    only_curvature: bool = False

    def valid(self, y):
        """Return where targets are allowed: everywhere, as the marks are targets too."""
        return y == y

    def value(self, y, z):
        """Return the loss, NaN in poisoned rows."""
        value = super().value(y % 2, z)
        return value if self.only_curvature else np.where(self._bad(y, z), np.nan, value)

    def linearize(self, y, z):
        """Return value, gradient and curvature, NaN in poisoned rows."""
        value, gradient, curvature = super().linearize(y % 2, z)
        bad = self._bad(y, z)
        curvature = np.where(bad[:, None], np.nan, curvature)
        if self.only_curvature:
            return value, gradient, curvature
        return np.where(bad, np.nan, value), np.where(bad[:, None], np.nan, gradient), curvature

    def _bad(self, y, z):
        return (y >= 2) & (np.abs(z[:, 0]) >= self.limit)
