"""Real images behind a real STAC API: what is written has the physical values of the files it was made of."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from catalogue_world import COG, FileServer, item, lon_lat_bounds, stac_api, write_cog
from rasterio import Affine
from rasterio.enums import Resampling
from rasterio.warp import calculate_default_transform, reproject
from small_runs import refused, run

from msgfm.data.reader import read_sample
from msgfm.data.records import read_manifest
from msgfm.geo.raster import raster_info, read_bands

L1C = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
SCALED = {"scale": 0.0001, "offset": -0.1}
SEN12MS_CR = "SEN12MS-CR/ROIs1970_fall_{0}/{1}_139/ROIs1970_fall_{1}_139_p839.tif"


@dataclass(frozen=True)
class Place:
    """A Sentinel-1 and Sentinel-2 pair of the pack, and how a catalogue states it.

    Args:
        optical: file of 13 bands.
        radar: file of VV and VH in dB.
        added: what the stored reflectance holds beside the reflectance (README of the pack; None: not looked at).
        band: what the item says of its Sentinel-2 bands.
        properties: of the Sentinel-2 item.
        power: whether the catalogue has Sentinel-1 as linear power; else in dB, which it says.
    """

    optical: str
    radar: str
    added: int
    band: dict[str, Any]
    properties: dict[str, Any]
    power: bool = True


def terramesh(tile: str, *rest: Any, **more: Any) -> Place:
    return Place(f"TerraMesh/S2L1C/{tile}.tif", f"TerraMesh/S1RTC/{tile}.tif", *rest, **more)


PLACES = {
    "282D": terramesh("282D_485L_3_3", 1000, {}, {"s2__processing_baseline": "05.09"}),
    "609U": terramesh("609U_541L_3_0", 1000, SCALED, {}, power=False),
    "38D": terramesh("38D_378R_2_3", 0, SCALED, {"earthsearch__boa_offset_applied": True}),
    "ROIs1970": Place(
        SEN12MS_CR.format("s2", "s2"),
        SEN12MS_CR.format("s1", "s1"),
        0,
        {},
        {"s2__product_uri": "S2A_MSIL1C_20171005T101021_N0205_R022_T50TMK_20171005T101021.SAFE"},
    ),
}


def neighbour(crs: str) -> str:
    """The next UTM zone."""
    code = int(crs.removeprefix("EPSG:"))
    return f"EPSG:{code + 1 if code % 100 < 60 else code - 1}"


def read(path: Path) -> tuple[np.ndarray[Any, Any], str, Affine]:
    """Values, CRS and transform, moved by up to 5 m onto round coordinates, as Sentinel-2's own grid has them."""
    info = raster_info(path)
    assert info.crs is not None and info.transform.a == pytest.approx(10, abs=1e-3)
    at = Affine(10, 0, round(info.transform.c, -1), 0, -10, round(info.transform.f, -1))
    return np.asarray(read_bands(path).filled(np.nan if info.dtype.startswith("f") else 0)), str(info.crs), at


def optical_item(server: FileServer, name: str, place: Place, source: Path) -> dict[str, Any]:
    array, crs, at = read(source)
    assets = {}
    for band, plane in zip(L1C, array, strict=True):
        bounds = write_cog(server.folder / name / f"{band}.tif", plane[None], crs, at)
        assets[band] = {"href": f"{server.url}/{name}/{band}.tif", "type": COG, "raster:bands": [place.band]}
    return item(name, "sentinel-2-l1c", "2024-06-03T10:00:00Z", bounds, assets, **place.properties)


def radar_item(server: FileServer, name: str, place: Place, source: Path) -> dict[str, Any]:
    """The radar image on 9 m pixels of the next zone, as linear power or dB."""
    array, crs, at = read(source)
    array = (10 ** (array / 10) if place.power else array).astype(np.float32)
    bottom_right = at @ (array.shape[2], array.shape[1])
    edges = (at.c, bottom_right[1], bottom_right[0], at.f)
    other = neighbour(crs)
    there, width, height = calculate_default_transform(crs, other, array.shape[2], array.shape[1], *edges, resolution=9)
    moved = np.full((2, height, width), np.nan, np.float32)
    grids = {"src_crs": crs, "src_transform": at, "dst_crs": other, "dst_transform": there}
    reproject(array, moved, resampling=Resampling.cubic, src_nodata=np.nan, dst_nodata=np.nan, **grids)
    if place.power:
        moved = np.maximum(moved, np.float32(1e-5))  # cubic interpolation goes below what it is given
    bounds = write_cog(server.folder / name / "both.tif", moved, other, there)
    said = [{"name": "VV"}, {"name": "VH"}]
    assets = {"both": {"href": f"{server.url}/{name}/both.tif", "type": COG, "eo:bands": said}}
    if not place.power:
        assets["both"]["raster:bands"] = [{"unit": "dB"}, {"unit": "dB"}]
    return item(name, "sentinel-1-rtc" if place.power else "decibels", "2024-06-03T17:00:00Z", bounds, assets)


