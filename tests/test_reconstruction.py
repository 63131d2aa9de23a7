"""Scores and pictures of a model, against numbers worked out here with numpy from the files themselves."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import rasterio
import torch
from small_runs import refused, run, write_data, write_image, write_recipe

import msgfm
from msgfm.data.records import Manifest, read_manifest
from msgfm.geo.raster import write_geotiff
from msgfm.models.msgfm import MsGFM
from msgfm.training.pretraining.reconstruction import load_example, load_examples, score_reconstruction

SIZE = 32  # of the squares
CORNERS = [(0, 0), (0, 8), (8, 0), (8, 8)]  # of the four that cover an image of 40 px
# From the cards; heights also lose their image's own mean.
SCALE = {"rgb": 1 / 255, "dsm": 1.0}
MEAN = {"rgb": np.array([0.485, 0.456, 0.406])[:, None, None], "dsm": 0.0}
STD = {"rgb": np.array([0.229, 0.224, 0.225])[:, None, None], "dsm": 20.0}


class World(NamedTuple):
    folder: Path
    model: MsGFM
    manifest: Manifest


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A run on RGB and heights, some of which have holes."""
    folder = tmp_path_factory.mktemp("reconstruction")
    write_data(folder / "data")
    for i in (1, 4):
        path = folder / "data" / "relief" / "heights" / f"{i:02d}.tif"
        with rasterio.open(path) as source:
            heights = source.read()
        heights[:, 5:22, 10:30] = np.nan
        write_geotiff(path, heights)
    # brightness of the training images, which the training mean must find
    write_image(folder / "data" / "relief" / "photo" / "00.tif", 1, 7, 40)
    manifest = folder / "data" / "relief.parquet"
    run("pretrain", write_recipe(folder / "recipe.yaml", {"relief": manifest}, epochs=1))
    return World(folder, msgfm.from_pretrained(folder / "run"), read_manifest(manifest))


def squares(path: Path, sensor: str) -> list[np.ndarray]:
    """The four squares in physical units, float64, read without msgfm."""
    with rasterio.open(path) as source:
        image = source.read().astype(np.float64) * SCALE[sensor]
    assert image.shape[1:] == (40, 40)
    return [image[:, top : top + SIZE, left : left + SIZE] for top, left in CORNERS]


def normalised(image: np.ndarray, sensor: str, seen: np.ndarray | None = None) -> np.ndarray:
    """With the card's numbers; heights above the mean of the pixels seen."""
    if sensor == "dsm":
        image = image - np.nanmean(image if seen is None else image[:, seen])
    return (image - MEAN[sensor]) / STD[sensor]


