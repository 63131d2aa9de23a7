"""What a user says of a scene: what is given, and how it is worked on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class SceneInputs:
    """What the user gives of a scene.

    Args:
        images: by key or sensor, files, folders, patterns, addresses.
        bands: likewise, names of the bands of files that do not say them.
        like: a raster whose grid is taken.
        settings: how files are stored, as `sentinel2.offset=-1000`.
        power: `linear` or `db`, which radar files are; empty: decibel unless a product says otherwise.
        force: kinds of findings of the input contract that are let through.
        allow_missing: whether inputs of the model may be left out.
        taken: when the images were taken, as `times.stated_span` has it; empty: as they say themselves.
    """

    images: Mapping[str, Sequence[str]]
    bands: Mapping[str, Sequence[str]] = field(default_factory=dict)
    like: str | None = None
    settings: Sequence[str] = ()
    power: str = ""
    force: Sequence[str] = ()
    allow_missing: bool = False
    taken: str = ""


@dataclass(frozen=True, kw_only=True)
class Running:
    """How a scene is worked on.

    Args:
        window: side of a window in pixels; None is that of training.
        overlap: of neighbouring windows in pixels, at least; None is a quarter of the window.
        batch_size: windows at once, of each thread that runs the model; None is few on a CPU, more on a GPU.
        fill: whether one input with data is enough; else a pixel that lacks any of them has no data.
        device: `auto`, or as torch names it.
        workers: processes, or workers of a local Dask cluster.
        dask: address of a scheduler, `local`, or empty.
        resume: goes on where an earlier run was stopped.
        overwrite: replaces a result, and begins anew.
    """

    window: int | None = None
    overlap: int | None = None
    batch_size: int | None = None
    fill: bool = False
    device: str = "auto"
    workers: int = 1
    dask: str = ""
    resume: bool = False
    overwrite: bool = False
