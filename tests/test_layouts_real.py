"""Layouts on the folders of real images, against rasterio read directly."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
from even_images import index

from msgfm.data.layouts import LayoutOptions, index_layout
from msgfm.data.reader import read_sample
from msgfm.data.records import read_manifest, write_manifest
from msgfm.data.statistics import measure
from msgfm.errors import InputError

GREY = "name: {name}\nunit: '1'\nscale: 0.00392156862745098\nvalid_range: [0, 1]\nbands: [{bands}]\n"
HLS = ",".join(f"{{name: {name}}}" for name in ("B1", "B2", "B3", "B4", "B5", "B6", "B7"))
CARDS = {
    "ombria_s1": GREY.format(name="ombria_s1", bands="{name: VV}"),
    "ombria_s2": GREY.format(name="ombria_s2", bands="{name: B11}, {name: B08}, {name: B03}"),
    "hls": f"name: hls\nunit: reflectance\nscale: 0.0001\nvalid_range: [-0.2, 2]\nbands: [{HLS}]\n",
}
L2A = "B01,B02,B03,B04,B05,B06,B07,B08,B8A,B09,B11,B12"
HAND = "v1.1/data/flood_events/HandLabeled"
REAL = [
    ("image-folder", "UCMerced_LandUse", {}, {"rgb": 840}),
    ("image-folder", "EuroSAT/EuroSAT_RGB", {}, {"rgb": 2}),
    ("image-folder", "LEVIR-CD-256/A", {}, {"rgb": 8}),
    ("image-folder", "Dunes-RGB-Seg/images", {}, {"rgb": 10}),
    ("sen12ms", "SEN12MS-CR", {}, {"sentinel1 + sentinel2": 1, "sentinel1": 7}),
    ("bigearthnet", "BigEarthNet-v1", {}, {"sentinel1 + sentinel2_l2a": 4}),
    ("ssl4eo-s12", "SSL4EO-S12", {}, {"sentinel1 + sentinel2": 2}),
    ("ssl4eo-s12", "SSL4EO-S12", {"product": "s2a"}, {"sentinel1 + sentinel2_l2a": 2}),
    (
        "pairs",
        "TerraMesh",
        {"sensors": ("sentinel1=S1RTC", "sentinel2_l2a=S2L2A", "rgb=S2RGB", "dsm=DEM")},
        {"sentinel1 + sentinel2_l2a + rgb + dsm": 3},
    ),
    ("pairs", "TerraMesh", {"sensors": (f"sentinel2:{L2A}=S2L2A",)}, {"sentinel2": 3}),
    ("pairs", "TerraMesh", {"sensors": ("sentinel2=S2L1C",)}, {"sentinel2": 3}),
    (
        "pairs",
        "EuroSAT",
        {
            "sensors": (
                f"sentinel2:{L2A.replace('B8A,', '').replace('B11', 'B10,B11')},B8A=EuroSAT_MS",
                "rgb=EuroSAT_RGB",
            )
        },
        {"sentinel2 + rgb": 2},
    ),
    ("pairs", "RGB-DSM", {"sensors": ("rgb=tuniu_river_uav/rgb", "dsm=tuniu_river_uav/dsm")}, {"rgb + dsm": 6}),
    (
        "pairs",
        "Sen1Floods11",
        {"sensors": (f"sentinel1={HAND}/S1Hand/{{id}}_S1Hand.tif", f"sentinel2={HAND}/S2Hand/{{id}}_S2Hand.tif")},
        {"sentinel1 + sentinel2": 1},
    ),
    ("pairs", "Sen1Floods11-S1", {"sensors": (f"sentinel1={HAND}/S1Hand",)}, {"sentinel1": 6}),
    (
        "pairs",
        "OMBRIA",
        {
            "sensors": (
                "ombria_s1.yaml=OmbriaS1/{split}/BEFORE/S1_before_{id}.png",
                "ombria_s2.yaml=OmbriaS2/{split}/BEFORE/S2_before_{id}.png",
            )
        },
        {"ombria_s1 + ombria_s2": 175},
    ),
    (
        "pairs",
        "Optical-SAR-dataset",
        {"sensors": ("rgb=dataset/opt", "ombria_s1.yaml=dataset/sar")},
        {"rgb + ombria_s1": 36},
    ),
    (
        "pairs",
        "HLS-Water12",
        {"sensors": ("hls.yaml=images/{id}.tif@1-7", "dsm=images/{id}.tif@10"), "scenes": Path("locations.csv")},
        {"hls + dsm": 68},
    ),
]


@pytest.mark.real_data
@pytest.mark.parametrize(("layout", "folder", "fields", "combinations"), REAL)
def test_real_folders(
    real_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    layout: str,
    folder: str,
    fields: dict[str, object],
    combinations: dict[str, int],
) -> None:
    """All samples are found, and the first one's bands hold what rasterio reads from the files."""
    monkeypatch.chdir(tmp_path)
    for name, card in CARDS.items():
        Path(f"{name}.yaml").write_text(card)
    result = index_layout(layout, real_data / folder, LayoutOptions(**fields), val_fraction=0.2)  # type: ignore[arg-type]
    assert result.combinations == combinations
    assert result.left_out == ()
    write_manifest(result.manifest, tmp_path / "m.parquet")
    manifest = read_manifest(tmp_path / "m.parquet")
    assert manifest == result.manifest
    sample = max(manifest.samples, key=lambda sample: len(sample.images))
    images = read_sample(manifest.root, sample, manifest.sensors)
    for image in sample.images:
        sensor, array = manifest.sensors[image.sensor], images[image.sensor]
        assert array.shape == (len(sensor.bands), *next(iter(images.values())).shape[1:])
        present = set()
        for file in image.files:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with rasterio.open(manifest.root / file.path) as source:
                    stored = source.read(list(file.file_bands)).astype(np.float64)
                    nodata = source.nodata
            for name, band in zip(file.bands, stored, strict=True):
                card = sensor.bands[sensor.index_of(name)]
                expected = np.where((band == card.nodata) | (band == nodata), np.nan, (band + card.offset) * card.scale)
                found = array[sensor.index_of(name)]
                present.add(name)
                if found.shape == expected.shape:
                    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
                else:  # a coarser band: blocks keep their mean about
                    assert np.nanmean(found) == pytest.approx(np.nanmean(expected), rel=0.01)
        for name in set(sensor.band_names) - present:
            assert np.isnan(array[sensor.index_of(name)]).all()


