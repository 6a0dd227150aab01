"""Whole fits on a CUDA device: the coefficients of NumPy, blocks and predictions that stay in CuPy."""

from itertools import product

import catalogue
import dask.array as da
import numpy as np
import pytest
import scipy.sparse as sp
from pairwise import cases
from sklearn.exceptions import ConvergenceWarning

from dask_newton import LogisticRegression, PoissonRegressor, Ridge
from dask_newton.data import open_dataset, save_dataset

pytestmark = pytest.mark.gpu

RNG = np.random.default_rng(0)
X = RNG.standard_normal((600, 8)) * (RNG.random((600, 8)) < 0.5)
Y = np.argmax(X[:, :3] + RNG.gumbel(size=(600, 3)), axis=1)
BINARY = (X[:, 0] + RNG.logistic(size=600) > 0).astype(int)
WEIGHT = RNG.uniform(0.5, 2, 600)

LABELS = {"two": BINARY, "three": Y}
FITS = [
    (name, penalty, classes, container)
    for name, case in catalogue.SOLVERS.items()
    if case.registered and case.exact
    for penalty in ("l2", "elastic_net")
    if penalty in case.penalties
    for classes, container in product(LABELS, ("memory", "chunks", "CSR in memory", "CSR in chunks"))
]


def to_device(a):
    """A CuPy array, or a cupyx CSR matrix; importable only where there is CuPy."""
    import cupy
    from cupyx.scipy.sparse import csr_matrix

    return csr_matrix(sp.csr_matrix(a)) if sp.issparse(a) else cupy.asarray(a)


def sparse_to_device(a):
    return to_device(sp.csr_matrix(a))


def chunks(convert):
    return da.from_array(X, chunks=((200, 0, 400), -1)).map_blocks(convert, meta=np.empty((0, 0)))


def model(solver, penalty, **options):
    l1_ratio = 0.5 if penalty == "elastic_net" else 0.0
    return LogisticRegression(solver=solver, l1_ratio=l1_ratio, C=0.2, tol=1e-8, **options)


@pytest.mark.parametrize("convert", [to_device, sparse_to_device])
@pytest.mark.parametrize("solver", [name for name, case in catalogue.SOLVERS.items() if not case.exact])
def test_solvers_that_may_not_arrive_take_the_same_steps(solver, convert):
    def fit(X):
        with pytest.warns(ConvergenceWarning):
            return LogisticRegression(solver=catalogue.SOLVERS[solver].solver, tol=0, max_iter=3).fit(X, Y)

    np.testing.assert_allclose(fit(convert(X)).coef_, fit(X).coef_, rtol=0, atol=1e-10)


@cases("solver, penalty, classes, container", FITS)
def test_coefficients_are_those_of_numpy(solver, penalty, classes, container):
    y = LABELS[classes]
    given = {
        "memory": lambda: to_device(X),
        "chunks": lambda: chunks(to_device),
        "CSR in memory": lambda: sparse_to_device(X),
        "CSR in chunks": lambda: chunks(sparse_to_device),
    }[container]()
    lazy = isinstance(given, da.Array)
    there = model(solver, penalty).fit(given, y)
    here = model(solver, penalty).fit(chunks(np.asarray) if lazy else X, y)
    assert there.converged_
    # Gradients of 1e-8 over curvatures of at least 1e-2.
    np.testing.assert_allclose(there.coef_, here.coef_, rtol=0, atol=1e-6)
    assert type(there.coef_) is type(there.intercept_) is np.ndarray


@pytest.mark.parametrize("method", ["predict", "predict_proba", "predict_log_proba", "decision_function"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_predictions_stay_on_the_device(method, dtype):
    import cupy

    fitted = LogisticRegression().fit(X, Y)
    for convert in (to_device, sparse_to_device):
        result = getattr(fitted, method)(convert(X.astype(dtype)))
        assert isinstance(result, cupy.ndarray)
        expected = getattr(fitted, method)(X.astype(dtype))
        assert result.dtype == expected.dtype
        np.testing.assert_allclose(result.get(), expected, rtol=1e-3 if dtype == np.float32 else 1e-10)
        lazy = getattr(fitted, method)(chunks(convert))
        assert isinstance(lazy.blocks[0].compute(), cupy.ndarray)


def test_labels_weights_and_targets_may_lie_on_the_device():
    there = LogisticRegression(class_weight="balanced").fit(*map(to_device, (X, Y, WEIGHT)))
    here = LogisticRegression(class_weight="balanced").fit(X, Y, WEIGHT)
    np.testing.assert_allclose(there.coef_, here.coef_, rtol=0, atol=1e-6)
    assert there.score(*map(to_device, (X, Y, WEIGHT))) == here.score(X, Y, WEIGHT)
    targets = X[:, :2] + RNG.standard_normal((600, 2))
    np.testing.assert_allclose(
        Ridge().fit(to_device(X), to_device(targets)).coef_, Ridge().fit(X, targets).coef_, rtol=0, atol=1e-6
    )
    counts = RNG.poisson(np.exp(0.3 * X[:, 0])).astype(float)
    np.testing.assert_allclose(
        PoissonRegressor().fit(to_device(X), counts, offset=to_device(WEIGHT)).coef_,
        PoissonRegressor().fit(X, counts, offset=WEIGHT).coef_,
        rtol=0,
        atol=1e-6,
    )


def test_strings_as_labels():
    names = np.array(["a", "b", "c"])[Y]
    fitted = LogisticRegression().fit(to_device(X), names)
    labels = fitted.predict(to_device(X))
    assert isinstance(labels, np.ndarray), "a device holds no strings"
    assert fitted.score(to_device(X), names) == np.mean(labels == names)


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("persist", [False, True])
def test_blocks_from_zarr(tmp_path, sparse, persist):
    path = save_dataset(tmp_path / "data.zarr", sp.csr_array(X) if sparse else X, Y, chunk_rows=200)
    data = open_dataset(path, array="cupy")
    there = LogisticRegression(persist=persist).fit(data.X, data.y)
    np.testing.assert_allclose(there.coef_, LogisticRegression().fit(X, Y).coef_, rtol=0, atol=1e-6)


@pytest.mark.cluster
@pytest.mark.filterwarnings("default")
def test_a_cluster_of_gpus():
    dask_cuda = pytest.importorskip("dask_cuda")
    from distributed import Client

    with dask_cuda.LocalCUDACluster(n_workers=1, dashboard_address=None) as cluster, Client(cluster):
        for solver in ("newton-cholesky", "newton-admm"):
            there = model(solver, "l2").fit(chunks(to_device), Y)
            here = model(solver, "l2").fit(X, Y)
            np.testing.assert_allclose(there.coef_, here.coef_, rtol=0, atol=1e-6)
