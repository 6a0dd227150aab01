"""Threads: how the cores given to a task are shared between blocks, row stripes and the BLAS.

The BLAS runs single-threaded inside a pass and the library's own threads take blocks or row stripes. Row stripes are
cut by the shape of the data alone, so that sums have the same bits for any number of threads.
"""

from __future__ import annotations

import functools
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

import joblib
import scipy.linalg  # noqa: F401  SciPy brings a BLAS of its own, which must be loaded before the libraries are listed
from threadpoolctl import ThreadpoolController

__all__ = ["n_threads", "parallel", "run_blocks", "thread_budget"]

T = TypeVar("T")
R = TypeVar("R")

_budget: ContextVar[int | None] = ContextVar("dask_newton_threads", default=None)


def n_threads() -> int:
    """Return the number of threads that the current task may use (all cores by default)."""
    budget = _budget.get()
    return joblib.cpu_count() if budget is None else budget


@contextmanager
def thread_budget(n: int) -> Iterator[None]:
    """Give the code inside ``n`` threads, and the BLAS one per thread."""
    token = _budget.set(max(1, n))
    try:
        with _single_threaded_blas:
            yield
    finally:
        _budget.reset(token)


class _SingleThreadedBlas:
    """Limits the BLAS to one thread in the threads that are inside.

    An OpenBLAS with threads of its own has one limit for the whole process, so tasks that overlap must share it: the
    first in sets it, the last out restores it. (With a limit each, the last to leave would restore another task's
    limit.)
    All other libraries have a limit per thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._shared: Any = None
        self._own = threading.local()

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                _give_up_control()
                self._shared = _libraries(shared=True).limit(limits=1)
            self._inside += 1
        if _libraries(shared=False).lib_controllers:
            self._own.limits = (_libraries(shared=False).limit(limits=1), *getattr(self._own, "limits", ()))

    def __exit__(self, *exc: object) -> None:
        if _libraries(shared=False).lib_controllers:
            limit, *self._own.limits = self._own.limits
            limit.restore_original_limits()
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                _give_up_control()
                self._shared.restore_original_limits()
                _give_up_control()


_single_threaded_blas = _SingleThreadedBlas()


@functools.cache
def _libraries(*, shared: bool) -> ThreadpoolController:
    """Return the BLAS libraries with a limit for the whole process, or those with a limit per thread."""
    libraries = ThreadpoolController()
    paths = [
        library.filepath
        for library in libraries.lib_controllers
        if library.user_api == "blas" and shared == _has_shared_limit(library)
    ]
    return libraries.select(filepath=paths)


def _has_shared_limit(library: Any) -> bool:
    return library.internal_api == "openblas" and library.threading_layer != "openmp"


def _give_up_control() -> None:
    # threadpoolctl lets one thread at a time set a shared limit, and silently does nothing in all others. Here the
    # thread that restores a limit need not be the one that set it, nor the one that set a limit before.
    for library in _libraries(shared=True).lib_controllers:
        library.clear_controlling_thread(force=True)


@functools.cache
def _pool() -> ThreadPoolExecutor:
    # Threads start when they are needed. Budgets bound how many run, so the size only has to be large enough.
    return ThreadPoolExecutor(max(64, 4 * joblib.cpu_count()), thread_name_prefix="dask-newton")


def parallel(fn: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """Return ``[fn(item) for item in items]``, computed by the threads of the current task, in order.

    Inside ``fn`` the budget is one thread. The calling thread works too and waits for no thread that has not begun,
    so calls may nest in any way. If several items fail, the error of the first of them is raised.
    """
    n = min(n_threads(), len(items))
    if n <= 1:
        return [fn(item) for item in items]
    todo = deque(enumerate(items))
    results: dict[int, R] = {}
    errors: dict[int, BaseException] = {}

    def work() -> None:
        with thread_budget(1):
            while todo and not errors:
                try:
                    i, item = todo.popleft()
                except IndexError:  # another thread took the last one
                    return
                try:
                    results[i] = fn(item)
                except BaseException as error:
                    errors[i] = error

    with _single_threaded_blas:
        helpers = [_pool().submit(work) for _ in range(n - 1)]
        work()
        wait([helper for helper in helpers if not helper.cancel()])
    if errors:
        raise errors[min(errors)]
    return [results[i] for i in range(len(items))]


def run_blocks(fn: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """Run ``fn`` on every block with all threads of the task busy.

    Many blocks, or a number of blocks that the threads divide, go one to a thread. Otherwise the blocks run one
    after the other and each spreads its row stripes over the threads.
    """
    n, threads = len(items), n_threads()
    if n >= 4 * threads or (n >= threads and n % threads == 0):
        return parallel(fn, items)
    with thread_budget(threads):
        return [fn(item) for item in items]