@pytest.mark.real_data
def test_real_scenes_of_hls_stay_together(real_data: Path, tmp_path: Path) -> None:
    (tmp_path / "hls.yaml").write_text(CARDS["hls"])
    spec = f"{tmp_path / 'hls.yaml'}=images/{{id}}.tif@1-7"
    root = real_data / "HLS-Water12"
    result = index("pairs", root, spec, scenes=root / "locations.csv", val_fraction=0.3)
    locations = dict(line.split(",") for line in (root / "locations.csv").read_text().split()[1:])
    assert {sample.sample: sample.scene for sample in result.manifest.samples} == locations
    val = {sample.scene for sample in result.manifest.samples if sample.split == "val"}
    assert 0 < len(val) < len(set(locations.values()))
    assert not val & {sample.scene for sample in result.manifest.samples if sample.split == "train"}


@pytest.mark.real_data
def test_real_statistics_are_those_of_the_files(real_data: Path) -> None:
    found = measure(index("bigearthnet", real_data / "BigEarthNet-v1").manifest, split="all").sensors
    for sensor, band, scale in (("sentinel2_l2a", "B04", 1e-4), ("sentinel1", "VV", 1)):
        files = sorted((real_data / "BigEarthNet-v1").rglob(f"*_{band}.tif"))
        pixels = np.stack([rasterio.open(path).read(1).astype(np.float64) * scale for path in files])
        one = found[sensor].bands[band]
        if sensor == "sentinel1":
            pixels = pixels.clip(-30, 5)
        np.testing.assert_allclose((one.mean, one.std), (pixels.mean(), pixels.std()), rtol=1e-6)
        assert one.valid_share == 1 and len(files) == 4


@pytest.mark.real_data
def test_real_bands_without_names_need_them(real_data: Path) -> None:
    with pytest.raises(InputError, match=r"bad files: 3, .*\n.*S2L2A.*has 12 bands, expected are the 13"):
        index("pairs", real_data / "TerraMesh", "sentinel2=S2L2A")
