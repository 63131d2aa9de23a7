"""From a recipe's sources to what is trained on, and what is refused before training starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from shard_data import make_manifest, options

from msgfm.config import config_from_dict
from msgfm.data.mixture import Source
from msgfm.data.records import Manifest, RasterFile, Sample, SensorImage, read_manifest, write_manifest
from msgfm.data.sharding.write import write_shards
from msgfm.errors import InputError
from msgfm.geo.raster import write_geotiff
from msgfm.sensors import Sensor, load_sensor
from msgfm.training.pretraining.config import PretrainConfig, SourceConfig
from msgfm.training.pretraining.sources import agree_on_sensors, load_manifests, load_sources, share_batch_size

# sensors and split of each sample
Samples = Sequence[tuple[Sequence[str], str]]
PAIRS: Samples = [(("sentinel1", "sentinel2"), "train")] * 3 + [(("sentinel1",), "train"), (("sentinel2",), "val")]


def write(path: Path, samples: Samples, cards: Mapping[str, Sensor] | None = None) -> Path:
    """A manifest and (empty) files for it, below a folder of the manifest's name."""
    root = path.with_suffix("")
    records = []
    for number, (sensors, split) in enumerate(samples):
        images = []
        for sensor in sensors:
            name = f"{sensor}/{number}.tif"
            (root / sensor).mkdir(parents=True, exist_ok=True)
            (root / name).touch()
            file = RasterFile(path=name, bands=load_sensor(sensor).band_names[:1], file_bands=(1,))
            images.append(SensorImage(sensor=sensor, height=8, width=8, files=(file,)))
        records.append(Sample(sample=str(number), scene=str(number), split=split, images=tuple(images)))
    used = {sensor: load_sensor(sensor) for sensors, _ in samples for sensor in sensors}
    write_manifest(Manifest(root=root, layout="pairs", sensors=used | dict(cards or {}), samples=tuple(records)), path)
    return path


def recipe(sources: Mapping[str, Any], **changes: Any) -> PretrainConfig:
    defaults = {"lr": 1e-3, "batch_size": 2}
    tree = {
        "out": "runs/x",
        "epochs": 1,
        "sources": {
            name: {**defaults, **(source if isinstance(source, dict) else {"manifest": source})}
            for name, source in sources.items()
        },
    }
    return config_from_dict(PretrainConfig, tree | changes, "recipe")


def of_one(manifest: Any, **changes: Any) -> Source:
    (source,) = load_sources(recipe({"it": {"manifest": manifest} | changes}))
    return source


def test_a_source_holds_its_split(tmp_path):
    path = write(tmp_path / "m.parquet", PAIRS)
    assert len(of_one(path)) == 4
    assert len(of_one(path, split="val")) == 1
    assert len(of_one(path, split="all")) == 5
    source = of_one(path, lr=0.25, batch_size=7)
    assert (source.name, source.sensors, source.lr, source.batch_size) == ("it", ("sentinel1", "sentinel2"), 0.25, 7)
    assert source.cards == {name: load_sensor(name) for name in ("sentinel1", "sentinel2")}


def test_a_missing_split_is_named_with_those_there_are(tmp_path):
    path = write(tmp_path / "m.parquet", PAIRS)
    with pytest.raises(InputError, match=r"source it: .*m\.parquet has no samples of split 'tset'; .*train, val"):
        of_one(path, split="tset")
    empty = write(tmp_path / "empty.parquet", [])
    with pytest.raises(InputError, match=r"source it: .*empty\.parquet has no samples of split 'all'; .*empty"):
        of_one(empty, split="all")


def test_manifests_without_the_split_are_passed_over(tmp_path):
    both = [
        write(tmp_path / "a.parquet", [(("rgb",), "train")] * 2),
        write(tmp_path / "b.parquet", [(("rgb",), "val")] * 3),
    ]
    assert len(of_one(both)) == 2
    assert len(of_one(both, split="val")) == 3
    assert len(of_one(both, split="all")) == 5


def test_held_out_samples_may_be_none(tmp_path):
    path = write(tmp_path / "a.parquet", [(("rgb",), "train")])
    assert load_manifests("it", SourceConfig(manifest=(path,), lr=1), "val") == ()


def test_some_sensors_of_a_manifest(tmp_path):
    path = write(tmp_path / "m.parquet", PAIRS)
    source = of_one(path, sensors=["sentinel2"])
    assert source.sensors == ("sentinel2",)
    assert list(source.cards) == ["sentinel2"]
    (manifest,) = source.manifests
    assert list(manifest.sensors) == ["sentinel2"]
    assert [sample.sensors for sample in manifest.samples] == [("sentinel2",)] * 3, "the fourth has none of them"


