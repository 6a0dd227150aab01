"""Damaged, half-written and foreign data sets: a sentence before any work, never silent zeros."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numcodecs
import numpy as np
import pytest
import xarray as xr
import zarr

from dask_newton.data import (
    DatasetError,
    dataset_info,
    open_dataset,
    save_dataset,
    save_splits,
    verify_dataset,
)
from dask_newton.storage.integrity import check_codecs


@pytest.fixture
def saved(tmp_path):
    X = np.random.default_rng(0).standard_normal((100, 4))
    y = np.array(["a", "b"])[(X[:, 0] > 0).astype(int)]
    return save_dataset(tmp_path / "d.zarr", X, y, feature_names=list("pqrs"), chunk_rows=30)


def flip_a_byte(file):
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def edit_json(file, change):
    metadata = json.loads(file.read_text())
    change(metadata)
    file.write_text(json.dumps(metadata))


def test_verify_counts_chunks_of_all_splits(tmp_path, saved):
    assert verify_dataset(saved) == 4 + 4 + 1 + 1  # X, y, feature, class
    path = save_splits(tmp_path / "s.zarr", {"a": (np.ones((4, 2)), np.ones(4)), "b": (np.ones((4, 2)), None)})
    assert verify_dataset(path) == 3


def test_chunks_of_zeros_are_stored(tmp_path):
    """Zarr's default leaves them out, and then a lost chunk cannot be told from zeros."""
    path = save_dataset(tmp_path / "d.zarr", np.zeros((10, 2)), np.zeros(10), chunk_rows=5)
    assert len(list((path / "X" / "c").rglob("0"))) >= 2
    assert zarr.open_group(path)["X"].nchunks_initialized == 2
    verify_dataset(path)


@pytest.mark.parametrize("name", ["X/c/1/0", "y/c/2", "feature/c/0"])
def test_missing_chunk(saved, name):
    (saved / name).unlink()
    array = name.split("/")[0]
    with pytest.raises(DatasetError, match=f"1 of the [14] chunks of '{array}' in .*d.zarr are missing"):
        open_dataset(saved)
    with pytest.raises(DatasetError, match="are missing"):
        verify_dataset(saved)


def test_truncated_chunk_is_seen_at_opening(saved):
    os.truncate(saved / "X/c/2/0", 100)
    with pytest.raises(DatasetError, match="'X' in .* take .* bytes.*truncated"):
        open_dataset(saved)


def test_flipped_byte_is_seen_by_verify_and_by_every_read(saved):
    flip_a_byte(saved / "X/c/2/0")
    dataset = open_dataset(saved)  # the size is right, so only reading tells
    with pytest.raises(DatasetError, match="'X' in .*d.zarr cannot be read"):
        dataset.X.compute(scheduler="sync")
    np.testing.assert_equal(dataset.X[:60].compute(scheduler="sync").shape, (60, 4))
    with pytest.raises(DatasetError, match="Rows 60 to 89 of 'X'"):
        verify_dataset(saved)


def test_valid_chunk_with_other_values_is_seen_by_verify(saved):
    group = zarr.open_group(saved, mode="r+")
    group["X"][31, 2] = 0.0
    with pytest.raises(DatasetError, match=r"Chunk 1 of 'X' in .* \(rows 30 to 59\) differs"):
        verify_dataset(saved)


def test_writer_notices_wrong_values_on_disk(tmp_path, monkeypatch):
    """The read-back after writing is real: a store that swaps values is caught before the path appears."""
    from dask_newton.storage import column

    append = column.Column.append

    def append_and_spoil(self, values):
        append(self, values)
        if self.array.basename == "X":
            self.array[0, 0] = 7.0

    monkeypatch.setattr(column.Column, "append", append_and_spoil)
    with pytest.raises(DatasetError, match="Chunk 0 of 'X'.*differs from what was written"):
        save_dataset(tmp_path / "d.zarr", np.ones((10, 2)))
    assert list(tmp_path.iterdir()) == []


def test_unfinished_marker(saved):
    zarr.open_group(saved, mode="r+").attrs["complete"] = False
    with pytest.raises(DatasetError, match="half-written"):
        open_dataset(saved)


@pytest.mark.parametrize(
    ("version", "remedy"), [(2, "update dask_newton, or convert"), (0, "convert or save"), ("1", "")]
)
def test_another_version_of_the_format(saved, version, remedy):
    zarr.open_group(saved, mode="r+").attrs["dask_newton_format"] = version
    found = (
        f"is a data set of format {version!r}, written by dask_newton.*, but this version of dask_newton reads format 1"
    )
    with pytest.raises(DatasetError, match=f"{found}; {remedy}"):
        open_dataset(saved)


