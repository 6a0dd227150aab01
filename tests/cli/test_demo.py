"""The demonstration as a new user starts it: its own process, three solvers, the optimum."""

import importlib
import importlib.metadata
import re
import subprocess
import sys
from contextlib import contextmanager

import click
import pytest
from click.testing import CliRunner

from dask_newton.cli import main
from dask_newton.data import verify_dataset

MODULE = importlib.import_module("dask_newton.cli.demo")  # as an attribute the name is that of the command

# solver, objective, gap, accuracy, passes, rounds, MB sent, seconds; for scikit-learn only some of them
ROW = re.compile(
    r"^ ?(\S+) +(0\.\d{8}) +(-?\d\.\de[+-]\d\d)? +(0\.\d{4}) +(?:(\d+) +(\d+) +([\d.]+) +)?([\d.]+) *$", re.MULTILINE
)


@pytest.mark.cluster
def test_demo(tmp_path):
    run = subprocess.run(
        [sys.executable, "-W", "error", "-m", "dask_newton.cli", "demo", "--keep", "kept"],
        cwd=tmp_path, capture_output=True, text=True, timeout=540,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    # On a busy machine a worker may take longer to stop than its nanny likes; nothing else may be said.
    assert [line for line in run.stderr.splitlines() if "distributed.nanny" not in line] == []
    rows = {row[0]: row[1:] for row in ROW.findall(run.stdout)}
    assert list(rows) == ["scikit-learn", "newton-admm", "giant", "newton-cholesky"], run.stdout
    for name, (objective, gap, accuracy, passes, rounds, sent, _) in rows.items():
        # 290 of the 297 test digits; a digit on the edge between two classes may go either way.
        assert abs(float(accuracy) - 290 / 297) < 1.5 / 297
        assert abs(float(objective) - 0.2162003) < 1e-6
        if name != "scikit-learn":
            assert abs(float(gap)) < 1e-6
            assert 0 < int(passes) <= int(rounds) <= 2 * int(passes)
            assert float(sent) > 0.1
    assert (tmp_path / "kept/convergence.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert verify_dataset(tmp_path / "kept/digits.zarr") == 4 + 4 + 1 + 1 + 1 + 1
    assert sorted(entry.name for entry in (tmp_path / "kept").iterdir()) == ["convergence.png", "digits.zarr"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["kept"]


@pytest.fixture
def without_cluster(monkeypatch, tmp_path):
    """The same on the threads of this process, in little time."""

    class Nobody:
        def run(self, function):
            function()

    @contextmanager
    def here(scheduler, workers):
        yield Nobody()

    monkeypatch.setattr(MODULE, "compute_on", here)
    monkeypatch.setattr(MODULE, "SOLVERS", ("newton-cholesky",))
    monkeypatch.chdir(tmp_path)


def test_the_picture_is_optional(without_cluster, monkeypatch, tmp_path):
    result = CliRunner().invoke(main, ["demo", "--no-plot"])
    assert result.exit_code == 0, result.output
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = CliRunner().invoke(main, ["demo"])
    assert result.exit_code == 0, result.output
    assert "pip install 'dask-newton[viz]'" in result.output
    assert list(tmp_path.iterdir()) == []


def test_a_picture_that_cannot_be_written_is_no_failure(without_cluster, tmp_path):
    (tmp_path / "convergence.png").mkdir()
    result = CliRunner().invoke(main, ["demo"])
    assert result.exit_code == 0, result.output
    assert "The plot was not saved" in result.output
    assert list((tmp_path / "convergence.png").iterdir()) == []


def test_a_gap_is_a_failure(without_cluster, monkeypatch):
    monkeypatch.setattr(MODULE, "GAP", 1e-30)
    result = CliRunner().invoke(main, ["demo", "--no-plot"])
    assert result.exit_code == 1
    assert "from the optimum" in result.output


def test_dask_finds_a_group_named_newton():
    assert isinstance(main, click.Group)
    assert main.name == "newton"
    entries = [entry for entry in importlib.metadata.entry_points(group="dask_cli") if entry.name == "newton"]
    if not entries:
        pytest.skip("dask-newton is not installed, so it has no entry points")
    assert entries[0].load() is main
