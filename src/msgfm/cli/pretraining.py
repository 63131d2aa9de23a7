"""`msgfm pretrain`, `demo`, `info` and `reconstruct`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from msgfm.cli.app import app, errors, out, reports_input_errors
from msgfm.cli.recipes import find_recipe


@app.command()
@reports_input_errors
def pretrain(
    recipe: Annotated[str, typer.Argument(help="A recipe's path, or the name of one that comes with msgfm.")],
    overrides: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Changes to it.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint in the run's folder.")
    ] = False,
    skip_bad: Annotated[int | None, typer.Option(help="Unreadable samples to replace before giving up.")] = None,
) -> None:
    """Pretrain a model from a recipe.

    For example:

        msgfm pretrain small out=runs/first sources.rgb.manifest=rgb.parquet

        msgfm pretrain my_recipe.yaml epochs=50 optim.warmup_epochs=2 hardware.devices=4

        msgfm pretrain my_recipe.yaml --resume
    """
    from msgfm.config import load_config
    from msgfm.training.pretraining.config import PretrainConfig
    from msgfm.training.pretraining.pretrain import pretrain as run

    changes = [*(overrides or []), *([] if skip_bad is None else [f"skip_bad={skip_bad}"])]
    code = run(load_config(PretrainConfig, find_recipe("pretrain", recipe), changes), resume=resume)
    raise typer.Exit(code)


@app.command()
@reports_input_errors
def demo(
    folder: Annotated[Path, typer.Option("--out", help="Where images, manifests and the run go.")] = Path("demo"),
    scenes: Annotated[int, typer.Option(min=8, help="Scenes to make for each data set.")] = 160,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs to train; default: the recipe's.")] = None,
) -> None:
    """Make images of four sensors, pretrain on them for two to three minutes on two cores, and write report.html.

    An interrupted demo goes on where it stopped.
    """
    from msgfm.config import load_config
    from msgfm.training.checkpoint import list_checkpoints
    from msgfm.training.pretraining.config import PretrainConfig
    from msgfm.training.pretraining.pretrain import pretrain as run

    if (folder / "run.json").exists():
        out.print(f"this demo is complete: open {folder / 'report.html'}; delete {folder} to run it again")
        return
    manifests = make_demo_data(folder / "data", scenes)
    changes = [f"out={folder}", *(f"sources.{name}.manifest={path}" for name, path in manifests.items())]
    if epochs is not None:
        changes.append(f"epochs={epochs}")
    config = load_config(PretrainConfig, find_recipe("pretrain", "demo"), changes)
    code = run(config, resume=bool(list_checkpoints(folder)))
    if code:
        errors.print("start the demo again, with the same options, and it goes on")
    raise typer.Exit(code)


def make_demo_data(folder: Path, scenes: int) -> dict[str, Path]:
    """Writes the demo's images and manifests (once); returns the manifest of each source of the demo recipe."""
    from msgfm.data.layouts import LayoutOptions, index_layout
    from msgfm.data.records import write_manifest
    from msgfm.data.synthetic import write_world

    layouts = {
        "sen12ms": ("sen12ms", ()),
        "rgb_dsm": ("pairs", ("rgb=rgb", "dsm=dsm")),
        "rgb": ("image-folder", ()),
    }
    manifests = {name: folder / f"{name}.parquet" for name in layouts}
    if all(path.exists() for path in manifests.values()):
        return manifests
    out.print(f"making {scenes} scenes of Sentinel-1, Sentinel-2, RGB and DSM in {folder}")
    write_world(folder, scenes=scenes, seed=0, kinds=tuple(layouts))
    for name, (layout, sensors) in layouts.items():
        if not manifests[name].exists():
            options = LayoutOptions(sensors=sensors)
            write_manifest(index_layout(layout, folder / name, options, val_fraction=0.1).manifest, manifests[name])
    return manifests


@app.command()
@reports_input_errors
def info(
    folder: Annotated[Path, typer.Argument(help="A folder with model.safetensors and config.json.")],
) -> None:
    """Show what a pretrained model is: sensors, encoder, parameters, and how it was trained.

    For example:

        msgfm info runs/first
    """
    from msgfm.training.pretraining.info import describe_model

    for part in describe_model(folder):
        out.print(part)


@app.command()
@reports_input_errors
def reconstruct(
    folder: Annotated[Path, typer.Argument(help="A folder with model.safetensors and config.json.")],
    manifest: Annotated[Path, typer.Option(help="Manifest of the samples.")],
    picture: Annotated[Path, typer.Option("--out", help="The picture to write (PNG).")] = Path("reconstruction.png"),
    split: Annotated[str, typer.Option(help="Which split to take samples from; `all` for every one.")] = "all",
    role: Annotated[
        list[str] | None,
        typer.Option(
            help="Take images in this role, as `before`, alone; may be given often.",
            show_default="none, before, after; each a sample",
        ),
    ] = None,
    sample: Annotated[list[str] | None, typer.Option(help="Name of a sample to draw; may be given often.")] = None,
    count: Annotated[int, typer.Option(min=1, help="How many to draw when none is named.")] = 4,
    image_size: Annotated[int | None, typer.Option(help="Side of the middle square; default: as trained.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the masks.")] = 0,
    scores: Annotated[Path | None, typer.Option(help="Also score the split, into this CSV file.")] = None,
) -> None:
    """Draw Figure 3: masked input, prediction and truth, within a sensor and across; by option, score it.

    For example:

        msgfm reconstruct runs/first --manifest pairs.parquet --out picture.png

        msgfm reconstruct runs/first --manifest pairs.parquet --split val --scores scores.csv

        msgfm reconstruct runs/first --manifest oscd.parquet --role before --role after
    """
    from msgfm.files import require_suffix
    from msgfm.training.pretraining.inspect import reconstruct_samples

    require_suffix(picture, ".png")
    table = reconstruct_samples(
        folder,
        manifest,
        picture,
        split=split,
        roles=role or [],
        names=sample or [],
        count=count,
        image_size=image_size,
        seed=seed,
        scores=scores,
    )
    if table is not None:
        out.print(table)
    out.print(f"wrote {picture}" + (f" and {scores}" if scores else ""))
