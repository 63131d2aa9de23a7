"""A whole manifest: every sample by itself, and what only several samples together show."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import partial

from msgfm.data.checks.duplicates import Duplicates, Origin
from msgfm.data.checks.findings import require_kinds
from msgfm.data.checks.journal import Journal
from msgfm.data.checks.pooled import SETTLED, Pool
from msgfm.data.checks.report import Report
from msgfm.data.checks.sample import Examination, examine_sample
from msgfm.data.checks.tally import Tally
from msgfm.data.layouts.splits import spread_evenly
from msgfm.data.processes import fresh_processes
from msgfm.data.records import Manifest, Sample
from msgfm.progress import track

_CHUNK = 16
# Images are numbered by sample and place in it, so that a number leads back to the name.
_IMAGES = 1 << 16


def check_manifest(
    manifest: Manifest,
    *,
    limit: int | None = None,
    workers: int = 0,
    accept: Collection[str] = (),
    keep: int = 100,
    journal: Journal | None = None,
) -> Report:
    """Holds the images of a manifest against their cards and against each other.

    Images are read once and forgotten. What is kept of each is a fingerprint and a number, in 24 to 48 bytes (72 while
    their table grows); what is kept of findings does not grow with the manifest: their numbers and the first of each
    group, and sums for each source (a sensor's images with the same bands). The manifest itself is in memory.

    Args:
        manifest: the manifest.
        limit: look at so many samples only, spread evenly; None is all.
        workers: processes that read; 0 is this one.
        accept: kinds of findings that are no errors.
        keep: findings that the report holds of each kind, severity and sensor.
        journal: takes all findings.

    Raises:
        InputError: `accept` names a kind that there is not.
    """
    require_kinds(accept)
    samples = manifest.samples if limit is None else spread_evenly(manifest.samples, limit)
    duplicates, pool = Duplicates(partial(_origin, manifest, samples)), Pool(manifest.sensors)
    tally = Tally(keep)
    takers: list[Tally | Journal] = [tally, *([] if journal is None else [journal])]
    for number, examined in enumerate(track(_examined(manifest, samples, workers), "checking", len(samples))):
        sources = pool.add(examined.evidence)
        twins = (duplicates.add(number * _IMAGES + i, one) for i, one in examined.fingerprints.items())
        for finding in (*examined.findings, *(twin for twin in twins if twin is not None)):
            source = sources.get(finding.image) if finding.kind in SETTLED else None
            for taker in takers:
                taker.take(finding, source)
    judgement = pool.judge()
    for taker in takers:
        taker.settle(judgement.judge)
        for finding in judgement.findings:
            taker.take(finding)
    report = Report(
        findings=tally.findings,
        counts=tally.counts,
        checked=len(samples),
        samples=len(manifest.samples),
        accepted=tuple(accept),
    )
    if journal is not None:
        journal.finish(report.numbers())
    return report


def _origin(manifest: Manifest, samples: Sequence[Sample], number: int) -> Origin:
    """Where the image with a number stands."""
    sample = samples[number // _IMAGES]
    image = sample.images[number % _IMAGES]
    file = str(manifest.root / image.files[0].path)
    return Origin(sample=sample.sample, split=sample.split, key=image.key, file=file)


def _examined(manifest: Manifest, samples: Sequence[Sample], workers: int) -> Iterable[Examination]:
    examine = partial(examine_sample, manifest.root, sensors=manifest.sensors)
    return _in_processes(examine, samples, workers) if workers else map(examine, samples)


def _in_processes(examine: partial[Examination], samples: Sequence[Sample], workers: int) -> Iterator[Examination]:
    with fresh_processes(workers) as pool:
        # `map` takes all of its input at once; a part at a time keeps memory flat.
        for start in range(0, len(samples), part := workers * _CHUNK * 8):
            yield from pool.map(examine, samples[start : start + part], chunksize=_CHUNK)
