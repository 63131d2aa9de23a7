"""`scenes/stac.py` and `scenes/mlm.py`: the item beside a result."""

import hashlib
import json
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pystac
import pytest
from pystac.extensions.classification import ClassificationExtension
from pystac.extensions.mlm import MLMExtension
from pystac.extensions.projection import ProjectionExtension
from pystac.validation.local_validator import LocalValidator
from small_downstream import make, pretrained
from stac_model.schema import MLModelProperties

from msgfm.data.catalogue.request import Statements
from msgfm.geo.cog import Part, assemble_cog, write_part
from msgfm.geo.grid import Grid
from msgfm.geo.network import Network
from msgfm.geo.overview import OverviewSource
from msgfm.geo.spec import RasterClass, RasterSpec, StoredBand
from msgfm.models.pretrained import save_pretrained
from msgfm.scenes.inputs.item import read_item
from msgfm.scenes.mlm import describe_model
from msgfm.scenes.preview.class_names import class_names
from msgfm.scenes.stac import Origin, ResultFile, write_item
from msgfm.sensors import load_sensor

pytestmark = pytest.mark.filterwarnings("ignore:``LocalValidator``:DeprecationWarning")

GRID = Grid(crs="EPSG:32633", left=500_000, top=5_200_000, pixel_width=10, pixel_height=20, height=64, width=96)
CLASSES = (
    RasterClass(value=0, name="no water", colour=(1, 2, 3)),
    RasterClass(value=1, name="water", colour=(0, 0, 255)),
)
CLASS_MAP = RasterSpec(grid=GRID, dtype="uint8", bands=(StoredBand(name="class"),), nodata=255, classes=CLASSES)
BANDS = tuple(
    StoredBand(name=n, unit="reflectance", scale=1e-4, offset=-1000) for n in load_sensor("sentinel2").band_names
)
IMAGE = RasterSpec(grid=GRID, dtype="uint16", bands=BANDS, nodata=0)
MADE = datetime(2026, 11, 21, 12, tzinfo=UTC)


def raster(path, spec):
    part = path.with_name("part.tif")
    height, width = spec.grid.height, spec.grid.width
    write_part(part, np.zeros((len(spec.bands), height, width), spec.dtype))
    assemble_cog([Part(path=part, row=0, column=0, height=height, width=width)], spec, path)
    part.unlink()
    return path


def described(tmp_path, model, run=None, target=""):
    folder = tmp_path / "my model!"
    save_pretrained(model, folder)
    if run is not None:
        (folder / "run.json").write_text(json.dumps(run))
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
    cards = model.inputs.cards if not target else {"sentinel1": load_sensor("sentinel1")}
    return describe_model(folder, cards, target=target, digest=digest, settings={"window": 32, "overlap": None})


def written(tmp_path, model, spec=CLASS_MAP, **more):
    out = raster(tmp_path / "result.tif", spec)
    inputs = {"sentinel1": ["/images/s1.tif"], "sentinel2": ["https://a.b/c.tif", "item.json"]}
    files = {"result": ResultFile(path=out, spec=spec, title="Result")}
    origin = Origin(model=model, inputs=inputs, **more)
    item = write_item(tmp_path / "result.json", files, origin, made=MADE)
    assert json.loads((tmp_path / "result.json").read_text()) == item
    return item


RUN = {"parameters": 123, "init": {"sha256": "ab" * 32}, "commit": "abc", "recipe": {}}


@pytest.mark.parametrize("task", ["segmentation", "restoration", "change_detection", "classification"])
def test_items_keep_to_the_standards(tmp_path, task):
    item = written(tmp_path, described(tmp_path, make(task), RUN), IMAGE if task == "restoration" else CLASS_MAP)
    LocalValidator().item_validator("1.1.0").validate(item)
    properties = MLModelProperties.model_validate(item["properties"])
    assert properties.total_parameters == 123
    read = pystac.Item.from_dict(item)
    mlm = MLMExtension.ext(read)
    assert mlm.mlm_name == "my-model"
    assert [one.name for one in mlm.input] == [one["name"] for one in item["properties"]["mlm:input"]]
    assert mlm.hyperparameters.to_dict() == {"window": 32}
    # what MLM's own schema asks for beyond its fields
    assert any("mlm:model" in asset.roles and asset.extra_fields["mlm:artifact_type"] for asset in read.assets.values())
    named = {band["name"] for band in item["properties"]["bands"]}
    assert all(named.issuperset(one["bands"]) for one in item["properties"]["mlm:input"])
    assert len(named) == len(item["properties"]["bands"])


def test_an_item_says_where_pixels_lie(tmp_path):
    read = pystac.Item.from_dict(written(tmp_path, described(tmp_path, make("segmentation"))))
    projection = ProjectionExtension.ext(read)
    assert projection.code == "EPSG:32633"
    assert projection.shape == [64, 96]
    assert projection.transform == [10, 0, 500_000, 0, -20, 5_200_000]
    assert projection.bbox == [500_000, 5_200_000 - 64 * 20, 500_000 + 96 * 10, 5_200_000]
    assert read.bbox[0] == pytest.approx(15.0, abs=0.01)
    assert read.geometry["type"] == "Polygon"


