"""The mixture: what is done to the samples of a batch follows from numbers alone."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from mixture_order import make_order
from torch.utils.data import DataLoader

from msgfm.data import mixture
from msgfm.data.mixture import Batch, MixtureDataset, MixtureOrder, MixtureSampler, SampleKey, Source
from msgfm.data.reader import read_sample
from msgfm.data.records import Manifest, RasterFile, Sample, SensorImage
from msgfm.errors import InputError
from msgfm.geo.raster import write_geotiff
from msgfm.models.msgfm import ABSENT
from msgfm.sensors import Sensor

# ---- what is done to them -------------------------------------------------------------------------------------------

SIZE, SQUARE = 8, 2
BANDS = {"alpha": 1, "beta": 2, "gamma": 1}
MODEL_ORDER = ("gamma", "alpha", "beta")  # not that of the alphabet: targets are positions in it


def card(name: str) -> Sensor:
    bands = [{"name": f"B{i}", "mean": 0, "std": 1} for i in range(BANDS[name])]
    return Sensor.model_validate({"name": name, "unit": "1", "valid_range": [-1e7, 1e7], "bands": bands})


def write_source(
    folder: Path, name: str, samples: Sequence[Sequence[str]], side: int = 13, batch_size: int = 4
) -> Source:
    """A source whose sample k is seen by `samples[k]`; all sensors see 10 000 k + 100 row + column."""
    records = []
    rows, columns = np.mgrid[:side, :side]
    for k, sensors in enumerate(samples):
        images = []
        for sensor in sensors:
            path = f"{name}/{k}_{sensor}.tif"
            array = np.broadcast_to(10_000 * k + 100 * rows + columns, (BANDS[sensor], side, side))
            write_geotiff(folder / path, array.astype(np.float32))
            bands = card(sensor).band_names
            file = RasterFile(path=path, bands=bands, file_bands=tuple(range(1, len(bands) + 1)))
            images.append(SensorImage(sensor=sensor, height=side, width=side, files=(file,)))
        records.append(Sample(sample=str(k), scene=str(k), split="train", images=tuple(images)))
    used = tuple(sorted({sensor for sensors in samples for sensor in sensors}))
    cards = {sensor: card(sensor) for sensor in used}
    manifest = Manifest(root=folder, layout="pairs", sensors=cards, samples=tuple(records))
    return Source(name=name, manifests=(manifest,), sensors=used, batch_size=batch_size, lr=1e-3)


def make_dataset(*sources: Source, seed: int = 0, share: float = 0.5, ratio: float = 0.6, size: int = SIZE):
    return MixtureDataset(
        sources,
        MODEL_ORDER,
        image_size=size,
        mask_patch_size=SQUARE,
        mask_ratio=ratio,
        cross_sensor_share=share,
        seed=seed,
    )


def equal(a: Batch, b: Batch) -> bool:
    pairs = [(getattr(a, group), getattr(b, group)) for group in ("images", "hidden", "targets")]
    return a.source == b.source and all(
        one.keys() == other.keys()
        and all(torch.equal(one[key].nan_to_num(nan=-1), other[key].nan_to_num(nan=-1)) for key in one)
        for one, other in pairs
    )


def keys(samples: Sequence[int], source: int = 0, epoch: int = 0) -> list[SampleKey]:
    return [SampleKey(source, epoch, sample) for sample in samples]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return write_source(tmp_path_factory.mktemp("pairs"), "pairs", [("alpha", "beta")] * 5)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Source:
    samples = [("alpha", "beta"), ("alpha",), ("beta",), ("alpha", "beta", "gamma")]
    return write_source(tmp_path_factory.mktemp("mixed"), "mixed", samples, batch_size=3)


@pytest.fixture
def cached_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads each sample once: for tests that draw very often."""
    known: dict[str, dict[str, np.ndarray]] = {}

    def read(root, sample, sensors):
        name = f"{root}/{sample.sample}"
        if name not in known:
            known[name] = read_sample(root, sample, sensors)
        return known[name]

    monkeypatch.setattr(mixture, "read_sample", read)


