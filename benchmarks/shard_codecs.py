"""What the shards' filters and lossless codecs make of images, and what reading them back costs.

The choice in `msgfm.data.shards.codec` rests on this table. Times are CPU times of one core, medians of rounds.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from msgfm.data.memory import keep_freed_memory
from msgfm.data.shards.codec import FILTERS, UNDONE
from msgfm.geo.raster import read_bands

CODECS = (("none", None), ("lz4_raw", None), ("zstd", -5), ("zstd", 1), ("zstd", 3), ("zstd", 9))
EXAMPLES = """examples:
  python benchmarks/shard_codecs.py SEN12MS-CR/*s2*/*/*.tif
  python benchmarks/shard_codecs.py UCMerced_LandUse/Images/*/*0[0-3].jpg
"""


def plain(data: NDArray[Any]) -> NDArray[np.uint8]:
    """No filter."""
    return data.reshape(-1).view(np.uint8)


def from_plain(data: NDArray[np.uint8], kind: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """The inverse of `plain`."""
    return data.view(kind).reshape(shape)


def measure(images: list[NDArray[Any]], name: str, codec: Any, rounds: int) -> tuple[float, float]:
    """Compression ratio, and milliseconds to read an image back (median of rounds, mean over the images)."""
    apply: Callable[[NDArray[Any]], NDArray[np.uint8]] = FILTERS.get(name, plain)
    undo = UNDONE.get(name, from_plain)
    filtered = [apply(image).tobytes() for image in images]
    packed = [codec.compress(data, asbytes=True) if codec else data for data in filtered]
    times = []
    for _ in range(rounds):
        begun = time.thread_time()
        for data, image in zip(packed, images, strict=True):
            raw = codec.decompress(data, image.nbytes) if codec else data
            back = undo(np.frombuffer(raw, np.uint8), image.dtype, image.shape)
        times.append((time.thread_time() - begun) / len(images) * 1e3)
        if back.tobytes() != images[-1].tobytes():
            raise SystemExit(f"{name} with {codec} is not lossless")
    return sum(image.nbytes for image in images) / sum(map(len, packed)), statistics.median(times)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="+", type=Path, help="images of one sensor")
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    keep_freed_memory()
    images = [np.ma.getdata(read_bands(path)) for path in arguments.files]
    own = "differences" if images[0].dtype.itemsize == 1 else "planes"
    table = Table(title=f"{len(images)} images of {images[0].dtype}, {sum(i.nbytes for i in images) / 1e6:.1f} MB")
    for heading in ("filter", "codec", "ratio", "ms an image"):
        table.add_column(heading, justify="right" if heading in ("ratio", "ms an image") else "left")
    for name in ("none", own):
        for codec, level in CODECS:
            made = None if codec == "none" else pa.Codec(codec, compression_level=level)
            ratio, cost = measure(images, name, made, arguments.rounds)
            table.add_row(name, codec if level is None else f"{codec} {level}", f"{ratio:.2f}", f"{cost:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
