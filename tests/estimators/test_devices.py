"""Whole fits on arrays that are not in the memory of the CPU: stand-ins here, CuPy in tests/gpu."""

import itertools
from collections import defaultdict

import array_api_strict as strict
import catalogue
import dask
import dask.array as da
import duck
import numpy as np
import pytest
from pairwise import cases
from sklearn.exceptions import ConvergenceWarning

from dask_newton import LogisticRegression
from dask_newton.blocks import Blocks

duck.register()

# Two fits end where no entry of the gradient is above 1e-7, and the penalty makes the objective strongly convex with
# 1 / (C n) = 1 / 60, so that coefficients differ by at most 2 * 60 * 1e-7 times the root of their number.
CLOSE = 1e-4

RNG = np.random.default_rng(0)
X = RNG.standard_normal((300, 6))
Y = np.argmax(X[:, :3] + RNG.gumbel(size=(300, 3)), axis=1)
BINARY = (X[:, 0] + RNG.logistic(size=300) > 0).astype(int)

FITS = [
    (name, penalty, n_classes)
    for name, case in catalogue.SOLVERS.items()
    if case.registered and case.exact
    for penalty in ("l2", "elastic_net")
    if penalty in case.penalties
    for n_classes in (2, 3)
]

# What a block copies to the host in each pass: what it sends (the Hessian is counted apart), and nothing else but, with
# ADMM, the values along its one local Newton step. ADMM sends the gradient only where it is asked for.
# Of a row sample X and y are sent. Conjugate gradients copy their end, and every eight iterations whether it is near.
COPIES = {
    "_examine_block": {1},
    "at": {2},
    "along": {2},
    "more": {1},
    "step": {2},
    "hess_mul": {1},
    "hess_diag": {1},
    "gram": {1},
    "sample_gram": {1},
    "sample_rows": {2},
    "Average": set(range(3, 10)),
    "_local_minimiser": {1},
    "update_block": set(range(3, 7)),
}


def expected_copies(name, K, shared):
    if name == "output_hessians":  # each output draws rows of its own by their weights, on the host
        return {2 * K + 1}
    if name == "gradients":
        return {len(shared["steps"]) + 1}
    packed = K * (K + 1) // 2 if shared.get("hessian") else 0
    return {copies + packed for copies in COPIES[name]}


@pytest.fixture
def passes(monkeypatch):
    """The passes that run, but for those over rows that came to the driver: name, arguments and copies to the host."""
    found, meters, plain = [], [], Blocks.map_reduce

    def counting(self, fn, *columns, keep=0, **shared):
        before = duck.copies["to host"]
        result = plain(self, fn, *columns, keep=keep, **shared)
        inner = getattr(fn, "fn", fn)
        name = getattr(inner, "__name__", type(inner).__name__)
        meters.append(self.meter)
        if self.meter is meters[0]:
            found.append((name, shared, duck.copies["to host"] - before))
        return result

    monkeypatch.setattr(Blocks, "map_reduce", counting)
    return found


def model(solver, penalty, **options):
    l1_ratio = 0.5 if penalty == "elastic_net" else 0.0
    return LogisticRegression(solver=solver, l1_ratio=l1_ratio, C=0.2, tol=1e-7, **options)


@cases("solver, penalty, n_classes", FITS)
def test_what_leaves_the_device_in_every_pass(passes, solver, penalty, n_classes):
    y = BINARY if n_classes == 2 else Y
    there = model(solver, penalty).fit(duck.asduck(X), y)
    assert there.converged_
    K = 1 if n_classes == 2 else n_classes
    counts = defaultdict(set)
    for name, shared, copies in passes:
        assert copies in expected_copies(name, K, shared), name
        counts[name].add(copies)
    assert {"_examine_block", "at"} <= set(counts)
    np.testing.assert_allclose(there.coef_, model(solver, penalty).fit(X, y).coef_, rtol=0, atol=CLOSE)