def test_damaged_metadata(saved):
    (saved / "X" / "zarr.json").write_text("{")
    with pytest.raises(DatasetError, match="metadata of 'X' in .* cannot be read"):
        open_dataset(saved)
    (saved / "zarr.json").write_text("{")
    with pytest.raises(DatasetError, match="data set .*d.zarr is damaged, its metadata cannot be read"):
        open_dataset(saved)


def test_wrong_places(tmp_path, saved):
    with pytest.raises(FileNotFoundError, match="no data set at .*nope"):
        open_dataset(tmp_path / "nope.zarr")
    with pytest.raises(DatasetError, match="not a Zarr group.*save_dataset"):
        open_dataset(tmp_path)
    (tmp_path / "file.csv").write_text("1,2")
    with pytest.raises(DatasetError, match="not a Zarr group"):
        open_dataset(tmp_path / "file.csv")
    with pytest.raises(DatasetError, match="is a Zarr array, but a data set is a Zarr group; give the group"):
        open_dataset(saved / "X")
    shutil.rmtree(saved / "X")
    with pytest.raises(DatasetError, match="no array 'X', so it is not a data set"):
        open_dataset(saved)
    with pytest.raises(DatasetError, match="no array 'X'"):
        dataset_info(saved)
    with pytest.raises(DatasetError, match="nothing to verify"):
        verify_dataset(saved)


def test_a_group_of_splits_names_them(tmp_path):
    data = (np.ones((4, 2)), np.ones(4))
    path = save_splits(tmp_path / "s.zarr", {"train": data, "test": data})
    with pytest.raises(DatasetError, match="the splits test, train; give one of them, such as '.*s.zarr/test'"):
        open_dataset(path)
    with pytest.raises(FileNotFoundError, match="no data set at .*tran; .*s.zarr has the splits test, train"):
        open_dataset(path / "tran")


@pytest.fixture(params=[2, 3])
def foreign(tmp_path, request):
    """Return a group that zarr alone wrote, with chunks that align with nothing."""
    group = zarr.open_group(tmp_path / "f.zarr", mode="w", zarr_format=request.param)
    X = np.random.default_rng(0).standard_normal((50, 6)).astype(">f4" if request.param == 2 else "f4")
    group.create_array("X", data=X, chunks=(7, 4))
    group.create_array("y", data=np.arange(50), chunks=(11,))
    return group, X


def test_foreign_group_opens(foreign):
    group, X = foreign
    path = group.store.root
    dataset = open_dataset(path, chunk_rows=20)
    assert dataset.X.dtype == np.dtype("f4")
    assert dataset.X.chunks == ((14, 14, 14, 8), (6,))
    np.testing.assert_array_equal(dataset.X.compute(), X)
    np.testing.assert_array_equal(dataset.y.compute(), np.arange(50))
    assert dataset.y.chunks[0] == dataset.X.chunks[0]
    assert open_dataset(path).X.numblocks == (1, 1)  # chunks of 7 rows make no useful tasks
    assert dataset_info(path)["class_counts"] == {str(i): 1 for i in range(50)}
    with pytest.raises(DatasetError, match="has no checksums"):
        verify_dataset(path)


def test_foreign_group_with_a_missing_chunk_warns(foreign):
    group, X = foreign
    Path(group.store.root, "X", "0.0" if group.metadata.zarr_format == 2 else "c/0/0").unlink()
    with pytest.warns(UserWarning, match="1 of the 16 chunks of 'X' .* are missing and are read as"):
        open_dataset(group)


def test_foreign_group_without_any_chunk(foreign):
    group, _ = foreign
    group.create_array("offset", shape=(50,), dtype="f8")
    with pytest.raises(DatasetError, match="1 of the 1 chunks of 'offset'"):
        open_dataset(group)


def test_foreign_sharded_array(tmp_path):
    group = zarr.open_group(tmp_path / "f.zarr", mode="w")
    X = np.arange(200.0).reshape(100, 2)
    group.create_array("X", shape=X.shape, dtype=X.dtype, chunks=(5, 2), shards=(20, 2))[:] = X
    dataset = open_dataset(group, chunk_rows=50)
    assert dataset.X.chunks[0] == (40, 40, 20)  # a shard is the unit of reading
    np.testing.assert_array_equal(dataset.X.compute(), X)


