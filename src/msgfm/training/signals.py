"""SIGTERM and SIGINT end training after the step at hand, with a checkpoint; where there is none to save, at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, cast

import torch
from lightning.fabric import Fabric
from torch import Tensor

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StopRequest:
    """Remembers the first signal; a second one ends the process as usual."""

    def __init__(self) -> None:
        self.signal = 0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.signal = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}

    @property
    def name(self) -> str:
        """Of the signal, as `SIGTERM`."""
        return signal.Signals(self.signal).name

    def agreed(self, fabric: Fabric) -> bool:
        """Whether any rank was asked to stop; all ranks get the same answer."""
        agreed = self.signal
        if fabric.world_size > 1:
            flag = torch.tensor(float(self.signal), device=fabric.device)
            agreed = int(cast(Tensor, fabric.all_reduce(flag, reduce_op="max")))
        # a signal that came meanwhile stays for the next time: the other ranks do not know of it yet
        self.signal = agreed or self.signal
        return agreed != 0


class Stopped(BaseException):
    """A signal came inside `stopping_at_once`."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.signal = number


@contextmanager
def stopping_at_once() -> Iterator[None]:
    """A signal ends the block with `Stopped`, so that what is open is closed and no half of a file is left."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Stopped(number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, stop) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def ignore_in_worker(worker: int) -> None:
    """Workers leave signals to the process that reads from them; it ends them with itself."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
