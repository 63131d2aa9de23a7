"""Whole manifests: what images of one source settle together, duplicates, and memory, report and journal."""

from __future__ import annotations

import json
import tracemalloc
import warnings
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from test_checks import L2A, RADAR, _affine, field, index, kinds, of, radar, surface, write_pairs
from typer.testing import CliRunner

from msgfm.cli import app
from msgfm.data.checks import Finding, check_image, check_manifest, manifest, stored_image, write_findings
from msgfm.data.checks.duplicates import Duplicates, Origin
from msgfm.data.checks.findings import Severity
from msgfm.data.checks.sample import Evidence, Examination
from msgfm.data.layouts import LayoutOptions, index_layout
from msgfm.data.reader import read_sample
from msgfm.data.records import Manifest, RasterFile, Sample, SensorImage, write_manifest
from msgfm.errors import InputError
from msgfm.geo.raster import write_geotiff
from msgfm.sensors import load_sensor

run = CliRunner().invoke


class Samples(Sequence[Sample]):
    """So many samples of one RGB picture, made when they are asked for."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __len__(self) -> int:
        return self.number

    def __getitem__(self, i):
        if isinstance(i, slice):
            return [self[k] for k in range(*i.indices(self.number))]
        if i >= self.number:
            raise IndexError(i)
        file = RasterFile(path=f"folder/of/pictures/{i:09}.tif", bands=("red", "green", "blue"), file_bands=(1, 2, 3))
        image = SensorImage(sensor="rgb", height=64, width=64, files=(file,))
        return Sample(sample=f"{i:09}", scene=f"{i:09}", split="train", images=(image,))


def pictures(number: int) -> Manifest:
    return Manifest(root=Path("/data"), layout="pairs", sensors={"rgb": load_sensor("rgb")}, samples=Samples(number))


def said(sample: Sample, kind: str, severity: Severity = "undecided") -> Finding:
    file = f"/data/{sample.images[0].files[0].path}"
    return Finding(
        kind=kind,
        severity=severity,
        file=file,
        seen=f"something of {file}",
        expected="something else",
        confidence=0.5,
        remedy="none",
        sample=sample.sample,
        image=sample.images[0].key,
    )


def examining(monkeypatch: pytest.MonkeyPatch, examine) -> None:
    monkeypatch.setattr(manifest, "examine_sample", lambda root, sample, sensors: examine(sample))


def evidence(sample: Sample, odds: float, bands: tuple[str, ...] = ("red", "green", "blue")) -> dict[str, Evidence]:
    return {"rgb": Evidence(file=sample.images[0].files[0].path, bands=bands, types=("uint8",), odds=odds)}


def test_memory_grows_by_what_a_fingerprint_takes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two findings and a fingerprint an image: if they were held, they would take more than a kilobyte of each."""

    def examine(sample: Sample) -> Examination:
        digest = int(sample.sample) * 0x9E3779B97F4A7C15 % 2**64
        found = (said(sample, "rgb-order"), said(sample, "eight-bit", "error"))
        return Examination(findings=found, fingerprints={0: digest}, evidence=evidence(sample, 0.0))

    examining(monkeypatch, examine)
    number = 5_000
    tracemalloc.start()
    try:
        report = check_manifest(pictures(number))
        left, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert report.counts == {("error", "eight-bit", "rgb"): number, ("undecided", "rgb-order", "rgb"): number}
    assert len(report.findings) == 200
    assert peak < 72 * number + 4e5
    assert left < 4e5


def test_a_journal_holds_all_findings_and_the_report_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def examine(sample: Sample) -> Examination:
        found = (said(sample, "nan-border", "warning"), said(sample, "rgb-order"), said(sample, "rgb-order", "error"))
        return Examination(findings=found, evidence=evidence(sample, 0.0))

    examining(monkeypatch, examine)
    path = tmp_path / "findings.json"
    with write_findings(path) as journal:
        report = check_manifest(pictures(30), keep=2, accept=["eight-bit"], journal=journal)
        assert not path.exists()
    written = json.loads(path.read_text())
    assert written["counts"] == {"error": 30, "warning": 30, "undecided": 30}
    assert (written["checked"], written["samples"], written["accepted"]) == (30, 30, ["eight-bit"])
    assert len({(one["file"], one["kind"], one["severity"]) for one in written["findings"]}) == 90
    assert asdict(report.errors[0]) | {"bands": []} in written["findings"]
    assert [one.severity for one in report.findings] == ["error"] * 2 + ["warning"] * 2 + ["undecided"] * 2
    assert report.count("error") == 30
    with pytest.raises(InputError, match="30 errors against") as raised:
        report.require_no_errors()
    assert "and 28 more" in str(raised.value)
    assert [one.name for one in tmp_path.iterdir()] == ["findings.json"]


