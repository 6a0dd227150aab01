"""Data sets of the papers, made small: what they must hold is checked, and what is missing is said."""

import dataclasses
import gzip
import hashlib
import io
import tarfile
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
from click.testing import CliRunner
from raw_files import write_idx

from dask_newton.cli import main
from dask_newton.data import DatasetError, convert_named, fetch_named, open_dataset
from dask_newton.data.formats import named_sets
from dask_newton.data.formats.named_sets import NAMED_SETS, Download

COUNTS = {"train": (7, 5), "test": (2, 3)}
LABELS = {split: np.repeat([0, 1], counts).astype(np.uint8) for split, counts in COUNTS.items()}


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "raw"
    path.mkdir()
    return path


def small(name, **changes):
    """The entry of a set, with what the small files hold."""
    return dataclasses.replace(NAMED_SETS[name], counts=COUNTS, **changes)


def write_images(folder, name, rng):
    images = {}
    for split, (pixels, labels) in NAMED_SETS[name].files.items():
        images[split] = rng.integers(0, 256, (len(LABELS[split]), 28, 28), dtype=np.uint8)
        write_idx(folder / pixels, images[split])
        write_idx(folder / labels, LABELS[split])
    return images


def assert_holds(path, X, labels=LABELS, dtype=np.float32, scale=1 / 255):
    for split in ("train", "test"):
        dataset = open_dataset(path / split)
        rows = dataset.X.compute(scheduler="sync")
        expected = X[split].reshape(len(labels[split]), -1).astype(dtype)
        np.testing.assert_array_equal(rows, expected * dtype(scale) if scale is not None else expected)
        assert rows.dtype == dtype
        np.testing.assert_array_equal(dataset.y.compute(), labels[split])
        assert dataset.classes.tolist() == sorted(set(labels["train"].tolist()))


def test_the_table_is_sound():
    for name, known in NAMED_SETS.items():
        assert known.format in ("idx", "cifar", "matlab", "table", "hdf5", "npy"), name
        assert list(known.counts) == ["train", "test"]
        assert set(known.files) == ({""} if known.last_rows else {"train", "test"})
        assert bool(known.downloads) == bool(known.address)
        for download in known.downloads:
            kind, _, digest = download.checksum.partition(":")
            assert len(digest) == {"md5": 32, "sha256": 64}[kind]
            assert download.name == known.archive or any(download.name in files for files in known.files.values())
    totals = {name: tuple(np.sum(known.counts[split]) for split in known.counts) for name, known in NAMED_SETS.items()
              if name != "timit"}  # fmt: skip
    assert totals == {
        "mnist": (60_000, 10_000), "fashion-mnist": (60_000, 10_000), "kmnist": (60_000, 10_000),
        "emnist-digits": (240_000, 40_000), "cifar10": (50_000, 10_000), "cifar100": (50_000, 10_000),
        "svhn": (73_257, 26_032), "higgs": (10_500_000, 500_000), "e18": (1_175_515, 130_612),
    }  # fmt: skip


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "kmnist", "emnist-digits"])
def test_images(tmp_path, folder, rng, name):
    images = write_images(folder, name, rng)
    out = convert_named(small(name), folder, tmp_path / "out.zarr")
    assert_holds(out, images)
    assert open_dataset(out / "train").attrs["source"] == NAMED_SETS[name].source
    assert_holds(convert_named(small(name), folder, out, dtype="float64", scale=1, overwrite=True), images,
                 dtype=np.float64, scale=1)  # fmt: skip


def test_images_that_were_decompressed_and_moved(tmp_path, folder, rng):
    images = write_images(folder, "mnist", rng)
    (folder / "MNIST").mkdir()
    for file in folder.glob("*.gz"):
        (folder / "MNIST" / file.stem).write_bytes(gzip.decompress(file.read_bytes()))
        file.unlink()
    assert_holds(convert_named(small("mnist"), folder, tmp_path / "out.zarr"), images)


