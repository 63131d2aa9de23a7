"""`msgfm embed`, and `msgfm predict` with a classification: a table with a vector for each window of a scene."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import torch

from msgfm.errors import InputError
from msgfm.models.downstream import DownstreamModel
from msgfm.models.msgfm import MsGFM
from msgfm.models.pretrained import from_pretrained, load_downstream
from msgfm.models.tasks import Classification
from msgfm.progress import watch
from msgfm.scenes.engine import Clock
from msgfm.scenes.job import Job, open_job
from msgfm.scenes.parts import tells_what_is_kept
from msgfm.scenes.settings import Running, SceneInputs
from msgfm.scenes.threads import model_threads
from msgfm.scenes.vectors import Vectors, class_vectors, do_rows, feature_vectors, kept_windows, missing_rows
from msgfm.scenes.windows_table import WindowsInfo, open_windows_table, require_column_names


def classify_scene(model: str, inputs: SceneInputs, out: Path, running: Running) -> Path:
    """Probabilities of the classes of each window, side by side unless told to overlap, as GeoParquet.

    Args:
        model: its folder, or its name on the hub; of a classification.
        inputs: the scene.
        out: the result, `.parquet`.
        running: how it is worked on.

    Raises:
        InputError: as `open_job`; or the model does not classify images.
    """
    _require_one_process(running)
    with open_job(model, inputs, out, running, suffix=".parquet", apart=True) as job:
        loaded = load_downstream(job.model).to(torch.device(job.device))
        if not isinstance(loaded.config.task, Classification):
            raise InputError(f"a model of {loaded.config.task.kind} gives a raster: --out NAME.tif")
        return write_windows(job, class_vectors(loaded, torch.device(job.device)))


def embed_scene(model: str, inputs: SceneInputs, out: Path, stage: int, running: Running) -> Path:
    """Features of a stage of the encoder, the mean over each window, as GeoParquet.

    Args:
        model: its folder, or its name on the hub; pretrained or of a task.
        inputs: the scene; a pretrained model takes one of its sensors, or several.
        out: the result, `.parquet`.
        stage: of the encoder, from 1.
        running: how it is worked on.

    Raises:
        InputError: as `open_job`; or no such stage.
    """
    _require_one_process(running)
    with open_job(model, inputs, out, running, suffix=".parquet", stage=stage, apart=True) as job:
        device = torch.device(job.device)
        loaded: MsGFM | DownstreamModel = from_pretrained(job.model).to(device)
        bands = {image.key: image.card.band_names for image in job.scene.request.images}
        return write_windows(job, feature_vectors(loaded, stage, bands, device))


def _require_one_process(running: Running) -> None:
    if running.workers > 1 or running.dask:
        raise InputError(
            "a table of windows is made by one process: leave out --workers and --dask, which are for rasters "
            "(of embed, --per-pixel)"
        )


def write_windows(job: Job, vectors: Vectors) -> Path:
    """Does the work, row of windows by row of windows, and writes the table."""
    require_column_names(vectors.names)
    parts = job.open_parts([], {})
    rows = sum(map(len, missing_rows(job.tiling, parts.path)))
    with model_threads(job.device) as threads:
        done = do_rows(
            job.scene.read,
            vectors,
            job.tiling,
            parts.path,
            batch_size=job.batch_size,
            fill=job.running.fill,
            threads=threads,
            clock=Clock(),
        )
        # its threads end before the scene is closed, whatever stops this one
        with tells_what_is_kept(job.out), closing(done):
            watch(done, "predicting", rows)
    facts: dict[str, Any] = {
        "model": job.model.name,
        "weights_sha256": job.weights,
        "window": job.tiling.window,
        "overlap": job.tiling.overlap,
        "inputs": job.places(),
    }
    if job.stage:
        facts["stage"] = job.stage
    if taken := job.taken():
        facts["taken"] = [moment.isoformat() for moment in taken]
    info = WindowsInfo(grid=job.scene.grid, size=vectors.size, names=vectors.names, facts=facts)
    kept = 0
    with open_windows_table(job.staged, info) as table:
        for windows in kept_windows(job.tiling, parts.path):
            table.add(windows)
            kept += len(windows.areas)
    share = kept / (len(job.tiling.rows.starts) * len(job.tiling.columns.starts))
    job.require_data(share, "windows")
    job.finish()
    return job.out
