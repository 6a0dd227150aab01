"""The commands for developers and CI: ``nox`` before a pull request, ``nox --list`` for all of them.

Sessions use the environment that nox is installed in; make one with ``pip install -e '.[dev]'``. Arguments after ``--``
are passed on: ``nox -s tests -- -k giant``.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys

import joblib
import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "types", "docs", "tests"]

NUMERICAL = ["tests/inner", "tests/objectives", "tests/solvers"]
# Kernels of OpenBLAS, newest first. A build may lack some and then uses another; a processor may lack the instructions.
KERNELS = ["SkylakeX", "Zen", "Haswell", "Sandybridge", "Nehalem", "Prescott", "NeoverseN1", "ARMV8"]
KERNEL_IN_USE = """
import numpy, scipy.linalg, threadpoolctl
for dtype in ("f4", "f8"):
    a = numpy.eye(300, dtype=dtype) + 1
    scipy.linalg.cho_solve(scipy.linalg.cho_factor(a @ a), a)
print(*{d["architecture"] for d in threadpoolctl.threadpool_info() if d["internal_api"] == "openblas"})
"""


def python(session: nox.Session, *arguments: str, **options) -> None:
    """Run a module with the interpreter that runs nox."""
    session.run(sys.executable, "-m", *arguments, **options)


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff: the rules, and the format."""
    python(session, "ruff", "check", ".")
    python(session, "ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check the types with mypy."""
    python(session, "mypy", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation; warnings are errors. The gallery runs with ``-- -D plot_gallery=1``."""
    options = session.posargs or ["-D", "plot_gallery=0"]
    shutil.rmtree("docs/generated", ignore_errors=True)  # pages of names that are gone
    python(session, "sphinx", "-q", "-W", "--keep-going", "-b", "html", *options, "docs", "docs/_build/html")


@nox.session
def tests(session: nox.Session) -> None:
    """Run the default test suite."""
    python(session, "pytest", *session.posargs)


@nox.session
def smoke(session: nox.Session) -> None:
    """Run one test of every solver, container and engine: a minute."""
    python(session, "pytest", "-m", "smoke", *session.posargs)


def timed(session: nox.Session, *arguments: str, seconds: float | None, env: dict[str, str] | None = None) -> None:
    """Run pytest, and stop it after so many seconds: what it has not come to by then is no failure."""
    run = subprocess.Popen([sys.executable, "-m", "pytest", "-x", *arguments], env={**os.environ, **(env or {})})
    try:
        status = run.wait(seconds)
    except subprocess.TimeoutExpired:
        run.send_signal(signal.SIGINT)  # pytest then says how many have passed
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = run.wait(120)
            if status != 2:
                session.error(f"pytest ended with exit status {status}")
        session.log("Time is up; no test has failed so far.")
        return
    finally:
        run.kill()
    if status:
        session.error(f"pytest ended with exit status {status}")


def seconds_of(session: nox.Session) -> tuple[float | None, list[str]]:
    """Return the N of ``-- --seconds N``, if it was given, and the other arguments."""
    given = list(session.posargs)
    return (float(given[1]), given[2:]) if given[:1] == ["--seconds"] else (None, given)


@nox.session
def slow(session: nox.Session) -> None:
    """Run the slow tests in random order; ``-- --seconds N`` stops them after N seconds."""
    seconds, options = seconds_of(session)
    timed(session, "-m", "slow", *options, seconds=seconds)


def kernel_in_use(name: str | None) -> str:
    """Return which OpenBLAS kernel a process uses when it asks for one; nothing if there is none or it cannot run."""
    asked = {"OPENBLAS_CORETYPE": name} if name else {}
    done = subprocess.run(
        [sys.executable, "-c", KERNEL_IN_USE], env={**os.environ, **asked}, capture_output=True, text=True
    )
    return done.stdout.strip() if done.returncode == 0 else ""


@nox.session
def kernels(session: nox.Session) -> None:
    """Run the numerical tests on three OpenBLAS kernels, on one and two BLAS threads; ``-- --seconds N`` for all."""
    seconds, options = seconds_of(session)
    own = kernel_in_use(None)
    if not own:
        session.skip("NumPy and SciPy do not use OpenBLAS here")
    others = {kernel: name for name in KERNELS if (kernel := kernel_in_use(name)) and kernel != own}
    # The default suite has already run on the processor's own kernel, with one thread.
    runs = [(os.environ.get("OPENBLAS_CORETYPE", ""), own, 2)]
    runs += [(name, kernel, threads) for (kernel, name), threads in zip(others.items(), (1, 2), strict=False)]
    session.log("OpenBLAS kernels: " + ", ".join(f"{kernel} (BLAS threads: {n})" for _, kernel, n in runs))
    if len(runs) < 3:
        session.warn("This processor and this build of OpenBLAS have fewer than three kernels.")
    for name, kernel, n in runs:
        session.log(f"{kernel}, BLAS threads: {n}")
        env = {"OPENBLAS_NUM_THREADS": str(n), "OMP_NUM_THREADS": str(n)}
        env["PYTEST_XDIST_AUTO_NUM_WORKERS"] = str(max(1, joblib.cpu_count() // n))
        if name:
            env["OPENBLAS_CORETYPE"] = name
        timed(session, "-q", *NUMERICAL, *options, seconds=seconds and seconds / len(runs), env=env)
