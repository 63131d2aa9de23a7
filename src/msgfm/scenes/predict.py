"""`msgfm predict` and `msgfm translate`: from files of sensors to georeferenced rasters, in constant memory."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from msgfm.progress import watch
from msgfm.scenes.engine import Clock
from msgfm.scenes.execute import do_here, do_in_processes, do_on_dask, pixels_of, runs_wanted
from msgfm.scenes.features import FeatureMap
from msgfm.scenes.job import Job, Running, SceneInputs, open_job
from msgfm.scenes.make import load_product
from msgfm.scenes.parts import cut_parts, missing_runs
from msgfm.scenes.products import Product, ProductOptions
from msgfm.scenes.results import assemble_layer, describe_results
from msgfm.scenes.work import Work


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
    with open_job(model, inputs, out, running, target=target) as job:
        device = torch.device(job.device)
        product = load_product(job.model, target, job.scene.request, options, device)
        return make_rasters(job, product, options)


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


def make_rasters(job: Job, product: Product, options: ProductOptions) -> Outcome:
    """Does the work, part by part, and puts the layers of the result together."""
    parts = job.open_parts(list(product.layers), asdict(options))
    pixel = sum(spec.bytes_per_pixel for spec in product.layers.values())
    stripes = cut_parts(job.tiling.height, job.tiling.width, pixel, job.step)
    running, clock = job.running, Clock()
    work = Work(
        model=job.model,
        target=job.target,
        stage=job.stage,
        request=job.scene.request,
        options=options,
        tiling=job.tiling,
        batch_size=running.batch_size,
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
    with closing(done):  # threads and processes end before the scene is closed, whatever stops this one
        watch(done, "predicting", sum(map(pixels_of, runs)))
    with clock.measure("assembling"):
        files = {
            layer: assemble_layer(job.staged, layer, spec, parts, stripes) for layer, spec in product.layers.items()
        }
    describe_results(job.staged, files, product.layers, job.origin(features=product.channels if job.stage else 0))
    job.finish()
    return Outcome(files=tuple(job.out.with_name(file.name) for file in files.values()), clock=clock)