def test_pictures_that_their_source_decides_are_no_longer_undecided(monkeypatch: pytest.MonkeyPatch) -> None:
    def examine(sample: Sample) -> Examination:
        return Examination(findings=(said(sample, "rgb-order"),), evidence=evidence(sample, 5.0))

    examining(monkeypatch, examine)
    assert check_manifest(pictures(2)).count("undecided") == 2
    assert check_manifest(pictures(9)).counts == {}


def test_a_source_of_other_bands_settles_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten decided pictures of one set of bands, and three of another that say nothing."""

    def examine(sample: Sample) -> Examination:
        clear = int(sample.sample) < 10
        bands = ("red", "green", "blue") if clear else ("blue", "green", "red")
        found = () if clear else (said(sample, "rgb-order"),)
        return Examination(findings=found, evidence=evidence(sample, 9.0 if clear else 0.0, bands))

    examining(monkeypatch, examine)
    report = check_manifest(pictures(13))
    assert [one.sample for one in report.undecided] == [f"{i:09}" for i in (10, 11, 12)]


def test_misplaced_bands_are_told_one_order_for_all_images(tmp_path: Path) -> None:
    """Alone these two fit different orders best, as B06, B07 and B8A are nearly one."""
    seeds = (0, 10)
    alone = [check_image(stored_image(surface(seed=seed)[::-1], L2A)) for seed in seeds]
    assert len({found[0].remedy for found in alone}) == 2
    for seed in seeds:
        write_geotiff(tmp_path / "s2" / f"{seed}.tif", surface(seed=seed)[::-1])
    listed = index_layout("pairs", tmp_path, LayoutOptions(sensors=("sentinel2_l2a=s2",))).manifest
    found = check_manifest(listed).errors
    assert {Path(one.file).stem for one in found} == {"0", "10"}
    assert {one.kind for one in found} == {"band-order"}
    assert len({one.remedy for one in found}) == 1
    assert len({one.bands for one in found}) == 1


def test_duplicates_remember_as_a_dict_would() -> None:
    """Of 20,000 fingerprints, many of them equal, and some alike in their lowest bits."""
    numbers = np.random.default_rng(0).integers(0, 6000, 20_000)
    prints = [int(number) << 40 if number < 300 else int(number) * 0x9E3779B97F4A7C15 % 2**64 for number in numbers]
    first: dict[int, int] = {}
    duplicates = Duplicates(lambda number: Origin(sample=str(number), split="train", key="rgb", file=f"{number}.tif"))
    for number, one in enumerate(prints):
        found = duplicates.add(number, one)
        earlier = first.setdefault(one, number)
        if earlier == number:
            assert found is None
        else:
            assert found is not None
            assert (found.sample, found.image) == (str(number), "rgb")
            assert found.seen.startswith(f"the same pixels as {earlier}.tif")


def test_a_coarse_band_of_one_value_is_odd_in_a_small_tile_and_wrong_in_a_large_one() -> None:
    def found(size: int, band: str) -> dict[str, str]:
        array = surface(size, smooth=size / 20)
        array[L2A.index_of(band)] = 321
        image = stored_image(array, L2A, gsd_m=10)
        return {one.bands[0]: one.severity for one in check_image(image) if one.kind == "constant-band"}

    assert found(24, "B01") == {}  # 4 x 4 pixels of 60 m
    assert found(64, "B01") == {"B01": "warning"}
    assert found(128, "B01") == {"B01": "error"}
    assert found(64, "B02") == {"B02": "error"}


@pytest.mark.parametrize("value", [np.nan, 0.0, -9999.0, -20.0])
def test_images_that_show_nothing_are_told_as_blank_and_as_nothing_else(value: float) -> None:
    found = check_image(stored_image(np.full((2, 64, 64), value, np.float32), RADAR))
    assert [one.blank for one in found] == [True]
    half = radar()
    half[1] = value
    assert not any(one.blank for one in check_image(stored_image(half, RADAR)))


def test_flat_sea_is_not_blank() -> None:
    found = check_image(stored_image(np.zeros((1, 64, 64), np.float32), load_sensor("dsm")))
    assert "constant-band" in kinds(found, "warning")
    assert not any(one.blank for one in found)


@pytest.mark.parametrize("channels", [10, 15])
def test_the_number_of_bands_is_told(channels: int) -> None:
    array = np.repeat(surface()[:1], channels, axis=0)
    (found,) = check_image(stored_image(array, load_sensor("sentinel2")))
    assert found.kind == "band-count"
    assert found.seen == f"{channels} bands"
    assert found.expected == "the 13 of sensor sentinel2"


def test_complex_files_are_told_to_be_turned_into_intensity_without_a_warning(tmp_path: Path) -> None:
    write_pairs(tmp_path, 1)
    listed = index(tmp_path)
    slc = (radar() * np.exp(1j * field())).astype(np.complex64)
    path = tmp_path / "s1" / "0.tif"
    write_geotiff(path, slc, crs="EPSG:32631", transform=_affine())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (found,) = of(check_manifest(listed), "data-type")
        with pytest.raises(InputError, match=r"0\.tif, band VV of sensor sentinel1: complex.* take the intensity"):
            read_sample(listed.root, listed.samples[0], listed.sensors)
    assert (found.severity, found.file, found.image) == ("error", str(path), "sentinel1")
    assert "SLC" in found.seen
    assert found.remedy.startswith("take the intensity")


def test_a_folder_in_an_images_place_is_named(tmp_path: Path) -> None:
    write_pairs(tmp_path, 1)
    listed = index(tmp_path)
    path = tmp_path / "s1" / "0.tif"
    path.unlink()
    path.mkdir()
    (found,) = of(check_manifest(listed), "unreadable")
    assert found.seen.startswith(f"{path} is a folder")


@pytest.fixture
def undecided(tmp_path: Path) -> Path:
    """A manifest of which nothing is wrong and something undecided."""
    equal = np.stack([radar()[0], radar()[0] - 1])
    write_geotiff(tmp_path / "data" / "s1" / "0.tif", equal, crs="EPSG:32631")
    listed = index_layout("pairs", tmp_path / "data", LayoutOptions(sensors=("sentinel1=s1",))).manifest
    write_manifest(listed, tmp_path / "m.parquet")
    return tmp_path / "m.parquet"


def test_strict_says_why_it_fails(undecided: Path) -> None:
    passed, failed = (
        run(app, ["data", "check", str(undecided)]),
        run(app, ["data", "check", str(undecided), "--strict"]),
    )
    said = "with --strict, what is undecided counts as an error"
    assert (passed.exit_code, said in passed.output) == (0, False)
    assert (failed.exit_code, said in failed.output) == (2, True)
    accepted = run(app, ["data", "check", str(undecided), "--strict", "--accept", "polarisation-swapped"])
    assert (accepted.exit_code, said in accepted.output) == (0, False)


def test_json_on_the_terminal_is_json_alone(undecided: Path) -> None:
    written = json.loads(run(app, ["data", "check", str(undecided), "--json", "-"]).stdout)
    assert written["counts"] == {"error": 0, "warning": 0, "undecided": 1}


@pytest.mark.parametrize(
    ("path", "message"),
    [("", "it is a folder"), ("m.parquet/f.json", "cannot write"), ("m.parquet", "manifest itself")],
)
def test_where_json_goes_is_tried_before_the_work(
    undecided: Path, monkeypatch: pytest.MonkeyPatch, path: str, message: str
) -> None:
    examining(monkeypatch, lambda sample: pytest.fail("an image was looked at"))
    before = undecided.read_bytes()
    failed = run(app, ["data", "check", str(undecided), "--json", str(undecided.parent / path)])
    assert failed.exit_code == 2
    assert message in " ".join(failed.output.split())
    assert undecided.read_bytes() == before


def test_an_interrupted_check_says_so_in_a_line_and_leaves_nothing(
    undecided: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(sample: Sample) -> Examination:
        raise KeyboardInterrupt

    examining(monkeypatch, interrupt)
    before = set(undecided.parent.iterdir())
    stopped = run(app, ["data", "check", str(undecided), "--json", str(undecided.parent / "f.json")])
    assert stopped.exit_code == 130
    assert stopped.output.splitlines() == ["interrupted: nothing was written"]
    assert set(undecided.parent.iterdir()) == before
