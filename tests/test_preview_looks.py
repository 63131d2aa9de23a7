"""Which bands a preview shows, and as what."""

from __future__ import annotations

from typing import Any

import pytest

from msgfm.errors import InputError
from msgfm.geo.facts import BandFacts, RasterFacts
from msgfm.scenes.preview.looks import look_of, may_be_classes


def facts(*names: str, dtype: str = "uint16", place: str = "a.tif", **more: Any) -> RasterFacts:
    colours = more.pop("colours", ("undefined",) * len(names))
    bands = tuple(
        BandFacts(name=name, dtype=dtype, nodata=None, scale=1, offset=0, unit="", colour=colour, tags={})
        for name, colour in zip(names, colours, strict=True)
    )
    return RasterFacts(
        **{
            "place": place,
            "size": 1,
            "form": "GTiff",
            "height": 10,
            "width": 10,
            "crs": "",
            "crs_title": "",
            "crs_unit": "",
            "transform": (1, 0, 0, 0, 1, 0),
            "bands": bands,
            "palette": {},
            "overviews": (),
            "block": (10, 10),
            "tags": {},
        }
        | more
    )


@pytest.mark.parametrize(
    ("names", "bands"),
    [
        (("B02", "B03", "B04", "B08"), (3, 2, 1)),
        (("B1", "B2", "B3", "B4", "B5"), (4, 3, 2)),
        (("SR_B1", "SR_B2", "SR_B3", "SR_B4"), (4, 3, 2)),
        (("B", "G", "R", "NIR"), (3, 2, 1)),
        (("Blue", "Green", "Red"), (3, 2, 1)),
        (("NIR", "R", "G"), (1, 2, 3)),
    ],
)
def test_names_of_bands_tell_red_green_and_blue(names, bands):
    look = look_of(facts(*names))
    assert (look.kind, look.bands, look.because) == ("colour", bands, "")
    assert look.labels == tuple(names[band - 1] for band in bands)


def test_without_names_the_files_colours_tell_and_then_the_number_of_bands():
    coloured = facts("", "", "", colours=("blue", "green", "red"))
    assert look_of(coloured).bands == (3, 2, 1)
    l1c, l2a = look_of(facts(*[""] * 13)), look_of(facts(*["bands"] * 12))
    assert l1c.bands == l2a.bands == (4, 3, 2)
    assert "13 bands without names" in l1c.because
    unknown = look_of(facts(*[""] * 5))
    assert unknown.bands == (1, 2, 3) and unknown.because


@pytest.mark.parametrize("names", [("VV", "VH"), ("Sigma0_VH_db", "Sigma0_VV_db"), ("", "")])
def test_radar_is_shown_with_the_ratio_of_its_two_polarisations(names):
    look = look_of(facts(*names, dtype="float32"))
    assert look.kind == "radar"
    assert look.labels == ("VV", "VH")
    assert look.bands == ((2, 1) if "VH" in names[0] else (1, 2))
    assert bool(look.because) == (names == ("", ""))


def test_one_file_a_polarisation_is_known_by_its_name():
    look = look_of(facts("", dtype="float32", place="/data/S1A_IW_GRDH_VH.tif"))
    assert (look.kind, look.bands, look.labels) == ("radar", (1,), ("VH",))
    assert look_of(facts("", dtype="float32", place="/data/VH/height.tif")).kind == "values"


def test_a_palette_makes_classes_and_only_whole_numbers_of_one_band_can_be():
    assert look_of(facts("", dtype="uint8", palette={1: (0, 0, 255)})).kind == "classes"
    assert may_be_classes(facts("", dtype="int16"))
    assert not may_be_classes(facts("", dtype="float32"))
    assert not may_be_classes(facts("", "", dtype="uint8"))


def test_bands_are_shown_as_asked_by_name_or_position():
    sentinel2 = facts("B02", "B03", "B04", "B08")
    assert look_of(sentinel2, "b08, B04,2").bands == (4, 3, 2)
    assert look_of(sentinel2, "B08").kind == "values"
    assert look_of(facts("VV", "VH", dtype="float32"), "VH").kind == "radar"
    assert look_of(facts("", dtype="int16"), "classes").kind == "classes"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("B11", r"a\.tif has no band 'B11'; it has 3 bands of uint16: B02, B03, B04"),
        ("4", "no band '4'"),
        ("0", "no band '0'"),
        ("B02,B03", "names 2 bands"),
        ("classes", "no map of classes"),
    ],
)
def test_what_cannot_be_shown_is_told_with_what_there_is(asked, said):
    with pytest.raises(InputError, match=said):
        look_of(facts("B02", "B03", "B04"), asked)
