"""The rules of the architecture, read off the source.

Imports run one way: command line -> estimators -> auto -> minimize -> solvers -> objectives -> losses, penalties, inner
solvers and blocks -> arrays. A rule that has to be broken is changed here, in the open.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path

import pytest

import dask_newton

ROOT = Path(dask_newton.__file__).parent
FILES = {path.relative_to(ROOT).as_posix(): path for path in sorted(ROOT.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}
PARTS = {name.split("/")[0].removesuffix(".py") for name in FILES} - {"__init__"}
MAX_LINES = 370

# What each part may import, besides itself. Parts are packages, or modules beside them.
BASE = {"arrays"}
OBJECTIVES = BASE | {"blocks", "inner", "losses", "penalties"}
SOLVERS = OBJECTIVES | {"objectives"}
MINIMIZE = SOLVERS | {"solvers"}
RUNS = MINIMIZE | {"checkpoint", "history", "minimize", "storage"}
CONTAINERS = OBJECTIVES | {"data", "objectives", "solvers", "storage"}
ESTIMATORS = RUNS | {"auto", "containers", "data"}
MAY_IMPORT = {
    "arrays": set(),
    "blocks": BASE,
    "history": set(),
    "storage": {"history"},
    "data": BASE | {"storage"},
    "inner": BASE,
    "losses": BASE,
    "penalties": BASE,
    "objectives": OBJECTIVES,
    "solvers": SOLVERS,
    "checkpoint": MINIMIZE | {"history", "storage"},
    "minimize": MINIMIZE | {"checkpoint", "history"},
    "containers": CONTAINERS,
    "auto": RUNS | {"containers"},
    "estimators": ESTIMATORS,
    "models": ESTIMATORS | {"estimators"},
    "comparison": ESTIMATORS | {"estimators"},
    "cli": ESTIMATORS | {"comparison", "estimators", "models", ""},
    "testing": set(),  # for the estimators of anybody: it must not lean on ours
}
# dask_newton/__init__.py gathers public names; only what stands above estimators takes them from there.
MAY_IMPORT[""] = {"checkpoint", "comparison", "containers", "estimators", "minimize", "models"}
# testing/ gives Dask's arrays, schedulers and clusters to estimators, and pickles them as users do, but to no file.
HAVE_DASK = ("auto/", "blocks/", "cli/", "containers/", "data/", "estimators/", "testing/")
PICKLES = "testing/"


def part_of(module):
    """Return the part of dask_newton that a module belongs to; "" for dask_newton itself and what it gathers."""
    part = module.split(".")[1] if "." in module else ""
    return part if part in PARTS else ""


def imports(name):
    """Return (module, line) of everything that a file imports; names taken from a package count as modules."""
    found = []
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}:{node.lineno}: write imports out in full"
            if node.module == "dask_newton":
                found += [(f"dask_newton.{alias.name}", node.lineno) for alias in node.names]
            else:
                found.append((node.module, node.lineno))
    return found


def files(test):
    return pytest.mark.parametrize("name", FILES)(test)


@files
def test_imports_run_one_way(name):
    here = name.split("/")[0].removesuffix(".py").replace("__init__", "")
    assert here in MAY_IMPORT, f"{name} belongs to no part of the architecture; say in MAY_IMPORT where it stands"
    for module, line in imports(name):
        if module.split(".")[0] != "dask_newton":
            continue
        part = part_of(module)
        assert part == here or part in MAY_IMPORT[here], f"{name}:{line}: {here!r} may not import {module}"


def test_the_allowed_imports_have_no_cycle():
    seen = []

    def visit(part, path):
        assert part not in path, f"cycle {[*path, part]}"
        if part not in seen:
            for other in MAY_IMPORT[part]:
                visit(other, [*path, part])
            seen.append(part)

    for part in MAY_IMPORT:
        visit(part, [])


@files
def test_dask_stays_where_the_data_are(name):
    for module, line in imports(name):
        if module.split(".")[0] in {"dask", "distributed"}:
            assert name.startswith(HAVE_DASK), f"{name}:{line}: {module} belongs in {', '.join(HAVE_DASK)}"


@files
def test_cupy_is_named_in_one_file(name):
    for module, line in imports(name):
        if module.split(".")[0] in {"cupy", "cupyx"}:
            assert name == "arrays.py", f"{name}:{line}: ask dask_newton.arrays for the namespace instead"


@files
def test_nothing_is_pickled(name):
    for module, line in imports(name):
        forbidden = {"cloudpickle", "dill", "marshal", "pickle", "shelve"}
        allowed = name.startswith(PICKLES) or module.split(".")[0] not in forbidden
        assert allowed, f"{name}:{line}: files of the library hold no code"


@files
def test_only_the_command_line_prints(name):
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            assert name.startswith("cli/"), f"{name}:{node.lineno}: use logging, or return what there is to say"


@files
def test_files_are_short(name):
    lines = len(FILES[name].read_text(encoding="utf-8").splitlines())
    assert lines <= MAX_LINES, f"{name} has {lines} lines; split it along a real seam"


@files
def test_public_names_exist_and_have_docstrings(name):
    assert ast.get_docstring(TREES[name]), f"{name} does not say what it is for"
    path = Path(name).with_suffix("")
    parts = path.parts[:-1] if path.name == "__init__" else path.parts
    module = importlib.import_module(".".join(("dask_newton", *parts)))
    for public in getattr(module, "__all__", ()):
        value = getattr(module, public)
        if inspect.isclass(value) or inspect.isfunction(value):
            own = value.__dict__.get("__doc__") if inspect.isclass(value) else value.__doc__
            assert own and not own.startswith(f"{public}("), f"{public} in {name} has no docstring"
