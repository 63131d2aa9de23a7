"""From a STAC catalogue to a manifest: a real API and ranged reads, both on loopback."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from catalogue_world import COG, FileServer, collection_of, item, stac_api, waves, write_cog
from rasterio import Affine
from small_runs import run, started

from msgfm.data.catalogue import CatalogueRequest, Collected, collect, find_coincidences
from msgfm.data.catalogue.request import parse_dates
from msgfm.data.catalogue.search import signed_by_planetary_computer
from msgfm.data.reader import read_sample
from msgfm.data.records import read_manifest
from msgfm.errors import InputError
from msgfm.geo.network import Network
from msgfm.geo.raster import raster_info, read_bands
from msgfm.geo.warp import read_on_grid

OPTICAL, RADAR = "EPSG:32632", "EPSG:32633"  # the place lies where two zones meet
LEFT, TOP, TILE = 720_000, 5_340_000, 240  # pixels of 10 m
BANDS = {
    "B02": (0.10, "blue"),
    "B03": (0.14, "green"),
    "B04": (0.12, "red"),
    "B08": (0.30, "nir"),
    "B11": (0.2, "swir16"),
}
CHOSEN = {"sentinel2_l2a": tuple(BANDS)}
QUICK = Network(timeout_s=1, retries=2, wait_s=0.05)


def reflectance(band: str, at: Affine, side: int, crs: str = OPTICAL) -> np.ndarray[Any, Any]:
    mean, _ = BANDS[band]
    return mean + 0.05 * waves(crs, at, side, side, phase=mean)


def backscatter(crs: str, at: Affine, side: int) -> np.ndarray[Any, Any]:
    """VV and VH in dB."""
    wave = waves(crs, at, side, side)
    return np.stack([-12 + 3 * wave, -19 + 2 * wave])


@dataclass
class World:
    server: FileServer
    items: list[dict[str, Any]]
    api: str
    bbox: tuple[float, float, float, float]
    folder: Path

    def request(self, out: Path, **changes: Any) -> CatalogueRequest:
        start, end = parse_dates("2024-06-01/2024-06-30")
        request = CatalogueRequest(
            source=self.api,
            bbox=self.bbox,
            start=start,
            end=end,
            sensors=("sentinel2_l2a", "sentinel1"),
            out=out,
            bands=CHOSEN,
            size=64,
            network=QUICK,
        )
        return replace(request, **changes)

    def collect(self, out: Path, **changes: Any) -> Collected:
        request = self.request(out, **changes)
        return collect(request, find_coincidences(request))


def optical_item(server: FileServer, name: str, when: str, left: int, added: int, **properties: Any) -> dict[str, Any]:
    """Writes the bands of a tile and says how; `added` is what the stored numbers hold beside the reflectance."""
    assets: dict[str, Any] = {}
    said = properties.pop("said", {})
    for band, (_, common) in BANDS.items():
        coarse = 2 if band == "B11" else 1
        at, side = Affine(10 * coarse, 0, left, 0, -10 * coarse, TOP), TILE // coarse
        stored = np.rint(reflectance(band, at, side) * 10_000 + added).astype(np.uint16)
        bounds = write_cog(server.folder / name / f"{band}.tif", stored[None], OPTICAL, at)
        raster = {"data_type": "uint16", "nodata": 0, "spatial_resolution": 10 * coarse} | said
        assets[common] = {
            "href": f"{server.url}/{name}/{band}.tif",
            "type": COG,
            "roles": ["data"],
            "eo:bands": [{"name": common, "common_name": common}],
            "raster:bands": [raster],
        }
    picture = {"name": "red", "common_name": "red"}
    assets["visual"] = {"href": f"{server.url}/x.tif", "type": COG, "roles": ["visual"], "eo:bands": [picture]}
    return item(name, "sentinel-2-l2a", when, bounds, assets, **({"platform": "sentinel-2a"} | properties))


def radar_item(server: FileServer, name: str, when: str, **properties: Any) -> dict[str, Any]:
    """Linear power on the grid of another zone, off by parts of a pixel."""
    side = 700
    at = Affine(10, 0, 272_003.7, 0, -10, 5_342_006.1)
    power = (10 ** (backscatter(RADAR, at, side) / 10)).astype(np.float32)
    power[:, :3] = -32768
    assets = {}
    for key, band in zip(("vv", "vh"), power, strict=True):
        bounds = write_cog(server.folder / name / f"{key}.tif", band[None], RADAR, at, nodata=-32768)
        assets[key] = {"href": f"{server.url}/{name}/{key}.tif", "type": COG, "roles": ["data"]}
    said = {"platform": "sentinel-1a", "sar__product_type": "GRD"} | properties
    return item(name, "sentinel-1-rtc", when, bounds, assets, **said)


def heights_item(server: FileServer, name: str) -> dict[str, Any]:
    """Metres on a grid of degrees, without any date that counts."""
    at = Affine(1 / 3600, 0, 11.93, 0, -1 / 3600, 48.20)
    heights = (450 + 40 * waves("EPSG:4326", at, 200, 300)).astype(np.float32)
    bounds = write_cog(server.folder / name / "dem.tif", heights[None], "EPSG:4326", at)
    assets = {"data": {"href": f"{server.url}/{name}/dem.tif", "type": COG, "roles": ["data"]}}
    return item(name, "cop-dem-glo-30", "2021-04-22T00:00:00Z", bounds, assets)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Sentinel-2 passes (two tiles with the 1000 of baseline 04.00; one without), a cloudy one; two of Sentinel-1."""
    folder = tmp_path_factory.mktemp("catalogue")
    server = FileServer(folder / "files")
    scaled = {"scale": 0.0001, "offset": -0.1}
    items = [
        optical_item(server, "west", "2024-06-03T10:00:00Z", LEFT, 1000, said=scaled, eo__cloud_cover=1),
        optical_item(
            server,
            "east",
            "2024-06-03T10:00:14Z",
            LEFT + 2000,
            1000,
            eo__cloud_cover=2,
            s2__processing_baseline="05.10",
        ),
        optical_item(
            server, "later", "2024-06-13T10:00:00Z", LEFT, 0, said=scaled, earthsearch__boa_offset_applied=True
        ),
        optical_item(server, "cloudy", "2024-06-23T10:00:00Z", LEFT, 0, said=scaled, eo__cloud_cover=70),
        radar_item(server, "rtc1", "2024-06-04T05:00:00Z", sat__orbit_state="descending", sat__relative_orbit=168),
        radar_item(server, "rtc2", "2024-06-14T17:00:00Z", sat__orbit_state="ascending", sat__relative_orbit=44),
    ]
    items.append(heights_item(server, "heights"))
    # 2560 m wide, of which the western tile covers 2400
    from catalogue_world import lon_lat_bounds

    bbox = lon_lat_bounds(OPTICAL, Affine(10, 0, LEFT + 400, 0, -10, TOP - 300), 100, 240)
    with stac_api(items, folder) as api:
        yield World(server=server, items=items, api=api, bbox=bbox, folder=folder)
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def well_behaved(world: World) -> Iterator[None]:
    yield
    world.server.before = lambda name: None


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != ".lock"}


