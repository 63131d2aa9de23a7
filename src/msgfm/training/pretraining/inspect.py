"""`msgfm reconstruct`: pictures and scores of a pretrained model on chosen samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.table import Table

from msgfm.data.layouts.splits import spread_evenly
from msgfm.data.opening import open_manifest
from msgfm.data.records import Manifest, Sample
from msgfm.errors import InputError
from msgfm.files import require_writable
from msgfm.models.msgfm import MsGFM
from msgfm.models.pretrained import load_msgfm
from msgfm.training.pretraining.config import ROLES
from msgfm.training.pretraining.outcome import read_run_facts, scores_table
from msgfm.training.pretraining.pictures import draw_reconstructions
from msgfm.training.pretraining.reconstruction import load_example, score_reconstruction, write_scores
from msgfm.training.pretraining.sources import only_images


def reconstruct_samples(
    folder: Path,
    manifest_path: Path,
    picture: Path,
    *,
    split: str,
    roles: Sequence[str] = (),
    names: Sequence[str],
    count: int,
    image_size: int | None,
    seed: int,
    scores: Path | None,
) -> Table | None:
    """Draws samples of a manifest and, if `scores` is given, scores the split against the manifest's `train` split.

    Images of different roles are taken as samples of their own, as in training.

    Args:
        folder: of the model.
        manifest_path: of the samples.
        picture: the file to draw into.
        split: which split; `all` is every sample.
        roles: which images to take; without any those that training takes unless a recipe says otherwise.
        names: of the samples to draw; without any, `count` of them.
        count: how many to draw where none is named.
        image_size: side of the square in pixels; None is the size trained at.
        seed: of the masks.
        scores: the file to write scores into.

    Raises:
        InputError: no such model, manifest, split, role or sample, an image size that does not fit the masks, or a
            file that cannot be written.
    """
    for path in filter(None, (picture, scores)):
        require_writable(path)
    model = load_msgfm(folder)
    size = image_size or trained_image_size(folder, model)
    square = max(model.config.mask_patch_size, model.config.stride)
    if size % square:
        raise InputError(f"--image-size {size} is not a multiple of {square} px, as this model's masks need")
    everything = open_manifest(manifest_path)
    known = known_images(everything, model, tuple(roles) or ROLES)
    manifest = known.only(split)
    chosen = choose(manifest, names, count)
    examples = [load_example(model, manifest, sample, size, seed) for sample in chosen.samples]
    draw_reconstructions(model, examples, picture)
    if scores is None:
        return None
    results = score_reconstruction(model, manifest_path.stem, [manifest], [known.only("train")], size, seed=seed)
    write_scores(results, scores)
    return scores_table(results)


def known_images(manifest: Manifest, model: MsGFM, roles: Sequence[str]) -> Manifest:
    """The manifest with images in these roles of the sensors that the model knows, each role a sample.

    Raises:
        InputError: there are none; the message says which there are.
    """
    known = only_images(manifest, model.sensors.keys(), roles)
    if not known.samples:
        there = list(dict.fromkeys(image.key for sample in manifest.samples for image in sample.images))
        others = {f"--role {role}" for _, at, role in (key.partition("@") for key in there) if at and role not in roles}
        remedy = f"; take others with {' or '.join(sorted(others))}" if others else ""
        asked = " or ".join(f"in the role {role}" if role else "without a role" for role in roles)
        raise InputError(
            f"the manifest has {', '.join(there)}; the model knows {', '.join(model.sensors)}, and images {asked} were "
            f"asked for{remedy}"
        )
    return known


def choose(manifest: Manifest, names: Sequence[str], count: int) -> Manifest:
    """The samples named (of one with several roles all, unless its name has the role), or `count` spread evenly."""
    chosen: list[Sample] = []
    for name in names:
        found = [sample for sample in manifest.samples if name in (sample.sample, sample.sample.rpartition("@")[0])]
        if not found:
            raise InputError(
                f"no sample {name!r} in the manifest; its samples are named like {manifest.samples[0].sample!r}"
            )
        chosen += found
    return replace(manifest, samples=tuple(chosen or spread_evenly(manifest.samples, count)))


def trained_image_size(folder: Path, model: MsGFM) -> int:
    """The image size of the run that made the model; of a folder without `run.json`, six squares as in the paper."""
    trained = read_run_facts(folder)
    if trained is None:
        return 6 * max(model.config.mask_patch_size, model.config.stride)
    return int(trained["recipe"]["image_size"])
