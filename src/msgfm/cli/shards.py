"""`msgfm data shard` and `verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from msgfm.cli.app import data_app, errors, out, reports_input_errors, stoppable, tell_left_out


@data_app.command("shard")
@reports_input_errors
def data_shard(
    manifest: Annotated[Path, typer.Argument(help="The manifest (Parquet).")],
    target: Annotated[str, typer.Argument(metavar="OUT", help="A folder, or s3://bucket/prefix.")],
    crop: Annotated[str, typer.Option(help="Cut larger images into tiles of so many pixels; or `whole`.")] = "whole",
    chunk_mb: Annotated[int, typer.Option(min=1, help="Size of a chunk before compression, about.")] = 64,
    workers: Annotated[int, typer.Option(min=1, help="Processes that read and compress.")] = 1,
    skip_bad: Annotated[int, typer.Option(min=0, help="Bad samples to leave out before it is an error.")] = 0,
    accept: Annotated[
        list[str] | None, typer.Option(help="A kind of finding of `data check` to let through. May be given often.")
    ] = None,
) -> None:
    """Pack a manifest's images into few large files that are read fast, on a disk or on S3.

    Images are held against their sensor cards first; tiles without data are dropped and counted. Started again after
    a crash or Ctrl-C, it goes on; complete shards are mended where they are damaged. `msgfm pretrain` takes OUT in
    place of a manifest. S3 is reached by the standard environment: AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID,
    AWS_SECRET_ACCESS_KEY, AWS_REGION.

    For example:

        msgfm data shard sen12ms.parquet shards/sen12ms --workers 8

        msgfm data shard aerial.parquet shards/aerial --crop 384

        msgfm data shard sen12ms.parquet s3://bucket/sen12ms
    """
    from msgfm.data.records import read_manifest
    from msgfm.data.sharding.cut import NO_DATA
    from msgfm.data.sharding.plan import ShardOptions
    from msgfm.data.sharding.write import write_shards

    if crop != "whole" and not (crop.isdecimal() and int(crop) > 0):
        raise typer.BadParameter(f"{crop!r} is neither `whole` nor a number of pixels", param_hint="--crop")
    options = ShardOptions(
        crop=None if crop == "whole" else int(crop),
        chunk_size=chunk_mb * 2**20,
        workers=workers,
        skip_bad=skip_bad,
        accept=tuple(accept or ()),
    )
    with stoppable("stopped; the same command goes on"):
        index = write_shards(read_manifest(manifest), target, options)
    tell_left_out(f"sample {name}: {message}" for name, message in index.left_out.items() if message != NO_DATA)
    if dropped := list(index.left_out.values()).count(NO_DATA):
        out.print(f"dropped {dropped} tile{'s' if dropped > 1 else ''} without data", highlight=False)
    samples = sum(chunk.samples for chunk in index.chunks)
    out.print(f"{target}: {samples} samples in {len(index.chunks)} chunks, {index.size / 1e6:.1f} MB", highlight=False)


@data_app.command("verify")
@reports_input_errors
def data_verify(
    target: Annotated[str, typer.Argument(metavar="OUT", help="A folder of shards, or s3://bucket/prefix.")],
) -> None:
    """Read every byte of shards and name what is damaged; exit code 2 if anything is.

    For example:

        msgfm data verify shards/sen12ms
    """
    from msgfm.data.shards.verify import verify_shards

    damage = verify_shards(target)
    for problem in damage:
        errors.print(Text.assemble(("damaged:", "bold red"), f" {problem}"))
    if damage:
        raise typer.Exit(2)
    out.print(f"{target} is as it was written", highlight=False)
