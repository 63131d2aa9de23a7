"""Bad input: a message that says what is wrong and what to do, exit code 2, and nothing half-written."""

from __future__ import annotations

import resource
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from small_runs import assert_says, files_in, invoke, read_log, refused, run, write_data, write_recipe

import msgfm
from msgfm.data.records import read_manifest
from msgfm.geo.raster import write_geotiff
from msgfm.training.checkpoint import load_checkpoint


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data, and `model`, a finished run."""
    folder = tmp_path_factory.mktemp("world")
    recipe = write_recipe(folder / "model.yaml", write_data(folder / "data"), out=str(folder / "model"), epochs=1)
    run("pretrain", recipe)
    return folder


def test_names_are_shown_as_they_are(tmp_path: Path) -> None:
    """Neither as markup nor, between colons, as pictures."""
    assert ":sun:/[red]a" in refused("info", tmp_path / ":sun:" / "[red]a")


@pytest.fixture
def recipe(world: Path, tmp_path: Path) -> Path:
    """A recipe on data of its own, which a test may spoil."""
    shutil.copytree(world / "data", tmp_path / "data")
    manifests = {name: tmp_path / "data" / f"{name}.parquet" for name in ("both", "photos", "relief")}
    return write_recipe(tmp_path / "recipe.yaml", manifests, epochs=1)


# --- recipes


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("optim.weigth_decay=0.1", ["optim", "unknown key 'weigth_decay'", "did you mean 'weight_decay'?"]),
        ("sources.both.batchsize=3", ["sources.both", "unknown key 'batchsize'", "did you mean 'batch_size'?"]),
        (
            "model.encoder.moe.num_expert=3",
            ["model.encoder.moe", "unknown key 'num_expert'", "did you mean 'num_experts'?"],
        ),
        ("epochs=many", ["epochs", "integer", "many"]),
        ("mixture.cross_sensor_share=1.5", ["mixture.cross_sensor_share", "less than or equal to 1", "1.5"]),
        ("image_size=33", ["image_size 33", "multiple of mask_patch_size 8"]),
        ("model.mask_patch_size=6", ["mask_patch_size 6", "multiple of patch_size 4"]),
        ("model.encoder={preset: huge}", ["no encoder preset 'huge'", "base, small, tiny"]),
        ("sources.both.split=test", ["source both", "both.parquet", "no samples of split 'test'"]),
        ("sources.both.sensors=[sentinel3]", ["source both", "'sentinel3' has no card", "rgb, sentinel1"]),
        ("init_from=weights.pth", ["init_from", "weights.pth", "No such file"]),
        ("hardware.accelerator=tpux", ["hardware", "tpux"]),
        ("epochs", ["'epochs' is not an override", "key.sub=value"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wrong_recipe(recipe: Path, change: str, words: list[str]) -> None:
    assert_says(refused("pretrain", recipe, change), *words)
    assert not (recipe.parent / "run").exists()


def test_a_recipe_that_is_not_there(tmp_path: Path) -> None:
    assert_says(refused("pretrain", "smal"), "no recipe 'smal'", "did you mean 'small'?", "msgfm_base_800ep", ".yaml")
    assert "did you mean" not in refused("finetune", "nosuch")
    assert_says(refused("finetune", "bigearthnett"), "did you mean 'bigearthnet")
    assert_says(refused("pretrain", tmp_path / "mine.yaml"), str(tmp_path / "mine.yaml"), "No such file")
    (tmp_path / "list.yaml").write_text("- 1\n")
    assert_says(refused("pretrain", tmp_path / "list.yaml"), "list.yaml", "not keys and values")
    (tmp_path / "broken.yaml").write_text("a: [1,\n")
    assert_says(refused("pretrain", tmp_path / "broken.yaml"), "broken.yaml", "not YAML")


def test_a_folder_that_cannot_be_written(recipe: Path) -> None:
    # not a matter of permissions, which do not bind root
    out = recipe / "run"
    assert_says(refused("pretrain", recipe, f"out={out}"), f"cannot write {out}", "choose another folder")
    assert recipe.is_file()


# --- manifests and cards


def test_a_card_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    write_geotiff(tmp_path / "images" / "a.tif", np.zeros((2, 8, 8), np.float32) - 10)
    manifest = tmp_path / "m.parquet"
    message = refused("data", "index", "pairs", tmp_path, "--sensor", "sentinal1=images", "--out", manifest)
    assert_says(
        message, "no sensor card 'sentinal1'", "did you mean 'sentinel1'?", "your own is the path of a YAML file"
    )
    assert not manifest.exists()


def test_a_band_count_that_does_not_fit_the_card(tmp_path: Path) -> None:
    write_geotiff(tmp_path / "images" / "a.tif", np.zeros((5, 8, 8), np.uint8))
    manifest = tmp_path / "m.parquet"
    message = refused("data", "index", "image-folder", tmp_path / "images", "--out", manifest)
    assert_says(message, str(tmp_path / "images" / "a.tif"), "has 5 bands", "3 of sensor rgb (R, G, B)", "--sensor")
    assert not manifest.exists()


def test_a_card_without_statistics(tmp_path: Path) -> None:
    write_geotiff(tmp_path / "images" / "a.tif", np.zeros((1, 32, 32), np.float32))
    card = tmp_path / "soil.yaml"
    card.write_text("name: soil\nunit: K\nvalid_range: [-5, 5]\nbands: [{name: T}]\n")
    run(
        "data",
        "index",
        "pairs",
        tmp_path,
        "--sensor",
        f"{card}=images",
        "--out",
        tmp_path / "soil.parquet",
        "--check",
        0,
    )
    recipe = write_recipe(tmp_path / "recipe.yaml", {"soil": tmp_path / "soil.parquet"})
    assert_says(refused("pretrain", recipe), "sensor soil: no mean and std for T", "msgfm data stats")
    assert not (tmp_path / "run").exists()


def test_a_manifest_that_is_none(recipe: Path) -> None:
    path = recipe.parent / "data" / "both.parquet"
    path.write_text("sample,scene\n")
    assert_says(refused("pretrain", recipe), str(path), "is not a manifest", "msgfm data index")
    path.unlink()
    assert_says(refused("pretrain", recipe), f"no manifest {path}", "msgfm data index")
    assert not (recipe.parent / "run").exists()


def test_a_manifest_whose_files_are_gone(recipe: Path) -> None:
    shutil.rmtree(recipe.parent / "data" / "both" / "photo")
    message = refused("pretrain", recipe)
    assert_says(message, "source both", str(recipe.parent / "data" / "both" / "photo"), "is gone", "index again")
    assert not (recipe.parent / "run").exists()


# --- images, met while it trains


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def fill_with_nan(path: Path) -> None:
    write_geotiff(path, np.full((1, 40, 40), np.nan, np.float32))


def put_in_centimetres(path: Path) -> None:
    write_geotiff(path, np.full((1, 40, 40), 30_000, np.float32))


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (truncate, ["cannot read", "truncated"]),
        (fill_with_nan, ["every value is no data"]),
        (put_in_centimetres, ["band height of sensor dsm", "expected -500..9000 m"]),
        (Path.unlink, ["no file", "was it moved?"]),
    ],
    ids=["truncated", "NaN", "wrong unit", "deleted"],
)
def test_a_bad_image_ends_the_run(recipe: Path, spoil, words: list[str], workers: int) -> None:
    # the last file of the folder: the first is looked at before training starts
    bad = sorted((recipe.parent / "data" / "relief" / "heights").iterdir())[-1]
    spoil(bad)
    message = refused("pretrain", recipe, f"hardware.num_workers={workers}", "sources.relief.split=all")
    assert_says(message, str(bad), *words, "unreadable samples: 1, --skip-bad allows 0", "--skip-bad N")
    assert not files_in(recipe.parent / "run") - {"recipe.yaml", "log.csv"}


@pytest.mark.parametrize("workers", [0, 1])
def test_skip_bad_goes_on_and_lists_them(recipe: Path, workers: int) -> None:
    folder = recipe.parent / "data" / "relief" / "heights"
    bad = sorted(folder.iterdir())[-2:]
    for path in bad:
        truncate(path)
    arguments = ("pretrain", recipe, "sources.relief.split=all", f"hardware.num_workers={workers}")
    message = refused(*arguments, "--skip-bad", 1, f"out={recipe.parent / 'one'}")
    assert_says(message, "unreadable samples: 2, --skip-bad allows 1", *map(str, bad))

    lines = run(*arguments, "--skip-bad", 2, f"out={recipe.parent / 'two'}").splitlines()
    listed = [line for line in lines if line.startswith("left out: ")]
    assert len(listed) == 2
    for path in bad:
        assert any(str(path) in line for line in listed)
        assert str(path) in (recipe.parent / "two" / "run.json").read_text()
    assert len(read_log(recipe.parent / "two").rows) == 15


def test_skip_bad_holds_for_scores_and_pictures(recipe: Path) -> None:
    """Held-out samples and training means are read again at the end; hours of training must not end in an error."""
    manifest = read_manifest(recipe.parent / "data" / "relief.parquet")
    bad = []
    for split in ("train", "val"):
        sample = next(sample for sample in manifest.samples if sample.split == split)
        bad.append(manifest.root / next(image for image in sample.images if image.sensor == "dsm").files[0].path)
        truncate(bad[-1])
    printed = run("pretrain", recipe, "--skip-bad", 1, "log.picture_every_steps=3")
    for path in bad:
        assert f"left out: cannot read {path}" in printed
    scores = (recipe.parent / "run" / "scores.csv").read_text()
    assert "relief,dsm->dsm,1," in scores
    assert "both,rgb->rgb,3," in scores


def test_a_source_without_any_readable_image(recipe: Path) -> None:
    for path in (recipe.parent / "data" / "photos").iterdir():
        truncate(path)
    message = refused("pretrain", recipe, "--skip-bad", 100, "hardware.num_workers=1")
    assert_says(message, "source photos: no sample of 5 can be read")
    assert len(message.splitlines()) == 1


def test_a_loss_that_is_not_finite(recipe: Path) -> None:
    changes = ("sources.photos.lr=1e30", "optim.clip_grad_norm=null", "optim.warmup_epochs=0", "epochs=2")
    message = refused("pretrain", recipe, *changes, "log.checkpoint_every_steps=1")
    assert_says(message, "the loss is nan at step", "lower its lr", "earlier checkpoints stand")
    steps = len(read_log(recipe.parent / "run").rows)
    assert f"at step {steps + 1} " in message
    last = max((recipe.parent / "run" / "checkpoints").iterdir())
    assert load_checkpoint(last)["step"] == steps


# --- a full disk


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Writing beyond fails, as on a full disk (with EFBIG in place of ENOSPC)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


@pytest.fixture
def interrupted(recipe: Path) -> Path:
    """A run that has a checkpoint and more to do."""
    from msgfm.training.logs import CsvLog

    write = CsvLog.write

    def write_and_stop(self: CsvLog, row: dict[str, object]) -> None:
        write(self, row)
        if row["step"] == 3:
            signal.raise_signal(signal.SIGINT)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CsvLog, "write", write_and_stop)
        result = invoke("pretrain", recipe)
    assert result.exit_code == 128 + signal.SIGINT, result.output
    return recipe


def test_a_full_disk_while_a_checkpoint_is_saved(interrupted: Path) -> None:
    out = interrupted.parent / "run"
    checkpoints = {name for name in files_in(out) if name.startswith("checkpoints")}
    assert checkpoints == {"checkpoints/step_00000003.ckpt"}
    with files_of_at_most((out / "checkpoints" / "step_00000003.ckpt").stat().st_size // 2):
        message = refused("pretrain", interrupted, "log.checkpoint_every_steps=5", "--resume")
    assert_says(message, f"cannot write {out / 'checkpoints' / 'step_00000005.ckpt'}", "free some space", "untouched")
    assert {name for name in files_in(out) if name.startswith("checkpoints")} == checkpoints
    run("pretrain", interrupted, "--resume")
    assert len(read_log(out).rows) == 12


def test_a_full_disk_while_the_model_is_saved(interrupted: Path) -> None:
    out = interrupted.parent / "run"
    from msgfm.training.pretraining import pretrain

    save = pretrain.save_pretrained

    def save_on_a_full_disk(model: msgfm.MsGFM, folder: Path) -> None:
        with files_of_at_most(10_000):
            save(model, folder)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pretrain, "save_pretrained", save_on_a_full_disk)
        message = refused("pretrain", interrupted, "--resume")
    assert_says(message, f"cannot write {out / 'model.safetensors'}", "free some space")
    assert not files_in(out) & {"model.safetensors", "config.json", "run.json"}
    assert not list(out.rglob("*.tmp"))
    run("pretrain", interrupted, "--resume")
    assert msgfm.from_pretrained(out)


def test_a_full_disk_while_the_log_is_written(interrupted: Path) -> None:
    log = interrupted.parent / "run" / "log.csv"
    with files_of_at_most(log.stat().st_size + 100):
        # recipe.yaml, which is longer, stands already
        message = refused("pretrain", interrupted, "--resume")
    assert_says(message, "cannot write", str(interrupted.parent / "run"), "free some space")
    run("pretrain", interrupted, "--resume")


# --- models


@pytest.mark.parametrize("command", ["info", "reconstruct"])
def test_a_folder_that_is_no_model(command: str, world: Path, tmp_path: Path) -> None:
    more = ["--manifest", world / "data" / "both.parquet"] if command == "reconstruct" else []
    assert_says(refused(command, tmp_path, *more), f"{tmp_path} holds no msgfm model", "config.json")
    assert_says(refused(command, tmp_path / "gone", *more), str(tmp_path / "gone"))
    shutil.copytree(world / "model", tmp_path / "copy")
    weights = tmp_path / "copy" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    assert_says(refused(command, tmp_path / "copy", *more), str(weights), "copy or download it again")
    (tmp_path / "copy" / "config.json").write_text("{")
    assert_says(refused(command, tmp_path / "copy", *more), str(tmp_path / "copy" / "config.json"))


@pytest.mark.parametrize("content", ["{", '{"a": 1}', "[1]"])
@pytest.mark.parametrize("command", ["info", "reconstruct"])
def test_damaged_facts_of_a_run(command: str, content: str, world: Path, tmp_path: Path) -> None:
    shutil.copytree(world / "model", tmp_path / "copy")
    (tmp_path / "copy" / "run.json").write_text(content)
    more = ["--manifest", world / "data" / "both.parquet"] if command == "reconstruct" else []
    assert_says(refused(command, tmp_path / "copy", *more), "run.json is damaged", "delete or restore")


def test_weights_of_another_model(world: Path, tmp_path: Path) -> None:
    shutil.copytree(world / "model", tmp_path / "copy")
    config = tmp_path / "copy" / "config.json"
    config.write_text(config.read_text().replace('"embed_dim": 16', '"embed_dim": 32'))
    message = refused("reconstruct", tmp_path / "copy", "--manifest", world / "data" / "both.parquet")
    assert_says(
        message, str(tmp_path / "copy" / "model.safetensors"), "weights of another model", "mask_token is (16,)"
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--image-size", 33], ["--image-size 33", "multiple of 8 px"]),
        (["--split", "test"], ["no samples of split 'test'", "train, val"]),
        (["--sample", "99"], ["no sample '99'", "named like '00'"]),
        (["--manifest", "gone.parquet"], ["no manifest gone.parquet"]),
    ],
    ids=lambda value: str(value[0]),
)
def test_reconstruct_what_is_not_there(arguments: list[object], words: list[str], world: Path, tmp_path: Path) -> None:
    picture = tmp_path / "picture.png"
    given = ["--manifest", world / "data" / "both.parquet", "--out", picture, *arguments]
    assert_says(refused("reconstruct", world / "model", *given), *words)
    assert not picture.exists()


def test_a_picture_is_png_and_named_so(tmp_path: Path) -> None:
    """Which is told before the model is looked for."""
    picture = tmp_path / "picture.foo"
    message = refused("reconstruct", tmp_path / "gone", "--manifest", "gone.parquet", "--out", picture)
    assert_says(message, str(picture), "ends in .png")


def test_sensors_that_the_model_does_not_know(world: Path, tmp_path: Path) -> None:
    write_geotiff(tmp_path / "images" / "a.tif", np.full((8, 32, 32), 0.1, np.float32))
    card = "worldview3:C,B,G,Y,R,RE,N1,N2"
    bands = ",".join(msgfm.load_sensor("worldview3").band_names[:8])
    card = f"worldview3:{bands}"
    run(
        "data", "index", "pairs", tmp_path, "--sensor", f"{card}=images", "--out", tmp_path / "wv.parquet", "--check", 0
    )
    message = refused("reconstruct", world / "model", "--manifest", tmp_path / "wv.parquet")
    assert_says(message, "worldview3", "the model knows", "dsm, rgb, sentinel1")