def test_a_pair_is_cropped_and_flipped_alike(pairs):
    batch = make_dataset(pairs).__getitems__(keys(range(5)))
    assert batch.images["alpha"].shape == (5, 1, SIZE, SIZE)
    assert batch.images["beta"].shape == (5, 2, SIZE, SIZE)
    assert batch.images["alpha"].dtype == torch.float32
    torch.testing.assert_close(batch.images["beta"], batch.images["alpha"].expand(-1, 2, -1, -1), rtol=0, atol=0)
    assert (batch.images["alpha"] // 10_000).unique().tolist() == [0, 1, 2, 3, 4]
    corners = {tuple(image.flatten().tolist()[:1]) for image in batch.images["alpha"] % 10_000}
    assert len(corners) > 1, "samples are not all cropped at the same place"


def test_sensors_of_a_pair_have_masks_of_their_own(pairs):
    batch = make_dataset(pairs).__getitems__(keys(range(5)))
    squares = (SIZE // SQUARE) ** 2
    for hidden in batch.hidden.values():
        assert hidden.shape == (5, SIZE // SQUARE, SIZE // SQUARE)
        assert hidden.dtype == torch.bool
        assert hidden.flatten(1).sum(1).tolist() == [math.ceil(0.6 * squares)] * 5
    assert not torch.equal(batch.hidden["alpha"], batch.hidden["beta"])
    assert len({tuple(hidden.flatten().tolist()) for hidden in batch.hidden["alpha"]}) > 1


def load(dataset: MixtureDataset, order: MixtureOrder, end: int, rank: int = 0, workers: int = 0) -> list[Batch]:
    sampler = MixtureSampler(order, rank=rank, start=0, end=end)
    context = "fork" if workers else None
    return list(
        DataLoader(
            dataset,
            batch_sampler=sampler,
            collate_fn=lambda batch: batch,
            num_workers=workers,
            multiprocessing_context=context,
        )
    )


def test_workers_change_nothing(pairs, mixed):
    dataset, order = make_dataset(pairs, mixed), make_order([(5, 4), (4, 3)])
    alone, together = load(dataset, order, 8), load(dataset, order, 8, workers=2)
    assert len(alone) == len(together) == 8
    assert all(map(equal, alone, together))
    assert [batch.source for batch in alone] == [0, 1] * 4


def test_ranks_change_nothing(pairs, mixed):
    dataset = make_dataset(pairs, mixed)
    whole = load(dataset, make_order([(5, 4), (4, 2)]), 6)
    halves = [load(dataset, make_order([(5, 2), (4, 1)], world_size=2), 6, rank) for rank in range(2)]
    for joint, *parts in zip(whole, *halves, strict=True):
        for group in ("images", "hidden", "targets"):
            for sensor, tensor in getattr(joint, group).items():
                glued = torch.cat([getattr(part, group)[sensor] for part in parts])
                torch.testing.assert_close(tensor, glued, rtol=0, atol=0, equal_nan=True)


def test_a_sample_is_treated_alike_whatever_else_is_in_its_batch_and_mixture(pairs, mixed):
    one = make_dataset(pairs).__getitems__(keys([3]))
    among = make_dataset(mixed, pairs).__getitems__(keys([1, 3], source=1))
    for group in ("images", "hidden", "targets"):
        for sensor, tensor in getattr(one, group).items():
            assert torch.equal(tensor[0], getattr(among, group)[sensor][1])


@pytest.mark.parametrize("change", [{"epoch": 1}, {"seed": 1}])
def test_another_pass_or_seed_draws_anew(pairs, change):
    def draw(seed: int = 0, epoch: int = 0) -> Batch:
        return make_dataset(pairs, seed=seed).__getitems__(keys(range(5), epoch=epoch))

    before, after = draw(), draw(**change)
    assert equal(before, draw())
    for sample in range(5):
        assert not torch.equal(before.images["alpha"][sample], after.images["alpha"][sample])
        assert not torch.equal(before.hidden["alpha"][sample], after.hidden["alpha"][sample])
    assert not torch.equal(before.targets["alpha"], after.targets["alpha"])


ALPHA, BETA, GAMMA = (MODEL_ORDER.index(name) for name in ("alpha", "beta", "gamma"))


def draw_targets(source: Source, share: float, passes: int) -> list[dict[str, int]]:
    """Of every sample in every pass: who predicts whom."""
    dataset = make_dataset(source, share=share)
    batches = [dataset.__getitems__(keys(range(len(source)), epoch=epoch)) for epoch in range(passes)]
    return [
        {name: int(target[i]) for name, target in batch.targets.items()}
        for batch in batches
        for i in range(len(source))
    ]


@pytest.mark.usefixtures("cached_files")
@pytest.mark.parametrize(("share", "expected"), [(0.0, (ALPHA, BETA)), (1.0, (BETA, ALPHA))])
def test_partner_never_and_always(pairs, share, expected):
    drawn = draw_targets(pairs, share, 40)
    assert {(targets["alpha"], targets["beta"]) for targets in drawn} == {expected}


@pytest.mark.usefixtures("cached_files")
@pytest.mark.parametrize("share", [0.5, 0.2])
def test_partner_by_share_for_each_sensor_on_its_own(pairs, share):
    drawn = draw_targets(pairs, share, 200)
    counts = Counter((targets["alpha"] == BETA, targets["beta"] == ALPHA) for targets in drawn)
    for (first, second), count in counts.items():
        chance = (share if first else 1 - share) * (share if second else 1 - share)
        deviation = (1000 * chance * (1 - chance)) ** 0.5
        assert abs(count - 1000 * chance) < 4 * deviation, counts
    assert len(counts) == 4


@pytest.mark.usefixtures("cached_files")
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_one_sensor_alone_predicts_itself(mixed, share):
    only_alpha, only_beta = replace_samples(mixed, [1]), replace_samples(mixed, [2])
    assert {targets["alpha"] for targets in draw_targets(only_alpha, share, 30)} == {ALPHA}
    assert {targets["beta"] for targets in draw_targets(only_beta, share, 30)} == {BETA}


@pytest.mark.usefixtures("cached_files")
def test_of_three_sensors_both_partners_are_equally_likely(mixed):
    drawn = draw_targets(replace_samples(mixed, [3]), 0.5, 1200)
    for name, own in (("alpha", ALPHA), ("beta", BETA), ("gamma", GAMMA)):
        counts = Counter(targets[name] for targets in drawn)
        for target in (ALPHA, BETA, GAMMA):
            chance = 0.5 if target == own else 0.25
            assert abs(counts[target] - 1200 * chance) < 4 * (1200 * chance * (1 - chance)) ** 0.5, (name, counts)


def replace_samples(source: Source, chosen: Sequence[int]) -> Source:
    (manifest,) = source.manifests
    samples = tuple(manifest.samples[i] for i in chosen)
    return replace(source, manifests=(replace(manifest, samples=samples),))


def test_a_sensor_that_a_sample_lacks_is_absent(mixed):
    batch = make_dataset(mixed, share=1.0).__getitems__(keys(range(4)))
    assert [int(target) for target in batch.targets["gamma"][:3]] == [ABSENT] * 3
    assert batch.targets["alpha"].tolist()[:3] == [BETA, ALPHA, ABSENT]
    assert batch.targets["beta"].tolist()[:3] == [ALPHA, ABSENT, BETA]
    assert ABSENT not in [int(batch.targets[name][3]) for name in BANDS]
    for name in BANDS:
        absent = batch.targets[name] == ABSENT
        assert torch.isnan(batch.images[name][absent]).all()
        assert not batch.hidden[name][absent].any()
        assert torch.isfinite(batch.images[name][~absent]).all()
    assert len(batch) == 4
    assert batch.num_images == 2 + 1 + 1 + 3
    # a partner that a sample does not have is never its target
    for i, sensors in enumerate([(ALPHA, BETA), (ALPHA,), (BETA,)]):
        assert {int(batch.targets[name][i]) for name in BANDS} - {ABSENT} <= set(sensors)


def test_small_images_are_filled_up_with_no_data(pairs):
    batch = make_dataset(pairs, size=16).__getitems__(keys([0, 1]))
    for image in (*batch.images["alpha"], *batch.images["beta"]):
        assert image.shape[1:] == (16, 16)
        assert int(torch.isfinite(image[0]).sum()) == 13 * 13


def test_a_batch_moves_whole(mixed):
    batch = make_dataset(mixed).__getitems__(keys([0, 1]))
    batch.bad.append("x")
    moved = batch.to(torch.device("meta"))
    for group in ("images", "hidden", "targets"):
        assert {tensor.device.type for tensor in getattr(moved, group).values()} == {"meta"}
    assert (moved.source, moved.bad) == (batch.source, ["x"])


# ---- what cannot be read --------------------------------------------------------------------------------------------


@pytest.fixture
def damaged(tmp_path: Path) -> Source:
    """Of five pairs, one file of the second is truncated and one of the last is gone."""
    source = write_source(tmp_path, "pairs", [("alpha", "beta")] * 5)
    path = tmp_path / "pairs" / "1_beta.tif"
    path.write_bytes(path.read_bytes()[:200])
    (tmp_path / "pairs" / "4_alpha.tif").unlink()
    return source


def test_what_cannot_be_read_is_replaced_by_the_next_and_reported(damaged, tmp_path):
    batch = make_dataset(damaged).__getitems__(keys([0, 1, 2, 4]))
    whose = [int(image.flatten()[0] // 10_000) for image in batch.images["alpha"]]
    assert whose == [0, 2, 2, 0]
    assert len(batch.bad) == 2
    assert str(tmp_path / "pairs" / "1_beta.tif") in batch.bad[0]
    assert str(tmp_path / "pairs" / "4_alpha.tif") in batch.bad[1]
    # what is drawn belongs to the place in the order, so that a mended file changes no other sample
    assert not torch.equal(batch.hidden["alpha"][1], batch.hidden["alpha"][2])
    good = make_dataset(write_source(tmp_path / "good", "pairs", [("alpha", "beta")] * 5))
    before = good.__getitems__(keys([0, 1, 2, 4]))
    assert all(torch.equal(before.hidden[name], batch.hidden[name]) for name in before.hidden)
    assert torch.equal(before.images["beta"][2], batch.images["beta"][2])


def test_bad_files_are_reported_by_workers_too(damaged):
    batches = load(make_dataset(damaged), make_order([(5, 5)]), 1, workers=1)
    assert len(batches[0].bad) == 2


def test_a_source_of_which_nothing_can_be_read_ends_the_run(damaged, tmp_path):
    for path in tmp_path.rglob("*.tif"):
        path.unlink()
    with pytest.raises(InputError, match=r"source pairs: no sample of 5 can be read; the last error: .*\.tif"):
        make_dataset(damaged).__getitems__(keys([3]))


# ---- a source of several manifests ----------------------------------------------------------------------------------


def test_several_manifests_are_one_source(pairs, mixed):
    both = replace(pairs, manifests=(*pairs.manifests, *mixed.manifests), sensors=("alpha", "beta", "gamma"))
    assert len(both) == 9
    for index in range(9):
        origin, position = (pairs, index) if index < 5 else (mixed, index - 5)
        manifest, sample = both.locate(index)
        assert (manifest, sample) == (origin.manifests[0], origin.manifests[0].samples[position])
    with pytest.raises(IndexError):
        both.locate(9)
    assert list(both.cards) == ["alpha", "beta", "gamma"]
    batch = make_dataset(both).__getitems__(keys([4, 5, 8]))
    assert [int(image[0, 0, 0] // 10_000) for image in batch.images["alpha"]] == [4, 0, 3]
    assert [int(target) == ABSENT for target in batch.targets["gamma"]] == [True, True, False]
