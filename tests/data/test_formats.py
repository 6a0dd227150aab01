"""Raw files of every format: what is converted is what they hold, and what is wrong with them is said."""

import bz2
import gc
import gzip
import lzma
import subprocess
import sys
import textwrap
import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import scipy.sparse as sp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from raw_files import write_idx
from sklearn.datasets import dump_svmlight_file
from sklearn.feature_extraction.text import CountVectorizer

from dask_newton.data import DatasetError, convert_files, csr, open_dataset, verify_dataset
from dask_newton.data.formats import files
from dask_newton.data.formats.registry import FORMATS, guess_format


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def tiny_blocks(monkeypatch):
    """Text is read in blocks of a few lines, which end anywhere."""
    monkeypatch.setattr(files, "_BLOCK_BYTES", 64)


def convert(tmp_path, *raw, **options):
    out = tmp_path / "out.zarr"
    said = []
    convert_files(raw, out, tell=said.append, **options)
    verify_dataset(out)
    return out, said


def opened(path):
    dataset = open_dataset(path)
    X = dataset.X.compute(scheduler="sync")
    return dataset, X.toarray() if sp.issparse(X) else X, None if dataset.y is None else dataset.y.compute()


def refused(tmp_path, message, *raw, **options):
    """The conversion ends with a DatasetError and leaves nothing."""
    before = sorted(tmp_path.iterdir())
    with pytest.raises(DatasetError, match=message):
        convert_files(raw, tmp_path / "out.zarr", **options)
    assert sorted(tmp_path.iterdir()) == before


def text_file(path, text):
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


# LIBSVM text.


@pytest.mark.usefixtures("tiny_blocks")
@pytest.mark.parametrize("zero_based", [True, False])
@pytest.mark.parametrize("ends", [b"\n", b"\r\n"])
def test_libsvm(tmp_path, rng, zero_based, ends):
    X = rng.integers(-99, 99, (40, 12)) / 8 * (rng.random((40, 12)) < 0.3)
    X[0, 0], X[3, 11] = 1.5, 2.5
    y = rng.integers(0, 2, 40) * 2 - 1
    raw = tmp_path / "data.txt"
    dump_svmlight_file(X, y, str(raw), zero_based=zero_based)
    raw.write_bytes(b"# made by a test\n" + raw.read_bytes().rstrip().replace(b"\n", ends) + b" # last one")
    out, said = convert(tmp_path, raw)
    dataset, found, labels = opened(out)
    np.testing.assert_array_equal(found, X)
    np.testing.assert_array_equal(labels, y)
    assert labels.dtype == np.int64 and dataset.classes.tolist() == [-1, 1]
    assert said == [
        "Read as LIBSVM text (format=libsvm).",
        f"Indices start at {1 - zero_based} (the smallest is {1 - zero_based}); 12 features.",
    ]


def test_libsvm_with_groups_splits_and_a_given_base(tmp_path):
    train = text_file(tmp_path / "train", "1 qid:3 2:1.5 4:2\n-1 qid:4\n")
    test = text_file(tmp_path / "test", "0 6:0.25\n1 2:1\n")
    more = text_file(tmp_path / "more", "1 2:3 # from another file")
    options = {"zero_based": True, "rename_labels": {"-1": "0"}, "dtype": "float32"}
    out, said = convert(tmp_path, train, more, test=[test], **options)
    dataset, X, y = opened(out / "train")
    np.testing.assert_array_equal(X, [[0, 0, 1.5, 0, 2, 0, 0], [0] * 7, [0, 0, 3, 0, 0, 0, 0]])
    assert X.dtype == np.float32 and y.tolist() == [1, 0, 1] and dataset.classes.tolist() == [0, 1]
    assert opened(out / "test")[1].shape == (2, 7)
    assert said[1] == "Indices start at 0 (as given); 7 features."
    assert open_dataset(convert(tmp_path, train, n_features=9, overwrite=True)[0]).X.shape == (2, 9)


