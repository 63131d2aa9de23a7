"""The command line. What is heavy is imported inside the commands, so that `msgfm --help` answers at once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, ParamSpec, TypeVar

import typer
from rich.markup import escape

from msgfm.errors import InputError
from msgfm.training.progress import make_console

P = ParamSpec("P")
R = TypeVar("R")

app = typer.Typer(
    help="Multisensor foundation models for Earth observation: pretraining on your sensors, paired or not.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
data_app = typer.Typer(help="From folders of images to manifests, statistics and test data.", no_args_is_help=True)
app.add_typer(data_app, name="data")

errors = make_console(stderr=True)
out = make_console()


def reports_input_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Turns an `InputError` into a message and exit code 2."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except InputError as error:
            errors.print(f"[bold red]error:[/] {escape(str(error))}", highlight=False)
            raise typer.Exit(2) from error

    return wrapped


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
    from msgfm.training.config import PretrainConfig
    from msgfm.training.pretrain import pretrain as run

    changes = [*(overrides or []), *([] if skip_bad is None else [f"skip_bad={skip_bad}"])]
    code = run(load_config(PretrainConfig, find_recipe(recipe), changes), resume=resume)
    raise typer.Exit(code)


def find_recipe(name: str) -> Path:
    """The path of a recipe given as a path or as the name of a built-in one.

    Raises:
        InputError: there is no such file or name; the names there are, are listed.
    """
    import difflib

    if Path(name).suffix in (".yaml", ".yml"):
        return Path(name)
    package = Path(__file__).parent
    # in a checkout the recipes lie beside src, in an installed package inside it
    folders = (package.parents[1] / "recipes" / "pretrain", package / "recipes" / "pretrain")
    folder = next((folder for folder in folders if folder.is_dir()), folders[-1])
    names = sorted(path.stem for path in folder.glob("*.yaml"))
    if name not in names:
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise InputError(
            f"no recipe {name!r}: {hint}built in are {', '.join(names)}; your own is a path ending in .yaml"
        )
    return folder / f"{name}.yaml"


@app.command()
@reports_input_errors
def demo(
    folder: Annotated[Path, typer.Option("--out", help="Where images, manifests and the run go.")] = Path("demo"),
    scenes: Annotated[int, typer.Option(min=8, help="Scenes to make for each data set.")] = 160,
    epochs: Annotated[int | None, typer.Option(min=1, help="Epochs to train; default: the recipe's.")] = None,
) -> None:
    """Make images of four sensors, pretrain on them for about two minutes on two cores, and write report.html.

    An interrupted demo goes on where it stopped.
    """
    from msgfm.config import load_config
    from msgfm.training.checkpoint import list_checkpoints
    from msgfm.training.config import PretrainConfig
    from msgfm.training.pretrain import pretrain as run

    if (folder / "run.json").exists():
        out.print(f"this demo is complete: open {folder / 'report.html'}; delete {folder} to run it again")
        return
    manifests = make_demo_data(folder / "data", scenes)
    changes = [f"out={folder}", *(f"sources.{name}.manifest={path}" for name, path in manifests.items())]
    if epochs is not None:
        changes.append(f"epochs={epochs}")
    config = load_config(PretrainConfig, find_recipe("demo"), changes)
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
    if not folder.exists():
        out.print(f"making {scenes} scenes of Sentinel-1, Sentinel-2, RGB and DSM in {folder}")
        write_world(folder, scenes=scenes, seed=0)
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
    from msgfm.training.info import describe_model

    for part in describe_model(folder):
        out.print(part)


@app.command()
@reports_input_errors
def reconstruct(
    folder: Annotated[Path, typer.Argument(help="A folder with model.safetensors and config.json.")],
    manifest: Annotated[Path, typer.Option(help="Manifest of the samples.")],
    picture: Annotated[Path, typer.Option("--out", help="The picture to write (PNG).")] = Path("reconstruction.png"),
    split: Annotated[str, typer.Option(help="Which split to take samples from; `all` for every one.")] = "all",
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
    """
    from msgfm.training.inspect import reconstruct_samples

    table = reconstruct_samples(
        folder,
        manifest,
        picture,
        split=split,
        names=sample or [],
        count=count,
        image_size=image_size,
        seed=seed,
        scores=scores,
    )
    if table is not None:
        out.print(table)
    out.print(f"wrote {picture}" + (f" and {scores}" if scores else ""))


