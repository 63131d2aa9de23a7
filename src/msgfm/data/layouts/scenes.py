"""Pictures of one scene each, in a folder per class: UC Merced, EuroSAT, Million-AID.

Yang & Newsam, ACM GIS 2010; Helber et al., IEEE JSTARS 12(7), 2019; Long et al., IEEE JSTARS 14, 2021. The splits of
the first two are not the authors' but those of Neumann et al. (arXiv 1911.06721), which TorchGeo and most others use;
the lists come with TorchGeo's copies of the data sets.
"""

from __future__ import annotations

from pathlib import Path

from msgfm.data.layouts.listing import (
    LayoutOptions,
    Listing,
    images_in,
    is_image,
    listed,
    load_cards,
    read_split_lists,
    whole_file,
)
from msgfm.data.records import RasterFile
from msgfm.errors import InputError

# EuroSAT's files have B8A last.
EUROSAT_BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B09", "B10", "B11", "B12", "B8A")
_EUROSAT_MS = ("EuroSAT_MS", "ds/images/remote_sensing/otherDatasets/sentinel_2/tif", "EuroSATallBands")
_EUROSAT_RGB = ("EuroSAT_RGB", "2750")


def list_ucmerced(root: Path, options: LayoutOptions) -> Listing:
    """`Images/<class>/<class>NN.tif`, at the root or in `UCMerced_LandUse` below it; 21 classes.

    Splits are those of `uc_merced-{train,val,test}.txt` (or `{train,val,test}.txt`) at the root, which name the
    images of each; without lists they are drawn.
    """
    sensors = load_cards(("rgb",), options.sensors)
    folder = _first_folder(root, ("Images", "UCMerced_LandUse/Images"))
    splits = _lists(root, "uc_merced-{}.txt") or _lists(root, "{}.txt")
    samples = []
    for path in _pictures_by_class(folder):
        if (split := splits.get(path.stem, "")) or not splits:
            files = {"rgb": [whole_file(root, path, sensors["rgb"].band_names)]}
            samples.append(listed(path.stem, path.stem, files, split, labels=[path.parent.name]))
    return Listing(sensors=sensors, samples=samples, classes=_folders(folder))


def list_eurosat(root: Path, options: LayoutOptions) -> Listing:
    """`EuroSAT_MS/<class>/<class>_N.tif` and `EuroSAT_RGB/<class>/<class>_N.jpg`; 10 classes.

    Older archives call the first `ds/images/remote_sensing/otherDatasets/sentinel_2/tif` (TorchGeo's) and the second
    `2750`. An image that both have is a sample with two sensors. Splits are those of `eurosat-{train,val,test}.txt`
    at the root; without lists they are drawn. Level-1C; the files have B8A last, which is heeded.
    """
    sensors = load_cards(("sentinel2", "rgb"), options.sensors)
    folders = [root / name for name in (*_EUROSAT_MS, *_EUROSAT_RGB) if (root / name).is_dir()]
    if not folders:
        raise InputError(f"{root} has none of the folders {', '.join((*_EUROSAT_MS, *_EUROSAT_RGB))} of EuroSAT")
    splits = _lists(root, "eurosat-{}.txt")
    found: dict[str, dict[str, list[RasterFile]]] = {}
    labels: dict[str, str] = {}
    for path in (path for folder in folders for path in _pictures_by_class(folder)):
        multispectral = path.suffix.lower() in (".tif", ".tiff")
        sensor, bands = ("sentinel2", EUROSAT_BANDS) if multispectral else ("rgb", sensors["rgb"].band_names)
        found.setdefault(path.stem, {})[sensor] = [whole_file(root, path, bands)]
        labels[path.stem] = path.parent.name
    samples = [
        listed(name, name, files, splits.get(name, ""), labels=[labels[name]])
        for name, files in sorted(found.items())
        if name in splits or not splits
    ]
    return Listing(
        sensors=sensors, samples=samples, classes=tuple(sorted({name for f in folders for name in _folders(f)}))
    )


def list_millionaid(root: Path, options: LayoutOptions) -> Listing:
    """`{train,test}/<class>/<class>/[<class>/]<name>.jpg`: classes from coarse to fine; `test/<name>.jpg` has none.

    An image's labels are its folders' names, coarse first (the multi-label task; the last is the class of the
    multi-class task). For pretraining on all of it: `--split train`.
    """
    sensors = load_cards(("rgb",), options.sensors)
    samples, classes = [], set[str]()
    for split in ("train", "test"):
        for path in sorted((root / split).rglob("*")):
            if is_image(path) and path.is_file():
                labels = path.parent.relative_to(root / split).parts
                name = path.relative_to(root).with_suffix("").as_posix()
                files = {"rgb": [whole_file(root, path, sensors["rgb"].band_names)]}
                samples.append(listed(name, name, files, split, labels=labels))
                classes.update(labels)
    return Listing(sensors=sensors, samples=samples, classes=tuple(sorted(classes)))


def _first_folder(root: Path, names: tuple[str, ...]) -> Path:
    found = next((root / name for name in names if (root / name).is_dir()), None)
    if found is None:
        raise InputError(f"{root} has no folder {' or '.join(names)}; docs/data.md shows the folders of each layout")
    return found


def _folders(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(path.name for path in folder.iterdir() if path.is_dir()))


def _pictures_by_class(folder: Path) -> list[Path]:
    return [path for name in _folders(folder) for path in images_in(folder / name)]


def _lists(root: Path, name: str) -> dict[str, str]:
    return read_split_lists(root, {split: name.format(split) for split in ("train", "val", "test")})