def expected_scores(world: World) -> dict[str, tuple[int, float, float]]:
    """By direction: squares, masked L1 of the model, masked L1 of the baseline. One square at a time, one loop."""
    folders = {"rgb": "photo", "dsm": "heights"}
    paths = {
        split: [
            {
                sensor: world.folder / "data" / "relief" / folder / f"{s.sample}.tif"
                for sensor, folder in folders.items()
            }
            for s in world.manifest.samples
            if s.split == split
        ]
        for split in ("train", "val")
    }
    training_mean = {}
    for sensor in folders:
        images = [normalised(square, sensor) for sample in paths["train"] for square in squares(sample[sensor], sensor)]
        pixels = np.concatenate([image.reshape(len(image), -1) for image in images], axis=1)
        training_mean[sensor] = np.nanmean(pixels, axis=1)[:, None, None]
    found: dict[str, list[tuple[float, float]]] = {}
    examples = list(load_examples(world.model, world.manifest.only("val"), 200, SIZE, 0))
    assert len(examples) == 2 * len(CORNERS)
    for place, example in enumerate(examples):
        files, corner = paths["val"][place // len(CORNERS)], place % len(CORNERS)
        for source in folders:
            hidden = np.kron(example.hidden[source][0].numpy(), np.ones((8, 8))).astype(bool)
            assert 0.6 * SIZE**2 <= hidden.sum() <= 0.6 * SIZE**2 + 64
            image = torch.from_numpy(squares(files[source], source)[corner])[None].float()
            for target in folders:
                truth = normalised(
                    squares(files[target], target)[corner], target, ~hidden if source == target else None
                )
                with torch.no_grad():
                    prediction = world.model.predict(source, image, example.hidden[source], target)[0].double().numpy()
                constant = training_mean[target]
                if source == target:
                    constant = np.stack([np.nanmean(band[~hidden]) for band in truth])[:, None, None]
                counted = hidden & np.isfinite(truth)
                errors = [np.abs(guess - truth)[counted].mean() for guess in (prediction, constant)]
                found.setdefault(f"{source}->{target}", []).append((errors[0], errors[1]))
    return {name: (len(pairs), *np.mean(pairs, axis=0)) for name, pairs in found.items()}


def read_scores(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="") as file:
        return {row["direction"]: row for row in csv.DictReader(file)}


def test_scores_are_what_they_are_said_to_be(world: World) -> None:
    scores = read_scores(world.folder / "run" / "scores.csv")
    expected = expected_scores(world)
    assert scores.keys() == expected.keys() == {"rgb->rgb", "rgb->dsm", "dsm->rgb", "dsm->dsm"}
    for name, (count, result, baseline) in expected.items():
        row = scores[name]
        assert row["data"] == "relief"
        assert (int(row["images"]), int(row["squares"])) == (2, count) == (2, 8)
        assert row["baseline"] == ("visible mean" if name in ("rgb->rgb", "dsm->dsm") else "training mean")
        assert float(row["masked_l1"]) == pytest.approx(result, rel=1e-4)
        assert float(row["baseline_l1"]) == pytest.approx(baseline, rel=1e-4)
        assert float(row["ratio"]) == pytest.approx(result / baseline, rel=1e-4)


def test_a_model_that_predicts_the_training_mean_scores_as_the_baseline(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def predict(source: str, image: torch.Tensor, hidden: torch.Tensor, target: str) -> torch.Tensor:
        heights = torch.zeros(1, 1, SIZE, SIZE)
        return heights if target == "dsm" else torch.zeros(1, 3, SIZE, SIZE)

    monkeypatch.setattr(world.model, "predict", predict)
    train, val = world.manifest.only("train"), world.manifest.only("val")
    scores = {score.direction: score for score in score_reconstruction(world.model, "x", [val], [train], SIZE)}
    # heights are centred, so their training mean is zero
    assert scores["rgb->dsm"].ratio == pytest.approx(1, abs=1e-4)
    assert scores["dsm->rgb"].ratio != pytest.approx(1, abs=1e-2)


def test_masks_follow_from_seed_and_name(world: World) -> None:
    first, second = world.manifest.samples[:2]
    masks = [
        load_example(world.model, world.manifest, sample, SIZE, seed).hidden["rgb"]
        for sample, seed in ((first, 0), (first, 0), (second, 0), (first, 1))
    ]
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])
    assert not torch.equal(masks[0], masks[3])


def test_few_of_many_are_spread_evenly(world: World) -> None:
    names = [example.sample for example in load_examples(world.model, world.manifest, 3, SIZE, 0)]
    assert names == ["00", "02", "04"]


def test_the_command_gives_the_same_scores(world: World, tmp_path: Path) -> None:
    manifest = world.folder / "data" / "relief.parquet"
    files = ["--out", tmp_path / "picture.png", "--scores", tmp_path / "scores.csv"]
    printed = run("reconstruct", world.folder / "run", "--manifest", manifest, "--split", "val", *files)
    assert (tmp_path / "scores.csv").read_text() == (world.folder / "run" / "scores.csv").read_text()
    assert "rgb->dsm" in printed
    assert "training mean" in printed
    assert (tmp_path / "picture.png").read_bytes().startswith(b"\x89PNG")