def test_classes_have_names_for_machines_and_for_people(tmp_path):
    item = written(tmp_path, described(tmp_path, make("segmentation")))
    asset = pystac.Item.from_dict(item).assets["result"]
    classes = ClassificationExtension.ext(asset).classes
    assert [(one.value, one.name, one.title, one.color_hint) for one in classes] == [
        (0, "no_water", "no water", "010203"),
        (1, "water", "water", "0000FF"),
    ]
    with OverviewSource(str(tmp_path / "result.tif"), Network()) as source:
        facts = source.facts()
    assert class_names(facts) == {0: "no water", 1: "water"}
    # the item names the model's classes, too, and may name those of other files
    assert class_names(replace(facts, tags={})) == {0: "no water", 1: "water"}


def test_the_files_are_told_by_their_digests(tmp_path):
    item = written(tmp_path, described(tmp_path, make("segmentation")))
    for key in ("result", "model"):
        asset = item["assets"][key]
        content = (tmp_path / asset["href"]).read_bytes()
        assert asset["file:size"] == len(content)
        assert asset["file:checksum"] == f"1220{hashlib.sha256(content).hexdigest()}"
    assert item["assets"]["result"]["href"] == "result.tif"


def test_inputs_are_linked(tmp_path):
    item = written(tmp_path, described(tmp_path, make("segmentation")))
    links = [(link["rel"], link["title"], link["href"]) for link in item["links"]]
    assert links == [
        ("derived_from", "sentinel1", "/images/s1.tif"),
        ("derived_from", "sentinel2", "https://a.b/c.tif"),
        ("derived_from", "sentinel2", "item.json"),
    ]


def test_a_restored_image_can_be_given_as_input_again(tmp_path):
    written(tmp_path, described(tmp_path, make("restoration")), IMAGE)
    offers = read_item(str(tmp_path / "result.json"), load_sensor("sentinel2"), Statements(), Network())
    assert list(offers) == list(load_sensor("sentinel2").band_names)
    for position, offer in enumerate(offers.values(), start=1):
        assert offer.place == str(tmp_path / "result.tif")
        assert (offer.file_band, offer.scale, offer.offset, offer.nodata) == (position, 1e-4, -1000, 0)


def test_a_translation_is_generative_and_names_the_target(tmp_path):
    model = pretrained("sentinel1", "sentinel2")
    item = written(tmp_path, described(tmp_path, model, target="sentinel2"), IMAGE)
    MLModelProperties.model_validate(item["properties"])
    assert item["properties"]["mlm:tasks"] == ["generative"]
    assert item["properties"]["mlm:output"][0]["name"] == "sentinel2"
    assert [one["name"] for one in item["properties"]["mlm:input"]] == ["sentinel1"]


def test_where_a_model_comes_from(tmp_path):
    unknown = described(tmp_path, make("segmentation")).properties
    assert not {"mlm:pretrained", "mlm:pretrained_source"}.intersection(unknown)
    fresh = described(tmp_path, make("segmentation"), RUN | {"init": None}).properties
    assert fresh["mlm:pretrained"] is False
    assert fresh["mlm:pretrained_source"] is None
    tuned = described(tmp_path, make("segmentation"), RUN).properties
    assert tuned["mlm:pretrained"] is True
    assert tuned["mlm:pretrained_source"] == f"sha256:{'ab' * 32}"


def test_times_are_those_of_the_inputs_where_they_are_known(tmp_path):
    model = described(tmp_path, make("segmentation"))
    unknown = written(tmp_path, model)["properties"]
    assert unknown["datetime"] == "2026-11-21T12:00:00Z"
    assert "processing" in unknown["description"]
    first, last = datetime(2020, 1, 2, 3, 4, 5, tzinfo=UTC), datetime(2020, 1, 5, tzinfo=UTC)
    between = written(tmp_path, model, taken=(first, last))
    LocalValidator().item_validator("1.1.0").validate(between)
    assert between["properties"]["datetime"] is None
    assert between["properties"]["start_datetime"] == "2020-01-02T03:04:05Z"
    known = written(tmp_path, model, taken=(first, first), untold=("sentinel1",))["properties"]
    assert known["datetime"] == "2020-01-02T03:04:05Z"
    assert known["description"] == "The time is that of sentinel2; sentinel1 does not tell its own."


def test_a_result_without_coordinates_has_no_geometry(tmp_path):
    bare = Grid(crs="", left=0, top=0, pixel_width=1, pixel_height=1, height=64, width=96)
    spec = RasterSpec(grid=bare, dtype="uint8", bands=(StoredBand(name="class"),), nodata=255, classes=CLASSES)
    item = written(tmp_path, described(tmp_path, make("segmentation")), spec)
    LocalValidator().item_validator("1.1.0").validate(item)
    assert item["geometry"] is None
    assert "bbox" not in item