def test_foreign_strings(tmp_path):
    group = zarr.open_group(tmp_path / "f.zarr", mode="w")
    group.create_array("X", data=np.ones((3, 2)))
    group.create_array("y", shape=(3,), dtype=str)[:] = np.array(["no", "maybe", "no"])
    dataset = open_dataset(group)
    assert dataset.y.dtype == np.dtype("<U5")
    assert dataset.y.compute().tolist() == ["no", "maybe", "no"]
    assert dataset_info(group)["class_counts"] == {"maybe": 1, "no": 2}


def test_a_dataset_that_xarray_wrote(tmp_path):
    data = xr.Dataset(
        {"X": (("sample", "feature"), np.arange(6.0).reshape(3, 2)), "y": ("sample", [0, 1, 0])},
        coords={"feature": ["a", "b"]},
    )
    data.to_zarr(tmp_path / "x.zarr", zarr_format=2)
    dataset = open_dataset(tmp_path / "x.zarr")
    assert dataset.feature_names.tolist() == ["a", "b"]
    np.testing.assert_array_equal(dataset.X.compute(), data.X)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"X": np.ones(3)}, "'X' in .* has 1 dimensions"),
        ({"X": np.ones((3, 2, 2))}, "'X' in .* has 3 dimensions"),
        ({"X": np.ones((0, 2))}, "no rows"),
        ({"X": np.ones((3, 2)) * 1j}, "complex128; it must hold real numbers"),
        ({"X": np.ones((3, 2)), "y": np.ones(4)}, "X' in .* has 3 rows, but 'y' has shape"),
        ({"X": np.ones((3, 2)), "offset": np.ones((3, 2))}, "'offset' in .* must be one number per row"),
        ({"X": np.ones((3, 2)), "y": np.ones(3) * 1j}, "'y' in .* has dtype complex128; numbers and strings"),
        ({"X": np.ones((3, 2)), "feature": np.ones(5)}, "2 columns, but 'feature' has 5"),
    ],
)
def test_unsuitable_arrays(tmp_path, arrays, message):
    group = zarr.open_group(tmp_path / "f.zarr", mode="w")
    for name, values in arrays.items():
        group.create_array(name, data=values)
    with pytest.raises(DatasetError, match=message):
        open_dataset(group)


def test_unsuitable_encodings(tmp_path):
    group = zarr.open_group(tmp_path / "f.zarr", mode="w")
    array = group.create_array("X", data=np.ones((3, 2)), dimension_names=("feature", "sample"))
    with pytest.raises(DatasetError, match="samples must come first"):
        open_dataset(group)
    array.attrs["scale_factor"] = 0.1
    with pytest.raises(DatasetError, match="packed"):
        open_dataset(group)
    del group["X"]
    group.create_group("X", attributes={"encoding-type": "dataframe"})
    with pytest.raises(DatasetError, match="X is a group, not an array .*'dataframe'"):
        open_dataset(group)


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["X", "y", "class"])
@pytest.mark.parametrize("place", ["filters", "compressor"])
@pytest.mark.parametrize("dtype", ["|O", "<f8"])
def test_pickled_data_are_never_loaded(tmp_path, name, place, dtype):
    path = tmp_path / "f.zarr"
    group = zarr.open_group(path, mode="w", zarr_format=2)
    group.create_array("X", data=np.ones((1, 1)))
    group.create_array("y", data=np.ones(1))
    group.create_array("class", data=np.ones(1))
    fired = tmp_path / "fired"
    codec = {"id": "pickle", "protocol": 5}
    edit = {
        "filters": [codec] if place == "filters" else None,
        "compressor": codec if place == "compressor" else None,
    }
    edit_json(path / name / ".zarray", lambda metadata: metadata.update(edit, dtype=dtype))
    chunk = path / name / ("0.0" if name == "X" else "0")
    chunk.write_bytes(numcodecs.Pickle().encode(np.array([Bomb(fired)], dtype=object)))
    with pytest.raises(DatasetError, match=repr(name)):
        open_dataset(path)
    for use in (dataset_info, verify_dataset):
        with contextlib.suppress(DatasetError):
            use(path)
    assert not fired.exists()


def test_codecs_are_checked_wherever_they_stand():
    class Metadata:
        def to_dict(self):
            return {"codecs": [{"name": "sharding", "configuration": {"codecs": [{"name": "numcodecs.pickle"}]}}]}

    class Array:
        metadata, basename = Metadata(), "X"

    with pytest.raises(DatasetError, match="'X' of here is stored with pickle, which can run any code"):
        check_codecs(Array(), "here")


