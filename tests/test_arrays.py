"""Array types are told apart in one place, and nothing leaves a device unasked."""

from __future__ import annotations

from itertools import product

import array_api_strict
import duck
import numpy as np
import pytest
import scipy.sparse
from matrices import KINDS, messy, thinned
from pairwise import cases

from dask_newton import arrays
from dask_newton.arrays import ArrayType, align, from_host, is_host, namespace, register_array_type, to_host

duck.register()
DEVICE = array_api_strict.Device("device1")
DTYPES = ["float32", "float64", "int64", "bool"]


def strict(a):
    return array_api_strict.asarray(a, device=DEVICE)


MAKE = {"numpy": np.asarray, "strict": strict, "duck": duck.asduck}


@pytest.fixture(params=MAKE)
def make(request):
    """A function that copies a NumPy array to some device."""
    return MAKE[request.param]


@pytest.fixture
def registry(monkeypatch):
    """Lets a test register types that no other test sees."""
    monkeypatch.setattr(arrays, "_REGISTERED", dict(arrays._REGISTERED))


def unaligned(n):
    result = np.zeros(8 * n + 1, dtype=np.uint8)[1:].view(np.float64)
    assert not result.flags.aligned
    return result


def test_namespaces_do_the_arithmetic_of_their_arrays(make):
    x = make(np.arange(6.0).reshape(2, 3))
    xp = namespace(x)
    product = xp.matmul(x, x.T)
    assert type(product) is type(x)
    np.testing.assert_array_equal(to_host(product), [[5, 14], [14, 50]])
    assert xp.isdtype(x.dtype, "real floating")
    assert float(xp.sum(x, dtype=xp.float64)) == 15


@cases("dtype, shape, make", product(DTYPES, [(3,), (2, 3), (0, 3)], MAKE), indirect=["make"])
def test_round_trip(make, dtype, shape):
    a = np.ones(shape, dtype=dtype)
    x = from_host(a, make(np.zeros(1)))
    assert type(x) is type(make(np.zeros(1)))
    back = to_host(x)
    assert type(back) is np.ndarray
    assert back.dtype == a.dtype
    np.testing.assert_array_equal(back, a)


def test_arrays_go_to_the_device_of_the_other():
    x = from_host(np.ones(2), strict(np.zeros(1)))
    assert x.device == DEVICE
    assert to_host(x + strict(np.ones(2))).tolist() == [2, 2]


def test_dtypes_are_changed_on_the_way(make):
    like = make(np.zeros(1, dtype=np.float32))
    x = from_host(np.arange(3.0), like, like.dtype)
    assert x.dtype == like.dtype
    assert to_host(x).dtype == np.float32
    assert to_host(from_host(np.arange(3), like, np.float32)).dtype == np.float32
    assert to_host(from_host(np.arange(3), like)).dtype == np.arange(3).dtype


def test_structure_passes_to_the_host(make):
    x = make(np.ones(2))
    got = to_host((x, (1, None, "a"), 2.5, True, np.float32(1)))
    np.testing.assert_array_equal(got[0], [1, 1])
    assert got[1:] == ((1, None, "a"), 2.5, True, np.float32(1))


def test_numpy_arrays_are_not_copied():
    a = np.ones(3)
    assert to_host(a) is a
    assert from_host(a, a) is a
    assert align(a) is a


def test_only_explicit_copies_leave_the_device():
    x = duck.asduck(np.ones((4, 2)))
    before = dict(duck.copies)
    y = namespace(x).matmul(x, x.T) + 1.0
    assert duck.copies == before
    to_host(y)
    from_host(np.ones(2), x)
    assert duck.copies == {"to host": before["to host"] + 1, "from host": before["from host"] + 1}
    with pytest.raises(TypeError, match="Implicit conversion"):
        np.asarray(y)
    for mixed in (lambda: y @ np.ones(4), lambda: np.ones(4) @ y, lambda: np.concatenate([y, np.ones((1, 4))])):
        with pytest.raises(TypeError, match=r"Unsupported type <class 'numpy\.ndarray'>"):
            mixed()


def test_where_arrays_lie():
    assert is_host(np.ones(1))
    assert not is_host(duck.asduck(np.ones(1)))
    assert not is_host(strict(np.ones(1)))


@pytest.mark.parametrize("order", ["C", "F"])
def test_unaligned_arrays_are_copied_and_keep_their_layout(order):
    x = unaligned(6).reshape((2, 3), order=order)
    x[...] = np.arange(6).reshape(2, 3)
    y = align(x)
    assert y.flags.aligned
    assert y.flags.c_contiguous == (order == "C")
    np.testing.assert_array_equal(y, x)
    assert from_host(x, np.ones(1)).flags.aligned


def test_what_is_not_numpy_is_left_alone_by_align(make):
    x = make(np.ones(2))
    assert align(x) is x
    assert align("text") == "text"


class Stranger:
    """Looks like an array of a library that nobody has heard of."""

    shape = (2,)
    ndim = 1
    dtype = "float32"
    device = "cuda:0"


@pytest.mark.parametrize("value", [[1.0, 2.0], (1.0,), {"a": 1}, Stranger()])
def test_strangers_are_refused_by_name(value):
    with pytest.raises(TypeError, match=rf"{type(value).__name__} is not an array type.*register_array_type"):
        namespace(value)


