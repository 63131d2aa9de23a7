"""From a recipe's sources to the mixture: manifests read, sensors agreed on, batch sizes shared out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from msgfm.data.mixture import Source
from msgfm.data.opening import agree_on_cards, open_manifest, require_files
from msgfm.data.records import Manifest
from msgfm.data.repeats import require_no_repeats
from msgfm.data.shards.cache import CacheLimits, remote_of
from msgfm.errors import InputError
from msgfm.sensors import Sensor
from msgfm.training.pretraining.config import PretrainConfig, SourceConfig


def load_sources(config: PretrainConfig) -> list[Source]:
    """Reads the manifests of all sources.

    Raises:
        InputError: a manifest or a source's split or sensors are not there, or its first files are gone.
    """
    limits = config.hardware.cache_limits
    loaded = {name: load_manifests(name, source, limits=limits) for name, source in config.sources.items()}
    _require_cache(config, loaded)
    lengths = {name: sum(len(manifest.samples) for manifest in manifests) for name, manifests in loaded.items()}
    shared = share_batch_size(config, lengths)
    return [
        Source(
            name=name,
            manifests=manifests,
            sensors=tuple(sorted({sensor for manifest in manifests for sensor in manifest.sensors})),
            batch_size=config.sources[name].batch_size or shared[name],
            lr=config.sources[name].lr,
            jitter=config.sources[name].jitter,
        )
        for name, manifests in loaded.items()
    ]


def _require_cache(config: PretrainConfig, loaded: Mapping[str, Sequence[Manifest]]) -> None:
    """Refuses what would fetch a whole chunk for nearly every sample: a full shuffle of more than the cache holds."""
    remotes = {manifest.root: remote_of(manifest.root) for manifests in loaded.values() for manifest in manifests}
    size = sum(chunk.size for remote in remotes.values() if remote for chunk in remote.chunks.values())
    if size > config.hardware.cache_gb * 1e9 and config.mixture.shuffle_block is None:
        raise InputError(
            f"shards on S3 of {size / 1e9:.3g} GB, the cache may hold {config.hardware.cache_gb:g} GB: raise "
            f"hardware.cache_gb, or shuffle in windows with mixture.shuffle_block=N (samples of a chunk)"
        )


def load_manifests(
    name: str, source: SourceConfig, split: str | None = None, *, limits: CacheLimits | None = None
) -> tuple[Manifest, ...]:
    """A source's manifests with its sensors and one split alone (its own unless `split` names another).

    `limits` are for shards on S3. Manifests without samples of that split and those sensors are passed over.

    Raises:
        InputError: none of them has any, none has a card of a chosen sensor, files are gone, or two of the source's
            manifests hold the same samples.
    """
    wanted = split or source.split
    manifests = [open_manifest(location, limits) for location in source.manifest]
    carded = {sensor for manifest in manifests for sensor in manifest.sensors}
    if unknown := [sensor for sensor in source.sensors or () if sensor not in carded]:
        raise InputError(
            f"source {name}: sensor {unknown[0]!r} has no card in its manifest, which has {', '.join(sorted(carded))}"
        )
    chosen = [
        only_images(manifest.only(wanted), source.sensors, source.roles)
        for manifest in manifests
        if wanted == "all" or wanted in manifest.splits
    ]
    chosen = [manifest for manifest in chosen if manifest.samples]
    if not chosen and split is None:
        with_sensors = f" with {' or '.join(source.sensors)}" if source.sensors else ""
        with_sensors += "" if "" in source.roles else f" in the role {' or '.join(source.roles)}"
        splits = sorted({split for manifest in manifests for split in manifest.splits})
        raise InputError(
            f"source {name}: {', '.join(map(str, source.manifest))} has no samples of split {wanted!r}"
            f"{with_sensors}; its splits are {', '.join(splits) or 'none, it is empty'}"
        )
    for manifest in chosen:
        require_files(manifest, f"source {name}")
    if split is None and len(manifests) > 1:
        try:
            require_no_repeats(zip(source.manifest, manifests, strict=True))
        except InputError as error:
            raise InputError(f"source {name}: {error}") from error
    return tuple(chosen)


def only_images(manifest: Manifest, sensors: Collection[str] | None, roles: Sequence[str]) -> Manifest:
    """The manifest with images of the chosen sensors and roles, each role a sample; those without any are left out.

    Args:
        manifest: any.
        sensors: names of those to keep; None is all.
        roles: of images; the sample that those of `before` make is named `NAME@before`.
    """
    cards = {name: card for name, card in manifest.sensors.items() if sensors is None or name in sensors}
    samples = [
        replace(sample, sample=f"{sample.sample}@{role}" if role else sample.sample, images=images)
        for sample in manifest.samples
        for role in roles
        if (images := tuple(replace(i, role="") for i in sample.images if i.role == role and i.sensor in cards))
    ]
    return replace(manifest, sensors=cards, samples=tuple(samples))


def share_batch_size(config: PretrainConfig, lengths: Mapping[str, int]) -> dict[str, int]:
    """Shares `mixture.batch_size` among the sources that give none, in proportion to their lengths (App. B.1).

    At least one each, so that all of them end together as nearly as whole numbers allow.
    """
    sharing = {name: length for name, length in lengths.items() if config.sources[name].batch_size is None}
    if config.mixture.batch_size is None:
        return {}
    total = sum(sharing.values())
    return {name: max(round(config.mixture.batch_size * length / total), 1) for name, length in sharing.items()}


def agree_on_sensors(sources: Sequence[Source]) -> tuple[Sensor, ...]:
    """The cards of all sources, each sensor once; files of two sources may store it differently (offset, scale).

    Raises:
        InputError: two sources have different cards under one name, or a card lacks mean and std.
    """
    cards = agree_on_cards((f"source {source.name}", manifest) for source in sources for manifest in source.manifests)
    for card in cards.values():
        card.require_statistics()
    return tuple(cards[name] for name in sorted(cards))
