"""Statistics against numpy on all pixels at once."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from statistics_data import card, manifest_of, run

from msgfm.data.records import Manifest, RasterFile, Sample, SensorImage, read_manifest, write_manifest
from msgfm.data.statistics import PERCENTILES, Measurement, SensorStatistics, card_text, measure, measured_card
from msgfm.data.statistics.bands import band_statistics, merge_bands, sum_band
from msgfm.errors import InputError
from msgfm.geo.raster import write_geotiff
from msgfm.sensors import Sensor, builtin_sensors, load_sensor


@pytest.fixture
def heights() -> list[np.ndarray]:
    """Three images, two bands, 3000 m up with a spread of one metre, a few holes, unlike sizes."""
    random = np.random.default_rng(1)
    images = [random.normal(3000 + 50 * i, 1, (2, 8, 4 + i)).astype(np.float32) for i in range(3)]
    images[1][1, :3] = np.nan
    return images


def one(manifest: Manifest, **options: object) -> SensorStatistics:
    return measure(manifest, **options).sensors["s"]


def test_statistics_are_those_of_all_pixels_together(tmp_path: Path, heights: list[np.ndarray]) -> None:
    manifest = manifest_of(tmp_path, card(), heights, ["train", "train", "val"])
    measured = one(manifest, split="train")
    assert measured.images == 2
    for i, name in enumerate("AB"):
        found = measured.bands[name]
        pixels = np.concatenate([image[i].ravel() for image in heights[:2]]).astype(np.float64)
        values = pixels[np.isfinite(pixels)]
        assert found.mean == pytest.approx(values.mean(), rel=1e-12)
        assert found.std == pytest.approx(values.std(), rel=1e-9)
        assert (found.minimum, found.maximum, found.count) == (values.min(), values.max(), values.size)
        assert found.valid_share == pytest.approx(values.size / pixels.size)
        exact = np.percentile(values, PERCENTILES)
        np.testing.assert_allclose([found.percentiles[p] for p in PERCENTILES], exact, atol=9500 / 2**17, rtol=0)
        assert found.in_files
    absent = measured.bands["C"]
    assert absent.valid_share == 0 and np.isnan([absent.mean, *absent.percentiles.values()]).all()
    assert not absent.in_files


def test_centring_takes_each_images_own_mean_away(tmp_path: Path, heights: list[np.ndarray]) -> None:
    found = one(manifest_of(tmp_path, card(centre="image"), heights, ["train"] * 3), split="all").bands["B"]
    centred = np.concatenate([(i[1].astype(np.float64) - np.nanmean(i[1].astype(np.float64))).ravel() for i in heights])
    assert found.mean == pytest.approx(0, abs=1e-9)
    assert found.std == pytest.approx(np.nanstd(centred), rel=1e-9)
    assert found.std < 2 < np.nanstd(np.concatenate([i[1].ravel() for i in heights]))
    assert found.percentiles[1] > 2900  # heights, not what is left of them


def test_clipping_is_that_of_the_card(tmp_path: Path) -> None:
    image = np.array([-40, -20, -10, 3], np.float32).reshape(1, 2, 2)
    found = one(manifest_of(tmp_path, card(clip=True, valid_range=[-30, 0]), [image], ["train"])).bands["A"]
    assert found.mean == pytest.approx((-30 - 20 - 10 + 0) / 4)
    assert (found.minimum, found.maximum) == (-40, 3)
    assert found.percentiles[50] == pytest.approx(-15)
    assert found.percentiles[99] == pytest.approx(np.percentile(image, 99), abs=(30 + 3) / 2**17)


IMAGES = arrays(np.float32, (1, 3, 4), elements=st.one_of(st.floats(-100, 9000, width=32), st.just(float("nan"))))


@given(st.lists(IMAGES, min_size=3, max_size=3), st.booleans(), st.sampled_from(["none", "image"]))
def test_merging_is_associative_and_gives_what_numpy_gives(images: list[np.ndarray], clip: bool, centre: str) -> None:
    sensor = card(clip=clip, centre=centre, valid_range=[0, 5000])
    a, b, c = (sum_band(image[0], sensor.bands[0], sensor, True) for image in images)
    left, right = (band_statistics(m) for m in (merge_bands(merge_bands(a, b), c), merge_bands(a, merge_bands(b, c))))
    seen = []
    for image in images:
        values = image[np.isfinite(image)].astype(np.float64)
        own = values.mean() if centre == "image" and values.size else 0.0
        seen.append((np.clip(values, 0, 5000) if clip else values) - own)
    pixels = np.concatenate(seen)
    for found in (left, right):
        assert found.count == pixels.size
        if pixels.size:
            np.testing.assert_allclose((found.mean, found.std), (pixels.mean(), pixels.std()), rtol=1e-9, atol=1e-6)
        else:
            assert np.isnan([found.mean, found.std, found.minimum]).all()
    assert (left.minimum, left.percentiles) == (right.minimum, right.percentiles) or not pixels.size


def plain(measurement: Measurement) -> str:
    """Every bit of it: floats print as they are."""
    return repr([(name, found.images, found.bands) for name, found in measurement.sensors.items()])


def test_the_number_of_processes_changes_no_bit(tmp_path: Path) -> None:
    """Two bands on a coarser grid, so that resampling is part of it."""
    random = np.random.default_rng(5)
    sensor = card(clip=True)
    samples = []
    for i in range(23):
        write_geotiff(tmp_path / f"{i}.tif", random.normal(800, 300, (1, 40, 40)).astype(np.float32))
        write_geotiff(tmp_path / f"{i}_coarse.tif", random.normal(800, 300, (2, 20, 20)).astype(np.float32))
        files = (
            RasterFile(path=f"{i}.tif", bands=("A",), file_bands=(1,)),
            RasterFile(path=f"{i}_coarse.tif", bands=("B", "C"), file_bands=(1, 2)),
        )
        image = SensorImage(sensor="s", height=40, width=40, files=files)
        samples.append(Sample(sample=str(i), scene=str(i), split="train", images=(image,)))
    (tmp_path / "7.tif").write_bytes(b"broken")
    manifest = Manifest(root=tmp_path, layout="pairs", sensors={"s": sensor}, samples=tuple(samples))
    alone = measure(manifest, skip_bad=1)
    assert alone.sensors["s"].images == 22
    found = measure(manifest, workers=3, skip_bad=1)
    assert plain(found) == plain(alone) and found.left_out == alone.left_out
    with pytest.raises(InputError, match=r"(?s)unreadable samples: 1, --skip-bad allows 0.*7\.tif.*--skip-bad N"):
        measure(manifest, workers=1)


def test_bad_samples_are_left_out_whole_and_told(tmp_path: Path, heights: list[np.ndarray]) -> None:
    manifest = manifest_of(tmp_path, card(), heights, ["train"] * 3)
    (tmp_path / "1.tif").unlink()
    found = measure(manifest, skip_bad=1)
    assert (
        found.sensors["s"].images == 2
        and found.sensors["s"].bands["A"].count == heights[0][0].size + heights[2][0].size
    )
    assert len(found.left_out) == 1 and "1.tif" in found.left_out[0]
    (tmp_path / "2.tif").write_bytes(b"")
    with pytest.raises(InputError, match=r"(?s)unreadable samples: 2, --skip-bad allows 1:.*1\.tif.*2\.tif"):
        measure(manifest, skip_bad=1)


def test_all_roles_count_but_cloudy(tmp_path: Path) -> None:
    images = [np.full((3, 2, 2), value, np.float32) for value in (1, 2, 3, 40)]
    manifest = manifest_of(tmp_path, card(), images, ["train"] * 4)
    roles = ("", "before", "after", "cloudy")
    whole = replace(
        manifest.samples[0],
        images=tuple(replace(s.images[0], role=role) for s, role in zip(manifest.samples, roles, strict=True)),
    )
    manifest = replace(manifest, samples=(whole,))
    assert one(manifest).images == 3 and one(manifest).bands["A"].mean == 2
    assert one(manifest, cloudy=True).images == 4 and one(manifest, cloudy=True).bands["A"].maximum == 40
    only_cloudy = replace(manifest, samples=(replace(whole, images=whole.images[3:]),))
    with pytest.raises(InputError, match=r"no image of s to measure in split 'train' .*--cloudy"):
        measure(only_cloudy)


def test_several_manifests_count_together_where_they_have_the_split(tmp_path: Path, heights: list[np.ndarray]) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    a = manifest_of(tmp_path / "a", card(), heights, ["train"] * 3)
    # the same values, stored otherwise: as the deviation from 3000
    b = manifest_of(tmp_path / "b", card(offset=3000), [image - 3000 for image in heights], ["train"] * 3)
    c = manifest_of(tmp_path / "c", card(), heights, ["val"] * 3)
    found = measure(a, b, c).sensors["s"]
    assert found.images == 6 and found.storage_differs and not measure(a, c).sensors["s"].storage_differs
    assert "different ways" in measured_card(found, "m")[1][-1]
    assert found.bands["A"].mean == pytest.approx(one(a).bands["A"].mean, rel=1e-7)
    with pytest.raises(InputError, match="has no samples of split 'test'"):
        measure(a, c, split="test")
    with pytest.raises(InputError, match="sensor s has two cards that differ in clip"):
        measure(a, replace(a, sensors={"s": card(clip=True)}))
    with pytest.raises(InputError, match="no sensor 'sentinel2' to measure; the manifests have s"):
        measure(a, sensors=["sentinel2"])


# --- cards


def test_the_written_card_is_the_card_with_what_was_measured(tmp_path: Path, heights: list[np.ndarray]) -> None:
    images = [np.concatenate([image, image[:1] / 2]) for image in heights]
    found = one(manifest_of(tmp_path, card(clip=True, display=["B"], offset=0.5), images, ["train"] * 3))
    made, notes = measured_card(found, "m.parquet (split train)")
    (tmp_path / "s.yaml").write_text(card_text(made))
    loaded = load_sensor(tmp_path / "s.yaml")
    assert loaded == made and notes == []
    loaded.require_statistics()
    for band in loaded.bands:
        assert band.mean == pytest.approx(found.bands[band.name].mean, abs=1e-5 * found.bands[band.name].std)
        assert band.std == pytest.approx(found.bands[band.name].std, rel=1e-5)
    bare = loaded.model_copy(
        update={
            "description": "",
            "bands": tuple(band.model_copy(update={"mean": None, "std": None}) for band in loaded.bands),
        }
    )
    assert bare == found.sensor
    assert "m.parquet (split train): 3 images, up to" in loaded.description
    again, _ = measured_card(replace(found, sensor=loaded), "other.parquet")
    assert "m.parquet" not in again.description and "other.parquet: 3 images" in again.description


@pytest.mark.parametrize("name", builtin_sensors())
def test_cards_are_laid_out_one_line_a_band_and_read_back_the_same(name: str, tmp_path: Path) -> None:
    sensor = load_sensor(name)
    text = card_text(sensor)
    (tmp_path / "card.yaml").write_text(text)
    assert load_sensor(tmp_path / "card.yaml") == sensor
    lines = text.splitlines()
    assert [line.split("name: ")[1].split(",")[0] for line in lines[lines.index("bands:") + 1 :]] == [
        *sensor.band_names
    ]
    assert all(len(line) <= 120 for line in lines[: lines.index("bands:")])


def test_a_card_whose_bands_differ_in_everything_reads_back(tmp_path: Path) -> None:
    bands = [
        {"name": "1", "unit": "1", "valid_range": [0, 1], "gsd_m": 10, "nodata": 0, "scale": 1e-12},
        {"name": "NO", "unit": "m: #x", "valid_range": [-1e9, 1e-7], "gsd_m": 10, "nodata": 0, "offset": 1 / 3},
        {"name": "ü", "unit": "K", "valid_range": [2, 3], "polarisation": "VH", "wavelength_nm": 1e6},
    ]
    sensor = Sensor.model_validate({"name": "odd", "bands": bands, "description": "a: b # c --- well-" + "known " * 40})
    sensor = sensor.model_copy(update={"description": sensor.description.strip()})
    (tmp_path / "card.yaml").write_text(card_text(sensor), encoding="utf-8")
    assert load_sensor(tmp_path / "card.yaml") == sensor


def test_a_band_that_no_file_holds_keeps_its_numbers_or_is_left_out(tmp_path: Path, heights: list[np.ndarray]) -> None:
    found = one(manifest_of(tmp_path, card(display=["C"]), heights, ["train"] * 3))
    made, notes = measured_card(found, "m")
    assert made.band_names == ("A", "B") and made.display == ()
    assert notes == ["s: no file holds band C; the card is without it"]
    with_numbers = card(
        bands=[{"name": "A"}, {"name": "B", "mean": 1, "std": 2}, {"name": "C", "mean": 7, "std": 2}], display=["C"]
    )
    made, notes = measured_card(replace(found, sensor=with_numbers), "m")
    assert (made.bands[2].mean, made.bands[2].std) == (7, 2) and made.bands[1].mean != 1
    assert notes == ["s: no file holds band C; it keeps the card's mean and std"]
    assert "Of C no file held anything" in made.description


def test_no_card_of_a_band_that_is_constant_or_empty(tmp_path: Path, heights: list[np.ndarray]) -> None:
    constant, empty = np.full_like(heights[0][:1], 0.3), np.full_like(heights[0][:1], np.nan)
    for name, band, settings, message in (
        ("constant", constant, {}, r"sensor s, band C: all values are 0\.3\.\.0\.3 and the std.* is 0"),
        ("centred", constant, {"centre": "image"}, "band C: .*std.* is 0"),
        ("empty", empty, {}, "sensor s, band C: the files hold it, and not one pixel of it has data"),
    ):
        folder = tmp_path / name
        folder.mkdir()
        found = one(manifest_of(folder, card(**settings), [np.concatenate([heights[0], band])], ["train"]))
        with pytest.raises(InputError, match=message):
            measured_card(found, "m")


def test_the_command_writes_a_card_that_indexing_takes(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    for kind, bands, low, high in (("radar", 2, -20, -5), ("photo", 3, 0, 255)):
        for i in range(4):
            pixels = random.uniform(low, high, (bands, 8, 8)).astype(np.uint8 if kind == "photo" else np.float32)
            (tmp_path / kind).mkdir(exist_ok=True)
            write_geotiff(tmp_path / kind / f"{i}.tif", pixels)
    index = ("data", "index", "pairs", tmp_path, "--sensor", "sentinel1=radar")
    assert run(*index, "--sensor", "rgb=photo", "--out", tmp_path / "m.parquet")[0] == 0

    code, text = run("data", "stats", tmp_path / "m.parquet", "--out", tmp_path / "one.yaml", "--workers", 0)
    assert code == 2 and "one.yaml is one card" in text and "--sensor" in text

    stats = ("data", "stats", tmp_path / "m.parquet", "--workers", 0)
    code, text = run(*stats, "--out", tmp_path / "cards", "--json", tmp_path / "found.json")
    assert code == 0 and "sentinel1, 4 images" in text, text
    assert sorted(path.name for path in (tmp_path / "cards").iterdir()) == ["rgb.yaml", "sentinel1.yaml"]
    found = json.loads((tmp_path / "found.json").read_text())
    assert (found["manifests"], found["split"], found["left_out"]) == (["m.parquet"], "train", [])
    pixels = np.stack([rasters for i in range(4) for rasters in [read(tmp_path / "photo" / f"{i}.tif")[0]]]) / 255
    red = found["sensors"]["rgb"]["bands"]["R"]
    assert red["pixels"] == pixels.size
    exact = np.percentile(pixels, (2, 50, 98))
    np.testing.assert_allclose([red["p2"], red["p50"], red["p98"]], exact, rtol=1e-6)

    assert run(*stats, "--out", tmp_path / "one.yaml", "--sensor", "rgb")[0] == 0
    assert load_sensor(tmp_path / "one.yaml") == load_sensor(tmp_path / "cards" / "rgb.yaml")
    assert run(*index, "--sensor", f"{tmp_path / 'one.yaml'}=photo", "--out", tmp_path / "n.parquet")[0] == 0
    indexed = read_manifest(tmp_path / "n.parquet").sensors["rgb"]
    assert indexed.bands[0].mean == pytest.approx(pixels.mean(), abs=1e-6)
    assert indexed.bands[0].std == pytest.approx(pixels.std(), abs=1e-6)


def test_no_card_is_written_where_one_of_them_cannot_be(tmp_path: Path, heights: list[np.ndarray]) -> None:
    manifest = manifest_of(tmp_path, card(), heights[:1], ["train"])
    flat = card(name="flat")
    write_geotiff(tmp_path / "flat.tif", np.ones((3, 4, 4), np.float32))
    file = RasterFile(path="flat.tif", bands=("A", "B", "C"), file_bands=(1, 2, 3))
    image = SensorImage(sensor="flat", height=4, width=4, files=(file,))
    sample = replace(manifest.samples[0], images=(*manifest.samples[0].images, image))
    write_manifest(replace(manifest, sensors={"s": card(), "flat": flat}, samples=(sample,)), tmp_path / "m.parquet")
    code, text = run("data", "stats", tmp_path / "m.parquet", "--out", tmp_path / "cards", "--workers", 0)
    assert code == 2 and "sensor flat, band A" in text and "flat, 1 images" in text
    assert not (tmp_path / "cards").exists()


def read(path: Path) -> np.ndarray:
    from msgfm.geo.raster import read_bands

    return np.asarray(read_bands(path), np.float64)
