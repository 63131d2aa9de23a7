"""Opens every listed file once, header only, and compares it with its card."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from msgfm.data.layouts.listing import card_band
from msgfm.data.records import RasterFile, Sample, SensorImage, mask_size_problem
from msgfm.errors import InputError
from msgfm.geo.raster import Extent, RasterInfo, extent_of, raster_info
from msgfm.progress import track
from msgfm.sensors import Sensor

_THREADS = 8
Header = RasterInfo | InputError


def check_headers(
    root: Path, samples: Iterable[Sample], sensors: Mapping[str, Sensor]
) -> tuple[list[Sample], dict[str, str]]:
    """Fills in shapes and band positions.

    Returns:
        The samples whose files all fit, and by path what is wrong with the others' files. A sample with a bad file is
        left out whole.
    """
    samples = list(samples)
    paths = sorted({file.path for sample in samples for file in sample.files})
    with ThreadPoolExecutor(_THREADS) as pool:
        opened = track(pool.map(lambda path: _header(root / path), paths), "looking into files", len(paths))
        headers = dict(zip(paths, opened, strict=True))
    good: list[Sample] = []
    problems: dict[str, str] = {}
    for sample in samples:
        images = [_check_image(root, image, sensors[image.sensor], headers, problems) for image in sample.images]
        filled = tuple(image for image in images if image is not None)
        if len(filled) < len(images) or not _check_grids(root, filled, headers, problems):
            continue
        if sample.mask and (problem := _mask_problem(root, sample.mask, filled, headers)):
            problems[sample.mask.path] = problem
            continue
        good.append(replace(sample, images=filled))
    return good, problems


def _header(path: Path) -> Header:
    try:
        return raster_info(path)
    except InputError as error:
        return error


def _check_image(
    root: Path, image: SensorImage, sensor: Sensor, headers: Mapping[str, Header], problems: dict[str, str]
) -> SensorImage | None:
    """The image with its shape, or None and an entry in `problems`."""
    files: list[RasterFile] = []
    shapes: list[tuple[int, int]] = []
    for file in image.files:
        header = headers[file.path]
        if isinstance(header, InputError):
            problems[file.path] = str(header)
        elif problem := _misfit(file, header, sensor):
            problems[file.path] = f"{root / file.path}: {problem}"
        else:
            positions = file.file_bands or tuple(range(1, len(file.bands) + 1))
            files.append(replace(file, file_bands=positions))
            shapes.append(file.window[2:] if file.window else (header.height, header.width))
    if len(files) < len(image.files):
        return None
    height, width = max(shapes)
    fits = [_same_proportions(shape, (height, width)) for shape in shapes]
    for file, shape, fit in zip(files, shapes, fits, strict=True):
        if not fit:
            problems[file.path] = (
                f"{root / file.path}: {shape[0]} x {shape[1]} pixels do not cover the same ground as the image's "
                f"finest band, {height} x {width}"
            )
    if not all(fits):
        return None
    return replace(image, height=height, width=width, files=tuple(files))


def _misfit(file: RasterFile, header: RasterInfo, sensor: Sensor) -> str | None:
    """What of the header contradicts the card; None where nothing does."""
    if beyond := [band for band in file.file_bands if band > header.count]:
        return f"has {header.count} bands, so there is no band {beyond[0]}"
    if not file.file_bands and header.image_bands != len(file.bands):
        return (
            f"has {header.image_bands} bands, expected are the {len(file.bands)} of sensor {sensor.name} "
            f"({', '.join(file.bands)}); name those that the file has, in its order, as "
            f"`--sensor {sensor.name}:{file.bands[0]},...=PATTERN`, or pick bands of the file as PATTERN@1-3"
        )
    positions = file.file_bands or range(1, len(file.bands) + 1)
    for name, position in zip(file.bands, positions, strict=True):
        # Descriptions are often free text; only another band's name is a contradiction.
        description = header.descriptions[position - 1]
        said = card_band(description, sensor) if description else None
        if said not in (None, name):
            return (
                f"names its band {position} {description!r}, where {name} was expected; name the bands in the "
                f"file's order, as `--sensor {sensor.name}:{said},...=PATTERN`"
            )
    if file.window:
        row, column, height, width = file.window
        if row + height > header.height or column + width > header.width:
            return f"has {header.height} x {header.width} pixels; the window {file.window} leaves it"
    return None


def _same_proportions(shape: tuple[int, int], other: tuple[int, int]) -> bool:
    """Height to width alike within 2 %: a Landsat pan image is 2N + 1 pixels long, not 2N."""
    return abs(shape[0] * other[1] / (shape[1] * other[0]) - 1) <= 0.02


def _check_grids(
    root: Path, images: Sequence[SensorImage], headers: Mapping[str, Header], problems: dict[str, str]
) -> bool:
    """Whether all sensors of a sample show the same ground; if not, an entry in `problems`."""
    first, same = images[0], True
    for image in images[1:]:
        path = image.files[0].path
        ours, others = (_extent(one.files[0], headers) for one in (image, first))
        if not _same_proportions((image.height, image.width), (first.height, first.width)):
            problem = (
                f"{image.height} x {image.width} pixels do not cover the same ground as "
                f"{root / first.files[0].path}, {first.height} x {first.width}"
            )
        elif ours and others and not ours.is_ground_of(others):
            problem = (
                f"its coordinates ({ours}) are not those of {root / first.files[0].path} ({others}); "
                f"a pair must show the same ground"
            )
        else:
            continue
        problems[path] = f"{root / path}: {problem}"
        same = False
    return same


def _mask_problem(
    root: Path, mask: RasterFile, images: Sequence[SensorImage], headers: Mapping[str, Header]
) -> str | None:
    """What keeps a mask from being that of its images; None where nothing does."""
    header, path = headers[mask.path], root / mask.path
    if isinstance(header, InputError):
        return str(header)
    if max(mask.file_bands) > header.count:
        return f"{path}: has {header.count} bands, a mask with {len(mask.file_bands)} was expected"
    finest = max(images, key=lambda image: image.height * image.width)
    height, width = mask.window[2:] if mask.window else (header.height, header.width)
    beside = f"{root / finest.files[0].path}, {finest.height} x {finest.width}"
    if problem := mask_size_problem((height, width), images):
        return f"{path}: {problem}"
    ours, others = _extent(mask, headers), _extent(finest.files[0], headers)
    if ours and others and not ours.is_ground_of(others):
        return f"{path}: coordinates ({ours}) are not those of {beside} ({others})"
    return None


def _extent(file: RasterFile, headers: Mapping[str, Header]) -> Extent | None:
    """Where a file or window lies; None where it has no coordinates or no header."""
    header = headers[file.path]
    return None if isinstance(header, InputError) else extent_of(header, file.window)