@cases("solver, penalty, n_classes", FITS, together=1)
def test_on_a_device_of_the_array_api_standard(solver, penalty, n_classes):
    y = BINARY if n_classes == 2 else Y
    device = strict.Device("device1")
    given = strict.asarray(X, device=device)
    there, here = model(solver, penalty).fit(given, y), model(solver, penalty).fit(X, y)
    np.testing.assert_allclose(there.coef_, here.coef_, rtol=0, atol=CLOSE)
    probabilities = there.predict_proba(given)
    assert probabilities.device == device and there.predict(given).device == device
    assert there.score(given, y) == here.score(X, y)


@cases("solver, penalty, n_classes", FITS, together=1)
def test_blocks_on_devices_give_the_same(solver, penalty, n_classes):
    y = BINARY if n_classes == 2 else Y
    chunks = da.from_array(X, chunks=((120, 0, 180), -1)).map_blocks(duck.asduck, meta=np.empty((0, 0)))
    there = model(solver, penalty).fit(chunks, y)
    here = model(solver, penalty).fit(da.from_array(X, chunks=((120, 0, 180), -1)), y)
    np.testing.assert_allclose(there.coef_, here.coef_, rtol=0, atol=CLOSE)
    assert type(there.coef_) is type(there.intercept_) is np.ndarray


MAY_NOT_ARRIVE = [name for name, case in catalogue.SOLVERS.items() if not case.exact]


@cases("solver, penalty, n_classes", [*FITS, *itertools.product(MAY_NOT_ARRIVE, ["l2"], [2, 3])], together=1)
def test_every_solver_takes_the_same_steps(solver, penalty, n_classes):
    def fit(X):
        few = model(catalogue.SOLVERS[solver].solver, penalty).set_params(tol=0, max_iter=3)
        with pytest.warns(ConvergenceWarning):
            return few.fit(X, BINARY if n_classes == 2 else Y)

    # Sums over columns that lie one after the other in memory, which a device does not have, round differently.
    np.testing.assert_allclose(fit(duck.asduck(X)).coef_, fit(X).coef_, rtol=0, atol=1e-10)


def test_predictions_stay_on_the_device():
    fitted = LogisticRegression().fit(X, Y)
    for method in ("predict", "predict_proba", "predict_log_proba", "decision_function"):
        result = getattr(fitted, method)(duck.asduck(X))
        assert isinstance(result, duck.DuckArray)
        np.testing.assert_allclose(result.get(), getattr(fitted, method)(X), rtol=1e-12)
        chunks = da.from_array(X, chunks=(100, -1)).map_blocks(duck.asduck, meta=np.empty((0, 0)))
        lazy = getattr(fitted, method)(chunks)
        assert all(isinstance(part, duck.DuckArray) for part in dask.compute(*lazy.to_delayed().ravel()))
    names = np.array(["a", "b", "c"])
    labels = LogisticRegression().fit(X, names[Y]).predict(duck.asduck(X))
    assert isinstance(labels, np.ndarray), "a device holds no strings"


def test_labels_and_weights_may_lie_on_the_device():
    weight = RNG.uniform(0.5, 2, 300)
    there = LogisticRegression(class_weight="balanced").fit(*map(duck.asduck, (X, Y, weight)))
    here = LogisticRegression(class_weight="balanced").fit(X, Y, weight)
    np.testing.assert_allclose(there.coef_, here.coef_, rtol=0, atol=1e-12)
    assert there.score(*map(duck.asduck, (X, Y, weight))) == here.score(X, Y, weight)
    lazy = [
        da.from_array(a, chunks=(100, -1)[: a.ndim]).map_blocks(duck.asduck, meta=np.empty((0,) * a.ndim, a.dtype))
        for a in (X, Y, weight)
    ]
    there.fit(*lazy)
    np.testing.assert_allclose(there.coef_, here.coef_, rtol=0, atol=1e-9)
    assert there.score(*lazy) == pytest.approx(here.score(X, Y, weight), abs=1e-15)