def test_folders_that_could_both_be_meant(tmp_path, folder, rng):
    for name in ("FashionMNIST", "KMNIST"):
        (folder / name).mkdir()
        write_images(folder / name, "mnist", rng)
    with pytest.raises(DatasetError, match="Both .*FashionMNIST.* and .*KMNIST.* could be meant; give the folder"):
        convert_named(small("kmnist"), folder, tmp_path / "out.zarr")
    convert_named(small("kmnist"), folder / "KMNIST", tmp_path / "out.zarr")


def test_another_data_set_is_noticed(tmp_path, folder, rng):
    write_images(folder, "mnist", rng)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DatasetError, match="train split of mnist has 7, 5 rows of each class, not 5923, 6742, "):
        convert_named("mnist", folder, tmp_path / "out.zarr")
    swapped = dataclasses.replace(NAMED_SETS["mnist"], counts={**COUNTS, "test": (3, 2)})
    with pytest.raises(DatasetError, match="test split of .* has 2, 3 rows of each class, not 3, 2"):
        convert_named(swapped, folder, tmp_path / "out.zarr")
    with pytest.raises(DatasetError, match="train split of .* has 784 columns, not 3072"):
        convert_named(small("mnist", n_features=3072), folder, tmp_path / "out.zarr")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("name", NAMED_SETS)
def test_missing_files_are_listed(tmp_path, folder, name):
    known = NAMED_SETS[name]
    with pytest.raises(FileNotFoundError) as caught:
        convert_named(name, folder, tmp_path / "out.zarr")
    said = str(caught.value)
    for file in (file for files in known.files.values() for file in files):
        assert file.startswith("|") or file.split("|")[0] in said
    assert known.source in said and ("fetch" in said) == bool(known.downloads)
    assert (known.archive or "") in said and list(tmp_path.iterdir()) == [folder]


def cifar_records(rng, n_labels):
    pixels = {split: rng.integers(0, 256, (len(labels), 3072), dtype=np.uint8) for split, labels in LABELS.items()}
    records = {
        split: np.hstack([np.repeat(LABELS[split][:, None], n_labels, axis=1), pixels[split]]) for split in pixels
    }
    return pixels, records


def tar_of(contents):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in contents.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


@pytest.mark.parametrize("archived", [True, False])
def test_cifar10(tmp_path, folder, rng, archived):
    pixels, records = cifar_records(rng, 1)
    parts = np.array_split(records["train"], 5)
    contents = {f"data_batch_{i}.bin": part.tobytes() for i, part in enumerate(parts, start=1)}
    contents |= {"test_batch.bin": records["test"].tobytes(), "readme.html": b"<html>"}
    if archived:
        archive = tar_of({f"cifar-10-batches-bin/{name}": content for name, content in contents.items()})
        (folder / "cifar-10-binary.tar.gz").write_bytes(archive)
    else:
        for name, content in contents.items():
            (folder / name).write_bytes(content)
    assert_holds(convert_named(small("cifar10"), folder, tmp_path / "out.zarr"), pixels)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.zarr", "raw"]


def test_cifar100_and_its_archive(tmp_path, folder, rng):
    pixels, records = cifar_records(rng, 2)
    archive = tar_of({f"cifar-100-binary/{split}.bin": part.tobytes() for split, part in records.items()})
    (folder / "cifar-100-binary.tar.gz").write_bytes(archive)
    assert_holds(convert_named(small("cifar100"), folder, tmp_path / "out.zarr"), pixels)
    (folder / "cifar-100-binary.tar.gz").write_bytes(archive[:-2000])
    with pytest.raises(DatasetError, match="cifar-100-binary.tar.gz is damaged or truncated"):
        convert_named(small("cifar100"), folder, tmp_path / "cut.zarr")
    (folder / "cifar-100-binary.tar.gz").write_bytes(tar_of({"train.bin": b""}))
    with pytest.raises(DatasetError, match="tar.gz holds no test.bin"):
        convert_named(small("cifar100"), folder, tmp_path / "cut.zarr")


