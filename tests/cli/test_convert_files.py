"""``convert`` of raw files and of named data sets: what is said, and what wrong options get."""

import numpy as np
import pytest
from click.testing import CliRunner

from dask_newton.cli import main
from dask_newton.data import open_dataset
from dask_newton.data.formats.named_sets import NAMED_SETS
from dask_newton.data.formats.registry import FORMATS


def run(*args, status=0):
    result = CliRunner().invoke(main, ["convert", *map(str, args)])
    assert result.exit_code == status, result.output
    return result.output


@pytest.fixture
def bikes(tmp_path):
    path = tmp_path / "hour.csv"
    path.write_text("instant,day,temp,casual,cnt\n1,01-01-2011,0.5,3,16\n2,02-01-2011,0.25,8,40\n")
    return path


@pytest.mark.parametrize("word", [(), ("files",)])
def test_the_word_files_may_be_left_out(tmp_path, bikes, word):
    out = tmp_path / "out.zarr"
    output = run(*word, "--label", "cnt", bikes, "--drop", "day,instant,casual", "--dtype", "float32", out)
    assert output.splitlines() == [
        "Read as a table in text (CSV, TSV, spaces) (--format table).",
        "Columns are separated by ','; the first line names them.",
        "The label is column 'cnt', as given.",
        f"Wrote {out}: 2 x 1.",
    ]
    dataset = open_dataset(out)
    assert dataset.feature_names.tolist() == ["temp"] and dataset.X.dtype == np.float32
    assert dataset.y.compute().tolist() == [16, 40]


def test_splits_and_renamed_labels(tmp_path):
    (tmp_path / "a9a").write_text("-1 3:1 5:0.5\n+1 1:1\n")
    (tmp_path / "a9a.t").write_text("0 3:1\n1 4:1\n")
    sources = tmp_path / "a9a", "--test", tmp_path / "a9a.t"
    output = run(*sources, tmp_path / "out.zarr", status=1)
    assert "map it with --rename-label OLD=NEW" in output
    output = run(*sources, "--rename-label", "-1=0", "--attr", "licence=none", tmp_path / "out.zarr")
    assert output.endswith(f"Wrote {tmp_path / 'out.zarr'}: test 2 x 5, train 2 x 5.\n")
    assert open_dataset(tmp_path / "out.zarr/train").y.compute().tolist() == [0, 1]
    info = CliRunner().invoke(main, ["info", str(tmp_path / "out.zarr"), "--verify"])
    assert "float64 CSR" in info.output and "chunks match their checksums" in info.output


def test_wrong_options_and_files(tmp_path, bikes):
    out = tmp_path / "out.zarr"
    poem = tmp_path / "poem.txt"
    poem.write_text("Shall I compare thee\n")
    (tmp_path / "taken.zarr").write_text("mine")
    before = sorted(tmp_path.iterdir())
    cases = [
        ((bikes, out), 1, "without numbers: 'day' ('01-01-2011')."),
        ((bikes, out), 1, "Encode them as numbers, or leave them out with --drop day."),
        ((bikes, "--drop", "day", "--n-features", 3, out), 1, "has no option n_features"),
        ((poem, out), 1, "Name it with --format, one of idx, npy, "),
        ((bikes, "--format", "cvs", out), 1, "format is 'cvs'"),
        ((bikes, "--label", "count", out), 1, "has no column 'count'"),
        ((bikes, tmp_path / "taken.zarr"), 1, "exists already; remove it, choose another path or give --overwrite."),
        ((bikes, tmp_path / "no" / "out.zarr"), 1, "does not exist; create it first"),
        ((tmp_path / "nowhere.csv", out), 2, "does not exist"),
        ((bikes,), 2, "Missing argument"),
        ((bikes, "--rename-label", "1", out), 2, "not of the form OLD=NEW, such as -1=0"),
        ((bikes, "--target", "words", out), 2, "'words' is not one of"),
        (("mnist", tmp_path, out), 1, "or fetch them with --fetch."),
        (("mnist", tmp_path), 2, "Missing argument"),
        (("cifar11", tmp_path, out), 2, "does not exist"),
    ]  # fmt: skip
    for args, status, message in cases:
        output = run(*args, status=status)
        assert message in " ".join(output.replace("│", " ").split()), (args, output)
        assert output.count("Error:") == 1 and "Traceback" not in output
    assert sorted(tmp_path.iterdir()) == before


def test_help_lists_every_data_set_and_every_format():
    output = run("--help")
    for name in NAMED_SETS:
        assert f"  {name} " in output
    output = run("files", "--help")
    for name in FORMATS:
        assert f"  {name} " in output
    assert ", ".join(list(FORMATS)[:-1]) in " ".join(output.split())
    output = " ".join(run("timit", "--help").split())
    assert "train.npz or X_train.npy with y_train.npy, test.npz or X_test.npy with y_test.npy; see" in output
    output = " ".join(run("cifar10", "--help").split())
    assert "data_batch_5.bin, test_batch.bin, or cifar-10-binary.tar.gz" in output and "--fetch" in output
