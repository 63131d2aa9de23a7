"""A whole manifest: every sample by itself, and what only several samples together show."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import partial

from msgfm.data.checks.duplicates import Duplicates
from msgfm.data.checks.findings import Finding, require_kinds, sort_findings
from msgfm.data.checks.pooled import Pool
from msgfm.data.checks.report import Report
from msgfm.data.checks.sample import Examination, examine_sample
from msgfm.data.processes import fresh_processes
from msgfm.data.records import Manifest, Sample
from msgfm.progress import track

_CHUNK = 16


def check_manifest(
    manifest: Manifest, *, limit: int | None = None, workers: int = 0, accept: Collection[str] = ()
) -> Report:
    """Holds the images of a manifest against their cards and against each other.

    Images are read once and forgotten; what is kept of each is a fingerprint of 16 bytes, and sums.

    Args:
        manifest: the manifest.
        limit: look at so many samples only, spread evenly; None is all.
        workers: processes that read; 0 is this one.
        accept: kinds of findings that are no errors.

    Raises:
        InputError: `accept` names a kind that there is not.
    """
    require_kinds(accept)
    samples = spread(manifest.samples, limit)
    findings: list[Finding] = []
    duplicates, pool = Duplicates(), Pool(manifest.sensors)
    for examined in track(_examined(manifest, samples, workers), "checking", len(samples)):
        findings.extend(examined.findings)
        findings.extend(duplicates.add(examined.fingerprints))
        pool.add(examined.evidence)
    return Report(
        findings=tuple(sort_findings(pool.judge(findings))),
        checked=len(samples),
        samples=len(manifest.samples),
        accepted=tuple(accept),
    )


def spread(samples: Sequence[Sample], limit: int | None) -> Sequence[Sample]:
    """At most so many samples, evenly spread over all of them."""
    if limit is None or limit >= len(samples):
        return samples
    return [samples[i * len(samples) // limit] for i in range(limit)]


def _examined(manifest: Manifest, samples: Sequence[Sample], workers: int) -> Iterable[Examination]:
    examine = partial(examine_sample, manifest.root, sensors=manifest.sensors)
    return _in_processes(examine, samples, workers) if workers else map(examine, samples)


def _in_processes(examine: partial[Examination], samples: Sequence[Sample], workers: int) -> Iterator[Examination]:
    with fresh_processes(workers) as pool:
        # `map` takes all of its input at once; a part at a time keeps memory flat.
        for start in range(0, len(samples), part := workers * _CHUNK * 8):
            yield from pool.map(examine, samples[start : start + part], chunksize=_CHUNK)
