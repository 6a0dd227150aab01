"""The rules of the architecture, read off the source: one test per rule, whose message lists everything that breaks it.

Imports run one way: command line -> estimators -> auto -> minimize -> solvers -> objectives -> losses, penalties, inner
solvers and blocks -> arrays. Inside a part, files and subfolders import each other without circles. A rule that has to
be broken is changed here, in the open.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path

import dask_newton

ROOT = Path(dask_newton.__file__).parent
FILES = {path.relative_to(ROOT).as_posix(): path for path in sorted(ROOT.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in FILES.items()}
MODULES = {
    ".".join(("dask_newton", *Path(name).with_suffix("").parts)).removesuffix(".__init__"): name for name in FILES
}
NAMES = {name: module for module, name in MODULES.items()}
PARTS = {name.split("/")[0].removesuffix(".py") for name in FILES} - {"__init__"}
MAX_LINES = 340

# What each part may import, besides itself. Parts are packages, or modules beside them.
BASE = {"arrays", "trees"}
NAMED = BASE | {"storage"}  # for the names under which their dataclasses are stored
OBJECTIVES = NAMED | {"blocks", "inner", "losses", "penalties"}
SOLVERS = OBJECTIVES | {"objectives"}
MINIMIZE = SOLVERS | {"solvers"}
RUNS = MINIMIZE | {"checkpoint", "history", "minimize", "storage", "tables"}
CONTAINERS = OBJECTIVES | {"data", "objectives", "solvers", "storage"}
ESTIMATORS = RUNS | {"auto", "containers", "data"}
MAY_IMPORT = {
    "arrays": set(),
    "trees": {"arrays"},
    "blocks": BASE,
    "history": set(),
    "tables": set(),
    "storage": {"history", "trees"},
    "data": BASE | {"storage"},
    "inner": NAMED,
    "losses": NAMED,
    "penalties": NAMED,
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


FORBIDDEN_PICKLES = {"cloudpickle", "dill", "marshal", "pickle", "shelve"}


def part_of(module: str) -> str:
    """Return the part of dask_newton that a module belongs to; "" for dask_newton itself and what it gathers."""
    part = module.split(".")[1] if "." in module else ""
    return part if part in PARTS else ""


def nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Go through a file, except for what only a type checker reads: such an import never runs."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        yield node
        yield from nodes(node)


def imports(name: str, tree_nodes=ast.walk) -> list[tuple[str, int]]:
    """Return (module, line) of every import of a file, those in functions too.

    `from package import name` is an import of `package.name` if that is a module, of the package otherwise.
    """
    found = []
    for node in tree_nodes(TREES[name]):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.append((full if full in MODULES else node.module or "", node.lineno))
    return found


def every_import() -> Iterator[tuple[str, str, int]]:
    for name in FILES:
        for module, line in imports(name):
            yield name, module, line


def circles(edges: dict[str, dict[str, str]]) -> list[str]:
    """Describe the groups of nodes that reach each other, with the imports among them."""
    reached: dict[str, set[str]] = {}
    for start in edges:
        waiting, seen = list(edges[start]), set()
        while waiting:
            node = waiting.pop()
            if node not in seen:
                seen.add(node)
                waiting += edges.get(node, ())
        reached[start] = seen
    groups = {frozenset(other for other in seen if start in reached.get(other, ())) for start, seen in reached.items()}
    return [
        "\n  ".join(edges[here][there] for here in sorted(group) for there in sorted(edges[here]) if there in group)
        for group in groups
        if group
    ]


def file_imports() -> Iterator[tuple[str, str, str]]:
    """Yield (file, file that it imports, where it does so) inside dask_newton, for imports that run at some time."""
    for name in FILES:
        for module, line in imports(name, nodes):
            if module in MODULES:
                yield name, MODULES[module], f"{name}:{line}: imports {module}"


def subfolder_of(name: str) -> str:
    """Return the subfolder of a part that a file lies in, or the file itself if it lies in the part's own folder."""
    return "/".join(name.split("/")[:2]) + ("/" if name.count("/") > 1 else "")


def report(offenders: list[str], rule: str) -> None:
    assert not offenders, rule + "\n" + "\n".join(offenders)


def test_imports_are_written_out_in_full():
    report(
        [
            f"{name}:{node.lineno}"
            for name, tree in TREES.items()
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.level
        ],
        "relative imports; write them out in full:",
    )