def test_the_picture_has_a_row_for_each_image(world: World, tmp_path: Path) -> None:
    from matplotlib.image import imread

    manifest = world.folder / "data" / "relief.parquet"
    heights = []
    for names in (["00"], ["00", "05"]):
        chosen = [part for name in names for part in ("--sample", name)]
        run("reconstruct", world.folder / "run", "--manifest", manifest, *chosen, "--out", tmp_path / "picture.png")
        heights.append(imread(tmp_path / "picture.png").shape[0])
    assert heights[1] == pytest.approx(2 * heights[0], abs=2)


def test_reconstruct_takes_another_image_size(world: World, tmp_path: Path) -> None:
    manifest = world.folder / "data" / "relief.parquet"
    picture = tmp_path / "picture.png"
    run("reconstruct", world.folder / "run", "--manifest", manifest, "--image-size", 64, "--out", picture)
    assert picture.is_file()


# --- images with roles


@pytest.fixture(scope="module")
def change(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four places, each before and after: a manifest without any ordinary image."""
    folder = tmp_path_factory.mktemp("change")
    for i in range(4):
        write_image(folder / "a" / f"{i}.tif", 1, 300 + i, 40)
        write_image(folder / "b" / f"{i}.tif", 1, 400 + i, 40)
    pictures = ["--sensor", "rgb@before=a", "--sensor", "rgb@after=b", "--sensor", "rgb@cloudy=a"]
    run("data", "index", "pairs", folder, *pictures, "--check", 0, "--out", folder / "change.parquet")
    return folder / "change.parquet"


def rows_drawn(picture: Path) -> int:
    from matplotlib.image import imread

    return round(imread(picture).shape[0] / (1.15 * 1.6 * 110))


def test_dates_are_drawn_and_scored_as_images_of_their_own(world: World, change: Path, tmp_path: Path) -> None:
    picture, scores = tmp_path / "picture.png", tmp_path / "scores.csv"
    command = ("reconstruct", world.folder / "run", "--manifest", change, "--out", picture, "--scores", scores)
    run(*command, "--sample", "2")
    assert rows_drawn(picture) == 2
    assert int(read_scores(scores)["rgb->rgb"]["images"]) == 8
    run(*command, "--role", "before", "--sample", "2")
    assert rows_drawn(picture) == 1
    before = read_scores(scores)["rgb->rgb"]
    assert int(before["images"]) == 4
    run(*command, "--role", "after", "--sample", "2@after")
    assert rows_drawn(picture) == 1
    assert read_scores(scores)["rgb->rgb"]["masked_l1"] != before["masked_l1"]


def test_roles_and_samples_that_are_not_there_are_told(world: World, change: Path, tmp_path: Path) -> None:
    command = ("reconstruct", world.folder / "run", "--manifest", change, "--out", tmp_path / "picture.png")
    message = refused(*command, "--role", "pansharpened")
    assert "the manifest has rgb@before, rgb@after, rgb@cloudy; the model knows dsm, rgb" in message
    assert "images in the role pansharpened were asked for; take others with --role after or --role before" in message
    assert "no sample '9' in the manifest; its samples are named like '0@before'" in refused(*command, "--sample", "9")
    assert not (tmp_path / "picture.png").exists()


def test_a_run_on_dates_draws_and_scores_them(change: Path, tmp_path: Path) -> None:
    run("pretrain", write_recipe(tmp_path / "recipe.yaml", {"change": change}, epochs=1))
    pictures = list((tmp_path / "run" / "pictures").iterdir())
    assert len(pictures) == 1 and rows_drawn(pictures[0]) == 2


def test_outputs_are_tried_before_the_model_is_loaded(world: World, tmp_path: Path) -> None:
    manifest = world.folder / "data" / "relief.parquet"
    message = refused("reconstruct", tmp_path / "no model", "--manifest", manifest, "--out", tmp_path)
    assert f"cannot write {tmp_path}: give a name that ends in .png" in message
    (tmp_path / "taken.png").mkdir()
    message = refused("reconstruct", tmp_path / "no model", "--manifest", manifest, "--out", tmp_path / "taken.png")
    assert f"cannot write {tmp_path / 'taken.png'}: it is a folder" in message
