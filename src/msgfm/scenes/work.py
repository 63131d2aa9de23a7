"""The work on a scene: parts that follow each other, done here or by other processes that open the scene themselves."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from msgfm.data.memory import keep_freed_memory
from msgfm.geo.cog import write_part
from msgfm.geo.tiling import Area, Tiling
from msgfm.scenes.engine import Clock, behind, sweep
from msgfm.scenes.inputs.request import SceneRequest
from msgfm.scenes.inputs.scene import Scene, open_scene
from msgfm.scenes.make import load_product
from msgfm.scenes.parts import Arrays, Collector, PartsFolder, area_of, missing_runs
from msgfm.scenes.products import Product, ProductOptions
from msgfm.scenes.threads import model_threads


@dataclass(frozen=True, kw_only=True)
class Work:
    """All that a process needs to do its share.

    Args:
        model: its folder.
        target: of a translation, the sensor wanted; else empty.
        stage: of features, the encoder's, from 1; else 0.
        request: the scene.
        options: what is wanted beside the result.
        tiling: windows.
        batch_size: windows at once.
        fill: whether one input with data is enough.
        device: as torch names it.
        parts: where finished parts go.
    """

    model: Path
    target: str
    stage: int
    request: SceneRequest
    options: ProductOptions
    tiling: Tiling
    batch_size: int
    fill: bool
    device: str
    parts: PartsFolder


_TURN = threading.Lock()
"""Workers of a cluster may have several threads, and a scene is for one."""


def do_run(work: Work, run: Sequence[Area], product: Product, scene: Scene, clock: Clock) -> Iterator[int]:
    """Does parts that follow each other; gives numbers of pixels as they are done."""

    def write(part: Area, arrays: Arrays) -> None:
        with clock.measure("writing"):
            work.parts.require_plan()
            for layer, array in arrays.items():
                write_part(work.parts.file(layer, part), array)

    collector = Collector(run, product.encode, write)
    with model_threads(work.device) as threads:
        pieces = sweep(
            product.reads(scene.read),
            product.predict,
            work.tiling,
            area_of(run),
            channels=product.channels,
            batch_size=work.batch_size,
            fill=work.fill,
            threads=threads,
            clock=clock,
        )
        for piece in behind(pieces, collector.add):
            yield piece.valid.size


def do_run_elsewhere(work: Work, run: Sequence[Area]) -> None:
    """The same in another process, which loads the model and opens the scene once.

    Of a run that was lost with its worker, what that had finished is not done again.
    """
    with _TURN:
        product, scene = _opened(work)
        for rest in missing_runs([run], work.parts.has, 1):
            for _ in do_run(work, rest, product, scene, Clock()):
                pass


@lru_cache(maxsize=1)
def _opened(work: Work) -> tuple[Product, Scene]:
    keep_freed_memory()
    product = load_product(
        work.model, work.target, work.request, work.options, torch.device(work.device), stage=work.stage
    )
    return product, open_scene(work.request)