def test_sensors_spread_over_manifests(tmp_path):
    both = [
        write(tmp_path / "a.parquet", [(("sentinel1", "rgb"), "train")] * 2),
        write(tmp_path / "b.parquet", [(("sentinel2", "dsm"), "train")] * 3),
        write(tmp_path / "c.parquet", [(("dsm",), "train")]),
    ]
    source = of_one(both, sensors=["sentinel1", "sentinel2"])
    assert source.sensors == ("sentinel1", "sentinel2")
    assert len(source) == 5
    assert {sample.sensors for m in source.manifests for sample in m.samples} == {("sentinel1",), ("sentinel2",)}
    assert of_one(both).sensors == ("dsm", "rgb", "sentinel1", "sentinel2")


def test_a_sensor_without_a_card_is_named_with_those_there_are(tmp_path):
    path = write(tmp_path / "m.parquet", PAIRS)
    with pytest.raises(InputError, match=r"source it: sensor 'sentinel3' has no card .*sentinel1, sentinel2"):
        of_one(path, sensors=["sentinel1", "sentinel3"])


def test_a_sensor_without_samples_of_the_split_is_refused(tmp_path):
    samples = [(("rgb",), "train"), (("dsm",), "val")]
    path = write(tmp_path / "m.parquet", samples)
    with pytest.raises(InputError, match="no samples of split 'train' with dsm; its splits are train, val"):
        of_one(path, sensors=["dsm"])


def test_files_that_are_gone_are_noticed_before_training(tmp_path):
    path = write(tmp_path / "m.parquet", PAIRS)
    of_one(path)
    for file in (tmp_path / "m" / "sentinel2").iterdir():
        file.unlink()
    message = r"source it: .*sentinel2/0\.tif is gone \(1 of 2 folders .*index again"
    with pytest.raises(InputError, match=message):
        of_one(path)
    assert len(of_one(path, sensors=["sentinel1"])) == 4, "what is not used need not be there"


def test_a_manifest_that_is_gone(tmp_path):
    with pytest.raises(InputError, match=r"no manifest .*gone\.parquet; make one with `msgfm data index"):
        of_one(tmp_path / "gone.parquet")


@pytest.mark.parametrize(
    ("lengths", "own", "batch_size", "expected"),
    [
        ({"a": 1_600_000, "b": 320_000, "c": 40_000}, {}, 196, {"a": 160, "b": 32, "c": 4}),
        ({"a": 10, "b": 10}, {}, 8, {"a": 4, "b": 4}),
        ({"a": 100_000, "b": 1}, {}, 8, {"a": 8, "b": 1}),  # one at least
        ({"a": 30, "b": 10, "c": 1000}, {"c": 5}, 8, {"a": 6, "b": 2}),  # c takes no part
        ({"a": 5}, {"a": 3}, 8, {}),
        ({"a": 5}, {"a": 3}, None, {}),
    ],
)
def test_batch_sizes_are_shared_out_in_proportion(lengths, own, batch_size, expected):
    sources = {name: {"manifest": "m", "batch_size": own.get(name)} for name in lengths}
    config = recipe(sources, mixture={"batch_size": batch_size})
    assert share_batch_size(config, lengths) == expected


def test_shares_reach_the_sources(tmp_path):
    sources = {
        "a": {"manifest": write(tmp_path / "a.parquet", [(("rgb",), "train")] * 6), "batch_size": None},
        "b": {"manifest": write(tmp_path / "b.parquet", [(("rgb",), "train")] * 2), "batch_size": None},
        "c": {"manifest": write(tmp_path / "c.parquet", PAIRS), "batch_size": 9},
    }
    loaded = load_sources(recipe(sources, mixture={"batch_size": 8}))
    assert {source.name: source.batch_size for source in loaded} == {"a": 6, "b": 2, "c": 9}


def test_sensors_of_all_sources_once_and_in_order(tmp_path):
    sources = load_sources(
        recipe(
            {
                "a": write(tmp_path / "a.parquet", [(("rgb", "dsm"), "train")]),
                "b": write(tmp_path / "b.parquet", [(("rgb", "sentinel1"), "train")]),
            }
        )
    )
    agreed = agree_on_sensors(sources)
    assert agreed == tuple(load_sensor(name) for name in ("dsm", "rgb", "sentinel1"))
    assert agree_on_sensors(sources[::-1]) == agreed, "a recipe's order of sources does not change the model"


def altered(name: str, **changes: Any) -> Sensor:
    card = load_sensor(name)
    return Sensor.model_validate(card.model_dump() | changes)


