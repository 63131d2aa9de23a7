"""Batches from worker processes, which leave signals and errors to the process that trains."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from torch.utils.data import DataLoader, Dataset, Sampler

from msgfm.data.memory import keep_freed_memory
from msgfm.errors import InputError
from msgfm.training.signals import ignore_in_worker


def load_batches(dataset: Dataset[Any], sampler: Sampler[Any], num_workers: int) -> Generator[Any]:
    """Whole batches, as the data set's `__getitems__` makes them of what the sampler gives.

    To be closed, else its workers outlive an error.

    Raises:
        InputError: of a sample, also where a worker read it.
    """
    loader: DataLoader[Any] = DataLoader(
        dataset,
        batch_sampler=sampler,
        collate_fn=_as_it_is,  # the data set makes whole batches
        num_workers=num_workers,
        worker_init_fn=_start_worker,
    )
    try:
        yield from loader
    except InputError as error:
        # of an error in a worker, torch makes one whose message is the worker's traceback; its end is the message
        raise InputError(str(error).rpartition(f"{InputError.__name__}: ")[2].strip()) from error


def _start_worker(worker: int) -> None:
    ignore_in_worker(worker)
    keep_freed_memory()


def _as_it_is(batch: Any) -> Any:
    return batch
