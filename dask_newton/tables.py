"""Tables of words and numbers: as text by rich, as HTML by pandas."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["as_html", "as_text", "new_table"]

_WIDE = 10_000  # characters: no line is broken


def new_table(
    rows: Iterable[Sequence[str]],
    columns: Sequence[str] = (),
    *,
    title: str | None = None,
    words: Collection[int] = (0,),
) -> Table:
    """Return a table for a terminal.

    Parameters
    ----------
    rows : iterable of sequences of str
    columns : sequence of str
        Names of the columns; without them there is no head, and all columns are words.
    title : str, optional
    words : collection of int
        Numbers of the columns that hold words and are aligned on the left; the others are aligned on the right.
    """
    from rich import box
    from rich.table import Table

    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        collapse_padding=True,
        pad_edge=False,
        show_header=bool(columns),
    )
    for i, column in enumerate(columns):
        table.add_column(column, justify="left" if i in words else "right", no_wrap=not i)
    for row in rows:
        table.add_row(*row)
    return table


def as_text(rows: Iterable[Sequence[str]], columns: Sequence[str] = (), *, words: Collection[int] = (0,)) -> str:
    """Return a table as plain text without lines, as wide as it needs; see :func:`new_table`."""
    from rich.console import Console

    table = new_table(rows, columns, words=words)
    table.box, table.padding, table.collapse_padding = None, (0, 2, 0, 0), False
    console = Console(file=io.StringIO(), width=_WIDE, color_system=None, markup=False, emoji=False, highlight=False)
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def as_html(rows: Iterable[Sequence[str]], columns: Sequence[str] | None = None) -> str:
    """Return a table as HTML."""
    import pandas as pd

    with pd.option_context("display.max_colwidth", None):
        return pd.DataFrame(rows, columns=columns).to_html(index=False, header=columns is not None, border=0)