@pytest.mark.usefixtures("tiny_blocks")
@pytest.mark.parametrize("number", [2, 21])
@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("1 3:1 2:1", "increasing indices"), ("1 2:1 2:1", "increasing indices"), ("1 2:x", "could not convert"),
        ("1 2:", "could not convert"), ("one 2:1", "could not convert"), ("1 2", "index:value"), ("1 -2:1", "-2"),
        (f"1 {10**20}:1", "too large"),
    ],
)  # fmt: skip
def test_a_malformed_line_of_libsvm(tmp_path, number, line, what):
    raw = text_file(tmp_path / "data.txt", "\n".join(["1 2:1 5:0.25"] * (number - 1) + [line] + ["0 1:1"] * 20))
    refused(tmp_path, f"data.txt, line {number}: it is not 'label index:value .*{what}.* The line is '{line}'", raw)


def test_wrong_libsvm(tmp_path):
    raw = text_file(tmp_path / "data.txt", "1 0:1 5:0.25\n0 1:1\n")
    refused(tmp_path, "hold the index 0, so the indices do not start at 1", raw, zero_based=False)
    refused(tmp_path, "6 features, more than the 3", raw, n_features=3)
    sparse = text_file(tmp_path / "empty-rows", "0\n1 # no feature\n0 2:1.5\n")
    out, said = convert(tmp_path, sparse)
    assert said[0] == "Read as LIBSVM text (format=libsvm)." and open_dataset(out).X.shape == (3, 2)
    refused(tmp_path, "LIBSVM text has no option drop, label", raw, label="x", drop=["y"], overwrite=True)
    other = text_file(tmp_path / "test.txt", "-1 1:1\n")
    refused(tmp_path, "'test' has the label -1, which 'train' does not have .0, 1.", raw, test=[other], overwrite=True)


# Tables.


def table_of(values, separator=",", header=None):
    lines = [] if header is None else [header]
    return "\n".join(lines + [separator.join(repr(float(value)) for value in row) for row in values]) + "\n"


@pytest.mark.usefixtures("tiny_blocks")
@pytest.mark.parametrize("separator", [",", "\t", ";", " ", "   "])
@pytest.mark.parametrize("header", [False, True])
def test_table(tmp_path, rng, separator, header):
    values = rng.standard_normal((30, 4)) * 10.0 ** rng.integers(-300, 300, (30, 4))
    names = separator.join("abcd") if header else None
    out, said = convert(tmp_path, text_file(tmp_path / "data", table_of(values, separator, names)), label="-1")
    dataset, X, y = opened(out)
    np.testing.assert_array_equal(X, values[:, :3])  # to the last bit
    np.testing.assert_array_equal(y, values[:, 3])
    assert dataset.classes is None
    assert (dataset.feature_names.tolist() == ["a", "b", "c"]) if header else (dataset.feature_names is None)
    assert said[2] == f"The label is column {'d' if header else '3'!r}, as given."


@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(*[st.floats(allow_nan=False, allow_infinity=False)] * 3), min_size=1, max_size=20))
def test_every_number_of_a_table_is_read_exactly(tmp_path_factory, rows):
    tmp_path = tmp_path_factory.mktemp("t")
    out, _ = convert(tmp_path, text_file(tmp_path / "d.csv", table_of(rows)), label="none")
    np.testing.assert_array_equal(opened(out)[1], np.array(rows))


def test_header_behind_a_sign_and_quotes(tmp_path):
    raw = text_file(tmp_path / "CASP.csv", '\ufeff# "RMSD","F1","F,2"\r\n17.284,13558.3,4305.35\r\n6.021,1,2\r\n\r\n')
    out, said = convert(tmp_path, raw)
    dataset, X, y = opened(out)
    assert dataset.feature_names.tolist() == ["F1", "F,2"]
    np.testing.assert_array_equal(X, [[13558.3, 4305.35], [1, 2]])
    assert y.tolist() == [17.284, 6.021] and dataset.classes is None
    assert said[1:] == [
        "Columns are separated by ','; the first line names them.",
        "The label is column 'RMSD', the first (change it with label=).",
    ]


@pytest.mark.parametrize(
    ("text", "label", "names"),
    [
        ("5.1,3.5,setosa\n4.9,3.0,virginica\n", "2", None),
        ("x,y,z\n1,2,3", "y", ["x", "z"]),
        ("x,Target,z\n1,a,3\n4,b,6\n", "Target", ["x", "z"]),
        ("1,2\n3,4\n", "0", None),
    ],
)
def test_which_column_is_the_label(tmp_path, text, label, names):
    out, said = convert(tmp_path, text_file(tmp_path / "d.csv", text))
    assert f"The label is column '{label}', " in said[2]
    found = open_dataset(out).feature_names
    assert (None if found is None else found.tolist()) == names
    if label in ("2", "Target"):
        assert open_dataset(out).classes.tolist() == sorted(open_dataset(out).y.compute())