def test_emnist_from_its_archive(tmp_path, folder, rng):
    images = write_images(folder, "emnist-digits", rng)
    with zipfile.ZipFile(folder / "gzip.zip", "w") as archive:
        for file in sorted(folder.glob("*.gz")):
            archive.write(file, f"gzip/{file.name}")
            file.unlink()
    assert_holds(convert_named(small("emnist-digits"), folder, tmp_path / "out.zarr"), images)


def test_svhn(tmp_path, folder, rng):
    images = {}
    for split, labels in LABELS.items():
        images[split] = rng.integers(0, 256, (len(labels), 32, 32, 3), dtype=np.uint8)
        y = np.where(labels == 0, 10, labels)[:, None]  # as SVHN says 0
        scipy.io.savemat(folder / f"{split}_32x32.mat", {"X": np.moveaxis(images[split], 0, -1), "y": y})
    assert_holds(convert_named(small("svhn"), folder, tmp_path / "out.zarr"), images)


@pytest.mark.parametrize("block_bytes", [100, 2**20])
def test_higgs_and_its_last_rows(tmp_path, folder, rng, monkeypatch, block_bytes):
    monkeypatch.setattr("dask_newton.data.formats.files._BLOCK_BYTES", block_bytes)
    X = {split: rng.standard_normal((len(labels), 28)).astype("f4") for split, labels in LABELS.items()}
    table = np.vstack([np.column_stack([LABELS[split], X[split]]) for split in X])
    rows = [",".join(f"{value:.18e}" for value in row) for row in table]
    (folder / "HIGGS.csv.gz").write_bytes(gzip.compress("\n".join(rows).encode()))
    known = small("higgs", last_rows=5)
    known = dataclasses.replace(known, counts={"train": 12, "test": 5})
    assert_holds(convert_named(known, folder, tmp_path / "out.zarr"), X, scale=None)
    more = dataclasses.replace(known, counts={"train": 13, "test": 5})
    with pytest.raises(DatasetError, match="test split of .* has 4 rows, not 5: copy it again"):
        convert_named(more, folder, tmp_path / "more.zarr")


def test_e18(tmp_path, folder, rng):
    X = rng.poisson(0.3, (17, 9))
    import scipy.sparse as sp

    stored = sp.csr_array(X)
    with h5py.File(folder / "1M_neurons_filtered_gene_bc_matrices_h5.h5", "w") as file:
        for part in ("data", "indices", "indptr"):
            file[f"mm10/{part}"] = getattr(stored, part).astype("i8")
        file["mm10/shape"], file["mm10/barcodes"] = [9, 17], np.array([f"C{i}-1" for i in range(17)], "S")
        file["mm10/genes"] = np.array([f"ENSMUSG{i}" for i in range(9)], "S")
    known = dataclasses.replace(NAMED_SETS["e18"], counts={"train": 12, "test": 5}, last_rows=5, n_features=9)
    with pytest.raises(FileNotFoundError, match="needs clusters.csv"):
        convert_named(known, folder, tmp_path / "out.zarr")
    (folder / "graphclust").mkdir()
    lines = "".join(f"C{i}-1,{i % 3 + 1}\n" for i in range(17))
    (folder / "graphclust" / "clusters.csv").write_text(f"Barcode,Cluster\n{lines}")
    out = convert_named(known, folder, tmp_path / "out.zarr")
    for split, rows in (("train", slice(0, 12)), ("test", slice(12, 17))):
        dataset = open_dataset(out / split)
        found = dataset.X.compute(scheduler="sync")
        assert isinstance(found, sp.csr_array) and found.dtype == np.float32
        np.testing.assert_array_equal(found.toarray(), X[rows])
        assert dataset.y.compute().tolist() == [i % 3 + 1 for i in range(17)][rows]
        assert dataset.feature_names[0] == "ENSMUSG0"