def test_files_of_one_sensor_may_be_stored_differently(tmp_path):
    ours = write(tmp_path / "a.parquet", [(("sentinel2",), "train")])
    theirs = {"sentinel2": load_sensor("sentinel2").with_setting("offset", -1000)}
    other = write(tmp_path / "b.parquet", [(("sentinel2",), "train")], theirs)
    sources = load_sources(recipe({"a": ours, "b": other}))
    assert agree_on_sensors(sources) == (load_sensor("sentinel2"),)
    # what the reader is told stays with each manifest
    assert [source.manifests[0].sensors["sentinel2"].bands[3].offset for source in sources] == [0, -1000]
    assert sources[0].digest.split()[0] == sources[1].digest.split()[0] and sources[0].digest != sources[1].digest


def test_roles_become_samples_of_their_own_and_clouds_stay_out(tmp_path):
    def image(role: str) -> SensorImage:
        file = RasterFile(path=f"{role or 'clear'}.tif", bands=("R", "G", "B"), file_bands=(1, 2, 3))
        return SensorImage(sensor="rgb", height=8, width=8, files=(file,), role=role)

    images = tuple(image(role) for role in ("", "before", "after", "cloudy"))
    for one in images:
        (tmp_path / one.files[0].path).touch()
    sample = Sample(sample="a", scene="a", split="train", images=images)
    path = tmp_path / "roles.parquet"
    sensors = {"rgb": load_sensor("rgb")}
    write_manifest(Manifest(root=tmp_path, layout="pairs", sensors=sensors, samples=(sample,)), path)
    (source,) = load_sources(recipe({"a": path}))
    assert [one.sample for one in source.manifests[0].samples] == ["a", "a@before", "a@after"]
    assert [one.images[0].files[0].path for one in source.manifests[0].samples] == [
        "clear.tif", "before.tif", "after.tif",
    ]  # fmt: skip
    (cloudy,) = load_sources(recipe({"a": {"manifest": path, "roles": ["cloudy"]}}))
    assert [one.sample for one in cloudy.manifests[0].samples] == ["a@cloudy"]
    with pytest.raises(InputError, match="no samples of split 'train' in the role dusk"):
        load_sources(recipe({"a": {"manifest": path, "roles": ["dusk"]}}))


def test_cards_that_disagree_are_refused(tmp_path):
    first = write(tmp_path / "a.parquet", [(("sentinel1",), "train")])
    other = {"sentinel1": altered("sentinel1", clip=not load_sensor("sentinel1").clip)}
    second = write(tmp_path / "b.parquet", [(("sentinel1",), "train")], other)
    message = r"sensor sentinel1 has two cards that differ in clip \(source .*\)"
    with pytest.raises(InputError, match=message):
        agree_on_sensors(load_sources(recipe({"a": first, "b": second})))
    with pytest.raises(InputError, match=message):
        agree_on_sensors(load_sources(recipe({"one": [str(first), str(second)]})))


def test_a_card_without_statistics_is_refused(tmp_path):
    bands = [band.model_dump() | {"mean": None, "std": None} for band in load_sensor("rgb").bands]
    path = write(tmp_path / "a.parquet", [(("rgb",), "train")], {"rgb": altered("rgb", bands=bands)})
    with pytest.raises(InputError, match=r"sensor rgb: no mean and std for .*msgfm data stats"):
        agree_on_sensors(load_sources(recipe({"a": path})))


def test_a_manifest_and_its_shards_are_not_trained_on_together(tmp_path):
    def listing(folder: str) -> Path:
        made = make_manifest(tmp_path / folder, 3)
        write_manifest(made, tmp_path / folder / "it.parquet")
        return tmp_path / folder / "it.parquet"

    ours, theirs = listing("ours"), listing("theirs")
    assert read_manifest(ours).digest == read_manifest(theirs).digest
    # other images of the same names
    write_geotiff(tmp_path / "theirs" / "0_radar.tif", np.full((2, 48, 48), -9, np.float32))
    packed, tiles = tmp_path / "packed", tmp_path / "tiles"
    write_shards(read_manifest(ours), packed, options())
    write_shards(read_manifest(ours), tiles, options(crop=24))
    for listed in ([ours, packed], [packed, ours], [ours, tiles], [tiles, packed], [ours, theirs, ours]):
        with pytest.raises(InputError, match=r"source it: .* hold the same samples"):
            of_one(listed)
    assert len(of_one([ours, theirs], split="all", sensors=["sentinel1"])) == 6
    assert len(of_one([packed, theirs], split="all", sensors=["sentinel1"])) == 6
    assert len(of_one([theirs, tiles], split="all", sensors=["sentinel1"])) == 3 + 12
    assert load_sources(recipe({"a": ours, "b": packed})), "two sources may share samples"
