"""What the documentation says is so: its code runs, its names exist, its numbers are those of the code."""

import doctest
import importlib
import os
import pkgutil
import pydoc
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import matplotlib
import pytest
from test_architecture import MAY_IMPORT

import dask_newton
from dask_newton.auto.linear import usual_solver
from dask_newton.losses import Logistic, Squared, SquaredSoftplus
from dask_newton.penalties import L1, L2
from dask_newton.solvers import NETWORK_SOLVERS, SOLVERS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PUBLIC = ("solvers", "losses", "penalties", "inner", "blocks", "data", "estimators", "testing")
# In the __all__ of a package for the sake of the library itself; no part of what is promised to users.
INTERNAL = {"NETWORK_SOLVERS", "SOLVERS", "n_threads", "named", "parallel", "run_blocks", "task_name", "thread_budget"}


def text(*parts: str) -> str:
    return ROOT.joinpath(*parts).read_text(encoding="utf-8")


def documented() -> list[tuple[str, str]]:
    """Return (module, name) of every entry of the API page."""
    module, names = "", []
    for line in text("docs", "api.rst").splitlines():
        if found := re.match(r"\.\. currentmodule:: (\S+)", line):
            module = found[1]
        elif found := re.match(r"   (\w+)$", line):
            names.append((module, found[1]))
    return names


def python_blocks(page: str) -> list[str]:
    """Return the code blocks of a page that are meant to run."""
    blocks = re.findall(r"\.\. code-block:: python\n((?:   :.*\n)*)\n((?:(?:   .*)?\n)+)", page)
    return [re.sub(r"^   ", "", code, flags=re.M) for options, code in blocks if "no-test" not in options]


def modules() -> list[str]:
    found = pkgutil.walk_packages(dask_newton.__path__, "dask_newton.")
    return ["dask_newton", *(module.name for module in found if not module.name.endswith("__main__"))]


@pytest.fixture(autouse=True)
def no_window():
    """Whatever draws, draws into memory."""
    before = matplotlib.get_backend()
    matplotlib.use("agg")
    yield
    matplotlib.use(before)


@pytest.mark.smoke
def test_the_python_code_of_the_readme_runs(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", text("README.md"), flags=re.S)
    exec(compile(code, "README.md", "exec"), {})
    score, converged, _ = capsys.readouterr().out.splitlines()[0].split()
    assert float(score) > 0.95 and converged == "True"


def test_the_readme_holds_the_two_commands_each_on_a_line_of_its_own():
    lines = text("README.md").splitlines()
    assert "pip install . && dask-newton demo" in lines
    assert "pip install '.[test]' && pytest" in lines


def test_the_readme_lists_exactly_the_solvers_that_there_are():
    rows = dict(re.findall(r"^\| \[solvers for ([\w ]+)\]\S* \| (.*) \|$", text("README.md"), flags=re.M))
    listed = {kind: sorted(re.findall(r"`([\w-]+)`", names)) for kind, names in rows.items()}
    assert listed == {"linear models": sorted(SOLVERS), "networks": sorted(NETWORK_SOLVERS)}


def test_links_of_the_readme_lead_somewhere():
    for target in re.findall(r"\]\(([^)]+)\)", text("README.md")):
        assert (ROOT / target).exists(), target


PROSE = sorted(
    path.relative_to(ROOT).as_posix() for path in [*ROOT.glob("*.md"), *DOCS.glob("*.rst"), *DOCS.glob("*.md")]
)


@pytest.mark.parametrize("page", PROSE)
def test_files_and_names_that_a_page_mentions_exist(page):
    for path in re.findall(r"(?<![\w./-])(?:dask_newton|docs|examples|tests|asv_bench)/[\w./-]*[\w/]", text(page)):
        assert path.startswith("docs/_build") or (ROOT / path).exists(), path
    for path in re.findall(r"(?<=[ `])benchmarks/\w+\.py", text(page)):
        assert (ROOT / "asv_bench" / path).exists(), path
    for name in re.findall(r"(?<![\w./\"])dask_newton(?:\.[a-zA-Z_]\w*)+", text(page)):
        assert name.endswith(".yaml") or pydoc.locate(name) is not None, name


def test_the_layers_of_contributing_are_those_of_the_imports():
    drawing = text("CONTRIBUTING.md").split("```text\n")[1].split("```")[0]
    rows = [re.findall(r"^\| (\w+)", row, flags=re.M) for row in re.split(r"^\+-+\+$", drawing, flags=re.M)]
    height = {part: -row for row, parts in enumerate(rows) for part in parts} | {"testing": 0}
    assert set(height) == set(MAY_IMPORT) - {""}
    for part, others in MAY_IMPORT.items():
        for other in others - {""} if part else ():
            assert height[other] < height[part], f"{part} imports {other}, which is not drawn below it"


PAGES = ["quickstart.rst", "containers.rst", "minimising.rst", "extending.rst", "compare.rst", "networks.rst"]


@pytest.mark.parametrize("page", [PAGES[0], *(pytest.param(page, marks=pytest.mark.slow) for page in PAGES[1:])])
def test_the_code_of_a_page_runs(page, tmp_path, monkeypatch, capsys):
    blocks = python_blocks(text("docs", page))
    assert blocks
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "page"}
    for code in blocks:
        exec(compile(code, page, "exec"), namespace)
    if page == "extending.rst":
        printed = capsys.readouterr().out
        assert printed.count("converged") == 2
        drawn_from = [0.5, -0.3, 0.0, 1.0]
        assert namespace["result"].W[:, 0] == pytest.approx(drawn_from, abs=0.05)
        assert namespace["model"].coef_ == pytest.approx(drawn_from[:3], abs=0.05)
    if page == "minimising.rst":
        assert namespace["result"].converged and namespace["again"].converged
        assert namespace["again"].W == pytest.approx(namespace["result"].W, abs=1e-6)