@dataclass(frozen=True)
class Catalogue:
    api: str
    pack: Path
    files: Path

    def ask(self, name: str, out: Path) -> list[object]:
        """For the middle 100 pixels of a place."""
        _, crs, at = read(self.pack / PLACES[name].optical)
        west, south, east, north = lon_lat_bounds(crs, at @ Affine.translation(70, 70), 80, 80)
        bbox = f"{west},{south},{east},{north}"
        where = ["--bbox", bbox, "--dates", "2024-06-03", "--crs", crs, "--size", 64, "--timeout", 60]
        radar = "sentinel-1-rtc" if PLACES[name].power else "decibels"
        which = ["--sensors", "sentinel2,sentinel1", "--collection", f"sentinel1={radar}"]
        return ["data", "stac", self.api, *where, *which, "--out", out]


@pytest.fixture(scope="module")
def catalogue(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalogue]:
    folder = tmp_path_factory.mktemp("real")
    server = FileServer(folder)
    items = []
    for name, place in PLACES.items():
        items.append(optical_item(server, f"optical-{name}", place, real_data / place.optical))
        items.append(radar_item(server, f"radar-{name}", place, real_data / place.radar))
    with stac_api(items, folder) as api:
        yield Catalogue(api, real_data, folder)
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("name", PLACES)
def test_real_pairs_have_the_values_of_their_files(catalogue: Catalogue, tmp_path: Path, name: str) -> None:
    output = run(*catalogue.ask(name, tmp_path / "out"))
    assert "wrote" in output
    manifest = read_manifest(tmp_path / "out" / "manifest.parquet")
    assert {band.offset for band in manifest.sensors["sentinel2"].bands} == {-1000}
    assert len(manifest.samples) == 4
    place = PLACES[name]
    stored, crs, at = read(catalogue.pack / place.optical)
    direct, _, _ = read(catalogue.pack / place.radar)
    differences = []
    for sample in manifest.samples:
        images = read_sample(manifest.root, sample, manifest.sensors)
        info = raster_info(manifest.root / sample.images[0].files[0].path)
        column, row = map(int, ~at @ (info.transform.c, info.transform.f))
        assert (str(info.crs), info.transform.a) == (crs, 10)
        window = (slice(None), slice(row, row + 64), slice(column, column + 64))
        expected = (stored[window].astype(np.float64) - place.added) * 1e-4
        np.testing.assert_allclose(images["sentinel2"], expected, atol=1e-7)  # the very numbers
        seen = 10 ** (images["sentinel1"] / 10)
        with rasterio.open(catalogue.files / f"radar-{name}" / "both.tif") as source:
            grids = {"src_crs": source.crs, "src_transform": source.transform, "dst_crs": crs}
            warped = np.full((2, 64, 64), np.nan, np.float32)
            nan = {"src_nodata": np.nan, "dst_nodata": np.nan}
            reproject(
                source.read(), warped, dst_transform=info.transform, resampling=Resampling.bilinear, **grids, **nan
            )
        expected = warped if place.power else 10 ** (warped / 10)
        np.testing.assert_allclose(seen, expected, rtol=0.02)  # GDAL's VRT places pixels to an eighth of one
        differences.append(images["sentinel1"] - direct[window])
    # twice interpolated: speckle is smoothed, the level stays
    assert abs(np.median(np.concatenate(differences))) < 0.5


def test_wrong_metadata_are_told_from_the_pixels(catalogue: Catalogue, tmp_path: Path) -> None:
    """Files without the 1000 whose user says that it is in them: far below zero."""
    asked = catalogue.ask("38D", tmp_path / "out")
    message = refused(*asked, "--set", "sentinel2.offset=-1000")
    assert "offset-removed-twice" in message and "The images were read as their items say" in message
    assert not (tmp_path / "out" / "manifest.parquet").exists()