def test_counts_with_dates_that_are_dropped(tmp_path):
    raw = text_file(tmp_path / "hour.csv", "day,temp,casual,cnt\n01-01-2011,0.24,3,16\n02-01-2011,0.22,8,40\n")
    refused(tmp_path, "columns without numbers: 'day' .'01-01-2011'.*drop=\"day\"", raw, label="cnt")
    out, _ = convert(tmp_path, raw, label="cnt", drop=["day", "casual"], target="numbers")
    dataset, X, y = opened(out)
    assert dataset.feature_names.tolist() == ["temp"] and y.tolist() == [16, 40] and dataset.classes is None
    assert y.dtype == np.float64


def test_whole_numbers_of_many_values_are_no_classes(tmp_path, monkeypatch):
    raw = text_file(tmp_path / "d.csv", "".join(f"{i},1\n" for i in range(101)))
    dataset = open_dataset(convert(tmp_path, raw)[0])
    assert dataset.classes is None and dataset.y.dtype == np.int64
    dataset = open_dataset(convert(tmp_path, raw, target="classes", overwrite=True)[0])
    assert len(dataset.classes) == 101
    monkeypatch.setattr(files, "_BLOCK_BYTES", 64)
    words = text_file(tmp_path / "words.csv", "1,yes\n")
    refused(tmp_path, "labels are strings, such as yes, not numbers", words, target="numbers", overwrite=True)
    late = text_file(tmp_path / "late.csv", "1,1\n" * 50 + "0.5,1\n")
    refused(tmp_path, 'whole numbers, but a later one is 0.5; give target="numbers"', late, overwrite=True)


@pytest.mark.usefixtures("tiny_blocks")
@pytest.mark.parametrize("separator", [",", "\t", " "])
@pytest.mark.parametrize(
    ("line", "what"),
    [
        (["1", "2"], "it has 2 columns, not 3"),
        (["1", "2", "3", "4"], "it has 4 columns, not 3"),
        (["1", "x2", "3"], "column 'b' holds 'x2', which is not a number"),
        (["1", "", "3"], "column 'b' is empty"),
        (["nil", "2", "3"], "column 'a' holds 'nil', which is not a number"),
    ],
)
def test_a_malformed_line_of_a_table(tmp_path, separator, line, what):
    if separator == " " and "" in line:
        what = "it has 2 columns, not 3"
    lines = [separator.join("abc"), *[separator.join(["1", "2.5", "3"])] * 30, separator.join(line)]
    raw = text_file(tmp_path / "data.csv", "\n".join([*lines, *lines[1:9]]))
    refused(tmp_path, f"data.csv, line 32: {what}. The line is '", raw)


def test_wrong_tables(tmp_path):
    good = text_file(tmp_path / "good.csv", "a,b\n1,2\n3,4\n")
    refused(tmp_path, r"no column 'c', which label names; it has a, b \(2 in all\)", good, label="c")
    refused(tmp_path, "no column '7', which drop names", good, drop=["7"])
    refused(tmp_path, "has no columns of features", good, drop=["b"])
    other = text_file(tmp_path / "other.csv", "a,c\n1,2\n")
    refused(tmp_path, r"has the columns a, c .*good.csv has a, b", good, test=[other])
    refused(tmp_path, "holds no rows", text_file(tmp_path / "empty.csv", "\n\n"), format="table")
    head = text_file(tmp_path / "head.csv", "a,b\n")
    refused(tmp_path, "no rows below its header", head, format="table", header=True)
    binary = text_file(tmp_path / "binary.csv", b"1,2\n3,4\n5,\x006\n")
    refused(tmp_path, "binary.csv, line 3: it holds a NUL byte", binary)
    latin = text_file(tmp_path / "latin.csv", "1,2\n3,é\n".encode("latin-1"))
    refused(tmp_path, "latin.csv, line 2: it is not UTF-8", latin)


# Documents.


