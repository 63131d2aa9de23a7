"""What a run leaves in its folder besides weights: recipe, pictures, scores, `run.json` and the report."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from msgfm.config import config_to_dict
from msgfm.data.layouts.splits import spread_evenly
from msgfm.data.mixture import Source
from msgfm.data.records import Manifest
from msgfm.data.shards.read import listing_of
from msgfm.errors import InputError
from msgfm.files import write_atomically
from msgfm.models.msgfm import MsGFM
from msgfm.training.facts import describe_origin
from msgfm.training.folder import RUN_FACTS
from msgfm.training.pretraining.config import PretrainConfig
from msgfm.training.pretraining.pictures import draw_reconstructions
from msgfm.training.pretraining.reconstruction import Score, load_example, score_reconstruction, write_scores
from msgfm.training.pretraining.report import write_report
from msgfm.training.pretraining.sources import load_manifests

_PICTURED_PER_SOURCE = 2


def held_out(config: PretrainConfig, name: str) -> tuple[Manifest, ...]:
    """The `val` samples of a source's manifests; none if it trains on them, or has no such split."""
    source = config.sources[name]
    return (
        ()
        if source.split in ("val", "all")
        else load_manifests(name, source, "val", limits=config.hardware.cache_limits)
    )


def draw_picture(config: PretrainConfig, sources: Sequence[Source], model: MsGFM, step: int) -> Path | None:
    """Draws held-out samples of every source (training samples where none are held out); None if none can be read."""
    training = model.training
    model.eval()
    examples = []
    for source in sources:
        manifests = held_out(config, source.name) or source.manifests
        pairs = [(manifest, sample) for manifest in manifests for sample in manifest.samples]
        # samples with most sensors show most; of these, some that lie far apart
        most = max(len(sample.images) for _, sample in pairs)
        pairs = [(manifest, sample) for manifest, sample in pairs if len(sample.images) == most]
        for manifest, sample in spread_evenly(pairs, _PICTURED_PER_SOURCE):
            # a file that cannot be read is counted where it is trained on or scored
            with suppress(InputError):
                examples.append(load_example(model, manifest, sample, config.image_size, config.seed))
    path = config.out / "pictures" / f"reconstruction_{step:08d}.png"
    if examples:
        draw_reconstructions(model, examples, path)
    model.train(training)
    return path if examples else None


def write_outcome(
    config: PretrainConfig,
    sources: Sequence[Source],
    model: MsGFM,
    bad: dict[str, None],
    started: float,
    steps: int,
    console: Console,
) -> None:
    """Final picture, scores on what was held out, `run.json`, `report.html`; adds to `bad` what cannot be read."""
    draw_picture(config, sources, model, steps)
    scores: list[Score] = []
    for source in sources:
        unseen = held_out(config, source.name)
        scores += score_reconstruction(
            model, source.name, unseen, source.manifests, config.image_size, seed=config.seed, bad=bad
        )
    if scores:
        write_scores(scores, config.out / "scores.csv")
        console.print(scores_table(scores))
    facts = run_facts(config, sources, model, list(bad), started, steps)
    with write_atomically(config.out / RUN_FACTS) as temporary:
        temporary.write_text(json.dumps(facts, indent=1))
    write_report(config.out, scores, facts)
    for message in bad:
        console.print(f"left out: {message}", highlight=False)
    console.print(f"done: {config.out}  (open {config.out / 'report.html'}; load with msgfm.from_pretrained)")


def scores_table(scores: Sequence[Score]) -> Table:
    """The scores as a table for the terminal."""
    table = Table(title="masked L1 on held-out images, normalised units", title_justify="left", box=SIMPLE_HEAD)
    for heading in ("data", "direction", "images", "squares", "L1", "baseline", "its L1", "ratio"):
        table.add_column(heading, justify="left" if heading in ("data", "direction", "baseline") else "right")
    for score in scores:
        numbers = (f"{score.masked_l1:.4f}", score.baseline, f"{score.baseline_l1:.4f}", f"{score.ratio:.3f}")
        table.add_row(score.data, score.direction, str(score.images), str(score.squares), *numbers)
    return table


def run_facts(
    config: PretrainConfig, sources: Sequence[Source], model: MsGFM, bad: Sequence[str], started: float, steps: int
) -> dict[str, Any]:
    """Versions, commit, recipe and data counts: what is needed to run it again."""
    return describe_origin(started) | {
        "steps": steps,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "recipe": config_to_dict(config),
        "data": {source.name: _data_facts(config, source) for source in sources},
        "left_out": list(bad),
    }


def _data_facts(config: PretrainConfig, source: Source) -> dict[str, Any]:
    combinations = Counter(
        " + ".join(sorted(sample.sensors)) for manifest in source.manifests for sample in manifest.samples
    )
    return {
        "samples": len(source),
        "by_sensors": dict(combinations),
        "manifests": {
            str(path): hashlib.sha256(listing_of(path)).hexdigest() for path in config.sources[source.name].manifest
        },
    }


def read_run_facts(folder: Path) -> dict[str, Any] | None:
    """What `run_facts` wrote into a model's folder; None where there is nothing.

    Raises:
        InputError: damaged, or not of msgfm.
    """
    path = folder / RUN_FACTS
    if not path.is_file():
        return None
    try:
        facts = dict(json.loads(path.read_text()))
        if missing := {"steps", "finished", "commit", "recipe", "data"} - facts.keys():
            raise ValueError(f"{', '.join(sorted(missing))} missing")
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path} is damaged ({error}); the model does not need it: delete or restore it") from error
    return facts
