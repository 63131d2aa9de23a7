"""One pass over the images of manifests, on as many processes as wanted: their number changes no bit of the result."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial

from msgfm.data.opening import agree_on_cards
from msgfm.data.processes import fresh_processes
from msgfm.data.reader import read_sensor_image
from msgfm.data.records import Manifest, Sample
from msgfm.data.statistics.bands import BandStatistics, BandSums, band_statistics, merge_bands, sum_band
from msgfm.data.statistics.classes import ClassCounts, count_classes, merge_classes
from msgfm.errors import InputError, too_many_bad
from msgfm.progress import track
from msgfm.sensors import Sensor


@dataclass(frozen=True, kw_only=True)
class SensorStatistics:
    """What was measured of one sensor.

    Args:
        sensor: its card, of the first manifest that has it.
        images: how many were measured.
        bands: by name, in the card's order.
        storage_differs: whether another manifest's card says otherwise how files store it.
    """

    sensor: Sensor
    images: int
    bands: dict[str, BandStatistics]
    storage_differs: bool = False


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What was measured.

    Args:
        sensors: by name.
        classes: of the samples that were measured.
        left_out: what is wrong with each sample that was left out.
    """

    sensors: dict[str, SensorStatistics]
    classes: ClassCounts
    left_out: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Sums:
    """Number of images and sums of the bands, by sensor, classes, and what is wrong with samples that were left out."""

    images: dict[str, int]
    bands: dict[str, tuple[BandSums, ...]]
    classes: ClassCounts = field(default_factory=ClassCounts)
    left_out: tuple[str, ...] = ()


def measure(
    *manifests: Manifest,
    split: str = "train",
    sensors: Sequence[str] | None = None,
    cloudy: bool = False,
    workers: int = 0,
    skip_bad: int = 0,
) -> Measurement:
    """Reads every image of a split once and measures each band, and counts classes of labels and masks.

    Each image counts on its own grid (that of its finest band). Neither the number of processes nor their speed
    changes a bit of the result: the split into parts and the order of merging follow from the samples alone.

    Args:
        *manifests: one or several, without those that have no samples of the split. A sensor that several have must
            have one card, but for how files store it.
        split: `train`, `val`, `test`, or `all`.
        sensors: names of those to measure; None is all.
        cloudy: whether images in the role `cloudy` count; those of all other roles do.
        workers: processes that read; 0 reads in this one. More than 0 needs `if __name__ == "__main__":` in a script.
        skip_bad: how many samples may be unreadable and left out, whole.

    Raises:
        InputError: no such split or sensor, two cards for one sensor, or more than `skip_bad` unreadable samples.
    """
    cards = _cards_to_measure(manifests, sensors)
    parts = list(_split(manifests, split, cards, cloudy))
    job = partial(_measure_part, skip_bad=skip_bad)
    total = _Sums(images={}, bands={})
    with _run(job, parts, workers) as results:
        for sums in track(results, "measuring", len(parts)):
            total = _merge(total, sums)
            if len(total.left_out) > skip_bad:
                raise InputError(too_many_bad("unreadable samples", total.left_out, skip_bad))
    if not total.images:
        raise InputError(
            f"no image of {', '.join(cards)} to measure in split {split!r}"
            + ("" if cloudy else " (cloudy images count with --cloudy)")
        )
    return Measurement(
        sensors={
            name: SensorStatistics(
                sensor=card,
                images=total.images[name],
                bands=dict(zip(card.band_names, map(band_statistics, total.bands[name]), strict=True)),
                storage_differs=any(manifest.sensors.get(name, card) != card for manifest in manifests),
            )
            for name, card in cards.items()
            if name in total.images
        },
        classes=total.classes,
        left_out=total.left_out,
    )


def _cards_to_measure(manifests: Sequence[Manifest], wanted: Sequence[str] | None) -> dict[str, Sensor]:
    """One card for each sensor to measure."""
    cards = agree_on_cards(("", manifest) for manifest in manifests)
    if unknown := [name for name in wanted or () if name not in cards]:
        raise InputError(f"no sensor {unknown[0]!r} to measure; the manifests have {', '.join(cards)}")
    return {name: card for name, card in cards.items() if wanted is None or name in wanted}


def _split(manifests: Sequence[Manifest], split: str, cards: Mapping[str, Sensor], cloudy: bool) -> Iterator[Manifest]:
    """Parts of at most 256 samples, at least 64 of them where there are enough, with the images to measure."""
    chosen = [manifest for manifest in manifests if split == "all" or split in manifest.splits]
    for manifest in chosen or manifests[:1]:  # without any, `only` says what there is
        samples = [
            replace(sample, images=images)
            for sample in manifest.only(split).samples
            if (images := tuple(i for i in sample.images if i.sensor in cards and (cloudy or i.role != "cloudy")))
        ]
        size = min(max(len(samples) // 64, 4), 256)
        for start in range(0, len(samples), size):
            yield replace(manifest, samples=tuple(samples[start : start + size]))


def _measure_part(part: Manifest, skip_bad: int) -> _Sums:
    """Reads the samples of a part one after the other; stops when too many are unreadable."""
    total = _Sums(images={}, bands={})
    for sample in part.samples:
        try:
            sums = _measure_sample(part, sample)
        except InputError as error:
            sums = _Sums(images={}, bands={}, left_out=(str(error),))
        total = _merge(total, sums)
        if len(total.left_out) > skip_bad:
            break
    return total


def _measure_sample(part: Manifest, sample: Sample) -> _Sums:
    total = _Sums(images={}, bands={})
    for image in sample.images:
        sensor = part.sensors[image.sensor]
        array = read_sensor_image(part.root, image, sensor)
        held = {name for file in image.files for name in file.bands}
        bands = tuple(
            sum_band(values, band, sensor, band.name in held) for band, values in zip(sensor.bands, array, strict=True)
        )
        total = _merge(total, _Sums(images={sensor.name: 1}, bands={sensor.name: bands}))
    return replace(total, classes=count_classes(part, sample))


def _merge(a: _Sums, b: _Sums) -> _Sums:
    bands = a.bands | b.bands
    for name in a.bands.keys() & b.bands.keys():
        bands[name] = tuple(merge_bands(*pair) for pair in zip(a.bands[name], b.bands[name], strict=True))
    return _Sums(
        images={name: a.images.get(name, 0) + b.images.get(name, 0) for name in bands},
        bands=bands,
        classes=merge_classes(a.classes, b.classes),
        left_out=a.left_out + b.left_out,
    )


@contextmanager
def _run(job: partial[_Sums], parts: Sequence[Manifest], workers: int) -> Iterator[Iterator[_Sums]]:
    """Gives the parts' sums in the parts' order; at most two a process are on their way or waiting."""
    workers = min(workers, len(parts))
    if workers == 0:
        yield map(job, parts)
        return
    with fresh_processes(workers) as pool:
        yield _in_order(pool, job, parts, ahead=2 * workers)


def _in_order(pool: ProcessPoolExecutor, job: partial[_Sums], parts: Sequence[Manifest], ahead: int) -> Iterator[_Sums]:
    waiting: deque[Future[_Sums]] = deque()
    for part in parts:
        waiting.append(pool.submit(job, part))
        if len(waiting) >= ahead:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()
