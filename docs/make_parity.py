"""Write docs/parity.md: the coefficients of every estimator, solver, penalty and container against references.

    python docs/make_parity.py

It takes up to an hour on two busy cores, and needs statsmodels. Where dask-ml is installed, it is compared too.
"""

from __future__ import annotations

import sys
from pathlib import Path

from parity import incumbent
from parity.containers import CONTAINERS
from parity.page import page
from parity.problems import problems
from parity.runs import SOLVER_COLUMNS, bound_of, run_all

PAGE = Path(__file__).with_name("parity.md")


def main() -> int:
    """Run everything and write the page; return how many fits are above their bound."""
    chosen = problems()
    theirs = {p.name: incumbent.errors(p) for p in chosen if incumbent.INSTALLED and incumbent.applies(p)}
    runs = []
    for run in run_all(chosen, SOLVER_COLUMNS, CONTAINERS):
        runs.append(run)
        print(f"{run.container}: {run.problem.name}, {run.solver}: {run.error:.0e}", flush=True)
    PAGE.write_text(page(runs, theirs), encoding="utf-8")
    return sum(run.error > bound_of(run.solver) for run in runs if not CONTAINERS[run.container].float32)


if __name__ == "__main__":
    sys.exit(main() > 0)
