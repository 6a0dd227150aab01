"""What solvers say of themselves, and the tables of the documentation that are made of it."""

import catalogue
import pytest
import solver_tables

from dask_newton.solvers import NETWORK_SOLVERS, SOLVERS

EVERY = [*SOLVERS.values(), *NETWORK_SOLVERS.values()]


@pytest.mark.parametrize("attribute", ["summary", "suited_to"])
def test_every_solver_says_what_it_does_and_what_it_is_suited_to(attribute):
    for cls in EVERY:
        said = vars(cls).get(attribute, "")  # its own, not that of the class it extends
        assert said and not said.endswith("."), f"{cls.__name__}.{attribute} is a clause without a full stop"
    if attribute == "summary":
        assert len({cls.summary for cls in EVERY}) == len(EVERY)


@pytest.mark.parametrize("name", SOLVERS)
def test_penalties_are_those_that_the_solver_takes(name):
    said = SOLVERS[name].penalties.split(", ")
    taken = catalogue.SOLVERS[name].penalties
    words = {"none": "none", "l2": "l2", "l1": "l1", "elastic_net": "elastic net", "group_lasso": "group lasso"}
    for key, word in words.items():
        assert (word in said) == (key in taken), word


@pytest.mark.parametrize("page", solver_tables.PAGES)
def test_tables_are_current(page):
    """If not, run ``python docs/solver_tables.py``."""
    solvers, penalties = solver_tables.PAGES[page]
    text = (solver_tables.DOCS / page).read_text(encoding="utf-8")
    assert solver_tables.with_table(text, solvers, penalties) == text
    table = text.split(solver_tables.BEGIN)[1].split(solver_tables.END)[0]
    assert all(f":ref:`{name} <" in table for name in solvers)
