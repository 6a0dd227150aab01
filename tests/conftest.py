"""Processes, the header and the order of a test run; clusters on this machine; whether there is a GPU."""

from __future__ import annotations

import functools
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

# One BLAS thread in each of the processes that share the cores, unless the user wants otherwise. Before NumPy comes.
BLAS_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")
if not any(name in os.environ for name in BLAS_THREADS):
    os.environ.update(dict.fromkeys(BLAS_THREADS, "1"))

import hypothesis  # noqa: E402
import joblib  # noqa: E402
from distributed import Client, LocalCluster  # noqa: E402

# How long an example takes says nothing on a machine that does other work.
hypothesis.settings.register_profile(
    "any machine", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any machine")

# Worker processes start with this sys.path and must find the functions of the tests, as `tests.blocks.test_contract`.
# Last, so that the package under test is the one that is installed.
sys.path.append(str(Path(__file__).parents[1]))


# For each marker expression: the name of the suite, its cases, and its CPU seconds where SPIN was measured.
SUITES = {
    "not slow": ("default suite", 5_770, 1300),
    "slow": ("slow suite", 3_380, 2000),
    "smoke": ("smoke suite", 56, 50),
}
START = 20  # seconds until every process has imported and collected
SPIN = 0.0130  # seconds that _spin took there


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the seed of the slow suite's order."""
    parser.addoption("--slow-seed", type=int, help="seed of the order of the slow cases (default: from the clock)")


def pytest_xdist_auto_num_workers() -> int | None:
    """Return the cores that this process may use, which in a container are fewer than the machine has."""
    return None if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ else joblib.cpu_count()


def pytest_configure(config: pytest.Config) -> None:
    """Choose the seed, or take that of the process which started this one."""
    if config.option.slow_seed is None:
        config.option.slow_seed = getattr(config, "workerinput", {}).get("slow_seed", int(time.time()))


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Send the seed to a process that runs a share of the tests."""
    node.workerinput["slow_seed"] = node.config.option.slow_seed


def _suite(config: pytest.Config) -> tuple[str, int, float] | None:
    """Return the suite that is run as a whole, if one is."""
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS and not config.option.keyword
    return SUITES.get(config.option.markexpr) if whole else None


def _spin() -> float:
    """Return how long Python takes here for a fixed amount of work."""

    def once() -> float:
        start = time.process_time()
        sum(i * i for i in range(200_000))
        return time.process_time() - start

    return min(once() for _ in range(5))


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say how long a whole suite will take on this machine, and in which order slow cases run."""
    lines = []
    if suite := _suite(config):
        name, cases, seconds = suite
        processes = config.getoption("numprocesses", None) or 1
        minutes = max(1, round((seconds / processes + START) * _spin() / SPIN / 60))
        lines.append(
            f"{name}: about {cases:,} cases, about {minutes} minute{'s' * (minutes > 1)} on {processes} "
            f"process{'es' * (processes > 1)}; pytest -m smoke takes one, pytest -m slow has the rest"
        )
    if config.option.markexpr == "slow":
        lines.append(f"slow cases in random order: --slow-seed {config.option.slow_seed}")
    return lines


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out files without a smoke case where no others run: to import them all takes longer than those cases."""
    if config.option.markexpr == "smoke" and collection_path.match("test_*.py"):
        return "mark.smoke" not in collection_path.read_text(encoding="utf-8") or None
    return None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Shuffle slow cases, so that runs that are cut off cover all of them in time."""
    if config.option.markexpr == "slow":
        random.Random(config.option.slow_seed).shuffle(items)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Say so if the header's number of cases is no longer right."""
    found = sum(len(terminalreporter.stats.get(outcome, ())) for outcome in ("passed", "failed", "skipped", "xfailed"))
    suite = _suite(config)
    if suite and found > 0 and not 0.9 < suite[1] / found < 1.1 and not terminalreporter._session.shouldstop:
        terminalreporter.write_line(f"The {suite[0]} has {found} cases: correct SUITES in tests/conftest.py.")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests that need a GPU where there is none."""
    if item.get_closest_marker("gpu") and (reason := _why_no_gpu()):
        pytest.skip(reason)


@functools.cache
def _why_no_gpu() -> str:
    """Try a GPU out. CuPy can be imported, and even find a device, where nothing can be computed."""
    try:
        import cupy

        ones = cupy.ones((2, 2))
        works = float((ones @ ones).sum()) == 8
    except Exception as error:  # of as many kinds as there are ways to be without
        return f"no GPU: {type(error).__name__}: {error}"
    return "" if works else "no GPU: a product of two matrices is wrong"


@contextmanager
def _started_cluster(n_workers: int = 2, *, processes: bool = True, **options: Any) -> Iterator[Client]:
    """Start workers, processes with nannies. The client is not the default one, so that it must be asked for."""
    with (
        # A web server of the scheduler would want a fixed port, which another test run may have.
        LocalCluster(
            n_workers=n_workers,
            threads_per_worker=1,
            processes=processes,
            host="127.0.0.1",
            dashboard_address=None,
            scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
            **options,
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture(scope="session")
def session_client() -> Iterator[Client]:
    """Two worker processes for the whole session; nothing may kill them."""
    with _started_cluster() as client:
        yield client


@pytest.fixture
def cluster_client(session_client: Client) -> Iterator[Client]:
    """The client of the session, current while the test runs."""
    with session_client.as_current():
        yield session_client


@pytest.fixture
def start_cluster() -> Callable[..., AbstractContextManager[Client]]:
    """A function that starts workers for one test."""
    return _started_cluster


@pytest.fixture(scope="module")
def fragile_cluster() -> Iterator[Client]:
    """Two worker processes for the tests of a module, whose nannies bring another for each that is killed."""
    with _started_cluster() as client:
        yield client


@pytest.fixture
def fragile_client(fragile_cluster: Client) -> Iterator[Client]:
    """Two worker processes that the test may kill, current while the test runs."""
    fragile_cluster.wait_for_workers(2, timeout=240)
    with fragile_cluster.as_current():
        yield fragile_cluster
