"""`msgfm predict`, `translate` and `embed --per-pixel`: from files of sensors to rasters, in constant memory."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from msgfm.errors import InputError, InputWarning
from msgfm.files import remove_unfinished, require_writable
from msgfm.geo.spec import RasterClass
from msgfm.models.pretrained import load_model_config, model_folder
from msgfm.models.tasks import ChangeDetection, Segmentation
from msgfm.progress import watch
from msgfm.scenes.engine import Clock
from msgfm.scenes.execute import do_here, do_in_processes, do_on_dask, pixels_of, runs_wanted
from msgfm.scenes.features import FeatureMap
from msgfm.scenes.job import Job, open_job
from msgfm.scenes.make import load_product
from msgfm.scenes.parts import cut_parts, has_begun, missing_runs, tells_what_is_kept
from msgfm.scenes.polygons import PolygonsWanted, require_polygon_suffix, write_polygons
from msgfm.scenes.products import MAIN, Product, ProductOptions
from msgfm.scenes.results import assemble_layer, describe_results, layer_path, left_of_former, paths_of, require_none_of
from msgfm.scenes.settings import Running, SceneInputs
from msgfm.scenes.share import share_with_data
from msgfm.scenes.stac import PolygonsFile, said_polygons
from msgfm.scenes.work import Work


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What was written, and how long each stage was at work in this process."""

    files: tuple[Path, ...]
    clock: Clock


def predict_scene(
    model: str,
    inputs: SceneInputs,
    out: Path,
    options: ProductOptions,
    running: Running,
    *,
    target: str = "",
    polygons: PolygonsWanted | None = None,
) -> Outcome:
    """Runs a model over a scene and writes cloud-optimised GeoTIFFs.

    Args:
        model: its folder, or its name on the hub.
        inputs: the scene.
        out: the result, `.tif`; further layers lie beside it as `NAME_LAYER.tif`.
        options: what is wanted beside the result.
        running: how it is worked on.
        target: of a pretrained model, the sensor whose image is predicted; empty for a model of a task.
        polygons: of the classes, to be made of the result. With `--resume` also of one that was complete without.

    Raises:
        InputError: inputs that do not fit the model or each other, a result that is there already, a full disk.
    """
    if polygons is not None:
        require_polygons(model_folder(model), polygons, running)
    with open_job(model, inputs, out, running, target=target) as job:
        device = torch.device(job.device)
        product = load_product(job.model, target, job.scene.request, options, device)
        return make_rasters(job, product, options, polygons)


def embed_pixels(model: str, inputs: SceneInputs, out: Path, stage: int, running: Running) -> Outcome:
    """Features of a stage of the encoder, a pixel for each of its tokens, as a cloud-optimised GeoTIFF.

    Args:
        model: its folder, or its name on the hub; pretrained or of a task.
        inputs: the scene; a pretrained model takes one of its sensors, or several.
        out: the result, `.tif`.
        stage: of the encoder, from 1.
        running: how it is worked on.

    Raises:
        InputError: as `predict_scene`; or no such stage.
    """
    with open_job(model, inputs, out, running, stage=stage) as job:
        options = ProductOptions()
        product = load_product(job.model, "", job.scene.request, options, torch.device(job.device), stage=stage)
        assert isinstance(product, FeatureMap)
        return make_rasters(job.on_tokens(product.stage.step, product.stage.widest), product, options)


def make_rasters(
    job: Job, product: Product, options: ProductOptions, polygons: PolygonsWanted | None = None
) -> Outcome:
    """Does the work, puts the layers of the result together, and writes what lies beside them."""
    settings, clock = asdict(options), Clock()
    former = left_of_former(job.out, product.layers)
    said, own = said_polygons(job.out), [] if polygons is None else [polygons.path]
    job.require_inputs_stay([*paths_of(job.out, product.layers), *former, *own])
    complete = polygons is not None and job.is_complete(settings)  # but for its polygons
    shapes = None if polygons is None else _polygons_file(polygons, job.out)
    kept = shapes is not None and _keeps(shapes, job, complete=complete)
    written = {layer: layer_path(job.out, layer) for layer in product.layers}
    origin = job.origin(settings, features=product.channels if job.stage else 0)
    if not complete:
        made = _make_layers(job, product, options, clock)
        job.require_data(share_with_data(made[MAIN], product.layers[MAIN]))
        with tells_what_is_kept(job.out):
            describe_results(job.staged, made, product.layers, origin)
            job.finish()
        for path in (*former, *own):
            path.unlink(missing_ok=True)  # of the result that was replaced
        if said is not None and shapes is None and said.path.exists():
            warnings.warn(f"{said.path} holds the polygons of the result that was replaced", InputWarning, stacklevel=3)
    if shapes is None:
        return Outcome(files=tuple(written.values()), clock=clock)
    if not kept:
        with clock.measure("polygons"):
            _make_polygons(shapes, written[MAIN], product.layers[MAIN].classes)
        describe_results(job.out, written, product.layers, origin, shapes)
    return Outcome(files=(*written.values(), shapes.path), clock=clock)


