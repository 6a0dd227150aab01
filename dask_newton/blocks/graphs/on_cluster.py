"""Graphs of calls on a distributed cluster, and what they leave on its workers.

Dask never forgets how a live result was made, so that after many iterations the loss of a worker would mean to do all
of them again. What a graph keeps is therefore put away: it stays in the memory of the worker under a name, and the next
graph begins with tasks that look it up. They have no recipe but the name, and fail where the worker is gone.
"""

from __future__ import annotations

import contextlib
import logging
import uuid
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from distributed import Client, KilledWorker, get_worker
from distributed.client import FutureCancelledError

from dask_newton.blocks.client import wait_for
from dask_newton.blocks.graphs.calls import Call, Held, Kept, Part, Ref, run_call
from dask_newton.blocks.memory import keep_freed_memory, nbytes
from dask_newton.blocks.names import task_key, task_name
from dask_newton.trees import aligned

__all__ = ["run_on_cluster"]

logger = logging.getLogger(__name__)
_LOOK_EVERY = 2.0  # seconds
_KEPT: dict[str, Any] = {}  # of this process: name -> value


class LostError(RuntimeError):
    """What a graph kept is not on this worker."""


@dataclass(frozen=True)
class _Output:
    """The result of a call, of a size that Dask knows."""

    value: Any

    def __sizeof__(self) -> int:
        return nbytes(self.value)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(aligned(state))


@dataclass(frozen=True, eq=False)
class _Stored:
    """A value on a worker."""

    name: str
    address: str


class _HeldByWorkers(Held):
    """Values on workers, which are dropped with it."""

    def forget_with(self, client: Client) -> None:
        """Drop the values when this object goes."""
        names = [stored.name for stored in self.values.values()]
        weakref.finalize(self, _forget, client, names).atexit = False


@dataclass(frozen=True)
class _Task:
    """A call on a worker; ``places`` says for each stand-in where in the result of a pass its value is, if in one."""

    call: Call
    places: tuple[tuple[int, int] | None, ...]

    def __call__(self, *results: Any) -> _Output:
        keep_freed_memory()
        values = [
            result.value if place is None else result.value(*place)
            for result, place in zip(results, self.places, strict=True)
        ]
        return _Output(run_call(self.call, values))


def _keep(name: str, output: _Output) -> str:
    _KEPT[name] = output
    return get_worker().address


def _recall(name: str) -> _Output:
    if name not in _KEPT:
        raise LostError(name)
    return _KEPT[name]


def _drop(names: list[str]) -> None:
    for name in names:
        _KEPT.pop(name, None)


def _forget(client: Client, names: list[str]) -> None:
    if client.status == "running" and client.loop is not None:
        client.loop.add_callback(client._run, _drop, names, on_error="ignore")


def _wait(client: Client, futures: list[Any], workers: set[str]) -> None:
    """Wait for futures; a task that wishes for a worker that is gone would wait for ever."""
    while True:
        if gone := workers.difference(client.nthreads()):
            raise LostError(", ".join(sorted(gone)))
        with contextlib.suppress(TimeoutError):
            wait_for(client, futures, _LOOK_EVERY)
            return


def run_on_cluster(
    client: Client, calls: Sequence[Call], wanted: Sequence[str], keep: Sequence[str], held: Held | None
) -> tuple[list[Any], Held] | None:
    """Run a graph; None if something that it needs was lost."""
    workers, run = sorted(client.nthreads()), uuid.uuid4().hex
    futures: dict[Any, Any] = {}

    def submit(name: str, fn: Any, *args: Any, address: str | None = None) -> Any:
        # Strictly: what may run elsewhere is stolen by workers that idle, which do not have what was put away.
        where = {"workers": [address]} if address else {}
        return client.submit(fn, *args, key=task_key(name), pure=False, **where)

    for call in calls:
        results: list[Any] = []
        args: list[Any] = []
        places: list[tuple[int, int] | None] = []
        for arg in call.args:
            if isinstance(arg, Part):
                part = arg.column.parts[arg.index]
                results.append(part.future)
                places.append((part.row, part.column))
                arg = Ref("")  # the column itself stays here
            elif isinstance(arg, Kept):
                assert held is not None
                stored = held.values[arg.key]
                if arg not in futures:
                    futures[arg] = submit("recall-value", _recall, stored.name, address=stored.address)
                results.append(futures[arg])
                places.append(None)
            elif isinstance(arg, Ref):
                results.append(futures[arg.key])
                places.append(None)
            args.append(arg)
        address = None if call.home is None else workers[call.home % len(workers)]
        task = _Task(Call(call.key, call.fn, tuple(args)), tuple(places))
        futures[call.key] = submit(task_name(call.fn), task, *results, address=address)
    names = {key: f"{run}-{key}" for key in keep}
    stored = {key: submit("keep-value", _keep, names[key], futures[key]) for key in keep}
    futures = {key: futures[key] for key in wanted}  # all others go from the workers as soon as they have been used
    needed = {stored.address for stored in held.values.values()} if held else set()
    try:
        _wait(client, [*futures.values(), *stored.values()], needed.union(workers))
        values = client.gather([futures[key] for key in wanted])
        addresses = client.gather(list(stored.values()))
    except (LostError, KilledWorker, FutureCancelledError) as error:
        logger.warning("Values that lay on a worker were lost with it: %r", error)
        return None
    left = _HeldByWorkers({key: _Stored(names[key], address) for key, address in zip(stored, addresses, strict=True)})
    left.forget_with(client)
    return [output.value for output in values], left
