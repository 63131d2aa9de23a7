"""`geo/cog.py`: parts put together to cloud-optimised GeoTIFFs."""

import hashlib

import numpy as np
import pytest
import rasterio
from rasterio import Affine
from rasterio.enums import ColorInterp
from rasterio.errors import RasterioError
from rio_cogeo.cogeo import cog_validate

from msgfm.errors import InputError
from msgfm.geo.cog import Part, assemble_cog, write_part
from msgfm.geo.cog_blocks import require_deflated_blocks, require_framed_blocks
from msgfm.geo.grid import Grid
from msgfm.geo.spec import RasterClass, RasterSpec, StoredBand

WATER = (
    RasterClass(value=0, name="no water", colour=(200, 180, 140)),
    RasterClass(value=1, name="water & ice", colour=(0, 90, 200)),
)


def grid(height, width, crs="EPSG:32633"):
    return Grid(crs=crs, left=500_000, top=5_000_000, pixel_width=10, pixel_height=20, height=height, width=width)


def reflectance(height, width, **changes):
    bands = (
        StoredBand(name="B02", unit="reflectance", scale=1e-4, offset=-1000),
        StoredBand(name="B03 <green>", unit="reflectance", scale=1e-4, offset=-1000),
        StoredBand(name="B10", unit="K", scale=0.01, offset=10000),
    )
    return RasterSpec(**{"grid": grid(height, width), "dtype": "uint16", "bands": bands, "nodata": 0} | changes)


def features(height, width, count=40, **changes):
    """So many bands that each gets blocks of its own."""
    bands = tuple(StoredBand(name=f"f{i}", unit="K", scale=0.5, offset=i) for i in range(count))
    return RasterSpec(**{"grid": grid(height, width), "dtype": "float32", "bands": bands, "nodata": np.nan} | changes)


def classes(height, width):
    return RasterSpec(
        grid=grid(height, width), dtype="uint8", bands=(StoredBand(name="class"),), nodata=255, classes=WATER
    )


def parts_of(folder, array, rows=192, columns=512):
    folder.mkdir(exist_ok=True)
    parts = []
    _, height, width = array.shape
    for row in range(0, height, rows):
        for column in range(0, width, columns):
            piece = array[:, row : row + rows, column : column + columns]
            path = folder / f"{row}_{column}.tif"
            write_part(path, piece)
            parts.append(Part(path=path, row=row, column=column, height=piece.shape[1], width=piece.shape[2]))
    return parts


def random_array(spec, seed=0):
    rng = np.random.default_rng(seed)
    size = (len(spec.bands), spec.grid.height, spec.grid.width)
    if spec.classes:
        return rng.integers(0, 2, size).astype(spec.dtype)
    return rng.integers(1, 60000, size).astype(spec.dtype)


def assembled(tmp_path, spec, array=None, **cuts):
    array = random_array(spec) if array is None else array
    out = tmp_path / "result.tif"
    assemble_cog(parts_of(tmp_path / "parts", array, **cuts), spec, out)
    return out, array


def test_pixels_and_everything_said_of_them_survive(tmp_path):
    spec = reflectance(600, 1100)
    out, array = assembled(tmp_path, spec)
    with rasterio.open(out) as found:
        np.testing.assert_array_equal(found.read(), array)
        assert found.crs == "EPSG:32633"
        assert found.transform == Affine(10, 0, 500_000, 0, -20, 5_000_000)
        assert found.descriptions == ("B02", "B03 <green>", "B10")
        assert found.nodatavals == (0, 0, 0)
        assert found.units == ("reflectance", "reflectance", "K")
        # (stored + offset) * scale, as GDAL has it
        np.testing.assert_allclose(found.scales, (1e-4, 1e-4, 0.01))
        np.testing.assert_allclose(found.offsets, (-0.1, -0.1, 100))
        assert found.overviews(1) == [2, 4]
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["result.tif"]


@pytest.mark.parametrize(
    ("make", "size"),
    [(make, size) for make in (reflectance, classes) for size in ((1, 1), (16, 700), (513, 512), (600, 1100))]
    + [(features, size) for size in ((1, 1), (16, 300), (257, 256))],
)
def test_what_comes_out_is_a_valid_cloud_optimised_geotiff(tmp_path, size, make):
    out, array = assembled(tmp_path, make(*size), rows=128)
    valid, errors, notes = cog_validate(out, strict=True)
    assert valid, (errors, notes)
    with rasterio.open(out) as found:
        np.testing.assert_array_equal(found.read(), array)