def test_pairs_have_the_physical_values_of_both_sensors_on_one_grid(world: World, tmp_path: Path) -> None:
    result = world.collect(tmp_path)
    manifest = result.manifest
    card = manifest.sensors["sentinel2_l2a"].bands[1]
    assert (card.offset, card.scale, card.nodata) == (-1000, 0.0001, 0)
    pairs = {sample.sample.split("/")[0] for sample in manifest.samples}
    assert len(pairs) == 2, "the cloudy pass is left out"
    for sample in manifest.samples:
        images = read_sample(tmp_path, sample, manifest.sensors)
        radar = next(image for image in sample.images if image.sensor == "sentinel1")
        info = raster_info(tmp_path / radar.files[0].path)
        assert str(info.crs) == OPTICAL and info.dtype == "float32"
        for band in BANDS:
            seen = images["sentinel2_l2a"][manifest.sensors["sentinel2_l2a"].index_of(band)]
            ok = np.isfinite(seen)
            assert ok.mean() >= 0.9
            expected = reflectance(band, info.transform, 64)
            # stored in steps of 1e-4; B11 is interpolated from 20 m
            np.testing.assert_allclose(seen[ok], expected[ok], atol=1.5e-3 if band == "B11" else 5.1e-5)
        expected = backscatter(OPTICAL, info.transform, 64)
        np.testing.assert_allclose(images["sentinel1"], expected, atol=0.03)  # dB; interpolated as power


