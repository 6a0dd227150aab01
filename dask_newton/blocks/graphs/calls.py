"""Graphs of calls: work whose parts wait for one another and not for all, as those of a pass do.

A graph is a list of :class:`Call`, each after those whose results it is given. Values stay where they are made; the
driver gets those it wants, and names those that are to stay for a later graph. What stays has no recipe: where a worker
is lost, all of it is, and :meth:`~dask_newton.blocks.Blocks.run_graph` says so by returning None.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dask_newton.blocks.column import PerBlock
from dask_newton.blocks.streaming import made
from dask_newton.blocks.threads import thread_budget

__all__ = ["Call", "Held", "Kept", "Part", "Ref", "run_call", "run_here", "run_in_order"]


@dataclass(frozen=True)
class Ref:
    """Stands for the result of another call."""

    key: str


@dataclass(frozen=True)
class Kept:
    """Stands for a value that an earlier graph kept."""

    key: str


@dataclass(frozen=True, eq=False)
class Part:
    """Stands for the value of a column beside a block."""

    column: PerBlock[Any]
    index: int


@dataclass(frozen=True, eq=False)
class Call:
    """One call.

    Attributes
    ----------
    key : str
        Its name in the graph.
    fn : callable
        Pure, and of the top level of a module.
    args : tuple
        Values, and what stands for them.
    home : int or None
        Calls with the same number run on the same worker, as long as it is there; None is wherever their arguments are.
    """

    key: str
    fn: Callable[..., Any]
    args: tuple[Any, ...]
    home: int | None = None


@dataclass(frozen=True, eq=False)
class Held:
    """What a graph kept, by key; opaque, and gone when nobody refers to it any more."""

    values: Mapping[str, Any]


def run_here(call: Call, held: Held | None, *results: Any) -> Any:
    """Run a call in this process, given the results that it refers to."""
    given, values = iter(results), []
    for arg in call.args:
        if isinstance(arg, Ref):
            values.append(next(given))
        elif isinstance(arg, Kept):
            assert held is not None
            values.append(held.values[arg.key])
        elif isinstance(arg, Part):
            values.append(arg.column.parts[arg.index])
    return run_call(call, values)


def run_call(call: Call, values: Sequence[Any]) -> Any:
    """Run a call with the values that its stand-ins stand for, in order; on one thread, for the same bits anywhere."""
    given = iter(values)
    stand_ins = (Ref, Kept, Part)
    args = [made(next(given)) if isinstance(arg, stand_ins) else arg for arg in call.args]
    with thread_budget(1):
        return call.fn(*args)


def run_in_order(
    calls: Sequence[Call], wanted: Sequence[str], keep: Sequence[str], held: Held | None
) -> tuple[list[Any], Held]:
    """Run a graph in this thread, one call after the other."""
    uses = Counter(arg.key for call in calls for arg in call.args if isinstance(arg, Ref))
    uses.update([*wanted, *keep])
    values: dict[str, Any] = {}
    for call in calls:
        values[call.key] = run_here(call, held, *(values[arg.key] for arg in call.args if isinstance(arg, Ref)))
        uses.subtract(arg.key for arg in call.args if isinstance(arg, Ref))
        for arg in call.args:
            if isinstance(arg, Ref) and not uses[arg.key]:
                values.pop(arg.key, None)
    return [values[key] for key in wanted], Held({key: values[key] for key in keep})