def _make_layers(job: Job, product: Product, options: ProductOptions, clock: Clock) -> dict[str, Path]:
    """The layers, part by part, and put together where the result is made."""
    parts = job.open_parts(list(product.layers), asdict(options))
    if not (job.running.overwrite or has_begun(job.out)):
        require_none_of(job.out, product.layers)
    pixel = sum(spec.bytes_per_pixel for spec in product.layers.values())
    stripes = cut_parts(job.tiling.height, job.tiling.width, pixel, job.step)
    running = job.running
    work = Work(
        model=job.model,
        target=job.target,
        stage=job.stage,
        request=job.scene.request,
        options=options,
        tiling=job.tiling,
        batch_size=job.batch_size,
        fill=running.fill,
        device=job.device,
        parts=parts,
    )
    runs = missing_runs(stripes, parts.has, runs_wanted(running.workers, cluster=bool(running.dask)))
    if running.dask:
        done = do_on_dask(work, runs, running.dask, running.workers)
    elif running.workers > 1:
        done = do_in_processes(work, runs, running.workers)
    else:
        done = do_here(work, runs, product, job.scene, clock)
    # threads and processes end before the scene is closed, whatever stops this one
    with tells_what_is_kept(job.out), closing(done):
        watch(done, "predicting", sum(map(pixels_of, runs)))
    with clock.measure("assembling"), tells_what_is_kept(job.out):
        return {
            layer: assemble_layer(job.staged, layer, spec, parts, stripes) for layer, spec in product.layers.items()
        }


def require_polygons(folder: Path, wanted: PolygonsWanted, running: Running) -> None:
    """Refuses, before any work, polygons that cannot be made or written.

    Raises:
        InputError: the model gives no classes of pixels, or not the one that is left out; a file that is there
            already, or cannot be written.
    """
    task = getattr(load_model_config(folder), "task", None)
    if not isinstance(task, Segmentation | ChangeDetection):
        told = "a pretrained one has none" if task is None else f"it was fine-tuned for {task.kind}"
        raise InputError(f"--polygons are of the classes of pixels, which the model does not give: {told}")
    if wanted.leave_out and wanted.leave_out not in task.classes:
        raise InputError(f"--leave-out {wanted.leave_out}: no such class; there are {', '.join(task.classes)}")
    require_polygon_suffix(wanted.path)
    require_writable(wanted.path)
    if wanted.path.exists() and not (running.overwrite or running.resume):
        raise InputError(f"{wanted.path} is there already; choose another name, or replace it with --overwrite")


def _polygons_file(wanted: PolygonsWanted, out: Path) -> PolygonsFile:
    """What the item of a result is to say of its polygons."""
    href = Path(os.path.relpath(wanted.path.absolute(), out.absolute().parent)).as_posix()
    return PolygonsFile(path=wanted.path, href=href, min_area_m2=wanted.min_area_m2, leave_out=wanted.leave_out)


def _keeps(shapes: PolygonsFile, job: Job, *, complete: bool) -> bool:
    """Whether a result that is complete has the polygons that are wanted.

    Raises:
        InputError: a file of that name is there, and is not the result's, or holds others of its polygons.
    """
    if job.running.overwrite or not shapes.path.exists():
        return False
    said = said_polygons(job.out)
    if said is None or said.href != shapes.href:
        raise InputError(f"{shapes.path} is there already, and not of {job.out}; choose another name")
    if not complete:  # of the result that a run which was stopped was to replace
        return False
    if (said.min_area_m2, said.leave_out) != (shapes.min_area_m2, shapes.leave_out):
        without = f", without {said.leave_out}" if said.leave_out else ""
        raise InputError(
            f"{shapes.path} holds the polygons of {said.min_area_m2:g} m2 and more{without}; choose another name, or "
            f"delete it to make it anew"
        )
    return True


def _make_polygons(shapes: PolygonsFile, class_map: Path, classes: Sequence[RasterClass]) -> None:
    remove_unfinished(shapes.path)  # by a run that was killed
    try:
        write_polygons(class_map, classes, shapes.path, min_area_m2=shapes.min_area_m2, leave_out=shapes.leave_out)
    except InputError as error:
        raise InputError(
            f"{error}. {class_map} is complete: the same command with --resume makes its polygons"
        ) from error
