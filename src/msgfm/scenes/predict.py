"""`msgfm predict` and `msgfm translate`: from files of sensors to georeferenced rasters, in constant memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch

import msgfm
from msgfm.errors import InputError
from msgfm.files import lock_folder, require_suffix, require_writable
from msgfm.geo.tiling import Tiling
from msgfm.models.pretrained import model_folder
from msgfm.progress import watch
from msgfm.scenes.engine import Clock
from msgfm.scenes.execute import do_here, do_in_processes, do_on_dask, pixels_of, runs_wanted
from msgfm.scenes.inputs.contract import require_contract
from msgfm.scenes.inputs.files import make_request
from msgfm.scenes.inputs.request import SceneRequest
from msgfm.scenes.inputs.scene import Scene, open_scene
from msgfm.scenes.make import load_product
from msgfm.scenes.mlm import describe_model
from msgfm.scenes.needs import digest_of_weights, model_digest, training_window, wanted_cards
from msgfm.scenes.parts import (
    cut_parts,
    has_plan,
    missing_runs,
    open_parts,
    parts_beside,
    remove_parts,
    remove_plan,
)
from msgfm.scenes.products import ProductOptions
from msgfm.scenes.results import assemble_layer, describe_results
from msgfm.scenes.work import Work


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
    """

    images: Mapping[str, Sequence[str]]
    bands: Mapping[str, Sequence[str]] = field(default_factory=dict)
    like: str | None = None
    settings: Sequence[str] = ()
    power: str = ""
    force: Sequence[str] = ()
    allow_missing: bool = False


@dataclass(frozen=True, kw_only=True)
class Running:
    """How a scene is worked on; the result does not depend on it but for rounding.

    Args:
        window: side of a window in pixels; None is that of training.
        overlap: of neighbouring windows in pixels, at least; None is a quarter of the window.
        batch_size: windows at once.
        fill: whether one input with data is enough; else a pixel that lacks any of them has no data.
        device: `auto`, or as torch names it.
        workers: processes, or workers of a local Dask cluster.
        dask: address of a scheduler, `local`, or empty.
        resume: goes on where an earlier run was stopped.
        overwrite: replaces a result, and begins anew.
    """

    window: int | None = None
    overlap: int | None = None
    batch_size: int = 8
    fill: bool = False
    device: str = "auto"
    workers: int = 1
    dask: str = ""
    resume: bool = False
    overwrite: bool = False


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What was written, and how long each stage was at work in this process."""

    files: tuple[Path, ...]
    clock: Clock


def predict_scene(
    model: str, inputs: SceneInputs, out: Path, options: ProductOptions, running: Running, *, target: str = ""
) -> Outcome:
    """Runs a model over a scene and writes cloud-optimised GeoTIFFs.

    Args:
        model: its folder, or its name on the hub.
        inputs: the scene.
        out: the result, `.tif`; further layers lie beside it as `NAME_LAYER.tif`.
        options: what is wanted beside the result.
        running: how it is worked on.
        target: of a pretrained model, the sensor whose image is predicted; empty for a model of a task.

    Raises:
        InputError: inputs that do not fit the model or each other, a result that is there already, a full disk.
    """
    require_suffix(out, ".tif")
    require_writable(out)
    folder = model_folder(model)
    cards, first = wanted_cards(folder, inputs.images, target)
    request = make_request(
        cards,
        inputs.images,
        inputs.bands,
        inputs.like,
        first=first,
        settings=inputs.settings,
        power=inputs.power,
        allow_missing=inputs.allow_missing,
    )
    tiling = make_tiling(folder, request, running)
    try:
        with lock_folder(parts_beside(out)), open_scene(request) as scene:
            if out.exists() and not running.overwrite and not has_plan(out):
                raise InputError(f"{out} is there already; choose another name, or replace it with --overwrite")
            require_contract(scene, inputs.force)
            return _predict(folder, target, scene, tiling, out, options, running)
    finally:
        with suppress(OSError):  # what a run left stays
            parts_beside(out).rmdir()


def make_tiling(folder: Path, request: SceneRequest, running: Running) -> Tiling:
    """Windows as large as those of training, unless said otherwise, that overlap by a quarter.

    Raises:
        InputError: windows that are no windows.
    """
    window = running.window or training_window(folder)
    overlap = window // 4 if running.overlap is None else running.overlap
    if not 0 <= overlap < window:
        raise InputError(f"--overlap {overlap}: windows of {window} pixels overlap by 0 to {window - 1} pixels")
    return Tiling(height=request.grid.height, width=request.grid.width, window=window, overlap=overlap)


def _device(wanted: str) -> str:
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=wanted)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"--device {wanted}: {str(error).splitlines()[0]}; give cpu, cuda or cuda:0") from error
    return wanted


def _predict(
    model: Path, target: str, scene: Scene, tiling: Tiling, out: Path, options: ProductOptions, running: Running
) -> Outcome:
    device = _device(running.device)
    product = load_product(model, target, scene.request, options, torch.device(device))
    plan = {
        "msgfm": msgfm.__version__,
        "model": model_digest(model),
        "target": target,
        "inputs": scene.digest,
        **asdict(options),
        **asdict(tiling),
        "batch_size": running.batch_size,
        "fill": running.fill,
        "device": device,
    }
    if running.overwrite and not running.resume:
        remove_plan(out)
    parts = open_parts(out, list(product.layers), plan, resume=running.resume)
    stripes = cut_parts(tiling.height, tiling.width, sum(spec.bytes_per_pixel for spec in product.layers.values()))
    work = Work(
        model=model,
        target=target,
        request=scene.request,
        options=options,
        tiling=tiling,
        batch_size=running.batch_size,
        fill=running.fill,
        device=device,
        parts=parts,
    )
    runs = missing_runs(stripes, parts.has, runs_wanted(running.workers, cluster=bool(running.dask)))
    clock = Clock()
    if running.dask:
        done = do_on_dask(work, runs, running.dask, running.workers)
    elif running.workers > 1:
        done = do_in_processes(work, runs, running.workers)
    else:
        done = do_here(work, runs, product, scene, clock)
    watch(done, "predicting", sum(map(pixels_of, runs)))
    with clock.measure("assembling"):
        files = {layer: assemble_layer(out, layer, spec, parts, stripes) for layer, spec in product.layers.items()}
    settings = {"window": tiling.window, "overlap": tiling.overlap}
    cards = {image.key: image.card for image in scene.request.images}
    facts = describe_model(model, cards, target=target, digest=digest_of_weights(model), settings=settings)
    inputs = {image.key: [file.place for file in image.files] for image in scene.request.images}
    describe_results(out, files, product.layers, facts, inputs)
    remove_parts(out)
    return Outcome(files=tuple(files.values()), clock=clock)
