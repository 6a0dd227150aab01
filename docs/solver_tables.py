"""Write the tables of solvers in docs/solvers.rst and docs/networks.rst from the class attributes of the solvers.

python docs/solver_tables.py
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from dask_newton.solvers import NETWORK_SOLVERS, SOLVERS

BEGIN, END = ".. begin: made by docs/solver_tables.py from the solvers' classes\n", ".. end\n"
DOCS = Path(__file__).parent
# The pages, and whether penalties have a column.
PAGES: dict[str, tuple[dict[str, Any], bool]] = {
    "solvers.rst": (SOLVERS, True),
    "networks.rst": (NETWORK_SOLVERS, False),
}


def with_table(page: str, solvers: dict[str, Any], penalties: bool) -> str:
    """Return the text of a page with its table made anew: a row for each section on a solver, in their order."""
    sections = re.findall(r"^\.\. _([\w-]+):\n\n([\w-]+)\n-+$", page, flags=re.M)
    rows = [["solver", *(["penalties"] if penalties else []), "what it does", "suited to"]]
    for label, name in sections:
        if name in solvers:
            cls = solvers[name]
            rows.append(
                [f":ref:`{name} <{label}>`", *([cls.penalties] if penalties else []), cls.summary, cls.suited_to]
            )
    widths = "18 20 32 30" if penalties else "18 44 38"
    lines = [".. list-table::", "   :header-rows: 1", f"   :widths: {widths}", ""]
    for first, *others in rows:
        lines += [f"   * - {first}", *(f"     - {cell}" for cell in others)]
    head, rest = page.split(BEGIN)
    return f"{head}{BEGIN}\n" + "\n".join(lines) + f"\n\n{END}" + rest.split(END, 1)[1]


if __name__ == "__main__":
    for name, (solvers, penalties) in PAGES.items():
        path = DOCS / name
        path.write_text(with_table(path.read_text(encoding="utf-8"), solvers, penalties), encoding="utf-8")
