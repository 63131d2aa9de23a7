"""The input contract on scenes: what is wrong is told before a model sees it, from a bounded number of windows."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from scene_commands import invoke
from scene_data import LEFT, TOP, UTM, at, write
from small_downstream import make

from msgfm.data.synthetic.kinds import KINDS, Place
from msgfm.errors import InputError, InputWarning
from msgfm.geo.grid import Grid
from msgfm.geo.source import RasterSource
from msgfm.models.pretrained import save_pretrained
from msgfm.scenes.inputs.contract import check_scene, require_contract, sampled
from msgfm.scenes.inputs.files import make_request
from msgfm.scenes.inputs.scene import Scene, open_scene
from msgfm.scenes.predict import predict_scene
from msgfm.scenes.products import ProductOptions
from msgfm.scenes.settings import Running, SceneInputs
from msgfm.sensors import load_sensor

CARDS = {name: load_sensor(name) for name in ("sentinel1", "sentinel2")}
SIDE = 256


@pytest.fixture(scope="module")
def world() -> dict[str, np.ndarray]:
    """A made-up place as Sentinel-1 and -2 see it."""
    pictures = KINDS["sen12ms"].pictures(Place(kind="sen12ms", index=0, seed=4, size=SIDE))
    found = {picture.bands: picture.pixels for picture in pictures}
    return {key: found[card.band_names] for key, card in CARDS.items()}


def scene_of(folder: Path, images: dict[str, np.ndarray], **options) -> Scene:
    given = {}
    for key, array in images.items():
        path = write(folder / f"{key}.tif", array, names=CARDS[key].band_names, block=128, compress="deflate")
        given[key] = [str(path)]
    return open_scene(make_request({key: CARDS[key] for key in images}, given, **options))


def errors(scene: Scene) -> set[tuple[str, str]]:
    with scene:
        return {(finding.image, finding.kind) for finding in check_scene(scene) if finding.severity == "error"}


def enlarged(image: np.ndarray) -> np.ndarray:
    """Four times as high and wide, mirrored at the seams."""
    for axis in (1, 2):
        image = np.concatenate([image, np.flip(image, axis)] * 2, axis=axis)
    return image


def test_images_that_keep_to_their_cards_pass(tmp_path, world):
    with scene_of(tmp_path, world) as scene:
        assert not require_contract(scene)


@pytest.mark.parametrize(
    ("key", "change", "kind", "remedy"),
    [
        ("sentinel2", lambda image: image + 1000, "offset-present", "--set sentinel2.offset=-1000"),
        ("sentinel2", lambda image: (image / 1e4).astype(np.float32), "reflectance-as-dn", "--set sentinel2.scale=1"),
        ("sentinel1", lambda image: np.power(10, image / 10), "linear-power", "--power linear"),
        ("sentinel1", lambda image: image * [[[1]], [[np.nan]]], "empty-band", "give another file of VH"),
        ("sentinel1", lambda image: np.full_like(image, -12), "constant-band", "give another file, as the model takes"),
        ("sentinel1", lambda image: image[::-1], "polarisation-swapped", "--bands sentinel1=VH,VV"),
    ],
)
def test_what_is_wrong_stops_it_with_a_remedy_unless_it_is_forced(tmp_path, world, key, change, kind, remedy):
    with scene_of(tmp_path, {key: change(world[key])}) as scene:
        with pytest.raises(InputError) as error:
            require_contract(scene)
        assert f"error {kind}" in str(error.value) and remedy in str(error.value)
        assert f"--force {kind}" in str(error.value)
        forced = require_contract(scene, [kind])
        assert kind in {finding.kind for finding in forced}
        with pytest.raises(InputError, match="no kind of finding 'everything'"):
            require_contract(scene, ["everything"])


def test_what_the_remedy_says_helps(tmp_path, world):
    shifted = {"sentinel2": world["sentinel2"] + 1000}
    assert errors(scene_of(tmp_path, shifted)) == {("sentinel2", "offset-present")}
    assert not errors(scene_of(tmp_path, shifted, settings=["sentinel2.offset=-1000"]))
    power = {"sentinel1": np.power(10, world["sentinel1"] / 10)}
    assert not errors(scene_of(tmp_path, power, power="linear"))
    assert errors(scene_of(tmp_path, {"sentinel1": world["sentinel1"]}, power="linear")) == {("sentinel1", "decibel")}


def test_images_that_lie_beside_each_other_are_told(tmp_path, world):
    moved = {"sentinel1": world["sentinel1"], "sentinel2": np.roll(world["sentinel2"], (11, -7), axis=(1, 2))}
    edge = {key: image[:, 16:-16, 16:-16] for key, image in moved.items()}
    with scene_of(tmp_path, edge) as scene:
        found = [finding for finding in check_scene(scene) if finding.kind == "pair-shift"]
    assert [(finding.image, finding.severity) for finding in found] == [("sentinel2", "error")]
    assert re.match(r"shifted by \+1[012] rows and -[678] columns", found[0].seen)


def test_empty_margins_of_a_scene_are_no_fault(tmp_path, world):
    image = enlarged(world["sentinel1"])
    rows, columns = np.indices(image.shape[1:])
    image[:, rows + columns < 1500] = np.nan  # the swath begins in the middle
    assert not errors(scene_of(tmp_path, {"sentinel1": image}))
    image[:] = np.nan
    assert errors(scene_of(tmp_path, {"sentinel1": image})) == {("sentinel1", "empty-band")}


def test_a_bounded_part_is_read_of_every_band_the_same_ground(tmp_path, world, monkeypatch):
    image = enlarged(world["sentinel2"])
    fine = write(tmp_path / "B04.tif", image[3:4])
    coarse = write(tmp_path / "B05.tif", image[3:4, ::2, ::2], transform=at(20))
    card = CARDS["sentinel2"].select(["B04", "B05"])
    read: list[int] = []
    plain = RasterSource.read

    def counting(self, file_bands, window):
        read.append(window[2] * window[3])
        return plain(self, file_bands, window)

    monkeypatch.setattr(RasterSource, "read", counting)
    with open_scene(make_request({"sentinel2": card}, {"sentinel2": [str(fine), str(coarse)]})) as scene:
        seen = sampled(scene, scene.request.images[0])
    assert sum(read) <= 9 * 256**2 * 1.25
    assert [one.stored.shape for one in seen.bands] == [(768, 768), (384, 384)]
    assert np.array_equal(seen.bands[0].stored[::2, ::2], seen.bands[1].stored)


def test_a_grid_far_from_the_sensors_is_a_warning(tmp_path, world):
    grid = Grid(crs=UTM, left=LEFT, top=TOP, pixel_width=40, pixel_height=40, height=80, width=80)
    like = write(tmp_path / "like.tif", np.zeros((1, 80, 80), np.uint8), transform=grid.transform)
    with scene_of(tmp_path, {"sentinel2": world["sentinel2"]}, like=like) as scene:
        assert [(one.kind, one.severity) for one in require_contract(scene)] == [("resolution", "warning")]


def test_warnings_are_told_once_and_the_work_goes_on(tmp_path, world):
    """A grid of 40 m is another resolution than the model was trained with."""
    grid = Grid(crs=UTM, left=LEFT, top=TOP, pixel_width=40, pixel_height=40, height=64, width=64)
    like = write(tmp_path / "like.tif", np.zeros((1, 64, 64), np.uint8), transform=grid.transform)
    image = write(tmp_path / "s2.tif", world["sentinel2"], names=CARDS["sentinel2"].band_names)
    save_pretrained(make("segmentation", ["sentinel2"]), tmp_path / "model")
    given = ["predict", tmp_path / "model", "--sentinel2", image, "--window", 32]
    assert "warning:" not in invoke(*given, "--out", tmp_path / "plain.tif")
    told = invoke(*given, "--like", like, "--out", tmp_path / "coarse.tif")
    (line,) = [line for line in told.splitlines() if line.startswith("warning:")]
    assert "resolution" in line and "pixels of 40 m" in line and "--like FILE" in line
    assert f"wrote {tmp_path / 'coarse.tif'}" in told

    inputs = SceneInputs(images={"sentinel2": [str(image)]}, like=str(like))
    running = Running(window=32)
    with pytest.warns(InputWarning, match="pixels of 40 m") as caught:
        predict_scene(str(tmp_path / "model"), inputs, tmp_path / "again.tif", ProductOptions(), running)
    ours = [one for one in caught if issubclass(one.category, InputWarning)]
    assert [one.filename for one in ours] == [__file__]


@pytest.mark.real_data
def test_real_scenes_pass_or_are_told_what_they_have(real_data):
    folder = real_data / "TerraMesh"
    names = {key: card.band_names for key, card in CARDS.items()}
    for tile, expected in (("38D_378R_2_3", set()), ("282D_485L_3_3", {("sentinel2", "offset-present")})):
        given = {"sentinel1": [str(folder / f"S1RTC/{tile}.tif")], "sentinel2": [str(folder / f"S2L1C/{tile}.tif")]}
        assert errors(open_scene(make_request(CARDS, given, names))) == expected