def test_heights_go_with_all_dates(world: World, tmp_path: Path) -> None:
    manifest = world.collect(tmp_path, sensors=("sentinel2_l2a", "dsm"), bands={"sentinel2_l2a": ("B04",)}).manifest
    assert {sample.sample[:8] for sample in manifest.samples} == {"20240603", "20240613"}
    for sample in manifest.samples:
        seen = read_sample(tmp_path, sample, manifest.sensors)["dsm"][0]
        at = raster_info(tmp_path / sample.images[0].files[0].path).transform
        np.testing.assert_allclose(seen, 450 + 40 * waves(OPTICAL, at, 64, 64), atol=1.5)  # metres, from pixels of 31 m


def test_tiles_of_one_pass_are_joined_and_a_place_stands_once(world: World, tmp_path: Path) -> None:
    manifest = world.collect(tmp_path).manifest
    first = [sample for sample in manifest.samples if sample.sample.startswith("20240603")]
    later = [sample for sample in manifest.samples if sample.sample.startswith("20240613")]
    # the bbox reaches beyond the western tile, which alone saw the later pass
    assert {s.sample.split("/")[1] for s in first} > {s.sample.split("/")[1] for s in later}
    assert len({sample.sample for sample in manifest.samples}) == len(manifest.samples)
    across = [
        sample
        for sample in first
        if (info := raster_info(tmp_path / sample.images[0].files[0].path)).transform.c < LEFT + 2400
        and info.transform.c + 640 > LEFT + 2400
    ]
    assert across, "some patch has its left part from one tile and its right part from the other"
    stored = read_bands(tmp_path / across[0].images[0].files[0].path)
    assert not np.ma.is_masked(stored)


def test_a_place_keeps_its_split_over_all_dates(world: World, tmp_path: Path) -> None:
    request = world.request(tmp_path, size=32)
    manifest = collect(request, find_coincidences(request), val_fraction=0.5, seed=3).manifest
    by_place: dict[str, set[str]] = {}
    for sample in manifest.samples:
        by_place.setdefault(sample.sample.split("/")[1], set()).add(sample.split)
    assert all(len(splits) == 1 for splits in by_place.values())


def test_only_parts_of_the_files_travel(world: World, tmp_path: Path) -> None:
    """A patch of 64 px in the corner of radar images of 700 px."""
    radar = sum(path.stat().st_size for path in (world.server.folder / "rtc1").iterdir())
    world.server.sent = world.server.ranges = 0
    west, south, _, _ = world.bbox
    world.collect(tmp_path, bbox=(west, south, west + 0.005, south + 0.004), sensors=("sentinel1",), bands={}, limit=1)
    assert 0 < world.server.sent < 0.5 * radar
    assert world.server.ranges > 0


def test_a_file_of_items_gives_what_the_api_gives(world: World, tmp_path: Path) -> None:
    import json

    listed = tmp_path / "items.json"
    listed.write_text(json.dumps(collection_of(world.items)))
    ours, theirs = world.collect(tmp_path / "a", source=str(listed)), world.collect(tmp_path / "b")
    assert ours.manifest.digest == theirs.manifest.digest
    assert {k: v for k, v in contents(tmp_path / "a").items()} == contents(tmp_path / "b")


def test_a_request_that_fails_is_tried_again_with_a_limit(world: World, tmp_path: Path) -> None:
    seen: list[str] = []

    def fail_twice(name: str) -> int | None:
        if name == "rtc1/vh.tif" and len(seen) < 2:
            seen.append(name)
            return 503
        return None

    world.server.before = fail_twice
    result = world.collect(tmp_path, limit=1)
    assert len(seen) == 2 and not result.left_out and result.manifest.samples


