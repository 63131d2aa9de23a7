"""Worker processes that start afresh, compute with one thread each, and end when the one that started them does."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.context import SpawnContext, SpawnProcess

from msgfm.errors import InputError

# Libraries of linear algebra start a thread per core in every process, which then wait for each other.
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@contextmanager
def fresh_processes(workers: int, *, kept: str = "", patient: bool = True) -> Iterator[ProcessPoolExecutor]:
    """Processes for the block; what has not begun when it ends is dropped.

    Args:
        workers: how many.
        kept: what of the work is not lost when a process is killed, for the message that says so.
        patient: whether an error or Ctrl-C waits for what has begun; else the processes are killed.

    Raises:
        InputError: one of them was killed.
    """
    # Not fork: the libraries that were loaded have threads, and a fork takes over their locks but not their threads.
    pool = ProcessPoolExecutor(workers, mp_context=_Context(), initializer=_begin)
    others = set(multiprocessing.active_children())
    try:
        with _one_thread_each():
            yield pool
    except BaseException as error:
        # of whatever kind: see `_is_broken`; what is not of a killed process goes on as it is
        broken = isinstance(error, Exception) and not isinstance(error, InputError) and _is_broken(pool)
        if broken or not patient:
            for process in set(multiprocessing.active_children()) - others:
                process.kill()  # a pool that broke would wait forever for one that was being started
        if not broken:
            raise
        raise InputError(
            f"a worker process was killed, likely for lack of memory: give the same command again with fewer --workers "
            f"than {workers}{kept and f'; {kept}'}"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _is_broken(pool: ProcessPoolExecutor) -> bool:
    """Whether a process of it was killed; while others are still being started, that shows as other errors, too."""
    try:
        pool.submit(os.getpid)
    except BrokenProcessPool:
        return True
    return False


class _Process(SpawnProcess):
    """Is deaf to Ctrl-C from its birth on: a signal that is blocked stays so in what is started meanwhile."""

    def start(self) -> None:
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            super().start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Context(SpawnContext):
    Process = _Process


def _begin() -> None:
    # Ctrl-C reaches the whole group; the parent alone answers it, else the workers' tracebacks hide its message.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)  # the parent was killed: nobody is left who could take a result


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes started in this block use one thread for linear algebra, unless the user has set another number."""
    unset = [name for name in _THREADS if name not in os.environ]
    os.environ.update(dict.fromkeys(unset, "1"))
    try:
        yield
    finally:
        for name in unset:
            os.environ.pop(name, None)