@pytest.mark.usefixtures("tiny_blocks")
def test_documents(tmp_path):
    train = [("trade", "asian export fear export"), ("earn", "shr net"), ("earn", "")]
    test = [("trade", "export tax tax"), ("earn", "net net shr")]
    paths = [
        text_file(tmp_path / name, "".join(f"{label}\t{words}\r\n" for label, words in documents))
        for name, documents in (("train", train), ("test", test))
    ]
    out, said = convert(tmp_path, paths[0], test=[paths[1]])
    counter = CountVectorizer(analyzer=str.split).fit([words for _, words in train])
    for name, documents in (("train", train), ("test", test)):
        dataset, X, y = opened(out / name)
        np.testing.assert_array_equal(X, counter.transform([words for _, words in documents]).toarray())
        assert dataset.feature_names.tolist() == counter.get_feature_names_out().tolist()
        assert y.tolist() == [label for label, _ in documents]
    assert said == ["Read as labelled documents (format=documents).", "X counts the 5 words of train."]


def test_malformed_documents(tmp_path):
    raw = text_file(tmp_path / "d.txt", "earn\tnet shr\nno tab here\nearn\tnet\n")
    refused(tmp_path, "d.txt, line 2: it is not 'label TAB words'. The line is 'no tab here'", raw)
    raw = text_file(tmp_path / "latin.txt", "earn\tnet shr\nearn\té\nearn\tnet".encode("latin-1"))
    refused(tmp_path, "latin.txt, line 2: it is not UTF-8", raw)
    refused(tmp_path, "contain no words", text_file(tmp_path / "none.txt", "earn\t\n"), format="documents")


# Compression.


@pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
def test_compressed_text_and_its_truncation(tmp_path, rng, compress):
    text = table_of(rng.standard_normal((200, 3))).encode()
    raw = text_file(tmp_path / "data.csv.z", compress(text))
    out, _ = convert(tmp_path, raw)
    assert open_dataset(out).X.shape == (200, 2)
    cut = text_file(tmp_path / "cut.csv.z", compress(text)[:-20])
    refused(tmp_path, "cut.csv.z is a damaged or truncated (gzip|bzip2|xz) file", cut, overwrite=True)
    assert open_dataset(out).X.shape == (200, 2)


# Binary formats.


def test_idx_files_in_any_order(tmp_path, rng):
    images, labels = rng.integers(0, 256, (9, 2, 3), dtype=np.uint8), np.arange(9, dtype=np.uint8) % 3
    pair = write_idx(tmp_path / "images", images), write_idx(tmp_path / "labels.gz", labels)
    for files_given in (pair, pair[::-1]):
        out, said = convert(tmp_path, *files_given, overwrite=True)
        dataset, X, y = opened(out)
        np.testing.assert_array_equal(X, images.reshape(9, 6))
        assert X.dtype == np.uint8 and y.tolist() == labels.tolist() and dataset.classes.tolist() == [0, 1, 2]
    out, _ = convert(tmp_path, *pair, scale=1 / 255, overwrite=True)
    np.testing.assert_array_equal(opened(out)[1], images.reshape(9, 6) * np.float32(1 / 255))
    refused(tmp_path, "come in pairs, images and labels; there are 1", pair[0], overwrite=True)


def test_arrays_of_numpy(tmp_path, rng):
    X, y = rng.standard_normal((50, 3)).astype("f4"), np.array(["no", "yes"])[rng.integers(0, 2, 50)]
    np.save(tmp_path / "a.npy", X)
    np.save(tmp_path / "b.npy", y)
    np.savez(tmp_path / "plain.npz", features=X, target=y)
    np.savez_compressed(tmp_path / "packed.npz", features=X, target=y)
    np.savez(tmp_path / "alone.npz", X)
    pairs = [["a.npy", "b.npy"], ["b.npy", "a.npy"], ["alone.npz", "b.npy"]]
    sources = [*pairs, ["plain.npz"], ["packed.npz"], ["a.npy"]]
    for names in sources:
        out, said = convert(tmp_path, *[tmp_path / name for name in names], overwrite=True)
        _, found, labels = opened(out)
        np.testing.assert_array_equal(found, X)
        assert found.dtype == np.float32
        assert labels is None if names == ["a.npy"] else labels.tolist() == y.tolist()
    assert said[1] == f"X is {tmp_path / 'a.npy'}; there is no y."


