"""When a scene was taken: by products, items, tags of files, or the user; and what the result's item says of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import partial

import pytest
import rasterio
from catalogue_world import item
from scene_commands import invoke, refused
from scene_data import backscatter, reflectance, write
from small_downstream import describe

from msgfm.errors import InputError
from msgfm.models.downstream import DownstreamModel
from msgfm.models.pretrained import save_pretrained
from msgfm.scenes.inputs.files import make_request
from msgfm.scenes.inputs.times import span_of_item, span_of_tag, stated_span
from msgfm.sensors import load_sensor

S2 = load_sensor("sentinel2").select(["B02"])


at = partial(datetime, tzinfo=UTC)


def product(folder, times):
    images = folder / "GRANULE" / "L1C_T33TWL" / "IMG_DATA"
    write(images / "T33TWL_20220601T100031_B02.jp2", reflectance(60, 60), driver="JP2OpenJPEG")
    (folder / "MTD_MSIL1C.xml").write_text(
        f"<n1:P xmlns:n1='https://x'><Product_Info>{times}</Product_Info>"
        "<QUANTIFICATION_VALUE>10000</QUANTIFICATION_VALUE></n1:P>"
    )
    return folder


def taken(**given):
    cards = {key: S2 if key == "sentinel2" else load_sensor(key) for key in given}
    request = make_request(cards, {key: [str(path)] for key, path in given.items()})
    request.digest()  # as JSON takes it
    return [image.taken for image in request.images]


def test_a_product_says_when_it_was_taken(tmp_path):
    start, stop = "<PRODUCT_START_TIME>2022-06-01T10:00:31.024Z</PRODUCT_START_TIME>", "PRODUCT_STOP_TIME"
    folder = product(tmp_path / "a.SAFE", f"{start}<{stop}>2022-06-01T10:00:40.000Z</{stop}>")
    assert taken(sentinel2=folder) == [(at(2022, 6, 1, 10, 0, 31, 24_000), at(2022, 6, 1, 10, 0, 40))]
    assert taken(sentinel2=product(tmp_path / "b.SAFE", start)) == [(at(2022, 6, 1, 10, 0, 31, 24_000),) * 2]
    assert taken(sentinel2=product(tmp_path / "c.SAFE", "")) == [None]


def test_an_item_says_when_it_was_taken(tmp_path):
    write(tmp_path / "b02.tif", reflectance(40, 40))
    assets = {"B02": {"href": "b02.tif", "type": "image/tiff", "raster:bands": [{"scale": 1e-4, "offset": 0}]}}
    told = item("X", "sentinel-2", "2022-06-01T12:00:00+02:00", (15, 45, 16, 46), assets)
    (tmp_path / "item.json").write_text(json.dumps(told))
    assert taken(sentinel2=tmp_path / "item.json") == [(at(2022, 6, 1, 10),) * 2]
    between = {"datetime": None, "start_datetime": "2022-06-01T00:00:00Z", "end_datetime": "2022-06-30T00:00:00Z"}
    assert span_of_item({"properties": between}) == (at(2022, 6, 1), at(2022, 6, 30))
    assert span_of_item({"properties": {"datetime": "soon"}}) is None


def test_a_file_says_when_it_was_taken(tmp_path):
    one, two = tmp_path / "one.tif", tmp_path / "two.tif"
    write(one, backscatter(40, 40), names=["VV", "VH"])
    write(two, reflectance(40, 40), names=["B02"])
    with rasterio.open(one, "r+") as target:
        target.update_tags(TIFFTAG_DATETIME="2022:06:01 10:00:31")
    assert taken(sentinel1=one, sentinel2=two) == [(at(2022, 6, 1, 10, 0, 31),) * 2, None]
    assert span_of_tag("0000:00:00 00:00:00") is None
    assert span_of_tag("") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2022-06-01", (at(2022, 6, 1),) * 2),
        ("2022-06-01T10:00:31", (at(2022, 6, 1, 10, 0, 31),) * 2),
        ("2022-06-01T10:00:31+02:00/2022-06-03", (at(2022, 6, 1, 8, 0, 31), at(2022, 6, 3))),
    ],
)
def test_what_a_user_says(text, expected):
    assert stated_span(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "yesterday",
        "2022-06-03/2022-06-01",
        "2022-06-01/",
        "/2022-06-01",
        "2022-13-01",
        "0001-01-01T00+14:00",
        "2022-06-01/2022-06-03/2022",
    ],
)
def test_what_a_user_may_not_say(text):
    with pytest.raises(InputError, match=r"--taken .*2022-06-01/2022-06-03"):
        stated_span(text)


def test_the_item_of_a_result_says_when_its_inputs_were_taken(tmp_path):
    rule = {"kind": "rule", "rule": "class_prior", "prior": [0.3, 0.7]}
    model = DownstreamModel(
        describe({"kind": "segmentation", "classes": ["a", "b"]}, ["sentinel1", "sentinel2:B02"], backbone=rule)
    )
    save_pretrained(model, tmp_path / "model")
    radar = write(tmp_path / "s1.tif", backscatter(60, 60), names=["VV", "VH"])
    times = "<PRODUCT_START_TIME>2022-06-01T10:00:31Z</PRODUCT_START_TIME>"
    optical = product(tmp_path / "a.SAFE", times)
    given = ["--sentinel1", radar, "--sentinel2", optical, "--force", "offset-present", "--force", "no-data-border"]
    arguments = ["predict", tmp_path / "model", *given, "--window", 60, "--out"]

    def properties(name, *more):
        invoke(*arguments, tmp_path / f"{name}.tif", *more)
        return json.loads((tmp_path / f"{name}.json").read_text())["properties"]

    own = properties("own")
    assert own["datetime"] == "2022-06-01T10:00:31Z"
    assert own["description"] == "The time is that of sentinel2; sentinel1 does not tell its own."
    stated = properties("stated", "--taken", "2022-06-01/2022-06-03")
    assert (stated["datetime"], stated["end_datetime"]) == (None, "2022-06-03T00:00:00Z")
    assert "description" not in stated
    assert "--taken now" in refused(*arguments, tmp_path / "bad.tif", "--taken", "now")