def test_the_word_pickle_may_be_used(tmp_path):
    y = np.array(["pickle"])
    path = save_dataset(tmp_path / "d.zarr", np.ones((1, 2)), y, feature_names=["pickle", "b"])
    zarr.open_group(path, mode="r+")["X"].attrs["name"] = "pickle"
    assert open_dataset(path).y.compute().tolist() == ["pickle"]


# The path appears whole or not at all.


def failing_batches(n_good):
    for _ in range(n_good):
        yield np.ones((10, 2)), np.ones(10)
    raise RuntimeError("the source broke")


@pytest.mark.parametrize("n_good", [0, 1, 7])
def test_an_exception_leaves_no_path_and_no_temporary(tmp_path, n_good):
    with pytest.raises(RuntimeError, match="the source broke"):
        save_dataset(tmp_path / "d.zarr", failing_batches(n_good), chunk_rows=20)
    with pytest.raises(RuntimeError, match="the source broke"):
        save_splits(tmp_path / "d.zarr", {"a": (np.ones((3, 2)), np.ones(3)), "b": failing_batches(n_good)})
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_leaves_nothing(tmp_path):
    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save_dataset(tmp_path / "d.zarr", np.ones((10, 2)), progress=interrupt)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_overwrite_keeps_the_old_data(saved):
    before = sorted(saved.parent.rglob("*"))
    with pytest.raises(RuntimeError):
        save_dataset(saved, failing_batches(3), chunk_rows=10, overwrite=True)
    assert sorted(saved.parent.rglob("*")) == before
    verify_dataset(saved)


def test_overwrite(saved):
    with pytest.raises(FileExistsError, match="exists already; remove it.*overwrite=True"):
        save_dataset(saved, np.ones((3, 2)))
    verify_dataset(saved)
    save_dataset(saved, np.ones((3, 2)), overwrite=True)
    assert open_dataset(saved).X.shape == (3, 2)
    assert [path.name for path in saved.parent.iterdir()] == ["d.zarr"]


def test_overwrite_spares_what_is_no_zarr_group(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("text")
    (tmp_path / "file").write_text("text")
    (tmp_path / "link").symlink_to(tmp_path / "thesis")
    for name in ("thesis", "file", "link"):
        with pytest.raises(FileExistsError, match="is not a Zarr group, so it is not overwritten"):
            save_dataset(tmp_path / name, np.ones((3, 2)), overwrite=True)
    assert (tmp_path / "thesis" / "chapter1.tex").read_text() == "text"


def test_a_target_that_appears_meanwhile_is_spared(tmp_path):
    def intrude(done, total):
        (tmp_path / "d.zarr").mkdir()

    with pytest.raises(FileExistsError, match="exists already"):
        save_dataset(tmp_path / "d.zarr", np.ones((3, 2)), progress=intrude)
    assert [path.name for path in tmp_path.iterdir()] == ["d.zarr"]


def test_folder_must_exist(tmp_path):
    with pytest.raises(FileNotFoundError, match="folder .*missing does not exist; create it"):
        save_dataset(tmp_path / "missing" / "d.zarr", np.ones((3, 2)))


def test_the_directory_has_ordinary_permissions(saved):
    """A private temporary directory would become a data set that colleagues cannot read."""
    plain = saved.parent / "plain"
    plain.mkdir()
    assert saved.stat().st_mode == plain.stat().st_mode


def test_a_killed_writer_leaves_no_path(tmp_path):
    script = textwrap.dedent(
        """
        import os, signal, sys
        import numpy as np
        from dask_newton.data import save_dataset

        def batches():
            for _ in range(5):
                yield np.ones((10, 2))
            print(os.listdir(os.path.dirname(sys.argv[1])), flush=True)
            os.kill(os.getpid(), signal.SIGKILL)

        save_dataset(sys.argv[1], batches(), chunk_rows=10)
        """
    )
    root = Path(__file__).parents[2]
    result = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "d.zarr")],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == -signal.SIGKILL, result.stderr
    assert ".d.zarr.partial-" in result.stdout  # it was in the middle of writing
    assert not (tmp_path / "d.zarr").exists()
    (left,) = tmp_path.iterdir()
    with pytest.raises(DatasetError, match="half-written"):
        open_dataset(left)
    save_dataset(tmp_path / "d.zarr", np.ones((10, 2)))  # and the remains are in nobody's way
    assert open_dataset(tmp_path / "d.zarr").X.shape == (10, 2)