def test_sparse_matrices_of_scipy(tmp_path, rng, monkeypatch):
    monkeypatch.setattr("dask_newton.data.layout._CHUNK_BYTES", 2000)
    X, y = sp.random_array((90, 20), density=0.2, format="csr", rng=rng, dtype="f4"), np.arange(90) % 3
    sp.save_npz(tmp_path / "X.npz", X)
    np.save(tmp_path / "y.npy", y)
    out, _ = convert(tmp_path, tmp_path / "X.npz", tmp_path / "y.npy", chunk_rows=25)
    found = open_dataset(out).X.compute(scheduler="sync")
    for part in ("indptr", "indices", "data"):
        np.testing.assert_array_equal(getattr(found, part), getattr(X, part))
    assert opened(out)[2].tolist() == y.tolist()
    sp.save_npz(tmp_path / "columns.npz", X.tocsc())
    refused(tmp_path, r"stored as .*csc.*save it by rows", tmp_path / "columns.npz", overwrite=True)


def test_wrong_arrays_of_numpy(tmp_path, rng):
    X = rng.standard_normal((50, 3))
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "y.npy", np.ones(49))
    refused(tmp_path, r"X.npy has 50 rows, but .*y.npy has 49", tmp_path / "X.npy", tmp_path / "y.npy")
    refused(tmp_path, "at most one of one dimension", tmp_path / "X.npy", tmp_path / "X.npy")
    refused(tmp_path, "One array of two dimensions is needed", tmp_path / "y.npy")
    np.savez(tmp_path / "columns.npz", X=np.asfortranarray(X))
    refused(tmp_path, "stored by columns; save numpy.ascontiguousarray", tmp_path / "columns.npz")
    np.savez(tmp_path / "objects.npz", X=np.full((2, 2), None), allow_pickle=True)
    refused(tmp_path, "'X' of .*objects.npz holds Python objects", tmp_path / "objects.npz")
    np.savez(tmp_path / "whole.npz", X=X)
    cut = text_file(tmp_path / "cut.npz", (tmp_path / "whole.npz").read_bytes()[:-300])
    refused(tmp_path, "cut.npz is not an .npz archive, or is truncated", cut)


@pytest.mark.parametrize("group", ["matrix", "mm10"])
def test_counts_of_10x_genomics(tmp_path, rng, monkeypatch, group):
    monkeypatch.setattr("dask_newton.data.layout._CHUNK_BYTES", 500)
    X = sp.random_array((40, 9), density=0.3, format="csr", rng=rng)  # cells x genes
    X.data = rng.integers(1, 9, X.nnz)
    barcodes, genes = [f"AAAC{i:02d}-1" for i in range(40)], [f"ENSG{i}" for i in range(9)]
    raw = tmp_path / "filtered.h5"
    with h5py.File(raw, "w") as file:
        matrix = file.create_group(group)
        values = {"data": X.data, "indices": X.indices.astype("i8"), "indptr": X.indptr.astype("i8"), "shape": [9, 40]}
        for name, array in values.items():
            matrix[name] = np.asarray(array)
        matrix["barcodes"] = np.array(barcodes, "S")
        matrix["features/id" if group == "matrix" else "genes"] = np.array(genes, "S")
    out, said = convert(tmp_path, raw)
    dataset, found, labels = opened(out)
    np.testing.assert_array_equal(found, X.toarray())
    assert found.dtype == X.data.dtype and labels is None and dataset.feature_names.tolist() == genes
    assert open_dataset(out).X.compute().indices.dtype == np.int32
    shuffled = rng.permutation(40)
    table = "Barcode,Cluster\n" + "".join(f"{barcodes[i]},{i % 4 + 1}\n" for i in shuffled)
    clusters = text_file(tmp_path / "clusters.csv", table)
    dataset, _, labels = opened(convert(tmp_path, raw, labels=clusters, overwrite=True)[0])
    assert labels.tolist() == [i % 4 + 1 for i in range(40)] and dataset.classes.tolist() == [1, 2, 3, 4]
    text_file(clusters, table.replace(barcodes[7], "TTTT"))
    message = f"no label for 1 of the 40 rows of .*filtered.h5, such as '{barcodes[7]}'"
    refused(tmp_path, message, raw, labels=clusters, overwrite=True)
    with h5py.File(raw, "r+") as file:
        file[f"{group}/indices"][3] = 9
    refused(tmp_path, "is not one of the 9 columns", raw, overwrite=True)
    with h5py.File(raw, "r+") as file:
        file[f"{group}/shape"][:] = [40, 9]
    refused(tmp_path, "do not fit together: 9 rows need 10 pointers, but there are 41", raw, overwrite=True)


