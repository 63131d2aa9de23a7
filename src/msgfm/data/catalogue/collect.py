"""From a catalogue to a manifest: search, match, read, write. What is there already is kept."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path

from msgfm.data.catalogue.fetch import done, fetch_block, patch_path
from msgfm.data.catalogue.items import CatalogueItem, read_item
from msgfm.data.catalogue.match import Coincidence, group_passes, match_passes, select
from msgfm.data.catalogue.places import Block, blocks_of
from msgfm.data.catalogue.request import CatalogueRequest
from msgfm.data.catalogue.search import find_items
from msgfm.data.layouts.splits import draw_split
from msgfm.data.records import Manifest, RasterFile, Sample, SensorImage
from msgfm.errors import InputError, too_many_bad
from msgfm.files import lock_folder, remove_unfinished, write_atomically
from msgfm.progress import track


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a catalogue has.

    Args:
        pairs: the nearest in time first.
        items: by sensor, how many there are.
        left_out: one message for each item that cannot be used.
    """

    pairs: tuple[Coincidence, ...]
    items: dict[str, int]
    left_out: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Collected:
    """A data set that was written.

    Args:
        manifest: of all patches; not written yet.
        new: blocks that were read now; the others were there.
        left_out: one message for each item or block that could not be read.
    """

    manifest: Manifest
    new: int
    left_out: tuple[str, ...]


def find_coincidences(request: CatalogueRequest) -> Found:
    """Asks the catalogue, and matches what it has.

    Raises:
        InputError: it does not answer, its items do not say what is needed, or nothing coincides.
    """
    cards = request.cards()
    passes, counts, bad = {}, {}, []
    for sensor, found in find_items(request).items():
        items: list[CatalogueItem] = []
        for item in found:
            try:
                items.append(read_item(item, cards[sensor], request))
            except InputError as error:
                bad.append(str(error))
        counts[sensor] = len(found)
        _require_few(bad, request.skip_bad)
        chosen = select(items, request.max_cloud, request.orbits.get(sensor, ""))
        if not chosen:
            clouds = sorted(item.cloud for item in items if item.cloud is not None)
            seen = f", their clouds {clouds[0]:.0f}..{clouds[-1]:.0f} %" if clouds else ""
            raise InputError(
                f"none of the {len(found)} items of {sensor} is left by --max-cloud {request.max_cloud:g}"
                f"{', --orbit' if sensor in request.orbits else ''} and --skip-bad{seen}"
            )
        passes[sensor] = group_passes(chosen)
    pairs = match_passes(passes, request.bbox, max_days=request.max_days, min_overlap=request.min_overlap)
    if not pairs:
        seen = ", ".join(f"{len(group)} of {sensor}" for sensor, group in passes.items())
        raise InputError(
            f"of the overpasses ({seen}) none coincide within --max-days {request.max_days:g} and --min-overlap "
            f"{request.min_overlap:g}; widen these, or --dates"
        )
    return Found(pairs=tuple(pairs[: request.limit]), items=counts, left_out=tuple(bad))


def collect(request: CatalogueRequest, found: Found, *, val_fraction: float = 0.0, seed: int = 0) -> Collected:
    """Reads all pairs on one grid and writes their patches; a run that was killed goes on where it was.

    Args:
        request: as `find_coincidences` had it.
        found: by it.
        val_fraction: share of places drawn for validation, with all their dates.
        seed: of the draw.

    Raises:
        InputError: the folder holds a data set of another request, more than `skip_bad` things cannot be read, or no
            patch has enough data.
    """
    with lock_folder(request.out):
        for name in (*request.sensors, "records", "request.json", "pairs.csv", "manifest.parquet"):
            remove_unfinished(request.out / name)
        _require_same(request)
        _write_pairs(request.out / "pairs.csv", found.pairs)
        tasks = [(pair, block) for pair in found.pairs for block in blocks_of(request.grid(), request.size)]
        places = [done(request.out, pair, block) for pair, block in tasks]
        new = [i for i, there in enumerate(places) if there is None]
        bad = list(found.left_out)
        for i, result in _fetch(tasks, new, request):
            if isinstance(result, InputError):
                bad.append(str(result))
                _require_few(bad, request.skip_bad)
            else:
                places[i] = result
    samples = [
        _sample(pair, block, place, request, draw_split(block.name, val_fraction, seed))
        for (pair, block), there in zip(tasks, places, strict=True)
        for place in there or ()
    ]
    if not samples:
        raise InputError(
            f"no patch of {request.size} pixels has data of all sensors (--max-nodata {request.max_nodata:g}); "
            f"raise it, or --max-days, or take smaller patches"
        )
    samples.sort(key=lambda sample: sample.sample)
    manifest = Manifest(
        root=request.out.resolve(), layout="stac", sensors=request.written_cards(), samples=tuple(samples)
    )
    return Collected(manifest=manifest, new=len(new), left_out=tuple(bad))