def test_every_file_belongs_to_a_part():
    report(
        sorted(PARTS - set(MAY_IMPORT)),
        "parts that the architecture does not know; say in MAY_IMPORT where they stand:",
    )
    report(sorted(set(MAY_IMPORT) - PARTS - {""}), "parts of MAY_IMPORT that do not exist:")


def test_imports_run_one_way():
    offenders = []
    for name, module, line in every_import():
        here, there = part_of(NAMES[name]), part_of(module)
        if module.split(".")[0] == "dask_newton" and there != here and there not in MAY_IMPORT[here]:
            offenders.append(f"{name}:{line}: {here!r} may not import {module}")
    report(offenders, "imports against the order of the parts:")


def test_the_allowed_imports_have_no_circle():
    report(
        circles({part: {other: f"{part!r} may import {other!r}" for other in MAY_IMPORT[part]} for part in MAY_IMPORT}),
        "MAY_IMPORT has circles:",
    )


def test_circles_are_found():
    chain = {"a": {"b": "a-b"}, "b": {"c": "b-c"}}
    assert circles(chain) == []
    assert circles(chain | {"c": {"b": "c-b", "d": "c-d"}, "d": {}}) == ["b-c\n  c-b"]


def test_files_do_not_import_each_other_in_circles():
    # Imports inside functions count: they hide a circle and do not cut it. There are no exceptions today; only what a
    # type checker reads (`if TYPE_CHECKING:`) is left out, since it never runs. That a package's __init__ runs before
    # its files does not count either: it gathers names, and no file of the package may take them from there.
    edges: dict[str, dict[str, str]] = {}
    for here, there, where in file_imports():
        edges.setdefault(here, {})[there] = where
    report(circles(edges), "circles of files; move what both need into a third file:")


def test_subfolders_do_not_import_each_other_in_circles():
    # Of every part: its subfolders, and the files beside them. A part's own __init__ gathers names from all of them.
    edges: dict[str, dict[str, str]] = {}
    for here, there, where in file_imports():
        ends = subfolder_of(here), subfolder_of(there)
        gathers = any(end.endswith("__init__.py") for end in ends)
        if ends[0] != ends[1] and here.split("/")[0] == there.split("/")[0] and not gathers:
            edges.setdefault(ends[0], {})[ends[1]] = where
    report(circles(edges), "circles of subfolders:")


def test_dask_stays_where_the_data_are():
    report(
        [
            f"{name}:{line}: {module}"
            for name, module, line in every_import()
            if module.split(".")[0] in {"dask", "distributed"} and not name.startswith(HAVE_DASK)
        ],
        f"Dask belongs in {', '.join(HAVE_DASK)}:",
    )


def test_cupy_is_named_in_one_file():
    report(
        [
            f"{name}:{line}: {module}"
            for name, module, line in every_import()
            if module.split(".")[0] in {"cupy", "cupyx"} and name != "arrays.py"
        ],
        "ask dask_newton.arrays for the namespace instead of importing CuPy:",
    )


def test_nothing_is_pickled():
    report(
        [
            f"{name}:{line}: {module}"
            for name, module, line in every_import()
            if module.split(".")[0] in FORBIDDEN_PICKLES and not name.startswith(PICKLES)
        ],
        "files of the library hold no code:",
    )


def test_only_the_command_line_prints():
    report(
        [
            f"{name}:{node.lineno}"
            for name, tree in TREES.items()
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
            if not name.startswith("cli/")
        ],
        "use logging, or return what there is to say:",
    )


def test_files_are_short():
    lengths = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in FILES.items()}
    report(
        [f"{name}: {lines} lines" for name, lines in lengths.items() if lines > MAX_LINES],
        f"files of more than {MAX_LINES} lines; split them along a real seam:",
    )


def test_files_say_what_they_are_for():
    report([name for name, tree in TREES.items() if not ast.get_docstring(tree)], "files without a docstring:")


def test_public_names_exist_and_have_docstrings():
    offenders = []
    for module_name, name in MODULES.items():
        module = importlib.import_module(module_name)
        for public in getattr(module, "__all__", ()):
            if not hasattr(module, public):
                offenders.append(f"{name}: {public} does not exist")
                continue
            value = getattr(module, public)
            if inspect.isclass(value) or inspect.isfunction(value):
                own = value.__dict__.get("__doc__") if inspect.isclass(value) else value.__doc__
                if not own or own.startswith(f"{public}("):
                    offenders.append(f"{name}: {public} has no docstring")
    report(offenders, "public names:")
