"""The input contract on real images: seeded corruptions are named, clean images pass, true oddities are found."""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path

import pytest

from msgfm.data.checks import Finding, Report, check_manifest
from msgfm.data.layouts import LayoutOptions, index_layout

ROOT = Path(__file__).parents[1]
CARDS = ROOT / "examples" / "cards"
FLOODS = "v1.1/data/flood_events/HandLabeled"
# What a single image does not say: most pictures may be blue, and B02 and B04 differ little.
UNDECIDABLE = {"RGB picture as BGR", "red and blue of reflectance exchanged"}

pytestmark = pytest.mark.real_data


def report(root: Path, *sensors: str, settings: tuple[str, ...] = ()) -> Report:
    """Of what `msgfm data index pairs` and `msgfm data check` say."""
    options = LayoutOptions(sensors=sensors)
    return check_manifest(index_layout("pairs", root, options, settings=settings).manifest)


def of(found: Report, kind: str) -> list[Finding]:
    return [one for one in found.findings if one.kind == kind]


@pytest.mark.slow
@pytest.mark.parametrize("seed", [7])
def test_every_corruption_is_named_or_undecided_and_remedies_mend(
    real_data: Path, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
    import input_contract

    cases = list(input_contract.all_cases(real_data, seed))
    assert len(cases) >= 200
    rows = defaultdict(list)
    for case in cases:
        rows[case.row].append(case.verdict)
        assert all(finding.file for finding in case.findings)
    assert [case for case in cases if case.verdict in ("missed", "misnamed")] == []
    assert [case for case in cases if case.mended is False] == []
    mostly_undecided = {row for row, verdicts in rows.items() if verdicts.count("undecided") > 0.5 * len(verdicts)}
    assert mostly_undecided <= UNDECIDABLE


@pytest.mark.parametrize(
    ("folder", "sensors", "settings"),
    [
        ("SEN12MS-CR/ROIs1970_fall_s2/s2_139", ["sentinel2=."], []),
        ("SEN12MS-CR/ROIs1158_spring_s1/s1_1", ["sentinel1=."], []),
        ("TerraMesh", ["sentinel1=S1RTC", "sentinel2_l2a=S2L2A", "rgb=S2RGB", "dsm=DEM"], []),
        ("TerraMesh", ["sentinel2=S2L1C/{id}_378R_2_3.tif"], []),
        ("TerraMesh", ["sentinel2=S2L1C/282D{id}.tif"], ["sentinel2.offset=-1000"]),
        ("TerraMesh", ["sentinel2=S2L1C/609U{id}.tif"], ["sentinel2.offset=-1000"]),
        ("Sen1Floods11", [f"sentinel{k}={FLOODS}/S{k}Hand/{{id}}_S{k}Hand.tif" for k in (1, 2)], []),
        ("Sen1Floods11-S1", [f"sentinel1={FLOODS}/S1Hand"], []),
        ("EuroSAT", ["rgb=EuroSAT_RGB"], []),
        ("LEVIR-CD-256", ["rgb=A"], []),
        ("LEVIR-CD-256", ["rgb=B"], []),
        ("NGI-Baviaans", ["rgb=aerial_rgb_5m"], []),
        ("NGI-Baviaans", ["dsm=dem_24m"], []),
        ("RGB-DSM/tuniu_river_uav", ["dsm=dsm"], []),
        ("M3R-CR/M3M-CR/train", ["sentinel1=S1_fall"], []),
        ("NeonTreeEvaluation/evaluation", ["rgb=RGB/{id}.tif", "dsm=CHM/{id}_CHM.tif"], []),
        ("TreeSatAI-TS", ["rgb=aerial/{id}.tif@2,3,4"], []),
        ("OMBRIA", [f"ombria_s{k}.yaml=OmbriaS{k}/test/BEFORE/S{k}_before_{{id}}.png" for k in (1, 2)], []),
        ("OMBRIA", [f"ombria_s{k}.yaml=OmbriaS{k}/test/AFTER/S{k}_after_{{id}}.png" for k in (1, 2)], []),
        ("Optical-SAR-dataset/dataset", ["optical_sar_s1.yaml=sar", "optical_sar_rgb.yaml=opt"], []),
        ("HLS-Water12", ["hls.yaml=images/{id}.tif@1-7", "dem.yaml=images/{id}.tif@10"], []),
        ("HLS-Water12", ["dem.yaml=images/{id}.tif@9"], []),
        ("SpaceNet6-Rotterdam", ["rgb=sar_optical/rgb_{id}.tif"], []),
        ("SpaceNet6-Rotterdam", ["worldview3:BLUE,GREEN,RED,NIR1=pansharpen/ms{id}.tif"], []),
        ("Landsat8/l8_north", ["landsat8:B1,B2,B3,B4,B5,B6,B7,B9={id}_{band}.tif"], []),
        ("RGB-DSM/kootenay_forest", ["dsm=c{id}.tif"], []),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)  # fmt: skip
def test_clean_images_have_no_error(real_data: Path, folder: str, sensors: list[str], settings: list[str]) -> None:
    with_cards = [str(CARDS / one) if one.partition("=")[0].endswith(".yaml") else one for one in sensors]
    found = report(real_data / folder, *with_cards, settings=tuple(settings))
    assert [str(error) for error in found.errors] == []


@pytest.mark.parametrize(
    ("layout", "folder", "product"),
    [
        ("bigearthnet", "BigEarthNet-v1", "s2c"),
        ("sen12ms", "SEN12MS-CR", "s2c"),
        ("ssl4eo-s12", "SSL4EO-S12", "s2c"),
        ("ssl4eo-s12", "SSL4EO-S12", "s2a"),
    ],
)
def test_clean_layouts_have_no_error(real_data: Path, layout: str, folder: str, product: str) -> None:
    manifest = index_layout(layout, real_data / folder, LayoutOptions(product=product)).manifest
    assert [str(error) for error in check_manifest(manifest).errors] == []


def test_the_mixed_offset_of_terramesh_is_found(real_data: Path) -> None:
    found = report(real_data / "TerraMesh", "sentinel2=S2L1C")
    present = of(found, "offset-present")
    assert {Path(one.file).name[:4] for one in present} == {"282D", "609U"}
    assert {one.severity for one in present} == {"error"}
    assert {one.remedy for one in present} == {"--set sentinel2.offset=-1000"}
    (mixed,) = of(found, "offset-mixed")
    assert "2 images still have" in mixed.seen
    assert "38D_378R_2_3" in mixed.seen


def test_the_band_order_of_eurosat_is_found_and_named(real_data: Path) -> None:
    found = report(real_data / "EuroSAT", "sentinel2=EuroSAT_MS")
    assert {one.kind for one in found.errors} == {"band-order"}
    order = "B01,B02,B03,B04,B05,B06,B07,B08,B09,B10,B11,B12,B8A"
    assert {one.remedy for one in found.errors} == {f"--sensor sentinel2:{order}=PATTERN"}
    assert len(found.errors) == 2
    assert not report(real_data / "EuroSAT", f"sentinel2:{order}=EuroSAT_MS").errors


@pytest.mark.parametrize(
    "listed",
    ["B12,B11,B09,B8A,B08,B07,B06,B05,B04,B03,B02,B01", "B02,B03,B04,B08,B05,B06,B07,B8A,B11,B12,B01,B09"],
)
def test_images_of_one_source_are_told_one_band_order_and_the_right_one(real_data: Path, listed: str) -> None:
    found = report(real_data / "TerraMesh", f"sentinel2_l2a:{listed}=S2L2A")
    assert {one.kind for one in found.errors} == {"band-order"}
    assert len({one.file for one in found.errors}) == 3
    order = "B01,B02,B03,B04,B05,B06,B07,B08,B8A,B09,B11,B12"
    assert {one.remedy for one in found.errors} == {f"--sensor sentinel2_l2a:{order}=PATTERN"}
    assert found.undecided == ()


@pytest.mark.slow
def test_the_twin_airplanes_of_uc_merced_are_found_and_nothing_else(real_data: Path) -> None:
    found = check_manifest(index_layout("image-folder", real_data / "UCMerced_LandUse").manifest)
    assert found.errors == ()
    (twin,) = of(found, "duplicate")
    assert twin.file.endswith("airplane02.jpg")
    assert "airplane01.jpg" in twin.seen


@pytest.mark.parametrize(
    ("folder", "pattern"),
    [
        ("RGB-DSM/tuniu_river_uav", "rgb"),
        ("RGB-DSM/kootenay_forest", "r{id}.tif"),
        ("Dunes-RGB-Seg", "images"),
    ],
)
def test_undeclared_black_outside_a_mosaic_is_found_and_mended(real_data: Path, folder: str, pattern: str) -> None:
    found = report(real_data / folder, f"rgb={pattern}")
    assert {one.kind for one in found.errors} == {"no-data-border"}
    assert {one.remedy for one in found.errors} == {"--set rgb.nodata=0"}
    assert not report(real_data / folder, f"rgb={pattern}", settings=("rgb.nodata=0",)).errors