@pytest.mark.parametrize("packed", [True, False])
def test_timit(tmp_path, folder, rng, packed):
    X = {split: rng.standard_normal((len(labels), 6)).astype("f4") for split, labels in LABELS.items()}
    for split in X:
        if packed:
            np.savez(folder / f"{split}.npz", X=X[split], y=LABELS[split])
        else:
            np.save(folder / f"X_{split}.npy", X[split])
            np.save(folder / f"y_{split}.npy", LABELS[split])
    assert_holds(convert_named(small("timit"), folder, tmp_path / "out.zarr"), X, scale=None)


# Fetching, from a server on this machine.


@pytest.fixture
def served(tmp_path):
    """A folder, and the address at which its files are served."""
    path = tmp_path / "served"
    path.mkdir()

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=path))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield path, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def with_checksums(known, folder):
    downloads = tuple(
        Download(d.name, f"sha256:{hashlib.sha256((folder / d.name).read_bytes()).hexdigest()}")
        for d in known.downloads
    )
    return dataclasses.replace(known, downloads=downloads)


def test_fetching_what_is_missing(tmp_path, folder, rng, served, monkeypatch):
    path, address = served
    images = write_images(path, "mnist", rng)
    known = with_checksums(small("mnist"), path)
    monkeypatch.setitem(named_sets.NAMED_SETS, "mnist", known)
    have = folder / "t10k-labels-idx1-ubyte.gz"
    have.write_bytes((path / have.name).read_bytes())
    out = tmp_path / "out.zarr"
    result = CliRunner().invoke(main, ["convert", "mnist", str(folder), str(out), "--fetch", "--address", address])
    assert result.exit_code == 0, result.output
    assert result.output.count("Fetching http://127.0.0.1") == 3 and have.name not in result.output.split("Read")[0]
    assert_holds(out, images)
    assert fetch_named("mnist", folder, address=address) == []


def test_fetching_an_archive(folder, rng, served):
    path, address = served
    (path / "cifar-100-binary.tar.gz").write_bytes(tar_of({"train.bin": b"1", "test.bin": b"2"}))
    known = with_checksums(small("cifar100"), path)
    heard = []
    fetched = fetch_named(known, folder, address=address + "/", progress=lambda *args: heard.append(args))
    assert fetched == [folder / "cifar-100-binary.tar.gz"]
    assert fetched[0].read_bytes() == (path / "cifar-100-binary.tar.gz").read_bytes()
    assert heard[-1] == (fetched[0].stat().st_size,) * 2


def test_a_wrong_checksum_or_a_missing_file_leaves_nothing(folder, rng, served):
    path, address = served
    write_images(path, "mnist", rng)
    with pytest.raises(DatasetError, match="train-images-idx3-ubyte.gz is not the file that was published"):
        fetch_named("mnist", folder, address=address)
    with pytest.raises(DatasetError, match="cifar-10-binary.tar.gz cannot be fetched: .*404"):
        fetch_named("cifar10", folder, address=address)
    assert list(folder.iterdir()) == []


def test_what_cannot_be_fetched(folder, monkeypatch):
    with pytest.raises(DatasetError, match="TIMIT.* cannot be fetched, as no public address.*catalog.ldc"):
        fetch_named("timit", folder)
    monkeypatch.setitem(__import__("sys").modules, "pooch", None)
    with pytest.raises(DatasetError, match=r"needs pooch: pip install 'dask-newton\[fetch\]'"):
        fetch_named("mnist", folder)


def test_every_set_is_on_the_page_of_data_sets():
    page = Path(__file__).parents[2].joinpath("docs", "datasets.rst").read_text(encoding="utf-8")
    for name in NAMED_SETS:
        assert f"``{name}``" in page
