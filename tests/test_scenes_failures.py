"""What goes wrong with files and disks: a clear error, nothing under the final name, what is done is gone on with."""

from __future__ import annotations

import pytest
from rasterio import Affine
from scene_commands import cut_small, invoke, refused
from scene_data import at, backscatter, reflectance, write
from small_downstream import make

from msgfm.models.pretrained import save_pretrained
from msgfm.scenes.parts import parts_beside, staged
from msgfm.sensors import load_sensor

S2 = load_sensor("sentinel2").band_names
HEIGHT, WIDTH = 640, 48


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    for name, model in {
        "water": make("segmentation", ["sentinel1", "sentinel2"]),
        "labels": make("classification"),
    }.items():
        save_pretrained(model, folder / name)
    return folder


def optical(path, **settings):
    stored = reflectance(HEIGHT, WIDTH, count=13)
    return write(path, stored, **{"names": S2, "nodata": 0, "block": 16, "compress": "deflate"} | settings)


def radar(path, **settings):
    return write(path, backscatter(HEIGHT, WIDTH), **{"names": ["VV", "VH"]} | settings)


@pytest.fixture
def scene(tmp_path):
    folder = tmp_path / "scene"
    return {"sentinel1": radar(folder / "s1.tif"), "sentinel2": optical(folder / "s2.tif")}


def command(models, scene, out, model="water"):
    images = [word for key, path in scene.items() for word in (f"--{key}", path)]
    return ["predict", models / model, *images, "--window", 32, "--out", out]


def left_in(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != "scene")


@pytest.mark.parametrize("share", ["part", "half", "almost"])
def test_a_full_disk(models, scene, tmp_path, disk_full_after, monkeypatch, share):
    """No file can grow beyond a limit: of a part, or of the result itself, which is larger."""
    cut_small(monkeypatch)
    out, whole = tmp_path / "water.tif", tmp_path / "scene" / "whole.tif"
    more = ["--probabilities", "--entropy"]
    invoke(*command(models, scene, whole), *more)
    size = whole.with_name("whole_probabilities.tif").stat().st_size
    limit = {"part": 6000, "half": size // 2, "almost": size - 1}[share]
    with disk_full_after(limit):
        told = refused(*command(models, scene, out), *more)
    assert "free some space" in told.lower()
    assert "water" in told
    done = list(parts_beside(out).glob("*.tif"))
    assert left_in(tmp_path) == [parts_beside(out).name] * bool(done)
    assert done or share == "part"
    assert bool(done) == ("--resume goes on" in told)
    assert not [path.name for path in tmp_path.rglob("*.tmp*")]
    invoke(*command(models, scene, out), *more, "--resume")
    for layer in ("", "_probabilities", "_entropy"):
        made, expected = (path.with_name(f"{path.stem}{layer}.tif") for path in (out, whole))
        assert made.read_bytes() == expected.read_bytes()
    assert not parts_beside(out).exists()


def test_a_full_disk_of_a_table(models, scene, tmp_path, disk_full_after):
    out, whole = tmp_path / "labels.parquet", tmp_path / "scene" / "whole.parquet"
    scene["sentinel2"] = optical(tmp_path / "scene" / "cloudy.tif")
    invoke(*command(models, scene, whole, "labels"))
    with disk_full_after(whole.stat().st_size - 1):
        assert "free some space" in refused(*command(models, scene, out, "labels"))
    assert left_in(tmp_path) == [parts_beside(out).name]
    assert not staged(out).exists()
    invoke(*command(models, scene, out, "labels"), "--resume")
    assert out.read_bytes() == whole.read_bytes()
    assert left_in(tmp_path) == ["labels.parquet"]


@pytest.mark.parametrize(
    ("how", "expected"),
    [("bytes", "rows"), ("elsewhere", "rows"), ("truncated", "truncated, or not an image")],
)
def test_a_block_that_cannot_be_read_is_told_with_its_place(models, scene, tmp_path, how, expected):
    settings = {"transform": at(left=499_987.0)} if how == "elsewhere" else {}
    path = optical(scene["sentinel2"], **settings)
    content = bytearray(path.read_bytes())
    if how == "truncated":
        path.write_bytes(content[: len(content) * 2 // 3])
    else:
        middle = len(content) // 2
        content[middle : middle + 4000] = bytes(range(256)) * 15 + bytes(160)
        path.write_bytes(content)
    told = refused(*command(models, scene, tmp_path / "water.tif"))
    assert str(path) in told
    assert expected in told
    assert "fetch it again" in told
    assert left_in(tmp_path) == []


def _far(folder):
    return {"sentinel1": radar(folder / "far.tif", transform=at(left=900_000.0))}


def _beside(folder):
    return {"sentinel1": radar(folder / "beside.tif", transform=at(left=500_000.0 + 10 * WIDTH))}


def _without_a_band(folder):
    stored = reflectance(HEIGHT, WIDTH, count=12)
    return {"sentinel2": write(folder / "twelve.tif", stored, names=S2[:-1], nodata=0)}


def _rotated(folder):
    return {"sentinel1": radar(folder / "rotated.tif", transform=at() @ Affine.rotation(7))}


def _of_another_sensor(folder):
    return {"sentinel1": optical(folder / "optical.tif")}


def _without_coordinates(folder):
    return {"sentinel1": radar(folder / "nowhere.tif", crs=None)}


def _not_an_image(folder):
    (folder / "page.tif").write_text("<html>not found</html>")
    return {"sentinel2": folder / "page.tif"}


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        (_far, ["far.tif", "none of the ground", "longitude", "give images of one place"]),
        (_beside, ["beside.tif", "none of the ground"]),
        (_without_a_band, ["sentinel2: no band B12", "twelve.tif", "--bands"]),
        (_rotated, ["rotated.tif is rotated (geotransform", "gdalwarp"]),
        (_of_another_sensor, ["optical.tif", "none of which is of sentinel1", "--bands sentinel1="]),
        (_without_coordinates, ["nowhere.tif has no coordinate system", "s2.tif has one", "gdal_translate -a_srs"]),
        (_not_an_image, ["page.tif", "not an image"]),
    ],
)
def test_images_that_do_not_fit_are_told_before_the_work(models, scene, tmp_path, monkeypatch, wrong, expected):
    def never(*_, **__):
        raise AssertionError("the model was loaded")

    monkeypatch.setattr("msgfm.scenes.predict.load_product", never)
    told = refused(*command(models, scene | wrong(tmp_path / "scene"), tmp_path / "water.tif"))
    for text in expected:
        assert text in told
    assert left_in(tmp_path) == []


def test_files_that_are_no_part_of_a_run_are_not_replaced(models, scene, tmp_path):
    out = tmp_path / "water.tif"
    for name in ("water.json", "water_entropy.tif", "water_entropy.qml"):
        (tmp_path / name).write_text("mine")
        assert f"{tmp_path / name} is there already" in refused(*command(models, scene, out), "--entropy")
        assert (tmp_path / name).read_text() == "mine"
        assert left_in(tmp_path) == [name]
        (tmp_path / name).unlink()


def test_polygons_that_a_killed_run_had_begun_are_not_left(models, scene, tmp_path):
    (tmp_path / ".shapes.gpkg.123.tmp").write_bytes(b"half")
    invoke(*command(models, scene, tmp_path / "water.tif"), "--polygons", tmp_path / "shapes.gpkg")
    assert left_in(tmp_path) == ["shapes.gpkg", "water.json", "water.qml", "water.tif"]