def _fetch(
    tasks: Sequence[tuple[Coincidence, Block]], numbers: Sequence[int], request: CatalogueRequest
) -> Iterator[tuple[int, list[str] | InputError]]:
    """Reads blocks in threads; what has begun is completed when the caller stops early."""
    with ThreadPoolExecutor(request.workers) as pool:
        running: dict[Future[list[str]], int] = {pool.submit(fetch_block, *tasks[i], request): i for i in numbers}
        try:
            for future in track(as_completed(running), "reading", len(running)):
                error = future.exception()
                if isinstance(error, InputError):
                    yield running[future], error
                else:
                    yield running[future], future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _sample(pair: Coincidence, block: Block, place: str, request: CatalogueRequest, split: str) -> Sample:
    images = []
    for one in pair.acquisitions:
        bands = request.bands_of(one.sensor)
        file = RasterFile(
            path=patch_path(one.sensor, pair.name, place), bands=bands, file_bands=tuple(range(1, len(bands) + 1))
        )
        images.append(SensorImage(sensor=one.sensor, height=request.size, width=request.size, files=(file,)))
    # patches of all dates at one place are one scene: no place is trained on and tested on
    return Sample(sample=f"{pair.name}/{place}", scene=block.name, split=split, images=tuple(images))


def _require_few(bad: Sequence[str], skip_bad: int) -> None:
    if len(bad) > skip_bad:
        raise InputError(too_many_bad("items and images that cannot be used", bad, skip_bad))


def _require_same(request: CatalogueRequest) -> None:
    """Refuses to mix what was asked for differently in one folder: patches of one name would differ."""
    path = request.out / "request.json"
    asked = {
        "grid": asdict(request.grid()),
        "size": request.size,
        "max_nodata": request.max_nodata,
        "bands": {sensor: request.bands_of(sensor) for sensor in request.sensors},
    }
    asked = json.loads(json.dumps(asked))
    if path.is_file():
        before = json.loads(path.read_text())
        if differs := [key for key in asked if before.get(key) != asked[key]]:
            key = differs[0]
            raise InputError(
                f"{request.out} holds patches of another request: {key} was {before.get(key)}, now it is {asked[key]}; "
                f"choose another --out"
            )
        return
    with write_atomically(path) as temporary:
        temporary.write_text(json.dumps(asked, indent=2) + "\n")


def _write_pairs(path: Path, pairs: Sequence[Coincidence]) -> None:
    """Which items each pair is made of."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("pair", "days_apart", "sensor", "time", "cloud", "orbit_state", "orbit", "item"))
    for pair in pairs:
        for one in pair.acquisitions:
            for item in one.items:
                cloud = "" if item.cloud is None else f"{item.cloud:g}"
                when = f"{item.time:%Y-%m-%dT%H:%M:%SZ}"
                apart = f"{pair.days_apart:.3f}"
                table.writerow((pair.name, apart, one.sensor, when, cloud, item.orbit_state, item.orbit, item.id))
    with write_atomically(path) as temporary:
        temporary.write_text(text.getvalue())
