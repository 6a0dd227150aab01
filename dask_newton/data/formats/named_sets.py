"""The named data sets, one entry each: names of the files, where they are published, and what they contain.

Addresses and checksums are those stated by the authors or by several public copies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dask_newton.data.formats.raw import ReadOptions

__all__ = ["NAMED_SETS", "Download", "NamedSet"]


@dataclass(frozen=True)
class Download:
    """A file that can be downloaded.

    Attributes
    ----------
    name : str
        Name of the file.
    checksum : str
        ``"sha256:..."`` or ``"md5:..."``, as its publisher or several public copies state it.
    """

    name: str
    checksum: str


@dataclass(frozen=True)
class NamedSet:
    """A data set: its files and what they must contain.

    Attributes
    ----------
    title, source : str
        Its full name and its authors' page.
    format : str
        The raw format of its files.
    files : dict of str to tuple of str
        The files of each split, compressed or not. Alternatives are separated by ``|``; a name that begins with
        ``|`` belongs to the second alternative of the file before it.
    n_features : int or None
        Number of columns, None if the files say.
    counts : dict of str to tuple of int, int or None
        For each split the number of rows of each class in the order of the labels, or of all rows.
    last_rows : int
        If both splits are in one file: how many rows at its end are the test split.
    archive : str or None
        An archive to take the files from if they are not in the folder themselves.
    address : str or None
        Where the downloads are.
    downloads : tuple of Download
        What can be fetched.
    options : ReadOptions
        How to read the files.
    labels : str or None
        Name of a file with the labels, for formats that need one.
    rename : dict of str to str
        Labels that are replaced.
    scale, dtype
        As for :func:`dask_newton.data.convert_files`.
    """

    title: str
    source: str
    format: str
    files: Mapping[str, tuple[str, ...]]
    n_features: int | None
    counts: Mapping[str, tuple[int, ...] | int | None]
    last_rows: int = 0
    archive: str | None = None
    address: str | None = None
    downloads: tuple[Download, ...] = ()
    options: ReadOptions = ReadOptions()
    labels: str | None = None
    rename: Mapping[str, str] = field(default_factory=dict)
    scale: float | None = None
    dtype: str | None = None

    @property
    def expected(self) -> str:
        """The files as text for the help of the command line."""
        files = ", ".join(file for files in self.files.values() for file in files)
        words = files.replace(", |", " with ").replace("|", " or ")
        return words + f", {self.labels}" * bool(self.labels) + f", or {self.archive}" * bool(self.archive)


def _idx(prefixes: tuple[str, str]) -> dict[str, tuple[str, ...]]:
    return {
        split: (f"{prefix}-images-idx3-ubyte.gz", f"{prefix}-labels-idx1-ubyte.gz")
        for split, prefix in zip(("train", "test"), prefixes, strict=True)
    }


def _downloads(**checksums: str) -> tuple[Download, ...]:
    return tuple(Download(name.replace("_", "-") + "-ubyte.gz", checksum) for name, checksum in checksums.items())


_IMAGES: dict[str, Any] = {"scale": 1 / 255, "dtype": "float32"}
_MNIST = _idx(("train", "t10k"))

NAMED_SETS: dict[str, NamedSet] = {
    "mnist": NamedSet(
        "MNIST, handwritten digits", "http://yann.lecun.com/exdb/mnist/", "idx", _MNIST, 784,
        {"train": (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949),
         "test": (980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009)},
        address="https://ossci-datasets.s3.amazonaws.com/mnist/",
        downloads=_downloads(
            train_images_idx3="sha256:440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            train_labels_idx1="sha256:3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            t10k_images_idx3="sha256:8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            t10k_labels_idx1="sha256:f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        ), **_IMAGES,
    ),
    "fashion-mnist": NamedSet(
        "Fashion-MNIST, articles of clothing", "https://github.com/zalandoresearch/fashion-mnist", "idx", _MNIST, 784,
        {"train": (6000,) * 10, "test": (1000,) * 10},
        address="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        downloads=_downloads(
            train_images_idx3="md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            train_labels_idx1="md5:25c81989df183df01b3e8a0aad5dffbe",
            t10k_images_idx3="md5:bef4ecab320f06d8554ea6380940ec79",
            t10k_labels_idx1="md5:bb300cfdad3c16e7a12a480ee83cd310",
        ), **_IMAGES,
    ),
    "kmnist": NamedSet(
        "Kuzushiji-MNIST, cursive Japanese characters", "https://github.com/rois-codh/kmnist", "idx", _MNIST, 784,
        {"train": (6000,) * 10, "test": (1000,) * 10},
        address="http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
        downloads=_downloads(
            train_images_idx3="sha256:51467d22d8cc72929e2a028a0428f2086b092bb31cfb79c69cc0a90ce135fde4",
            train_labels_idx1="sha256:e38f9ebcd0f3ebcdec7fc8eabdcdaef93bb0df8ea12bee65224341c8183d8e17",
            t10k_images_idx3="sha256:edd7a857845ad6bb1d0ba43fe7e794d164fe2dce499a1694695a792adfac43c5",
            t10k_labels_idx1="sha256:20bb9a0ef54c7db3efc55a92eef5582c109615df22683c380526788f98e42a1c",
        ), **_IMAGES,
    ),
    "emnist-digits": NamedSet(
        "EMNIST Digits (images are stored transposed, as in its files)",
        "https://www.nist.gov/itl/products-and-services/emnist-dataset", "idx",
        _idx(("emnist-digits-train", "emnist-digits-test")), 784,
        {"train": (24000,) * 10, "test": (4000,) * 10},
        archive="gzip.zip", address="https://biometrics.nist.gov/cs_links/EMNIST/",
        downloads=(Download("gzip.zip", "md5:58c8d27c78d21e728a6bc7b3cc06412e"),), **_IMAGES,
    ),
    "cifar10": NamedSet(
        "CIFAR-10, photographs, binary version", "https://www.cs.toronto.edu/~kriz/cifar.html", "cifar",
        {"train": tuple(f"data_batch_{number}.bin" for number in range(1, 6)), "test": ("test_batch.bin",)}, 3072,
        {"train": (5000,) * 10, "test": (1000,) * 10},
        archive="cifar-10-binary.tar.gz", address="https://www.cs.toronto.edu/~kriz/",
        downloads=(Download("cifar-10-binary.tar.gz", "md5:c32a1d4ab5d03f1284b67883e8d87530"),), **_IMAGES,
    ),
    "cifar100": NamedSet(
        "CIFAR-100, photographs, binary version, fine labels", "https://www.cs.toronto.edu/~kriz/cifar.html", "cifar",
        {"train": ("train.bin",), "test": ("test.bin",)}, 3072,
        {"train": (500,) * 100, "test": (100,) * 100},
        archive="cifar-100-binary.tar.gz", address="https://www.cs.toronto.edu/~kriz/",
        downloads=(Download("cifar-100-binary.tar.gz", "md5:03b5dce01913d631647c71ecec9e9cb8"),), **_IMAGES,
    ),
    "svhn": NamedSet(
        "SVHN, house numbers, cropped digits", "http://ufldl.stanford.edu/housenumbers/", "matlab",
        {"train": ("train_32x32.mat",), "test": ("test_32x32.mat",)}, 3072,
        {"train": (4948, 13861, 10585, 8497, 7458, 6882, 5727, 5595, 5045, 4659),
         "test": (1744, 5099, 4149, 2882, 2523, 2384, 1977, 2019, 1660, 1595)},
        address="http://ufldl.stanford.edu/housenumbers/",
        downloads=(Download("train_32x32.mat", "md5:e26dedcc434d2e4c54c9b2d4a06d8373"),
                   Download("test_32x32.mat", "md5:eb5a983be6a315427106f1b164d9cef3")),
        rename={"10": "0"}, **_IMAGES,
    ),
    "higgs": NamedSet(
        "HIGGS, simulated collisions; the last 500,000 rows are the test split",
        "https://archive.ics.uci.edu/dataset/280/higgs", "table", {"": ("HIGGS.csv.gz",)}, 28,
        {"train": 10_500_000, "test": 500_000}, last_rows=500_000,
        options=ReadOptions(label="0", header=False), dtype="float32",
    ),
    "e18": NamedSet(
        "E18, RNA counts of 1.3 million brain cells; the last tenth of the cells is the test split",
        "https://www.10xgenomics.com/datasets/1-3-million-brain-cells-from-e-18-mice-2-standard-1-3-0", "hdf5",
        {"": ("1M_neurons_filtered_gene_bc_matrices_h5.h5",)}, 27_998,
        {"train": 1_175_515, "test": 130_612}, last_rows=130_612, labels="clusters.csv", dtype="float32",
    ),
    "timit": NamedSet(
        "TIMIT, features of speech frames, as arrays that you computed",
        "https://catalog.ldc.upenn.edu/LDC93S1", "npy",
        {"train": ("train.npz|X_train.npy", "|y_train.npy"), "test": ("test.npz|X_test.npy", "|y_test.npy")}, None,
        {"train": None, "test": None},
    ),
}  # fmt: skip