@data_app.command("index")
@reports_input_errors
def data_index(
    layout: Annotated[str, typer.Argument(help="image-folder, sen12ms, mdas, bigearthnet, ssl4eo-s12 or pairs.")],
    root: Annotated[Path, typer.Argument(help="The data set's folder.")],
    manifest: Annotated[Path, typer.Option("--out", help="Manifest to write (Parquet).")] = Path("manifest.parquet"),
    sensor: Annotated[
        list[str] | None,
        typer.Option(help="CARD[:band,...]=PATTERN[@file bands] for `pairs`; else a card to use. May be given often."),
    ] = None,
    scenes: Annotated[Path | None, typer.Option(help="CSV that groups samples into scenes (`pairs`).")] = None,
    val_fraction: Annotated[float, typer.Option(help="Share of scenes held out where there is no split.")] = 0.0,
    seed: Annotated[int, typer.Option(help="Of the draw of scenes.")] = 0,
    split: Annotated[str | None, typer.Option(help="Put every sample into this split.")] = None,
    skip_bad: Annotated[int, typer.Option(min=0, help="Bad files to leave out before it is an error.")] = 0,
    cloudy: Annotated[bool, typer.Option("--cloudy", help="Cloudy in place of clear Sentinel-2 (`sen12ms`).")] = False,
    product: Annotated[str, typer.Option(help="Sentinel-2 product of `ssl4eo-s12`: s2c or s2a.")] = "s2c",
    tile_size: Annotated[int, typer.Option(min=1, help="Side of a tile in RGB pixels (`mdas`).")] = 384,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="Change a card: SENSOR[.BAND].FIELD=VALUE. May be given often.")
    ] = None,
) -> None:
    """List a data set's samples in a manifest, looking into every file's header.

    For example:

        msgfm data index image-folder UCMerced_LandUse --out ucmerced.parquet

        msgfm data index sen12ms SEN12MS --out sen12ms.parquet --val-fraction 0.05

        msgfm data index pairs mine --sensor rgb=photos --sensor heights.yaml=dsm/{id}.tif@1 --out mine.parquet

        msgfm data index sen12ms MINE --set sentinel2.offset=-1000 --out mine.parquet
    """
    from msgfm.data.layouts import LayoutOptions, index_layout
    from msgfm.data.records import write_manifest

    options = LayoutOptions(
        sensors=tuple(sensor or ()), scenes=scenes, cloudy=cloudy, product=product, tile_size=tile_size
    )
    result = index_layout(
        layout,
        root,
        options,
        val_fraction=val_fraction,
        seed=seed,
        split=split,
        skip_bad=skip_bad,
        settings=settings or (),
    )
    write_manifest(result.manifest, manifest)
    for message in result.left_out:
        errors.print(f"left out: {escape(message)}", highlight=False)
    counts = ", ".join(f"{number} {name}" for name, number in result.combinations.items())
    splits = ", ".join(f"{number} {name}" for name, number in result.splits.items())
    out.print(f"wrote {manifest}: {counts}; {splits}", highlight=False)


@data_app.command("stats")
@reports_input_errors
def data_stats(
    manifests: Annotated[list[Path], typer.Argument(help="One or several manifests, measured together.")],
    split: Annotated[str, typer.Option(help="Which split; `all` for every sample.")] = "train",
) -> None:
    """Show each band's mean, standard deviation and range, and print the lines for its sensor card.

    For example:

        msgfm data stats mine.parquet
    """
    from rich.table import Table

    from msgfm.data.records import read_manifest
    from msgfm.data.statistics import band_statistics, card_lines

    contents = [read_manifest(manifest) for manifest in manifests]
    cards = {name: card for content in contents for name, card in content.sensors.items()}
    for name, bands in band_statistics(*contents, split=split).items():
        table = Table(title=name, title_justify="left")
        for heading in ("band", "mean", "std", "min", "max", "with data"):
            table.add_column(heading, justify="left" if heading == "band" else "right")
        for band, found in bands.items():
            numbers = (f"{value:.5g}" for value in (found.mean, found.std, found.minimum, found.maximum))
            table.add_row(band, *numbers, f"{found.valid_share:.1%}")
        out.print(table)
        out.print(card_lines(cards[name], bands), highlight=False, markup=False)


@data_app.command("synth")
@reports_input_errors
def data_synth(
    folder: Annotated[Path, typer.Argument(help="Where the images go.")],
    scenes: Annotated[int, typer.Option(min=1, help="Scenes to make for each data set.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Of the world.")] = 0,
    size: Annotated[int, typer.Option(min=32, help="Side of an image in pixels.")] = 128,
) -> None:
    """Make plausible images of Sentinel-1, Sentinel-2, RGB and DSM to try things on.

    For example:

        msgfm data synth world --scenes 200 --seed 1
    """
    from msgfm.data.synthetic import write_world

    write_world(folder, scenes=scenes, seed=seed, size=size)
    out.print(f"wrote {scenes} scenes of each data set to {folder}: sen12ms, rgb_dsm, rgb")