def test_hdf5_of_anndata_and_plain_hdf5(tmp_path, rng):
    X = sp.random_array((12, 5), density=0.4, format="csr", rng=rng)
    raw = tmp_path / "cells.h5ad"
    with h5py.File(raw, "w") as file:
        file["X/data"], file["X/indices"], file["X/indptr"] = X.data, X.indices, X.indptr
        file["X"].attrs.update({"encoding-type": "csr_matrix", "shape": X.shape})
        file["var/_index"] = np.array(list("abcde"), "S")
    dataset, found, _ = opened(convert(tmp_path, raw)[0])
    np.testing.assert_array_equal(found, X.toarray())
    assert dataset.feature_names.tolist() == list("abcde")
    plain = tmp_path / "plain.h5"
    with h5py.File(plain, "w") as file:
        file["X"], file["y"] = X.toarray(), [b"no", b"yes"] * 6
    dataset, found, labels = opened(convert(tmp_path, plain, overwrite=True)[0])
    np.testing.assert_array_equal(found, X.toarray())
    assert labels.tolist() == ["no", "yes"] * 6
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["Z"] = 1
    refused(tmp_path, "other.h5 holds Z; it must hold 'X' and 'y'", tmp_path / "other.h5", overwrite=True)
    cut = text_file(tmp_path / "cut.h5", plain.read_bytes()[:-100])
    refused(tmp_path, "cut.h5 cannot be opened as HDF5", cut, overwrite=True)


def test_hdf5_without_h5py(tmp_path, monkeypatch):
    raw = text_file(tmp_path / "x.h5", b"\x89HDF\r\n\x1a\n")
    monkeypatch.setitem(sys.modules, "h5py", None)
    refused(tmp_path, r"needs h5py: pip install 'dask-newton\[hdf5\]'", raw)


def test_matlab(tmp_path, rng):
    images, labels = rng.integers(0, 256, (2, 2, 3, 10), dtype=np.uint8), np.arange(10, dtype=np.uint8)[:, None]
    scipy.io.savemat(tmp_path / "train.mat", {"X": images, "y": labels})
    _, X, y = opened(convert(tmp_path, tmp_path / "train.mat")[0])
    np.testing.assert_array_equal(X, [images[..., i].ravel() for i in range(10)])
    assert y.tolist() == list(range(10))
    scipy.io.savemat(tmp_path / "table.mat", {"X": np.eye(3), "y": np.arange(3)})
    np.testing.assert_array_equal(opened(convert(tmp_path, tmp_path / "table.mat", overwrite=True)[0])[1], np.eye(3))
    scipy.io.savemat(tmp_path / "short.mat", {"X": images, "y": labels[:4]})
    refused(tmp_path, "has 10 rows, but y has the shape", tmp_path / "short.mat", overwrite=True)
    scipy.io.savemat(tmp_path / "other.mat", {"Z": 1})
    refused(tmp_path, "holds Z; it must hold X and y", tmp_path / "other.mat", overwrite=True)
    cut = text_file(tmp_path / "cut.mat", (tmp_path / "train.mat").read_bytes()[:-30])
    refused(tmp_path, "cut.mat is a damaged or truncated MATLAB file", cut, overwrite=True)


@pytest.mark.parametrize("n_labels", [1, 2])
def test_cifar(tmp_path, rng, n_labels):
    pixels, labels = rng.integers(0, 256, (7, 3072), dtype=np.uint8), rng.integers(0, 10, (7, n_labels), dtype=np.uint8)
    records = np.hstack([labels, pixels])
    parts = [text_file(tmp_path / f"{i}.bin", part.tobytes()) for i, part in enumerate((records[:4], records[4:]))]
    _, X, y = opened(convert(tmp_path, *parts)[0])
    np.testing.assert_array_equal(X, pixels)
    assert y.tolist() == labels[:, -1].tolist()
    cut = text_file(tmp_path / "cut.bin", records.tobytes()[:-1])
    refused(tmp_path, "not a multiple of 3073 or 3074", cut, format="cifar", overwrite=True)


# Formats as such.