@pytest.mark.parametrize(
    ("make", "height", "width"),
    [
        (classes, 1524, 1024),
        (classes, 2100, 512),
        (classes, 5000, 512),
        (reflectance, 1100, 1023),
        (features, 1100, 512),
    ],
)
def test_no_overview_is_one_block_wide_and_many_high(tmp_path, make, height, width):
    spec = make(height, width)
    out, _ = assembled(tmp_path, spec, np.ones((len(spec.bands), height, width), spec.dtype))
    valid, errors, notes = cog_validate(out, strict=True)
    assert valid, (errors, notes)
    with rasterio.open(out) as found:
        assert found.overviews(1)


def test_many_bands_have_blocks_of_their_own_and_say_all_that_few_say(tmp_path):
    few, many = (features(300, 300, count) for count in (37, 38))
    found = {}
    for spec in (few, many):
        folder = tmp_path / str(len(spec.bands))
        folder.mkdir()
        out, array = assembled(folder, spec)
        assert [path.name for path in folder.iterdir() if path.is_file()] == ["result.tif"]
        with rasterio.open(out) as source:
            np.testing.assert_array_equal(source.read(), array)
            structure = source.tags(ns="IMAGE_STRUCTURE")
            found[structure["INTERLEAVE"]] = (
                (source.crs, source.transform, source.tags(), source.overviews(1), source.block_shapes[0]),
                (structure["COMPRESSION"], structure["PREDICTOR"], str(source.nodatavals[0])),
                (source.descriptions[:37], source.units[:37], source.scales[:37], source.offsets[:37]),
                source.colorinterp[:37],
            )
    assert found["PIXEL"] == found["BAND"]


def test_overviews_of_many_bands_are_means_of_what_has_data(tmp_path):
    spec = features(300, 270, 38)
    array = random_array(spec)
    array[:, 0, :2] = np.nan
    out, _ = assembled(tmp_path, spec, array)
    with rasterio.open(out, overview_level=0) as found:
        half = found.read()
    blocks = array.reshape(38, 150, 2, 135, 2).swapaxes(2, 3).reshape(38, 150, 135, 4)
    np.testing.assert_allclose(half, np.nanmean(blocks, axis=3), rtol=1e-5)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float64"])
def test_many_bands_of_every_type_survive(tmp_path, dtype):
    count = 160 // np.dtype(dtype).itemsize
    nodata = np.nan if dtype == "float64" else 0
    out, array = assembled(tmp_path, features(300, 270, count, dtype=dtype, nodata=nodata), rows=77, columns=100)
    with rasterio.open(out) as found:
        assert found.dtypes[0] == dtype and found.profile["interleave"] == "band"
        np.testing.assert_array_equal(found.read(), array)


def test_classes_have_colours_and_names(tmp_path):
    out, _ = assembled(tmp_path, classes(100, 700))
    with rasterio.open(out) as found:
        assert found.colorinterp == (ColorInterp.palette,)
        assert found.colormap(1)[0] == (200, 180, 140, 255)
        assert found.colormap(1)[1] == (0, 90, 200, 255)
        assert found.tags()["class_1"] == "water & ice"


def test_overviews_of_measurements_are_means_of_what_has_data(tmp_path):
    spec = reflectance(600, 600)
    array = random_array(spec)
    array[:, 0, :2] = 0
    out, _ = assembled(tmp_path, spec, array)
    with rasterio.open(out, overview_level=0) as found:
        half = found.read(1)
    blocks = array[0].reshape(300, 2, 300, 2).swapaxes(1, 2).reshape(300, 300, 4).astype(float)
    blocks[blocks == 0] = np.nan
    np.testing.assert_allclose(half, np.nanmean(blocks, axis=2), atol=0.51)


def test_overviews_of_classes_are_the_most_frequent_class(tmp_path):
    spec = classes(600, 600)
    coarse = random_array(classes(300, 300))[0]
    array = coarse.repeat(2, axis=0).repeat(2, axis=1)[None]
    array[:, ::2, ::2] = 255  # three of four pixels have data
    out, _ = assembled(tmp_path, spec, array)
    with rasterio.open(out, overview_level=0) as found:
        np.testing.assert_array_equal(found.read(1), coarse)


@pytest.mark.parametrize("spec", [reflectance(600, 1100), features(300, 350)])
def test_bytes_do_not_depend_on_how_a_raster_was_cut(tmp_path, spec):
    digests = set()
    for i, cuts in enumerate([{"rows": 192}, {"rows": 600, "columns": 1100}, {"rows": 77, "columns": 333}]):
        folder = tmp_path / str(i)
        folder.mkdir()
        out, _ = assembled(folder, spec, **cuts)
        digests.add(hashlib.sha256(out.read_bytes()).hexdigest())
    assert len(digests) == 1