def test_every_solver_has_a_section():
    for page, solvers in (("solvers.rst", SOLVERS), ("networks.rst", NETWORK_SOLVERS)):
        assert set(solvers) <= set(re.findall(r"^([\w-]+)\n-+$", text("docs", page), flags=re.M))


def test_auto_chooses_as_the_page_of_solvers_says():
    page = text("docs", "solvers.rst")
    table = page[page.index("the first line that applies") : page.index("with :math:`n` rows")]
    rows = re.findall(r"\* - (.*)\n(?:     .*\n)*?     - :class:`(\w+)`", table)
    # One problem on the edge of each line of the table: n_rows, (q, K), penalty, share of X that is stored.
    edges = [
        (125, (20, 1), L2(1.0), 1.0), (125, (2000, 1), L1(1.0), 1.0), (10**9, (200, 1), L2(1.0), 1.0),
        (10**6, (8192, 10), L1(1.0), 1.0),
        (10**6, (8193, 10), L1(1.0), 1.0), (10**6, (8192, 10), L2(1.0), 1.0), (10**6, (8200, 10), L2(1.0), 0.1),
        (10**6, (8193, 10), L2(1.0), 0.11),
    ]  # fmt: skip
    assert len(rows) == len(edges)

    def chosen(n_rows, shape, penalty, share, loss):
        problem = SimpleNamespace(
            n_rows=n_rows,
            n_stored=int(share * n_rows * shape[0]),
            shape=shape,
            size=shape[0] * shape[1],
            penalty=penalty,
            nonsmooth=penalty.split()[1],
            loss=loss,
        )
        return type(usual_solver(problem)[0]).__name__

    for (what, documented_solver), edge in zip(rows, edges, strict=True):
        special = {"squared errors": Squared(), "not convex": SquaredSoftplus()}
        loss = next((loss for words, loss in special.items() if words in what), Logistic())
        assert chosen(*edge, loss) == documented_solver
    for penalty, row in ((L2(1.0), 5), (L1(1.0), 3)):
        assert chosen(126, (2000, 1), penalty, 1.0, Logistic()) == rows[row][1]
    assert chosen(990, (10**4, 10), L2(1.0), 0.1, Logistic()) == rows[7][1]  # 99 entries of a column are stored
    assert chosen(10**9, (201, 1), L2(1.0), 1.0, Squared()) == rows[5][1]


def test_every_name_of_the_api_page_exists_and_has_a_docstring():
    pages = documented()
    assert len(pages) > 100
    missing = [
        f"{module}.{name}"
        for module, name in pages
        if not getattr(getattr(importlib.import_module(module), name, None), "__doc__", None)
    ]
    assert not missing


def test_every_public_name_is_on_the_api_page():
    listed = {name for _, name in documented()}
    public = {*dask_newton.__all__} - {"__version__"}
    for package in PUBLIC:
        public |= set(importlib.import_module(f"dask_newton.{package}").__all__)
    assert public - INTERNAL <= listed


def test_every_setting_is_explained():
    import yaml

    page = text("docs", "configuration.rst")
    for section, settings in yaml.safe_load(text("dask_newton", "dask_newton.yaml"))["dask-newton"].items():
        for key in settings:
            assert f"``{section}.{key}``" in page, key


def test_every_command_is_on_the_page_of_the_command_line():
    from dask_newton.cli import main

    page = text("docs", "cli.rst")
    for name, command in main.commands.items():
        for words in [[name], *([name, child] for child in getattr(command, "commands", {}))]:
            assert f"generated/cli-dask-newton-{'-'.join(words)}.txt" in page


def test_examples_in_docstrings_are_true(capsys):
    failed, tried = [], 0
    for module in modules():
        results = doctest.testmod(importlib.import_module(module))
        tried += results.attempted
        failed += [module] * bool(results.failed)
    assert not failed, capsys.readouterr().out
    assert tried > 50


def test_the_docstring_of_the_estimator_has_an_example():
    assert ">>> clf = LogisticRegression" in dask_newton.LogisticRegression.__doc__


def test_the_docstring_of_the_estimator_names_every_solver():
    for name in SOLVERS:
        assert f"``'{name}'``" in dask_newton.LogisticRegression.__doc__, name


@pytest.mark.slow
@pytest.mark.parametrize("script", sorted(path.name for path in (ROOT / "examples").glob("plot_*.py")))
def test_an_example_runs_as_a_script(script, tmp_path):
    picture = [str(tmp_path / "picture.svg")] if script == "plot_quickstart.py" else []
    environment = {
        **os.environ,
        "MPLBACKEND": "agg",
        "MPLCONFIGDIR": str(tmp_path),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", str(ROOT / "examples" / script), *picture],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=540,
    )
    assert done.returncode == 0, done.stderr
    assert all(Path(path).stat().st_size for path in picture)
