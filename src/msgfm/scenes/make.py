"""What is made of a scene by a model: the product that suits its task, stored as the scene's files store theirs."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from msgfm.errors import InputError
from msgfm.geo.spec import RasterSpec, StoredBand
from msgfm.models.downstream import DownstreamModel
from msgfm.models.msgfm import MsGFM
from msgfm.models.pretrained import from_pretrained, load_downstream, load_msgfm
from msgfm.models.tasks import Classification, Restoration
from msgfm.scenes.encoding import feature_stage
from msgfm.scenes.features import FeatureMap
from msgfm.scenes.inputs.request import BandStorage, SceneRequest
from msgfm.scenes.products import ClassMap, Product, ProductOptions, RestoredImage
from msgfm.sensors import Sensor


def predicted_product(
    model: DownstreamModel, request: SceneRequest, options: ProductOptions, device: torch.device
) -> Product:
    """Of a model for a task whose results are pixels.

    Raises:
        InputError: the model classifies whole images, or cannot give what the options ask for.
    """
    task = model.config.task
    if isinstance(task, Classification):
        raise InputError(f"a model of {task.kind} gives a vector for each window, and no raster")
    if not isinstance(task, Restoration):
        _refuse(options, ("uncertainty", "synthesised"), f"{task.kind} gives classes")
        return ClassMap(model, device, request.grid, options)
    _refuse(options, ("probabilities", "entropy"), "restoration gives an image and no classes")
    target = task.target.card(model.config.sensors)
    over = None
    if task.over is not None:
        there = next((image.card.band_names for image in request.images if image.key == task.over), ())
        over = task.over, tuple(there.index(name) if name in there else None for name in target.band_names)
    return RestoredImage(
        model,
        device,
        spec=stored_as(target, request, prefer=task.over),
        std=torch.tensor([band.std for band in target.bands]),
        over=over,
        options=options,
    )


def translated_product(
    model: MsGFM, target: str, request: SceneRequest, options: ProductOptions, device: torch.device
) -> Product:
    """Of a pretrained model: another sensor's image, predicted from the one of the request."""
    source = request.images[0]
    card = model.sensors[target]
    run = partial(_translate, model, source.key, target, {source.key: source.card.band_names})
    std = torch.tensor([band.std for band in card.bands])
    spec = stored_as(card, request, prefer=None)
    return RestoredImage(run, device, spec=spec, std=std, over=None, options=options)


def _translate(
    model: MsGFM, source: str, target: str, bands: Mapping[str, tuple[str, ...]], images: Mapping[str, Tensor]
) -> Tensor:
    return model.reconstruct(images, source, target, bands=bands, checked=True)


def stored_as(target: Sensor, request: SceneRequest, *, prefer: str | None) -> RasterSpec:
    """How an image of these bands is stored: as the files of its sensor that were given, else as its card says.

    Args:
        target: its card.
        request: the scene.
        prefer: key of the input whose files count most.
    """
    given: dict[str, BandStorage] = {}
    images = [image for image in request.images if image.card.name == target.name]
    for image in sorted(images, key=lambda image: image.key != prefer):
        for band, storage in zip(image.card.bands, image.storage, strict=True):
            given.setdefault(band.name, storage)
    stored = [given.get(band.name) for band in target.bands]
    known = [one for one in stored if one is not None]
    if known:
        dtype = np.result_type(*(one.dtype for one in known)).name
    else:
        dtype = "uint16" if all(0 < band.scale < 1 for band in target.bands) else "float32"
    bands = tuple(
        StoredBand(
            name=band.name,
            unit=band.unit,
            scale=band.scale if one is None else one.scale,
            offset=band.offset if one is None else one.offset,
        )
        for band, one in zip(target.bands, stored, strict=True)
    )
    marks = [one.nodata for one in known if one.nodata is not None]
    floating = np.dtype(dtype).kind == "f"
    nodata = float("nan") if floating else (marks[0] if marks else float(np.iinfo(dtype).min))
    return RasterSpec(grid=request.grid, dtype=dtype, bands=bands, nodata=nodata)


def _refuse(options: ProductOptions, names: tuple[str, ...], why: str) -> None:
    for name in names:
        if getattr(options, name):
            raise InputError(f"--{name}: {why}")


def load_product(
    folder: Path,
    target: str,
    request: SceneRequest,
    options: ProductOptions,
    device: torch.device,
    *,
    stage: int = 0,
) -> Product:
    """Loads a model and makes its product.

    Args:
        folder: of the model.
        target: of a translation, the sensor wanted; else empty.
        request: the scene.
        options: what is wanted beside the result.
        device: that it runs on.
        stage: of features, the encoder's, from 1; else 0.
    """
    if stage:
        bands = {image.key: image.card.band_names for image in request.images}
        model: MsGFM | DownstreamModel = from_pretrained(folder).to(device)
        return FeatureMap(feature_stage(model, stage, bands), device, request.grid)
    if target:
        return translated_product(load_msgfm(folder).to(device), target, request, options, device)
    return predicted_product(load_downstream(folder).to(device), request, options, device)