def test_a_raster_without_coordinates_stays_without(tmp_path):
    bare = Grid(crs="", left=0, top=0, pixel_width=1, pixel_height=1, height=600, width=700)
    out, array = assembled(tmp_path, reflectance(600, 700, grid=bare))
    with rasterio.open(out) as found:
        assert found.crs is None
        assert found.transform == Affine.identity()
        np.testing.assert_array_equal(found.read(), array)


def test_degrees_keep_their_axes(tmp_path):
    lon_lat = Grid(crs="EPSG:4326", left=12.5, top=47.0, pixel_width=1e-4, pixel_height=2e-4, height=600, width=700)
    out, _ = assembled(tmp_path, reflectance(600, 700, grid=lon_lat))
    with rasterio.open(out) as found:
        assert found.transform.c == 12.5
        assert found.transform.f == 47.0
        assert found.crs == "EPSG:4326"


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint32", "float32", "float64"])
def test_every_type_survives(tmp_path, dtype):
    spec = RasterSpec(grid=grid(600, 600), dtype=dtype, bands=(StoredBand(name="x"),))
    array = np.random.default_rng(0).integers(0, 100, (1, 600, 600)).astype(dtype)
    out, _ = assembled(tmp_path, spec, array)
    with rasterio.open(out) as found:
        assert found.dtypes == (dtype,)
        np.testing.assert_array_equal(found.read(), array)


def test_gaps_and_overlaps_are_told(tmp_path):
    spec = reflectance(600, 1024)
    parts = parts_of(tmp_path / "parts", random_array(spec))
    for wrong, message in [
        (parts[:3] + parts[4:], "no parts hold the pixel at row 192, column 512"),
        ([*parts, parts[2]], "2 parts"),
    ]:
        with pytest.raises(InputError, match=message):
            assemble_cog(wrong, spec, tmp_path / "result.tif")
    assert not (tmp_path / "result.tif").exists()


def test_a_part_that_is_damaged_or_of_another_kind_is_told(tmp_path):
    spec = reflectance(600, 512)
    parts = parts_of(tmp_path / "parts", random_array(spec))
    with pytest.raises(InputError, match=r"0_0\.tif has .*uint16.*expected .*uint8"):
        assemble_cog(parts, reflectance(600, 512, dtype="uint8"), tmp_path / "result.tif")
    parts[1].path.write_bytes(b"nonsense")
    with pytest.raises(InputError, match=r"192_0\.tif"):
        assemble_cog(parts, spec, tmp_path / "result.tif")
    assert not (tmp_path / "result.tif").exists()


@pytest.mark.parametrize("spec", [reflectance(600, 600), features(300, 300)])
def test_a_full_disk_leaves_nothing(tmp_path, disk_full_after, spec):
    out, array = assembled(tmp_path, spec)
    size = out.stat().st_size
    before = tmp_path / "before.tif"
    before.write_text("before")
    parts = parts_of(tmp_path / "parts", array)
    for share in (0.001, 0.1, 0.5, 0.9, 0.999):
        with disk_full_after(int(size * share)), pytest.raises(InputError, match=r"before\.tif.*(space|disk)"):
            assemble_cog(parts, spec, before)
        assert before.read_text() == "before"
        assert {path.name for path in tmp_path.iterdir()} == {"result.tif", "before.tif", "parts"}


def test_a_block_that_was_not_written_is_noticed(tmp_path):
    out, _ = assembled(tmp_path, reflectance(600, 1100))
    require_framed_blocks(out)
    content = out.read_bytes()
    with rasterio.open(out, overview_level=0) as overview:
        offset, size = (int(overview.get_tag_item(f"BLOCK_{what}_1_0", "TIFF", 1)) for what in ("OFFSET", "SIZE"))
    for broken in (content[:-1], content[: offset - 4] + bytes(size + 8) + content[offset + size + 4 :]):
        out.write_bytes(broken)
        with pytest.raises(RasterioError, match="cut off"):
            require_framed_blocks(out)


def test_a_block_of_one_band_that_was_not_written_is_noticed(tmp_path):
    out, _ = assembled(tmp_path, features(300, 600))
    require_deflated_blocks(out)
    content = out.read_bytes()
    with rasterio.open(out, overview_level=0) as overview:
        offset, size = (int(overview.get_tag_item(f"BLOCK_{what}_1_0", "TIFF", 40)) for what in ("OFFSET", "SIZE"))
    for broken in (content[:-1], content[:offset] + bytes(size) + content[offset + size :]):
        out.write_bytes(broken)
        with pytest.raises(RasterioError, match="cut off"):
            require_deflated_blocks(out)
