"""`msgfm info`: what a model folder holds, read without building the model."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from rich.console import RenderableType
from rich.table import Table
from safetensors import SafetensorError, safe_open

from msgfm.errors import InputError
from msgfm.models.downstream import DownstreamConfig
from msgfm.models.msgfm import MsGFMConfig
from msgfm.models.pretrained import load_model_config
from msgfm.models.tasks import Restoration
from msgfm.models.weights import WEIGHTS
from msgfm.training.pretraining.outcome import read_run_facts


def describe_model(folder: Path) -> Iterator[RenderableType]:
    """Tables to print.

    Raises:
        InputError: not a model folder.
    """
    config = load_model_config(folder)
    try:
        with safe_open(folder / WEIGHTS, framework="numpy") as weights:
            sizes = {name: math.prod(weights.get_slice(name).get_shape()) for name in weights.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise InputError(f"cannot read {folder / WEIGHTS}: {error}; copy or download it again") from error
    total, experts = sum(sizes.values()), sum(size for name, size in sizes.items() if ".experts." in name)
    moe = config.encoder.moe
    idle = experts * (1 - moe.top_k / moe.num_experts) if moe else 0

    facts = Table(title=f"msGFM in {folder}", title_justify="left", show_header=False)
    facts.add_row("parameters", f"{total / 1e6:.2f} M, {(total - idle) / 1e6:.2f} M active per token")
    if isinstance(config, DownstreamConfig):
        _describe_task(facts, config)
    else:
        _describe_encoder(facts, config)
        facts.add_row("masks", f"squares of {config.mask_patch_size} px, {config.mask_ratio:.0%} hidden")
        _describe_training(facts, folder)
    yield facts

    bands = Table(title="sensors", title_justify="left")
    for heading in ("sensor", "band", "wavelength or polarisation", "unit", "valid range", "mean", "std"):
        bands.add_column(heading)
    for sensor in config.sensors:
        for i, band in enumerate(sensor.bands):
            nature = f"{band.wavelength_nm:g} nm" if band.wavelength_nm else band.polarisation or ""
            span = f"{band.valid_range[0]:g} .. {band.valid_range[1]:g}"
            name = "" if i else sensor.name
            # cards that no input has need no statistics
            numbers = ["" if number is None else f"{number:.4g}" for number in (band.mean, band.std)]
            bands.add_row(name, band.name, nature, band.unit, span, *numbers)
    yield bands


def _describe_encoder(facts: Table, config: MsGFMConfig | DownstreamConfig) -> None:
    encoder, moe = config.encoder, config.encoder.moe
    facts.add_row("encoder", f"Swin, width {encoder.embed_dim}, depths {encoder.depths}, window {encoder.window_size}")
    if moe:
        facts.add_row(
            "mixture", f"{moe.num_experts} experts, top-{moe.top_k}, stage {moe.stage + 1} blocks {list(moe.blocks)}"
        )
    facts.add_row("embedding", f"{config.patch_embed.kind}, patch {config.patch_embed.patch_size} px")


def _describe_task(facts: Table, config: DownstreamConfig) -> None:
    task, backbone = config.task, config.backbone
    if backbone.kind == "msgfm":
        _describe_encoder(facts, config)
    else:
        settings = backbone.model_dump(mode="json", exclude_defaults=True)
        facts.add_row("backbone", ", ".join([backbone.kind, *(f"{key} {value}" for key, value in settings.items())]))
    predicted = task.target.key if isinstance(task, Restoration) else ", ".join(task.classes)
    facts.add_row("task", f"{task.kind.replace('_', ' ')}: {predicted}")
    facts.add_row("inputs", f"{', '.join(image.key for image in config.inputs)} ({config.transfer})")


def _describe_training(facts: Table, folder: Path) -> None:
    trained = read_run_facts(folder)
    if trained is None:
        return
    facts.add_row("trained", f"{trained['steps']} steps, finished {trained['finished']}, commit {trained['commit']}")
    for name, data in trained["data"].items():
        counts = ", ".join(f"{count} of {sensors}" for sensors, count in data["by_sensors"].items())
        facts.add_row(f"data: {name}", f"{data['samples']} samples: {counts}")