def test_a_stranger_can_be_introduced(registry):
    class Fancy:
        def __init__(self, data):
            self.data = data

    class Fancier(Fancy):
        pass

    register_array_type(Fancy, ArrayType(lambda x: np, lambda x: x.data, lambda a, like: type(like)(a), host=True))
    for cls in (Fancy, Fancier):
        x = cls(np.ones(2))
        assert namespace(x) is np
        assert to_host(x) is x.data
        assert type(from_host(np.zeros(2), x)) is cls
        assert is_host(x)


# CSR matrices

DENSE = thinned(np.random.default_rng(0).normal(size=(60, 7)), np.random.default_rng(1))
each_kind = pytest.mark.parametrize("kind", KINDS)


@each_kind
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sparse_matrices_live_with_arrays_of_their_entries(kind, dtype):
    x = KINDS[kind](DENSE.astype(dtype))
    assert arrays.is_sparse(x)
    assert namespace(x) is namespace(x.data)
    assert is_host(x)
    assert arrays.stored(x) is x.data
    assert arrays.nbytes(x) == x.data.nbytes + x.indices.nbytes + x.indptr.nbytes
    assert to_host(x) is x
    moved = from_host(np.ones(3), x, x.dtype)
    assert type(moved) is np.ndarray
    assert moved.dtype == dtype


@pytest.mark.parametrize("x", [np.ones((2, 2)), strict(np.ones((2, 2))), duck.asduck(np.ones((2, 2)))])
def test_arrays_are_not_sparse(x):
    assert not arrays.is_sparse(x)
    assert arrays.stored(x) is x
    assert arrays.nbytes(x) == 32


@pytest.mark.parametrize("form", ["csc_array", "coo_array", "csc_matrix", "dok_array"])
def test_other_sparse_formats_are_strangers(form):
    with pytest.raises(TypeError, match=f"{form} is not an array type"):
        namespace(scipy.sparse.eye_array(3).asformat(form[:3]) if "array" in form else scipy.sparse.csc_matrix((3, 3)))


@each_kind
def test_what_kernels_do_with_a_sparse_matrix(kind):
    x, rng = KINDS[kind](DENSE), np.random.default_rng(2)
    R, h, rows = rng.normal(size=(60, 3)), rng.random((60, 1)), np.array([5, 5, 59, 0])
    for a, b in [
        (arrays.transposed_product(x, R), R.T @ DENSE),
        (arrays.squares(x).toarray(), DENSE**2),
        (arrays.weighted_gram(x, h), DENSE.T @ (h * DENSE)),
        (arrays.take_rows(x, rows).toarray(), DENSE[rows]),
        (arrays.row_slice(x, slice(7, 31)).toarray(), DENSE[7:31]),
    ]:
        np.testing.assert_allclose(a, b, atol=1e-14)


def test_entries_stored_twice_are_added_before_they_are_squared():
    x = scipy.sparse.csr_array(([1.0, 2.0, 3.0], [0, 0, 1], [0, 3]), shape=(1, 2))
    np.testing.assert_array_equal(arrays.squares(x).toarray(), [[9, 9]])
    assert x.nnz == 3


@pytest.mark.parametrize("cls", [scipy.sparse.csr_array, scipy.sparse.csr_matrix])
def test_unaligned_sparse_matrices_are_copied(cls):
    x = cls(DENSE)
    assert align(x) is x
    data = unaligned(x.nnz)
    data[:] = x.data
    x.data = data
    y = align(x)
    assert type(y) is cls
    assert y.data.flags.aligned
    assert y.indices is x.indices
    np.testing.assert_array_equal(y.toarray(), DENSE)


def test_indices_of_64_bits_stay_as_they_are():
    x = messy(DENSE)
    for y in (arrays.row_slice(x, slice(3, 9)), arrays.squares(x)):
        assert y.indices.dtype == y.indptr.dtype == np.int64


@pytest.mark.gpu
def test_cupy_arrays_make_the_round_trip():
    import cupy

    x = from_host(np.arange(3.0), cupy.zeros(1, dtype=cupy.float32), cupy.float32)
    assert isinstance(x, cupy.ndarray)
    assert x.dtype == cupy.float32
    assert not is_host(x)
    np.testing.assert_array_equal(to_host(namespace(x).sum(x)), 3)


@pytest.mark.gpu
def test_cupyx_matrices_are_sparse_and_live_on_the_device():
    import cupy
    from cupyx.scipy.sparse import csr_matrix

    x = csr_matrix(scipy.sparse.csr_matrix(DENSE))
    assert arrays.is_sparse(x)
    assert not is_host(x)
    assert isinstance(from_host(np.ones(3), x), cupy.ndarray)
    np.testing.assert_allclose(to_host(x).toarray(), DENSE)
    R, h = np.random.default_rng(2).normal(size=(60, 3)), np.random.default_rng(3).random((60, 1))
    device_R, device_h, rows = cupy.asarray(R), cupy.asarray(h), np.array([5, 5, 59, 0])
    np.testing.assert_allclose(to_host(arrays.transposed_product(x, device_R)), R.T @ DENSE, atol=1e-13)
    np.testing.assert_allclose(to_host(arrays.squares(x)).toarray(), DENSE**2, atol=1e-13)
    np.testing.assert_allclose(to_host(arrays.weighted_gram(x, device_h)), DENSE.T @ (h * DENSE), atol=1e-13)
    np.testing.assert_allclose(to_host(arrays.row_slice(x, slice(7, 31))).toarray(), DENSE[7:31])
    np.testing.assert_allclose(to_host(arrays.take_rows(x, cupy.asarray(rows))).toarray(), DENSE[rows])
