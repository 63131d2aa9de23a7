"""The input contract: holds images against their sensor cards and says what does not fit, and what mends it.

Every path into the model calls one of these; none of them changes an image:

- `check_sample(root, sample, sensors) -> list[Finding]` reads a sample's files and checks each image and their grids
  and registration. Sharding calls it for every sample that it writes.
- `check_image(stored_image(array, sensor, bands=...)) -> list[Finding]` does so for an array of *stored* numbers.
- `check_manifest(manifest) -> Report` checks every sample, and what only several show: duplicates, a mixed offset. With
  a journal of `write_findings(path)` it writes all findings, of which the report holds the first.
- `require_no_errors(findings, accept)` fails closed: it raises `InputError` for errors of kinds that are not accepted.
"""

from msgfm.data.checks.findings import KINDS, Finding, require_kinds, require_no_errors
from msgfm.data.checks.images import StoredBand, StoredImage, stored_image
from msgfm.data.checks.journal import Journal, write_findings
from msgfm.data.checks.manifest import check_manifest
from msgfm.data.checks.report import Report
from msgfm.data.checks.sample import check_image, check_sample

__all__ = [
    "KINDS",
    "Finding",
    "Journal",
    "Report",
    "StoredBand",
    "StoredImage",
    "check_image",
    "check_manifest",
    "check_sample",
    "require_kinds",
    "require_no_errors",
    "stored_image",
    "write_findings",
]