@pytest.mark.parametrize("fault", [503, 404])
def test_a_file_that_stays_away_is_named_with_its_item(world: World, tmp_path: Path, fault: int) -> None:
    world.server.before = lambda name: fault if name.startswith("rtc2/vh") else None
    world.server.asked.clear()
    with pytest.raises(
        InputError, match=rf"item rtc2, band VH of sentinel1: cannot read {world.server.url}/rtc2/vh.tif"
    ):
        world.collect(tmp_path, workers=1)
    assert world.server.asked.count("rtc2/vh.tif") <= 4 * (1 + QUICK.retries)  # for each range of the file
    result = world.collect(tmp_path, skip_bad=1)
    assert len(result.left_out) == 1
    assert {sample.sample[:8] for sample in result.manifest.samples} == {"20240603"}


def test_a_server_that_hangs_is_given_up(world: World, tmp_path: Path) -> None:
    released = []

    def hang(name: str) -> int | None:
        if name.startswith("rtc1/vv"):
            released.append(name)
            time.sleep(1.5)
        return None

    world.server.before = hang
    network = replace(QUICK, retries=1)
    with pytest.raises(InputError, match=r"item rtc1, band VV .*rtc1/vv.tif"):
        world.collect(tmp_path, limit=1, workers=1, network=network)
    assert 2 <= len(released) <= 4 * (1 + network.retries)


def test_an_api_that_does_not_answer_is_named(world: World, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{probe.getsockname()[1]}"
    with pytest.raises(InputError, match=f"the catalogue {nobody} does not answer .*was tried 2 times"):
        find_coincidences(world.request(tmp_path, source=nobody, network=replace(QUICK, retries=1)))
    with pytest.raises(InputError, match=r"not a STAC API|does not answer"):
        find_coincidences(world.request(tmp_path, source=world.server.url))


def test_planetary_computer_signs_addresses(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """GDAL asks for the collection's token and adds it to each request; here our own server gives it out."""
    (world.server.folder / "rtc").write_text('{"msft:expiry": "2124-01-01T00:00:00Z", "token": "sig=secret"}')
    monkeypatch.setenv("VSICURL_PC_SAS_TOKEN_URL", f"{world.server.url}/")
    address = signed_by_planetary_computer(f"{world.server.url}/rtc1/vv.tif".replace("http:", "https:"), "rtc")
    read_on_grid(address.replace("https", "http"), 1, world.request(tmp_path).grid(), network=QUICK)
    assert "sig=secret" in world.server.queries


def test_what_is_there_is_kept_and_nothing_is_asked_for_again(world: World, tmp_path: Path) -> None:
    first = world.collect(tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.tif")}
    world.server.asked.clear()
    again = world.collect(tmp_path)
    assert (again.new, world.server.asked) == (0, [])
    assert again.manifest == first.manifest
    next(iter(before)).unlink()
    assert world.collect(tmp_path).new == 1
    assert {path for path in tmp_path.rglob("*.tif")} == set(before)
    with pytest.raises(InputError, match="another request: size was 64, now it is 32"):
        world.collect(tmp_path, size=32)


def options(world: World, out: Path, *more: object) -> list[object]:
    bbox = ",".join(f"{edge:.6f}" for edge in world.bbox)
    where = ["--bbox", bbox, "--dates", "2024-06-01/2024-06-30", "--size", 64, "--out", out]
    return ["data", "stac", world.api, *where, *more]


def test_a_killed_run_goes_on_and_writes_the_same(world: World, tmp_path: Path) -> None:
    killed = threading.Event()

    def stall(name: str) -> int | None:
        """Holds up what is asked for once the first of two passes is written."""
        if any(tmp_path.glob("killed/records/*/*.json")):
            killed.wait(60)
        return None

    world.server.before = stall
    radar = ("--sensors", "sentinel1", "--workers", 1)
    with started(*options(world, tmp_path / "killed", *radar)) as process:
        while not any(tmp_path.glob("killed/records/*/*.json")) and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    killed.set()
    world.server.before = lambda name: None
    assert not (tmp_path / "killed" / "manifest.parquet").exists()
    assert len(list(tmp_path.glob("killed/records/*/*.json"))) == 1, "one of two passes"
    half = tmp_path / "killed" / "sentinel1" / ".half.tif.123.tmp"  # a kill while a file is written
    half.touch()
    for name in ("killed", "whole"):
        output = run(*options(world, tmp_path / name, *radar))
    assert not half.exists()
    assert "wrote" in output
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    assert len(read_manifest(tmp_path / "whole" / "manifest.parquet").samples) > 8
