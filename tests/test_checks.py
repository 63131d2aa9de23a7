"""The input contract on arrays made here; tests/test_checks_real.py holds it against real images."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from msgfm.cli import app
from msgfm.data.checks import (
    KINDS,
    Finding,
    Report,
    check_image,
    check_manifest,
    check_sample,
    require_no_errors,
    stored_image,
)
from msgfm.data.checks.pairs import estimate_shift
from msgfm.data.checks.spectral import arrangements
from msgfm.data.layouts import LayoutOptions, index_layout
from msgfm.data.layouts.listing import change_cards
from msgfm.data.records import read_manifest
from msgfm.errors import InputError
from msgfm.geo.raster import write_geotiff
from msgfm.sensors import load_sensor

L2A = load_sensor("sentinel2_l2a")
RADAR = load_sensor("sentinel1")
RGB = load_sensor("rgb")
PLACE = (10.0, 0.0, 500000.0, 0.0, -10.0, 4600000.0)


def field(size: int = 64, seed: int = 0, smooth: float = 3.0) -> np.ndarray:
    """A random field of zero mean and unit variance whose neighbours are alike."""
    noise = np.random.default_rng(seed).normal(size=(size, size))
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size)))
    smoothed = np.fft.ifft2(np.fft.fft2(noise) * np.exp(-((frequency * size / (2 * smooth)) ** 2))).real
    return (smoothed - smoothed.mean()) / smoothed.std()


def radar(size: int = 64, seed: int = 0) -> np.ndarray:
    ground = field(size, seed)
    return np.stack([-11 + 2 * ground, -17.5 + 2 * ground + 0.5 * field(size, seed + 1)]).astype(np.float32)


def surface(size: int = 64, seed: int = 0, smooth: float = 3.0) -> np.ndarray:
    """Reflectance x 10000 of plants and soil, mixed."""
    plants = np.array([200, 300, 600, 400, 1000, 2600, 3200, 3400, 3500, 3500, 1700, 800])
    soil = np.array([700, 900, 1300, 1700, 2000, 2200, 2400, 2500, 2700, 2700, 3300, 2800])
    share = 1 / (1 + np.exp(-3 * field(size, seed, smooth)))
    shade = np.clip(1 + 0.3 * field(size, seed + 1, smooth), 0.05, None)
    mixed = plants[:, None, None] * share + soil[:, None, None] * (1 - share)
    return np.round(mixed * shade).astype(np.uint16)


def kinds(found: list[Finding], severity: str = "error") -> set[str]:
    return {one.kind for one in found if one.severity == severity}


def of(report: Report, kind: str) -> list[Finding]:
    return [one for one in report.findings if one.kind == kind]


def test_images_that_keep_to_their_cards_have_no_error() -> None:
    assert not kinds(check_image(stored_image(radar(), RADAR)))
    assert not kinds(check_image(stored_image(surface(), L2A)))
    heights = (100 + 20 * field(smooth=2)).astype(np.float32)[None]
    assert check_image(stored_image(heights, load_sensor("dsm"), gsd_m=10)) == []


@pytest.mark.parametrize(
    ("change", "card", "kind", "remedy"),
    [
        (lambda x: (x * 1e-4).astype(np.float32), L2A, "reflectance-as-dn", "--set sentinel2_l2a.scale=1"),
        (lambda x: (x * 1e-2).astype(np.float32), L2A, "reflectance-as-dn", "--set sentinel2_l2a.scale=0.01"),
        (lambda x: x, L2A.with_setting("scale", 1), "dn-as-reflectance", "--set sentinel2_l2a.scale=0.0001"),
        (lambda x: (x / 20).astype(np.uint8), L2A, "eight-bit", "--set 'sentinel2_l2a.unit=\"1\"'"),
        (lambda x: x, L2A.with_setting("offset", -1000), "offset-removed-twice", "--set sentinel2_l2a.offset=0"),
        (lambda x: np.maximum(x.astype(int) - 1000, 0).astype(np.uint16), L2A, "offset-removed-twice", "fetch"),
        (lambda x: x + np.uint16(1000), L2A, "offset-present", "--set sentinel2_l2a.offset=-1000"),
        (lambda x: x[::-1], L2A, "band-order", "--sensor sentinel2_l2a:B"),
    ],
    ids=lambda value: value if isinstance(value, str) and value in KINDS else "",
)
def test_reflectance_that_does_not_fit_is_named(change, card, kind: str, remedy: str) -> None:
    found = check_image(stored_image(change(surface()), card, file="a.tif"))
    assert kinds(found) == {kind}
    assert found[0].remedy.startswith(remedy)
    assert (found[0].file, found[0].severity) == ("a.tif", "error")


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda x: 10 ** (x / 10), "linear-power"),
        (lambda x: x[::-1], "polarisation-swapped"),
        (lambda x: np.where(np.arange(64) < 9, np.float32(-9999), x), "no-data-mark"),
        (lambda x: np.where(np.arange(64) < 9, np.float32(0), x), "no-data-border"),
        (lambda x: np.stack([x[0], np.full_like(x[1], np.nan)]), "empty-band"),
        (lambda x: np.stack([x[0], np.full_like(x[1], -20)]), "constant-band"),
        (lambda x: (x + 40).astype(np.uint8), "eight-bit"),
        (lambda x: x.astype(np.complex64), "data-type"),
        (lambda x: x[:1], "band-count"),
        (lambda x: np.concatenate([x, x[:1]]), "band-count"),
    ],
)
def test_radar_that_does_not_fit_is_named(change, kind: str) -> None:
    assert kinds(check_image(stored_image(change(radar()), RADAR))) == {kind}


def test_a_nan_border_is_a_warning_and_equal_polarisations_are_undecided() -> None:
    border = np.where(np.arange(64) < 9, np.float32(np.nan), radar())
    assert kinds(check_image(stored_image(border, RADAR)), "warning") == {"nan-border"}
    equal = np.stack([radar()[0], radar()[0] - 1])
    assert kinds(check_image(stored_image(equal, RADAR)), "undecided") == {"polarisation-swapped"}


def test_centimetres_are_named_and_flat_ground_is_undecided() -> None:
    card = load_sensor("dsm")
    heights = 100 + 20 * field(smooth=2)
    centimetres = stored_image((100 * heights).astype(np.int32)[None], card, gsd_m=10)
    (found,) = check_image(centimetres)
    assert (found.kind, found.severity) == ("centimetres", "error")
    assert found.remedy.startswith("--set dsm.scale=0.01")
    nearly_flat = np.full((1, 64, 64), 3.0)
    nearly_flat[0, 0, 0] = 3.01
    assert "centimetres" in kinds(check_image(stored_image(nearly_flat, card, gsd_m=10)), "undecided")


def test_a_scene_without_dark_pixels_leaves_the_offset_undecided() -> None:
    bright = surface() + np.uint16(3000)
    found = check_image(stored_image(bright, L2A))
    assert "offset-present" in kinds(found, "undecided")


@pytest.mark.parametrize("shift", [(0, 0), (7, -11), (-3, 5)])
def test_a_known_shift_is_estimated_across_contrast(shift: tuple[int, int]) -> None:
    ground = field(256, smooth=20)
    here = ground[40:200, 40:200]
    there = -3 * ground[40 - shift[0] : 200 - shift[0], 40 - shift[1] : 200 - shift[1]] + 7
    found = estimate_shift(here, there)
    assert found is not None
    assert (found.rows, found.columns) == shift
    assert found.clarity > 14


def test_unrelated_images_have_no_clear_shift() -> None:
    found = estimate_shift(field(128, 1, smooth=15), field(128, 2, smooth=15))
    assert found is not None and found.clarity < 14
    assert estimate_shift(np.zeros((128, 128)), field(128)) is None


def test_arrangements_are_permutations_and_exchanges_come_first() -> None:
    orders = arrangements(4)
    assert all(sorted(order) == [0, 1, 2, 3] for order in orders.tolist())
    assert len({tuple(order) for order in orders.tolist()}) >= 6 + 6
    assert orders[0].tolist() == [1, 0, 2, 3]


def write_pairs(root: Path, count: int = 4) -> None:
    for k in range(count):
        for folder, array in (("s1", radar(64, 10 * k)), ("s2", surface(64, 10 * k))):
            write_geotiff(root / folder / f"{k}.tif", array, crs="EPSG:32631", transform=_affine())


def _affine():
    import rasterio

    return rasterio.Affine(*PLACE)


def index(root: Path, **options):
    return index_layout("pairs", root, LayoutOptions(sensors=("sentinel1=s1", "sentinel2_l2a=s2")), **options).manifest


def test_a_manifest_is_checked_alike_in_one_process_and_in_two(tmp_path: Path) -> None:
    write_pairs(tmp_path)
    write_geotiff(tmp_path / "s1" / "2.tif", 10 ** (radar(64, 20) / 10), crs="EPSG:32631", transform=_affine())
    manifest = index(tmp_path)
    alone = check_manifest(manifest)
    assert {one.kind for one in alone.errors} == {"linear-power"}
    assert {(one.sample, one.image) for one in alone.errors} == {("2", "sentinel1")}
    assert check_manifest(manifest, workers=2) == alone
    assert check_manifest(manifest, accept=["linear-power"]).errors == ()
    assert check_manifest(manifest, limit=2).checked == 2
    with pytest.raises(InputError, match="no kind of finding 'linear'"):
        check_manifest(manifest, accept=["linear"])
    with pytest.raises(InputError, match=r"(?s)2\.tif.*linear-power.*--accept linear-power"):
        alone.require_no_errors()


def test_a_truncated_file_and_one_of_another_place_are_findings(tmp_path: Path) -> None:
    write_pairs(tmp_path, 2)
    manifest = index(tmp_path)
    path = tmp_path / "s1" / "0.tif"
    path.write_bytes(path.read_bytes()[:2000])
    write_geotiff(tmp_path / "s2" / "1.tif", surface(64, 10), crs="EPSG:32632", transform=_affine())
    broken, moved = (check_sample(manifest.root, sample, manifest.sensors) for sample in manifest.samples)
    assert kinds(broken) == {"unreadable"}
    assert kinds(moved) == {"pair-grid"}
    assert "EPSG:32632" in next(one.seen for one in moved if one.kind == "pair-grid")


def test_names_of_bands_in_the_file_count(tmp_path: Path) -> None:
    write_geotiff(tmp_path / "s1" / "0.tif", radar(), descriptions=("VV", "VH"))
    manifest = index_layout("pairs", tmp_path, LayoutOptions(sensors=("sentinel1=s1",))).manifest
    write_geotiff(tmp_path / "s1" / "0.tif", radar(), descriptions=("VH", "VV"))
    found = of(check_manifest(manifest), "band-name")
    assert [one.remedy for one in found] == ["--sensor sentinel1:VH,VV=PATTERN"]


def test_the_same_pixels_twice_are_a_warning_within_a_split_and_an_error_across(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        write_geotiff(tmp_path / "s1" / f"{name}.tif", radar(seed=0 if name != "c" else 5))
    manifest = index_layout("pairs", tmp_path, LayoutOptions(sensors=("sentinel1=s1",)), split="train").manifest
    (twin,) = check_manifest(manifest).findings
    assert (twin.kind, twin.severity, twin.sample) == ("duplicate", "warning", "b")
    first, second, third = manifest.samples
    across = replace(manifest, samples=(first, replace(second, split="test"), third))
    (twin,) = check_manifest(across).findings
    assert (twin.kind, twin.severity) == ("duplicate-across-splits", "error")


def test_a_mixed_offset_is_an_error_of_the_source(tmp_path: Path) -> None:
    for k in range(4):
        write_geotiff(tmp_path / "s2" / f"{k}.tif", surface(seed=10 * k) + np.uint16(1000 if k == 3 else 0))
    manifest = index_layout("pairs", tmp_path, LayoutOptions(sensors=("sentinel2_l2a=s2",))).manifest
    assert {one.kind for one in check_manifest(manifest).errors} == {"offset-present", "offset-mixed"}


def test_commands_fail_closed_and_write_json(tmp_path: Path) -> None:
    write_pairs(tmp_path, 2)
    write_geotiff(tmp_path / "s1" / "1.tif", radar(64, 10)[::-1], crs="EPSG:32631", transform=_affine())
    manifest, run = tmp_path / "m.parquet", CliRunner().invoke
    pairs = ["data", "index", "pairs", str(tmp_path), "--out", str(manifest)]
    sensors = ["--sensor", "sentinel1=s1", "--sensor", "sentinel2_l2a=s2"]
    failed = run(app, [*pairs, *sensors])
    assert failed.exit_code == 2
    assert "--sensor sentinel1:VH,VV=PATTERN" in failed.output
    assert not manifest.exists()
    assert run(app, [*pairs, *sensors, "--accept", "polarisation-swapped"]).exit_code == 0
    assert len(read_manifest(manifest).samples) == 2
    checked = run(app, ["data", "check", str(manifest), "--json", str(tmp_path / "f.json")])
    assert checked.exit_code == 2
    written = json.loads((tmp_path / "f.json").read_text())
    assert written["counts"]["error"] == 1
    assert written["findings"][0]["kind"] == "polarisation-swapped"
    assert run(app, ["data", "check", str(manifest), "--accept", "polarisation-swapped"]).exit_code == 0


def test_errors_are_raised_with_what_mends_them() -> None:
    found = check_image(stored_image(radar()[::-1], RADAR, file="x.tif"))
    with pytest.raises(InputError, match=r"x\.tif, band VV, VH: error polarisation-swapped.*--sensor sentinel1:VH,VV"):
        require_no_errors(found)
    require_no_errors(found, accept=["polarisation-swapped"])


@pytest.mark.parametrize(
    ("pixel_m", "seen"), [(10.0, None), (60.0, None), (5.0, "pixels of 5 m"), (120.0, "pixels of 120 m")]
)
def test_pixels_coarser_than_the_bands_or_finer_than_the_sensor_are_warned_of(
    tmp_path: Path, pixel_m: float, seen: str | None
) -> None:
    from affine import Affine

    place = {"crs": "EPSG:32632", "transform": Affine(pixel_m, 0, 5e5, 0, -pixel_m, 5e6)}
    write_geotiff(tmp_path / "s2" / "0.tif", surface(), **place)
    manifest = index_layout("pairs", tmp_path, LayoutOptions(sensors=("sentinel2_l2a=s2",))).manifest
    found = of(check_manifest(manifest), "resolution")
    assert [one.seen for one in found] == ([seen] if seen else [])
    if seen:
        mended = change_cards(manifest.sensors, [found[0].remedy.split()[1]])
        assert of(check_manifest(replace(manifest, sensors=mended)), "resolution") == []


def test_several_types_of_numbers_in_one_source_are_warned_of(tmp_path: Path) -> None:
    for i, kind in enumerate((np.float32, np.float32, np.float64)):
        write_geotiff(tmp_path / "s1" / f"{i}.tif", radar(seed=i).astype(kind))
    manifest = index_layout("pairs", tmp_path, LayoutOptions(sensors=("sentinel1=s1",))).manifest
    (found,) = of(check_manifest(manifest), "data-type")
    assert (found.severity, Path(found.file).name) == ("warning", "2.tif")
    assert "float32" in found.seen and "float64" in found.seen
