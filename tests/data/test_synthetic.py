"""Synthetic problems follow their model and depend on the seed alone."""

import dask
import numpy as np
import pytest
import scipy.sparse

from dask_newton.data import make_regression, make_softmax


def softmax(margins):
    exponentials = np.exp(margins - margins.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def test_labels_follow_the_stated_probabilities():
    X, y, coef, intercept = make_softmax(40_000, 3, 4, chunk_rows=9_000, separation=1.0, random_state=1)
    X, y = dask.compute(X, y, scheduler="sync")
    probabilities = softmax(X @ coef.T + intercept)
    one_hot = y[:, None] == np.arange(4)
    # The score X^T (Y - P) has mean zero under the model; its standard deviation is below sqrt(n) / 2 for
    # unit columns.
    score = X.T @ (one_hot - probabilities) / np.sqrt(len(X))
    assert np.abs(score).max() < 2.5
    # With other coefficients it has not: the test can fail.
    wrong = X.T @ (one_hot - softmax(-X @ coef.T)) / np.sqrt(len(X))
    assert np.abs(wrong).max() > 10


def test_coefficients_are_centred():
    _, _, coef, intercept = make_softmax(10, 5, 3)
    np.testing.assert_allclose(coef.sum(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(intercept.sum(), 0, atol=1e-12)


@pytest.mark.parametrize("condition", [1.0, 100.0])
def test_condition(condition):
    X, _, coef, _ = make_softmax(20_000, 6, 2, condition=condition, random_state=3)
    values = np.linalg.svd(X.compute(scheduler="sync"), compute_uv=False)
    # Random columns of 20,000 rows are orthogonal to within a few per cent.
    np.testing.assert_allclose(values[0] / values[-1], condition, rtol=0.05)
    margins = X.compute(scheduler="sync") @ coef.T
    assert 0.3 < margins.std() < 10  # small columns matter as much as large ones


def test_same_data_for_any_scheduler_and_any_order():
    first = make_softmax(100, 4, 3, chunk_rows=30, random_state=5)
    second = make_softmax(100, 4, 3, chunk_rows=30, random_state=5)
    serial = dask.compute(first[0], first[1], scheduler="sync")
    threaded = dask.compute(second[0], second[1], scheduler="threads")
    np.testing.assert_array_equal(serial[0], threaded[0])
    np.testing.assert_array_equal(serial[1], threaded[1])
    # A block alone is the same as that block of the whole.
    np.testing.assert_array_equal(second[1].blocks[2].compute(), serial[1][60:90])
    assert first[0].chunks == ((30, 30, 30, 10), (4,))
    assert first[1].chunks == ((30, 30, 30, 10),)


def test_seeds_and_chunks_differ():
    a = make_softmax(60, 2, 2, chunk_rows=30, random_state=0)[0].compute(scheduler="sync")
    b = make_softmax(60, 2, 2, chunk_rows=30, random_state=1)[0].compute(scheduler="sync")
    assert not np.isin(a, b).any()
    assert not np.isin(a[:30], a[30:]).any()


def test_dtype_is_kept():
    X, y, coef, _ = make_softmax(10, 2, 2, dtype="f4")
    assert X.dtype == X.compute(scheduler="sync").dtype == np.float32
    assert y.dtype == y.compute(scheduler="sync").dtype == np.int64
    assert coef.dtype == np.float64


def test_gaussian_regression_is_recovered_by_least_squares():
    X, y, coef, intercept = make_regression(20_000, 3, noise=0.1, condition=10, chunk_rows=7_000)
    X, y = dask.compute(X, y, scheduler="sync")
    design = np.column_stack([X, np.ones(len(X))])
    found = np.linalg.lstsq(design, y, rcond=None)[0]
    deviation = 0.1 / np.sqrt(len(X)) / np.append(np.geomspace(1, 0.1, 3), 1)
    assert (np.abs(found - np.append(coef, intercept)) < 5 * deviation).all()


def test_poisson_regression_has_the_stated_mean():
    X, y, coef, intercept = make_regression(20_000, 3, family="poisson", random_state=2)
    X, y = dask.compute(X, y, scheduler="sync")
    mean = np.exp(X @ coef + intercept)
    assert abs((y - mean).sum()) < 5 * np.sqrt(mean.sum())
    np.testing.assert_array_equal(y, y.round())


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((10, 2, 1), {}, "n_classes is 1"),
        ((0, 2, 2), {}, "n_samples is 0"),
        ((10, 2, 2), {"condition": 0.5}, "condition is 0.5"),
        ((10, 2, 2), {"chunk_rows": 0}, "chunk_rows is 0"),
    ],
)
def test_wrong_arguments(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        make_softmax(*arguments, **options)
    if options:
        with pytest.raises(ValueError, match=message):
            make_regression(*arguments[:2], **options)


def test_wrong_family():
    with pytest.raises(ValueError, match="family is 'gamma'"):
        make_regression(10, 2, family="gamma")


@pytest.mark.parametrize("density", [0.02, 0.3])
def test_sparse_features(density):
    X, y, coef, _ = make_softmax(2000, 500, 2, density=density, separation=2.0, chunk_rows=700, random_state=4)
    assert X.chunks == ((700, 700, 600), (500,)) and isinstance(X._meta, scipy.sparse.csr_array)
    rows, labels = dask.compute(X, y, scheduler="sync")
    assert isinstance(rows, scipy.sparse.csr_array) and rows.has_canonical_format
    rows.check_format(full_check=True)
    # A column that is drawn twice in a row is kept once, which happens more often where there are many.
    assert 0.7 * density < rows.nnz / (2000 * 500) <= 1.01 * density
    per_column = np.diff(rows.tocsc().indptr)
    assert per_column[:50].sum() > 2 * per_column[-50:].sum()
    assert 1.2 < (rows @ (coef[1] - coef[0])).std() / np.sqrt(2) < 2.4
    block = X.blocks[1].compute(scheduler="threads")
    assert (block != rows[700:1400]).nnz == 0
    assert np.mean((rows @ (coef[1] - coef[0]) > 0) == labels) > 0.7


def test_sparse_counts():
    X, y, coef, intercept = make_regression(5000, 40, family="poisson", density=0.2, random_state=1)
    rows, counts = dask.compute(X, y, scheduler="sync")
    mean = np.exp(rows @ coef + intercept)
    assert abs(np.sum(counts - mean)) < 5 * np.sqrt(mean.sum())  # five standard deviations


def test_an_impossible_density():
    with pytest.raises(ValueError, match="density is 0"):
        make_softmax(4, 3, 2, density=0)
