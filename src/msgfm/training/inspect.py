"""`msgfm reconstruct`: pictures and scores of a pretrained model on chosen samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.table import Table

from msgfm.data.records import Manifest
from msgfm.errors import InputError
from msgfm.models.msgfm import MsGFM
from msgfm.models.pretrained import from_pretrained
from msgfm.training.outcome import read_run_facts, scores_table
from msgfm.training.pictures import draw_reconstructions
from msgfm.training.reconstruction import load_example, score_reconstruction, write_scores
from msgfm.training.sources import open_manifest


def reconstruct_samples(
    folder: Path,
    manifest_path: Path,
    picture: Path,
    *,
    split: str,
    names: Sequence[str],
    count: int,
    image_size: int | None,
    seed: int,
    scores: Path | None,
) -> Table | None:
    """Draws samples of a manifest and, if `scores` is given, scores the split against the manifest's `train` split.

    Raises:
        InputError: no such model, manifest, split or sample, or an image size that does not fit the masks.
    """
    model = from_pretrained(folder)
    size = image_size or trained_image_size(folder, model)
    square = max(model.config.mask_patch_size, model.config.stride)
    if size % square:
        raise InputError(f"--image-size {size} is not a multiple of {square} px, as this model's masks need")
    everything = open_manifest(manifest_path)
    manifest = everything.only(split)
    chosen = choose(manifest, model, names, count)
    examples = [load_example(model, manifest, sample, size, seed) for sample in chosen.samples]
    draw_reconstructions(model, examples, picture)
    if scores is None:
        return None
    results = score_reconstruction(model, manifest_path.stem, [manifest], [everything.only("train")], size, seed=seed)
    write_scores(results, scores)
    return scores_table(results)


def choose(manifest: Manifest, model: MsGFM, names: Sequence[str], count: int) -> Manifest:
    """The samples named, or `count` of them spread evenly over those that the model knows sensors of."""
    known = [sample for sample in manifest.samples if any(name in model.sensors for name in sample.sensors)]
    if not known:
        raise InputError(f"the manifest has {', '.join(manifest.sensors)}; the model knows {', '.join(model.sensors)}")
    by_name = {sample.sample: sample for sample in known}
    if missing := [name for name in names if name not in by_name]:
        raise InputError(f"no sample {missing[0]!r} in the manifest; its samples are named like {known[0].sample!r}")
    step = max(len(known) // count, 1)
    return replace(manifest, samples=tuple(by_name[name] for name in names) or tuple(known[::step][:count]))


def trained_image_size(folder: Path, model: MsGFM) -> int:
    """The image size of the run that made the model; of a folder without `run.json`, six squares as in the paper."""
    trained = read_run_facts(folder)
    if trained is None:
        return 6 * max(model.config.mask_patch_size, model.config.stride)
    return int(trained["recipe"]["image_size"])
