"""Who does the work on a scene: this process, several, or the workers of a Dask cluster."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from typing import TYPE_CHECKING

from msgfm.data.processes import fresh_processes
from msgfm.errors import InputError
from msgfm.geo.tiling import Area
from msgfm.scenes.engine import Clock
from msgfm.scenes.inputs.scene import Scene
from msgfm.scenes.products import Product
from msgfm.scenes.work import Work, do_run, do_run_elsewhere

if TYPE_CHECKING:
    from distributed import Client

_RUNS_PER_WORKER = 4
"""Shorter runs are shared out more evenly, longer ones repeat fewer rows of windows."""
_RETRIES = 3
_PATIENCE_S = 10.0
"""With a scheduler that does not answer."""
_WORKERS_S = 60.0
"""Until a cluster has a worker."""

Run = Sequence[Area]


def runs_wanted(workers: int, *, cluster: bool) -> int:
    """Into how many runs the work is to be cut, at least; a cluster may have more workers than we know of."""
    return 1 if workers <= 1 and not cluster else max(workers, 4 if cluster else 1) * _RUNS_PER_WORKER


def pixels_of(run: Run) -> int:
    """Of all parts of a run."""
    return sum(math.prod(part.shape) for part in run)


def do_here(
    work: Work, runs: Sequence[Run], product: Product, scene: Scene, clock: Clock
) -> Generator[int, None, None]:
    """One run after the other; gives numbers of pixels as they are done."""
    for run in runs:
        yield from do_run(work, run, product, scene, clock)


def do_in_processes(work: Work, runs: Sequence[Run], workers: int) -> Generator[int, None, None]:
    """Several processes, each of which loads the model once; gives numbers of pixels as runs are done."""
    with fresh_processes(workers, kept="--resume keeps what is done", patient=False) as pool:
        pending = {pool.submit(do_run_elsewhere, work, run): run for run in runs}
        for done in as_completed(pending):
            done.result()
            yield pixels_of(pending[done])


def do_on_dask(work: Work, runs: Sequence[Run], scheduler: str, workers: int) -> Generator[int, None, None]:
    """The workers of a Dask cluster, which see the same files; a run whose worker is lost is done by another.

    Args:
        work: what is done.
        runs: of parts.
        scheduler: address, as `tcp://10.0.0.5:8786`; `local` starts a cluster on this machine.
        workers: of a local cluster.

    Raises:
        InputError: Dask is not installed, there is no such scheduler, or a run failed again and again.
    """
    try:
        from distributed import Client, LocalCluster, as_completed
        from distributed.client import FutureCancelledError
        from distributed.scheduler import KilledWorker
    except ImportError as error:
        raise InputError("--dask needs Dask: pip install 'msgfm[dask]'") from error
    with ExitStack() as opened:
        try:
            there: LocalCluster | str = scheduler
            if scheduler == "local":
                there = opened.enter_context(
                    LocalCluster(
                        n_workers=workers,
                        threads_per_worker=1,
                        host="127.0.0.1",
                        dashboard_address=None,
                        silence_logs="ERROR",
                    )
                )
            else:
                with ThreadPoolExecutor(1) as pool:  # a notebook's own thread has a loop already
                    pool.submit(asyncio.run, _greet(scheduler)).result()
            client: Client = opened.enter_context(Client(there, timeout=_PATIENCE_S))
        except (OSError, ValueError) as error:
            raise InputError(f"--dask {scheduler}: no scheduler answers there ({str(error) or 'silence'})") from error
        try:
            client.wait_for_workers(1, timeout=_WORKERS_S)
        except TimeoutError as error:
            raise InputError(f"--dask {scheduler}: no worker has come within {_WORKERS_S:g} s; start some") from error
        runs_of = {client.submit(do_run_elsewhere, work, run, retries=_RETRIES, pure=False): run for run in runs}
        for done in as_completed(list(runs_of)):
            try:
                done.result()
            except (KilledWorker, FutureCancelledError) as error:
                if getattr(error, "reason", "") == "scheduler-connection-lost":
                    raise InputError(
                        f"--dask {scheduler}: the scheduler does not answer any more; what is done is kept: start it "
                        f"again, and go on with --resume"
                    ) from error
                raise InputError(
                    f"the workers of the cluster are lost again and again ({error}), likely for lack of memory; what "
                    f"is done is kept: --resume"
                ) from error
            yield pixels_of(runs_of[done])


async def _greet(scheduler: str) -> None:
    """Raises `TimeoutError` where somebody takes the call and says nothing: Dask's client would wait for ever."""
    from distributed.comm.core import connect

    greeted = await asyncio.wait_for(connect(scheduler, timeout=_PATIENCE_S), _PATIENCE_S)
    greeted.abort()