def test_what_is_not_recognised(tmp_path):
    raw = text_file(tmp_path / "poem.txt", "Shall I compare thee\nto a summer's day?\n")
    refused(tmp_path, "The format of .*poem.txt is not recognised; it begins with b'Shall I compare", raw)
    tsv = text_file(tmp_path / "d.tsv", "label\tx\n0\t0.5\n")  # a table, though its header looks like a document
    assert guess_format(tsv).name == "table"
    other = text_file(tmp_path / "d.csv", "1,2\n")
    svm = text_file(tmp_path / "d.svm", "1 2:3\n")
    refused(tmp_path, "looks like LIBSVM text and .*d.csv like a table", svm, other)
    with pytest.raises(ValueError, match="format is 'cvs'; give one of idx, npy"):
        convert_files(other, tmp_path / "out.zarr", format="cvs")
    with pytest.raises(FileExistsError, match="exists already"):
        convert_files(tmp_path / "nowhere", raw)  # the destination is looked at first


def test_every_format_has_a_name_and_is_on_the_page_of_data_sets():
    page = Path(__file__).parents[2].joinpath("docs", "datasets.rst").read_text(encoding="utf-8")
    for name, known in FORMATS.items():
        assert known.name == name and f"``{name}``" in page


@pytest.mark.usefixtures("tiny_blocks")
def test_progress_has_an_end(tmp_path):
    rows = text_file(tmp_path / "d.csv", "1,2\n" * 100)
    heard = []
    convert(tmp_path, rows, progress=lambda *args: heard.append(args), chunk_rows=30)
    assert heard[-1] == (400, 400) and len(heard) == 4  # bytes, as rows are not known before
    assert heard == sorted(heard) and heard[0][0] < 400
    sparse = text_file(tmp_path / "d.svm", "1 2:1\n" * 100)
    heard.clear()
    convert(tmp_path, sparse, progress=lambda *args: heard.append(args), chunk_rows=30, overwrite=True)
    scan, written = heard[:-4], heard[-4:]
    assert scan[-1] == (600, 600) and len(scan) > 4
    assert written == [(30, 100), (60, 100), (90, 100), (100, 100)]


# Memory, interruptions.


@pytest.mark.parametrize(
    "kind", ["libsvm", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("table", "documents"))]
)
def test_peak_memory_does_not_grow_with_the_file(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(files, "_BLOCK_BYTES", 2**14)
    monkeypatch.setattr(csr, "_CHUNK_NONZEROS", 2**13)
    monkeypatch.setattr(csr, "_CHUNK_ROWS", 2**11)
    line = {"libsvm": "1 1:0.5 2:1.5 9:2 40:1\n", "table": "1,0.5,1.5,2,4,5,6\n", "documents": "a\tb c d e f b\n"}[kind]
    peaks = {}
    for n_rows in (10, 6_000, 36_000):  # the first one is for imports and caches
        raw = text_file(tmp_path / "raw", line * n_rows)
        gc.collect()
        tracemalloc.start()
        try:
            convert_files(raw, tmp_path / "out.zarr", chunk_rows=1000, overwrite=True)
            _, peaks[n_rows] = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert open_dataset(tmp_path / "out.zarr").X.shape[0] == n_rows
    # 30,000 more rows take 1.4 MB or more as X; garbage that is still there, and one checksum a chunk, a tenth of that.
    assert peaks[36_000] - peaks[6_000] < 500_000


def test_a_killed_conversion_leaves_no_path(tmp_path):
    raw = text_file(tmp_path / "d.csv", "1,2\n" * 1000)
    script = textwrap.dedent(
        """
        import os, signal, sys
        from dask_newton.data import convert_files

        def kill(done, total):
            print(done, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)

        convert_files(sys.argv[1], sys.argv[2], chunk_rows=100, progress=kill)
        """
    )
    result = subprocess.run(
        [sys.executable, "-c", script, str(raw), str(tmp_path / "out.zarr")],
        cwd=Path(__file__).parents[2], capture_output=True, text=True,
    )  # fmt: skip
    assert result.returncode != 0 and result.stdout.strip()
    # There was no time to remove the temporary folder, whose name says what it is.
    left = [path.name for path in tmp_path.iterdir() if not path.name.startswith(".out.zarr.partial-")]
    assert left == [raw.name]
